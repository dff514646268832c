//! Mutated files: whatever is in them, reading ends, nothing panics, and no more comes out than the
//! bytes can hold.

use std::sync::Arc;

use narthex_model::histogram::{CounterReset, Span};
use narthex_model::{Exemplar, Histogram, Labels, MetricType};
use narthex_prometheus_log::{
    FloatSample, HistogramSample, MetadataEntry, MmapMarker, Record, RecordError, SegmentReader,
    SeriesExemplar, SnapshotRecord, Tombstone,
};

use crate::pages::{COMPRESSIONS, Segment, log_file};
use crate::random::{Random, with_seeds};
use crate::{encode, head_chunks, snapshot};

/// Small enough that a record which inflates without limit is seen.
const RECORD_LIMIT_BYTES: usize = 4 << 20;

/// Changes, removes, adds or repeats some bytes, a few times.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(12)).min(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes[at..end].fill([0, 0xff][random.below(2)]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let added = random.bytes(end - at);
                drop(bytes.splice(at..at, added));
            }
            5 => {
                let repeated = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, repeated));
            }
            _ => bytes.truncate(at),
        }
    }
}

fn float_samples(random: &mut Random) -> Vec<FloatSample> {
    (0..random.below(30))
        .map(|_| FloatSample {
            series: random.next() % 1000,
            timestamp_ms: 1_700_000_000_000 + random.below(60_000) as i64,
            start_timestamp_ms: [None, Some(1_600_000_000_000)][random.below(2)],
            value: random.below(1000) as f64,
        })
        .collect()
}

fn histogram_samples(random: &mut Random) -> Vec<HistogramSample> {
    (0..random.below(6))
        .map(|_| {
            let buckets = random.below(20);
            let custom = random.below(4) == 0;
            HistogramSample {
                series: random.next() % 1000,
                timestamp_ms: 1_700_000_000_000 + random.below(60_000) as i64,
                start_timestamp_ms: None,
                histogram: Arc::new(Histogram {
                    counter_reset: CounterReset::NotReset,
                    schema: if custom {
                        -53
                    } else {
                        random.below(15) as i32 - 4
                    },
                    count: 100.0,
                    positive_spans: vec![Span {
                        offset: random.below(20) as i32 - 10,
                        length: buckets as u32,
                    }],
                    positive_buckets: (0..buckets).map(|at| at as f64).collect(),
                    custom_values: vec![1.0; if custom { buckets } else { 0 }],
                    ..Histogram::default()
                }),
            }
        })
        .collect()
}

fn some_record(random: &mut Random) -> Vec<u8> {
    let pairs = |count: usize| -> Vec<(String, String)> {
        let pair = |at| (format!("name{at}"), format!("value{at}"));
        (0..count).map(pair).collect()
    };
    match random.below(10) {
        0 => {
            let series = |at| (at, pairs(at as usize % 7));
            encode::series(&(0..1 + random.next() % 20).map(series).collect::<Vec<_>>())
        }
        1 | 2 => encode::samples(&float_samples(random)),
        3 => encode::samples_with_starts(&float_samples(random)),
        4 | 5 => {
            let kind = [7, 8, 9, 10, 12, 13][random.below(6)];
            encode::histograms(kind, &histogram_samples(random))
        }
        6 => {
            let exemplar = SeriesExemplar {
                series: random.next() % 1000,
                exemplar: Exemplar {
                    labels: Labels::from_pairs(pairs(2)),
                    value: 1.0,
                    timestamp_ms: 1_700_000_000_000,
                },
            };
            encode::exemplars(4, &vec![exemplar; random.below(9)])
        }
        7 => {
            let entry = MetadataEntry {
                series: 5,
                kind: MetricType::Counter,
                unit: "seconds",
                help: "what it is",
            };
            encode::metadata(&vec![(entry, 1); random.below(9)])
        }
        8 => encode::tombstones(&vec![
            Tombstone {
                series: random.next() % 1000,
                min_ms: i64::MIN,
                max_ms: 1_700_000_000_000,
            };
            random.below(9)
        ]),
        _ => encode::mmap_markers(&vec![
            MmapMarker {
                series: random.next() % 1000,
                file: 1,
                offset: 8,
            };
            random.below(9)
        ]),
    }
}

/// How much a list of entries holds, and that an error of unknown extent is its last.
fn exhaust<T>(
    entries: impl Iterator<Item = Result<T, RecordError>>,
    size: impl Fn(&T) -> usize,
) -> usize {
    let mut total = 0;
    let mut ended = false;
    for entry in entries {
        assert!(!ended, "nothing can follow");
        match entry {
            Ok(entry) => total += size(&entry),
            Err(error) => {
                total += 1;
                ended = error.ends_record();
            }
        }
    }
    total
}

/// Decodes everything in a record; returns how many things it held.
fn exhaust_record(bytes: &[u8]) -> usize {
    match Record::decode(bytes) {
        Record::Series(entries) => exhaust(entries, |entry| {
            assert!(entry.labels.is_sorted_by(|a, b| a.0 < b.0));
            assert!(entry.labels.iter().all(|(_, value)| !value.is_empty()));
            1 + entry.labels.len()
        }),
        Record::Samples(entries) => exhaust(entries, |_| 1),
        Record::Histograms(entries) => exhaust(entries, |entry| {
            let histogram = &entry.histogram;
            let sides = [
                (&histogram.positive_spans, &histogram.positive_buckets),
                (&histogram.negative_spans, &histogram.negative_buckets),
            ];
            for (spans, buckets) in sides {
                let populated: usize = spans.iter().map(|span| span.length as usize).sum();
                assert_eq!(populated, buckets.len());
            }
            assert!((-53..=8).contains(&histogram.schema));
            let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
            1 + buckets + histogram.custom_values.len()
        }),
        Record::Exemplars(entries) => exhaust(entries, |entry| 1 + entry.exemplar.labels.len()),
        Record::Metadata(entries) => exhaust(entries, |_| 1),
        Record::Tombstones(entries) => exhaust(entries, |_| 1),
        Record::MmapMarkers(entries) => exhaust(entries, |_| 1),
        Record::Unknown(_) => 0,
    }
}

fn exhaust_segment(bytes: &[u8], last: bool) -> usize {
    let file = log_file(last);
    let mut reader = SegmentReader::new(&file, bytes).with_max_record_bytes(RECORD_LIMIT_BYTES);
    let mut pieces = 0;
    let mut damaged = 0;
    while let Some(record) = reader.next_record() {
        pieces += 1;
        match record {
            Ok(record) => {
                assert!(record.bytes.len() <= RECORD_LIMIT_BYTES.max(bytes.len()));
                assert!(exhaust_record(record.bytes) <= record.bytes.len());
            }
            Err(damage) => {
                damaged += 1;
                assert!(damage.offset <= bytes.len() as u64);
                assert!(damage.offset + damage.passed_over_bytes <= bytes.len() as u64);
                assert!(damage.to_string().starts_with("file 00000007, byte "));
            }
        }
        // A record, an empty fragment, a damage where no fragment was consumed.
        assert!(pieces <= 2 * (bytes.len() / 7 + 2), "it goes on for ever");
    }
    damaged
}

#[test]
fn records_with_mutated_content() {
    with_seeds(|random| {
        for _ in 0..20 {
            let mut record = some_record(random);
            assert!(exhaust_record(&record) <= record.len());
            mutate(random, &mut record);
            assert!(exhaust_record(&record) <= record.len());
            let noise = random.below(200);
            let noise = [&[random.below(15) as u8][..], &random.bytes(noise)].concat();
            assert!(exhaust_record(&noise) <= noise.len());
        }
    });
}

#[test]
fn segments_with_mutated_bytes() {
    with_seeds(|random| {
        let mut segment = Segment::default();
        for _ in 0..1 + random.below(200) {
            let record = some_record(random).repeat(1 + random.below(3));
            segment.write(&record, COMPRESSIONS[random.below(3)]);
        }
        assert_eq!(exhaust_segment(&segment.bytes, false), 0);
        let mut bytes = segment.bytes;
        mutate(random, &mut bytes);
        exhaust_segment(&bytes, random.below(2) == 0);
    });
}

/// The checksums are right, what is summed is not.
#[test]
fn fragments_with_mutated_data() {
    with_seeds(|random| {
        let mut segment = Segment::default();
        for _ in 0..1 + random.below(50) {
            let compression = COMPRESSIONS[random.below(3)];
            let mut data = compression.compress(&some_record(random));
            mutate(random, &mut data);
            if segment.bytes.len() % narthex_prometheus_log::PAGE_BYTES
                > narthex_prometheus_log::PAGE_BYTES - 5000
            {
                segment.end_page();
            }
            data.truncate(4000);
            let flags = [0, 8, 16, 24, 32][random.below(5)];
            segment.fragment(flags | random.below(6) as u8, &data);
        }
        exhaust_segment(&segment.bytes, random.below(2) == 0);
    });
}

#[test]
fn head_chunks_with_mutated_bytes() {
    with_seeds(|random| {
        let count = 1 + random.below(20);
        let (mut bytes, _) = head_chunks::some_file(random, count);
        bytes.resize(bytes.len() + random.below(100), 0);
        let header = bytes[..8].to_vec();
        let mut rest = bytes.split_off(8);
        mutate(random, &mut rest);
        let bytes = [header, rest].concat();
        let (chunks, damages, _) = head_chunks::read(random.below(2) == 0, &bytes);
        let held: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
        assert!(held <= bytes.len());
        assert!(chunks.len() + damages.len() <= count + 10);
    });
}

#[test]
fn snapshots_with_mutated_content() {
    with_seeds(|random| {
        let mut record = match random.below(3) {
            0 => snapshot::series_record(5, Some((random.below(9) as u8, &[0, 1, 2, 3]))),
            1 => snapshot::series_record(5, None),
            _ => vec![2, 5, 1, 9, 1, 9, 1, 9],
        };
        mutate(random, &mut record);
        match SnapshotRecord::decode(&record) {
            Ok(SnapshotRecord::Series(series)) => {
                let chunk = series.chunk.map_or(0, |chunk| chunk.data.len());
                assert!(chunk <= record.len());
            }
            Ok(SnapshotRecord::Tombstones(entries)) => {
                assert!(exhaust(entries, |_| 1) <= record.len());
            }
            Ok(SnapshotRecord::Exemplars(entries)) => {
                assert!(exhaust(entries, |_| 1) <= record.len());
            }
            Ok(SnapshotRecord::Unknown(_)) | Err(_) => {}
        }
    });
}

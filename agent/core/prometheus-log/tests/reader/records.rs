//! Every type of record, from bytes written by hand and from random content.

use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::{Exemplar, Histogram, Labels, MetricType};
use narthex_prometheus_log::{
    Entries, FloatSample, HistogramSample, MetadataEntry, MmapMarker, Record, RecordError,
    SeriesDefinition, SeriesExemplar, Tombstone,
};
use proptest::prelude::*;

use crate::encode;

/// The entries of a record of the variant that is named.
macro_rules! entries {
    ($variant:ident, $record:expr) => {
        match Record::decode($record) {
            Record::$variant(entries) => entries.collect::<Vec<_>>(),
            other => panic!("another record: {other:?}"),
        }
    };
}

fn float(series: u64, timestamp_ms: i64, start: Option<i64>, value: f64) -> FloatSample {
    FloatSample {
        series,
        timestamp_ms,
        start_timestamp_ms: start,
        value,
    }
}

#[test]
fn series_by_hand() {
    let record = [
        &[1][..],
        &[0, 0, 0, 0, 0, 0, 0, 9],
        &[2, 8],
        b"__name__",
        &[2],
        b"up",
        &[3],
        b"job",
        &[1],
        b"a",
        &[0, 0, 0, 0, 0, 0, 1, 0, 1, 1],
        b"x",
        &[1],
        b"y",
    ]
    .concat();
    let expected = [
        SeriesDefinition {
            series: 9,
            labels: vec![("__name__", "up"), ("job", "a")],
        },
        SeriesDefinition {
            series: 256,
            labels: vec![("x", "y")],
        },
    ];
    assert_eq!(entries!(Series, &record), expected.map(Ok));
}

#[test]
fn samples_by_hand() {
    let value = 1.5_f64.to_be_bytes();
    let base = [
        &[2][..],
        &10_u64.to_be_bytes(),
        &1_000_000_i64.to_be_bytes(),
    ]
    .concat();
    // Differences to the base: 0 and 0, −3 and +2000.
    let record = [&base[..], &[0, 0], &value, &[5, 0xa0, 0x1f], &value].concat();
    assert_eq!(
        entries!(Samples, &record),
        [
            Ok(float(10, 1_000_000, None, 1.5)),
            Ok(float(7, 1_002_000, None, 1.5))
        ]
    );
}

#[test]
fn samples_with_start_timestamps_by_hand() {
    let value = 2.0_f64.to_be_bytes();
    let record = [
        // Series 5, time 1000, start 900.
        &[11, 10, 0xd0, 0x0f, 0x88, 0x0e][..],
        &value,
        // Series +1, time +1 against the first, the same start.
        &[2, 2, 1],
        &value,
        // Series +1, no start.
        &[2, 2, 0],
        &value,
        // Series −7 (wraps below none), the start that the one before has: none.
        &[3, 2, 1],
        &value,
        // The first start and 8.
        &[2, 0, 2, 16],
        &value,
    ]
    .concat();
    assert_eq!(
        entries!(Samples, &record),
        [
            Ok(float(5, 1000, Some(900), 2.0)),
            Ok(float(6, 1001, Some(900), 2.0)),
            Ok(float(7, 1001, None, 2.0)),
            Ok(float(5, 1001, None, 2.0)),
            Ok(float(6, 1000, Some(908), 2.0)),
        ]
    );
}

#[test]
fn integer_histogram_by_hand() {
    let record = [
        &[7][..],
        &3_u64.to_be_bytes(),
        &100_i64.to_be_bytes(),
        // No differences; no counter reset; schema 1.
        &[0, 0, 2, 2],
        &0.001_f64.to_be_bytes(),
        // Zero bucket 2, count 15.
        &[2, 15],
        &7.5_f64.to_be_bytes(),
        // One positive span from index −1, 2 buckets, and one 3 further of 1; one negative.
        &[2, 1, 2, 6, 1, 1, 0, 1],
        // 4, 4−1, 3+2; 1.
        &[3, 8, 1, 4, 1, 2],
    ]
    .concat();
    let histogram = Histogram {
        counter_reset: CounterReset::NotReset,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 15.0,
        sum: 7.5,
        positive_spans: vec![
            Span {
                offset: -1,
                length: 2,
            },
            Span {
                offset: 3,
                length: 1,
            },
        ],
        positive_buckets: vec![4.0, 3.0, 5.0],
        negative_spans: vec![Span {
            offset: 0,
            length: 1,
        }],
        negative_buckets: vec![1.0],
        custom_values: vec![],
    };
    let expected = HistogramSample {
        series: 3,
        timestamp_ms: 100,
        start_timestamp_ms: None,
        histogram: Arc::new(histogram),
    };
    assert_eq!(entries!(Histograms, &record), [Ok(expected)]);
}

#[test]
fn tombstones_markers_and_metadata_by_hand() {
    let record = [&[3][..], &4_u64.to_be_bytes(), &[1, 20]].concat();
    let tombstone = Tombstone {
        series: 4,
        min_ms: -1,
        max_ms: 10,
    };
    assert_eq!(entries!(Tombstones, &record), [Ok(tombstone)]);
    assert!(!tombstone.drops_series());

    let record = [&[5][..], &4_u64.to_be_bytes(), &[0, 0, 0, 2, 0, 0, 1, 8]].concat();
    let marker = MmapMarker {
        series: 4,
        file: 2,
        offset: 264,
    };
    assert_eq!(entries!(MmapMarkers, &record), [Ok(marker)]);

    let record = [
        &[6, 4, 1, 2, 4][..],
        b"UNIT",
        &[1],
        b"s",
        &[4],
        b"HELP",
        &[2],
        b"ok",
    ]
    .concat();
    let entry = MetadataEntry {
        series: 4,
        kind: MetricType::Counter,
        unit: "s",
        help: "ok",
    };
    assert_eq!(entries!(Metadata, &record), [Ok(entry)]);
}

#[test]
fn a_record_without_entries_is_empty_and_an_unknown_one_is_named() {
    for kind in 1..=13 {
        match Record::decode(&[kind]) {
            Record::Series(entries) => assert_eq!(entries.count(), 0),
            Record::Samples(entries) => assert_eq!(entries.count(), 0),
            Record::Histograms(entries) => assert_eq!(entries.count(), 0),
            Record::Exemplars(entries) => assert_eq!(entries.count(), 0),
            Record::Metadata(entries) => assert_eq!(entries.count(), 0),
            Record::Tombstones(entries) => assert_eq!(entries.count(), 0),
            Record::MmapMarkers(entries) => assert_eq!(entries.count(), 0),
            Record::Unknown(kind) => panic!("{kind} is known"),
        }
    }
    for (record, expected) in [(&[][..], 0), (&[14, 1, 2], 14), (&[255], 255)] {
        assert!(matches!(Record::decode(record), Record::Unknown(kind) if kind == expected));
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn labels_out_of_order_doubled_or_empty_are_put_right() {
    let record = encode::series(&[
        (
            1,
            pairs(&[("b", "1"), ("a", "2"), ("b", "3"), ("c", ""), ("a", "4")]),
        ),
        (2, pairs(&[("a", "")])),
        (3, pairs(&[])),
        (4, pairs(&[("a", "1")])),
    ]);
    assert_eq!(
        entries!(Series, &record),
        [
            Ok(SeriesDefinition {
                series: 1,
                labels: vec![("a", "4"), ("b", "3")],
            }),
            Err(RecordError::NoLabels { series: 2 }),
            Err(RecordError::NoLabels { series: 3 }),
            Ok(SeriesDefinition {
                series: 4,
                labels: vec![("a", "1")],
            }),
        ]
    );
}

#[test]
fn text_that_is_none_costs_its_entry_alone() {
    let mut record = encode::series(&[(1, pairs(&[("a", "b")]))]);
    record.extend_from_slice(&2_u64.to_be_bytes());
    record.extend_from_slice(&[1, 1, b'a', 1, 0xff]);
    record.extend_from_slice(&encode::series(&[(3, pairs(&[("a", "b")]))])[1..]);
    let entries = entries!(Series, &record);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1], Err(RecordError::NotUtf8 { series: 2 }));
    assert_eq!(entries[2].as_ref().map(|entry| entry.series), Ok(3));
}

#[test]
fn what_precedes_the_cut_is_given_out() {
    let samples: Vec<FloatSample> = (0..10)
        .map(|at| float(at, 1000 * at as i64, None, at as f64))
        .collect();
    let record = encode::samples(&samples);
    for length in 0..record.len() {
        let Record::Samples(entries) = Record::decode(&record[..length]) else {
            assert_eq!(length, 0);
            continue;
        };
        let read: Vec<_> = entries.collect();
        let good = read.iter().take_while(|entry| entry.is_ok()).count();
        assert!(read.len() - good <= 1, "one error, then the end");
        for (entry, sample) in read.iter().zip(&samples).take(good) {
            assert_eq!(entry.as_ref(), Ok(sample));
        }
    }
}

#[test]
fn lengths_that_lie_take_no_memory() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x7f];
    let labels = [&[1][..], &1_u64.to_be_bytes(), &huge, &[1, b'a']].concat();
    assert_eq!(
        entries!(Series, &labels),
        [Err(RecordError::Cut { offset: 13 })]
    );
    let mut spans = encode::histograms(7, &[])
        .into_iter()
        .chain(vec![0; 16])
        .collect::<Vec<u8>>();
    spans.extend_from_slice(&[0, 0, 0, 0]);
    spans.extend_from_slice(&[0; 8 + 2 + 8]);
    spans.extend_from_slice(&huge);
    assert!(matches!(
        entries!(Histograms, &spans)[..],
        [Err(RecordError::Cut { .. })]
    ));
}

fn histogram_with(schema: i32, spans: Vec<Span>, buckets: Vec<f64>) -> HistogramSample {
    HistogramSample {
        series: 1,
        timestamp_ms: 5,
        start_timestamp_ms: None,
        histogram: Arc::new(Histogram {
            schema,
            positive_spans: spans,
            positive_buckets: buckets,
            ..Histogram::default()
        }),
    }
}

#[test]
fn a_histogram_that_cannot_be_used_costs_itself_alone() {
    let one = |length| vec![Span { offset: 0, length }];
    let good = histogram_with(3, one(2), vec![1.0, 2.0]);
    let mismatch = histogram_with(3, one(3), vec![1.0, 2.0]);
    let unknown = histogram_with(53, one(2), vec![1.0, 2.0]);
    let fine = histogram_with(9, one(4), vec![1.0, 2.0, 3.0, 4.0]);
    for kind in [7, 8, 9, 10, 12, 13] {
        let samples = [&unknown, &mismatch, &good, &fine].map(Clone::clone);
        let record = encode::histograms(kind, &samples);
        let read = entries!(Histograms, &record);
        assert_eq!(
            read[0],
            Err(RecordError::UnknownSchema {
                series: 1,
                schema: 53
            })
        );
        assert!(matches!(
            read[1],
            Err(RecordError::InvalidHistogram { series: 1, .. })
        ));
        assert_eq!(read[2], Ok(good.clone()));
        // Indexes 0, 1, 2, 3 at schema 9 are 0, 1, 1, 2 at schema 8.
        let coarser = histogram_with(8, one(3), vec![1.0, 5.0, 4.0]);
        assert_eq!(read[3], Ok(coarser));
        assert_eq!(read.len(), 4);
    }
}

fn any_stamp() -> impl Strategy<Value = (u64, i64, Option<i64>)> {
    let time = prop_oneof![any::<i64>(), 1_700_000_000_000..1_700_000_100_000_i64];
    let start = prop_oneof![
        Just(None),
        Just(Some(1_699_000_000_000)),
        any::<i64>().prop_map(|start| Some(start).filter(|&start| start != 0)),
    ];
    (prop_oneof![any::<u64>(), 0..1000_u64], time, start)
}

fn any_label_pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::btree_map("[a-z_é]{1,6}", ".{1,12}", 1..8)
        .prop_map(|labels| labels.into_iter().collect())
}

fn any_side(integers: bool) -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let bucket = match integers {
        true => (0..1_000_000_i64).prop_map(|count| count as f64).boxed(),
        false => (0.0..1e9_f64).boxed(),
    };
    let piece = (0..20_i32, proptest::collection::vec(bucket, 0..5));
    (-30..30_i32, proptest::collection::vec(piece, 0..4)).prop_map(|(first, pieces)| {
        let mut spans = Vec::new();
        let mut buckets = Vec::new();
        for (at, (gap, counts)) in pieces.into_iter().enumerate() {
            let offset = if at == 0 { first } else { gap };
            let length = counts.len() as u32;
            spans.push(Span { offset, length });
            buckets.extend(counts);
        }
        (spans, buckets)
    })
}

fn any_histogram(integers: bool) -> impl Strategy<Value = Histogram> {
    let schema = prop_oneof![4 => -4..=8_i32, 1 => Just(CUSTOM_BOUNDS_SCHEMA)];
    let reset = prop_oneof![
        Just(CounterReset::Unknown),
        Just(CounterReset::Reset),
        Just(CounterReset::NotReset),
        Just(CounterReset::Gauge)
    ];
    let numbers = (0..1_000_000_u32, 0..u32::MAX, -1e9..1e9_f64, 0.0..1.0_f64);
    let bounds = proptest::collection::vec(-10.0..10.0_f64, 0..5);
    (
        schema,
        reset,
        numbers,
        any_side(integers),
        any_side(integers),
        bounds,
    )
        .prop_map(
            |(schema, counter_reset, numbers, positive, negative, bounds)| Histogram {
                counter_reset,
                schema,
                zero_threshold: numbers.3,
                zero_count: numbers.0.into(),
                count: numbers.1.into(),
                sum: numbers.2,
                positive_spans: positive.0,
                positive_buckets: positive.1,
                negative_spans: negative.0,
                negative_buckets: negative.1,
                custom_values: match schema {
                    CUSTOM_BOUNDS_SCHEMA => bounds,
                    _ => Vec::new(),
                },
            },
        )
}

fn any_histogram_samples(integers: bool) -> impl Strategy<Value = Vec<HistogramSample>> {
    let sample =
        (any_stamp(), any_histogram(integers)).prop_map(|(stamp, histogram)| HistogramSample {
            series: stamp.0,
            timestamp_ms: stamp.1,
            start_timestamp_ms: stamp.2,
            histogram: Arc::new(histogram),
        });
    proptest::collection::vec(sample, 0..6)
}

fn all_good<T>(entries: Entries<'_, T>) -> Vec<T>
where
    for<'a> Entries<'a, T>: Iterator<Item = Result<T, RecordError>>,
{
    entries.map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn series_come_back(
        definitions in proptest::collection::vec((any::<u64>(), any_label_pairs()), 0..20),
    ) {
        let record = encode::series(&definitions);
        let read = entries!(Series, &record);
        prop_assert_eq!(read.len(), definitions.len());
        for (read, (series, labels)) in read.into_iter().zip(&definitions) {
            let read = read.unwrap();
            prop_assert_eq!(read.series, *series);
            let expected = Labels::from_pairs(labels.iter().map(|(n, v)| (&**n, &**v)));
            prop_assert_eq!(read.to_labels(), expected);
            prop_assert!(read.labels.is_sorted());
        }
    }

    #[test]
    fn samples_come_back(
        samples in proptest::collection::vec((any_stamp(), any::<u64>()), 0..50),
    ) {
        let samples: Vec<FloatSample> = samples
            .into_iter()
            .map(|(stamp, bits)| float(stamp.0, stamp.1, stamp.2, f64::from_bits(bits)))
            .collect();
        let plain: Vec<FloatSample> = samples
            .iter()
            .map(|sample| FloatSample { start_timestamp_ms: None, ..*sample })
            .collect();
        for (record, expected) in [
            (encode::samples(&samples), plain),
            (encode::samples_with_starts(&samples), samples),
        ] {
            let Record::Samples(entries) = Record::decode(&record) else { panic!() };
            // NaNs, too, come back to the bit.
            let bits = |sample: &FloatSample| (sample.value.to_bits(), FloatSample {
                value: 0.0,
                ..*sample
            });
            let read: Vec<_> = all_good(entries).iter().map(bits).collect();
            prop_assert_eq!(read, expected.iter().map(bits).collect::<Vec<_>>());
        }
    }

    #[test]
    fn histograms_come_back(
        integers in any_histogram_samples(true),
        floats in any_histogram_samples(false),
    ) {
        for (kind, samples) in [
            (7, &integers), (8, &floats), (9, &integers), (10, &floats),
            (12, &integers), (13, &floats),
        ] {
            let record = encode::histograms(kind, samples);
            let Record::Histograms(entries) = Record::decode(&record) else { panic!() };
            let mut expected = samples.clone();
            if kind < 12 {
                expected.iter_mut().for_each(|sample| sample.start_timestamp_ms = None);
            }
            prop_assert_eq!(all_good(entries), expected);
        }
    }

    #[test]
    fn exemplars_come_back(
        exemplars in proptest::collection::vec(
            (any_stamp(), -1e9..1e9_f64, any_label_pairs()), 0..20,
        ),
    ) {
        let exemplars: Vec<SeriesExemplar> = exemplars
            .into_iter()
            .map(|(stamp, value, labels)| SeriesExemplar {
                series: stamp.0,
                exemplar: Exemplar {
                    labels: Labels::from_pairs(labels),
                    value,
                    timestamp_ms: stamp.1,
                },
            })
            .collect();
        let record = encode::exemplars(4, &exemplars);
        let Record::Exemplars(entries) = Record::decode(&record) else { panic!() };
        prop_assert_eq!(all_good(entries), exemplars);
    }

    #[test]
    fn tombstones_markers_and_metadata_come_back(
        numbers in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<i64>()), 0..20),
        texts in proptest::collection::vec((any::<u64>(), 0..9_u8, ".{0,20}", ".{0,9}"), 0..20),
    ) {
        let tombstones: Vec<Tombstone> = numbers
            .iter()
            .map(|&(series, min_ms, max_ms)| Tombstone { series, min_ms, max_ms })
            .collect();
        let record = encode::tombstones(&tombstones);
        let Record::Tombstones(entries) = Record::decode(&record) else { panic!() };
        prop_assert_eq!(all_good(entries), tombstones);

        let markers: Vec<MmapMarker> = numbers
            .iter()
            .map(|&(series, a, b)| MmapMarker { series, file: a as u32, offset: b as u32 })
            .collect();
        let record = encode::mmap_markers(&markers);
        let Record::MmapMarkers(entries) = Record::decode(&record) else { panic!() };
        prop_assert_eq!(all_good(entries), markers);

        let kinds = [
            MetricType::Unknown, MetricType::Counter, MetricType::Gauge, MetricType::Histogram,
            MetricType::GaugeHistogram, MetricType::Summary, MetricType::Info,
            MetricType::StateSet, MetricType::Unknown,
        ];
        let entries: Vec<_> = texts
            .iter()
            .map(|(series, code, help, unit)| {
                let kind = kinds[usize::from(*code)];
                (MetadataEntry { series: *series, kind, unit, help }, *code)
            })
            .collect();
        let record = encode::metadata(&entries);
        let read: Vec<_> = entries!(Metadata, &record).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(read, entries.into_iter().map(|(entry, _)| entry).collect::<Vec<_>>());
    }
}

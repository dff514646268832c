//! Encodes records as Prometheus does.

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_prometheus_log::{
    FloatSample, HistogramSample, MetadataEntry, MmapMarker, SeriesExemplar, Tombstone,
};

pub(crate) type Pairs = [(String, String)];

pub(crate) fn series(definitions: &[(u64, Vec<(String, String)>)]) -> Vec<u8> {
    let mut record = vec![1];
    for (series, labels) in definitions {
        put_u64(&mut record, *series);
        put_labels(&mut record, labels);
    }
    record
}

pub(crate) fn samples(samples: &[FloatSample]) -> Vec<u8> {
    stamped(2, samples, |record, sample| {
        put_f64(record, sample.value);
    })
}

pub(crate) fn samples_with_starts(samples: &[FloatSample]) -> Vec<u8> {
    stamped_with_starts(11, samples, |record, sample| {
        put_f64(record, sample.value);
    })
}

pub(crate) fn histograms(kind: u8, samples: &[HistogramSample]) -> Vec<u8> {
    let put = |record: &mut Vec<u8>, sample: &HistogramSample| {
        put_histogram(record, &sample.histogram, matches!(kind, 7 | 9 | 12));
    };
    match kind {
        12 | 13 => stamped_with_starts(kind, samples, put),
        _ => stamped(kind, samples, put),
    }
}

pub(crate) fn exemplars(kind: u8, exemplars: &[SeriesExemplar]) -> Vec<u8> {
    stamped(kind, exemplars, |record, entry| {
        put_f64(record, entry.exemplar.value);
        let labels: Vec<(String, String)> = entry
            .exemplar
            .labels
            .iter()
            .map(|label| (label.name.to_string(), label.value.to_string()))
            .collect();
        put_labels(record, &labels);
    })
}

pub(crate) fn tombstones(tombstones: &[Tombstone]) -> Vec<u8> {
    let mut record = vec![3];
    for tombstone in tombstones {
        put_u64(&mut record, tombstone.series);
        put_signed(&mut record, tombstone.min_ms);
        put_signed(&mut record, tombstone.max_ms);
    }
    record
}

pub(crate) fn mmap_markers(markers: &[MmapMarker]) -> Vec<u8> {
    let mut record = vec![5];
    for marker in markers {
        put_u64(&mut record, marker.series);
        record.extend_from_slice(&marker.file.to_be_bytes());
        record.extend_from_slice(&marker.offset.to_be_bytes());
    }
    record
}

pub(crate) fn metadata(entries: &[(MetadataEntry<'_>, u8)]) -> Vec<u8> {
    let mut record = vec![6];
    for (entry, kind) in entries {
        put_unsigned(&mut record, entry.series);
        record.push(*kind);
        put_unsigned(&mut record, 3);
        for (name, value) in [("UNIT", entry.unit), ("LATER", "x"), ("HELP", entry.help)] {
            put_text(&mut record, name);
            put_text(&mut record, value);
        }
    }
    record
}

pub(crate) trait Stamped {
    /// Series, time, start.
    fn stamp(&self) -> (u64, i64, Option<i64>);
}

impl Stamped for FloatSample {
    fn stamp(&self) -> (u64, i64, Option<i64>) {
        (self.series, self.timestamp_ms, self.start_timestamp_ms)
    }
}

impl Stamped for HistogramSample {
    fn stamp(&self) -> (u64, i64, Option<i64>) {
        (self.series, self.timestamp_ms, self.start_timestamp_ms)
    }
}

impl Stamped for SeriesExemplar {
    fn stamp(&self) -> (u64, i64, Option<i64>) {
        (self.series, self.exemplar.timestamp_ms, None)
    }
}

fn stamped<T: Stamped>(kind: u8, entries: &[T], put: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut record = vec![kind];
    let Some((first_series, first_time, _)) = entries.first().map(T::stamp) else {
        return record;
    };
    put_u64(&mut record, first_series);
    put_u64(&mut record, first_time as u64);
    for entry in entries {
        let (series, time, _) = entry.stamp();
        put_signed(&mut record, series.wrapping_sub(first_series) as i64);
        put_signed(&mut record, time.wrapping_sub(first_time));
        put(&mut record, entry);
    }
    record
}

fn stamped_with_starts<T: Stamped>(
    kind: u8,
    entries: &[T],
    put: impl Fn(&mut Vec<u8>, &T),
) -> Vec<u8> {
    let mut record = vec![kind];
    let mut first = None;
    let mut before = (0, 0);
    for entry in entries {
        let (series, time, start) = entry.stamp();
        let start = start.unwrap_or(0);
        put_signed(&mut record, series.wrapping_sub(before.0) as i64);
        match first {
            None => {
                first = Some((time, start));
                put_signed(&mut record, time);
                put_signed(&mut record, start);
            }
            Some((first_time, first_start)) => {
                put_signed(&mut record, time.wrapping_sub(first_time));
                match start {
                    0 => record.push(0),
                    _ if start == before.1 => record.push(1),
                    _ => {
                        record.push(2);
                        put_signed(&mut record, start.wrapping_sub(first_start));
                    }
                }
            }
        }
        before = (series, start);
        put(&mut record, entry);
    }
    record
}

pub(crate) fn put_histogram(record: &mut Vec<u8>, histogram: &Histogram, integers: bool) {
    record.push(match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    put_signed(record, histogram.schema.into());
    put_f64(record, histogram.zero_threshold);
    for count in [histogram.zero_count, histogram.count] {
        match integers {
            true => put_unsigned(record, count as u64),
            false => put_f64(record, count),
        }
    }
    put_f64(record, histogram.sum);
    put_spans(record, &histogram.positive_spans);
    put_spans(record, &histogram.negative_spans);
    for buckets in [&histogram.positive_buckets, &histogram.negative_buckets] {
        put_unsigned(record, buckets.len() as u64);
        let mut before = 0;
        for &bucket in buckets {
            match integers {
                true => put_signed(record, bucket as i64 - before),
                false => put_f64(record, bucket),
            }
            before = bucket as i64;
        }
    }
    if histogram.schema == CUSTOM_BOUNDS_SCHEMA {
        put_unsigned(record, histogram.custom_values.len() as u64);
        for &bound in &histogram.custom_values {
            put_f64(record, bound);
        }
    }
}

fn put_spans(record: &mut Vec<u8>, spans: &[Span]) {
    put_unsigned(record, spans.len() as u64);
    for span in spans {
        put_signed(record, span.offset.into());
        put_unsigned(record, span.length.into());
    }
}

pub(crate) fn put_labels(record: &mut Vec<u8>, labels: &Pairs) {
    put_unsigned(record, labels.len() as u64);
    for (name, value) in labels {
        put_text(record, name);
        put_text(record, value);
    }
}

fn put_text(record: &mut Vec<u8>, text: &str) {
    put_bytes(record, text.as_bytes());
}

pub(crate) fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(record, bytes.len() as u64);
    record.extend_from_slice(bytes);
}

pub(crate) fn put_u64(record: &mut Vec<u8>, number: u64) {
    record.extend_from_slice(&number.to_be_bytes());
}

pub(crate) fn put_f64(record: &mut Vec<u8>, number: f64) {
    put_u64(record, number.to_bits());
}

pub(crate) fn put_unsigned(record: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        record.push(number as u8 | 0x80);
        number >>= 7;
    }
    record.push(number as u8);
}

pub(crate) fn put_signed(record: &mut Vec<u8>, number: i64) {
    put_unsigned(record, ((number << 1) ^ (number >> 63)) as u64);
}

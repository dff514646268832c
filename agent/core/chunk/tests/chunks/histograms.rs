//! Columns of histograms, written and read again, and what asks for a new chunk.

use std::sync::Arc;

use crate::columns::Random;
use crate::histogram_columns::histogram_column;
use narthex_chunk::{
    Appended, ChunkError, ChunkLimits, EncodedChunk, Encoding, HistogramEncoder, counter_reset,
    decode_histograms, encode_histograms, sample_count,
};
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::{Histogram, STALE_NAN, is_stale_nan};
use proptest::prelude::*;

const NO_LIMITS: ChunkLimits = ChunkLimits {
    samples: u16::MAX,
    bytes: usize::MAX,
};

fn read(chunk: &EncodedChunk) -> (Vec<i64>, Vec<Arc<Histogram>>) {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_histograms(chunk.encoding, &chunk.bytes, &mut times, &mut values).unwrap();
    (times, values)
}

/// The buckets that have a count, by index.
fn buckets(spans: &[Span], counts: &[f64]) -> Vec<(i64, u64)> {
    let mut counts = counts.iter();
    let (mut index, mut buckets) = (0i64, Vec::new());
    for span in spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            let count = *counts.next().unwrap();
            if count != 0.0 {
                buckets.push((index, count.to_bits()));
            }
            index += 1;
        }
    }
    assert_eq!(counts.next(), None);
    buckets
}

/// Whether both say the same, apart from empty buckets and the hint.
fn assert_alike(left: &Histogram, right: &Histogram) {
    if is_stale_nan(left.sum) {
        assert!(is_stale_nan(right.sum));
        return;
    }
    let numbers =
        |of: &Histogram| [of.sum, of.count, of.zero_count, of.zero_threshold].map(f64::to_bits);
    assert_eq!(numbers(left), numbers(right));
    assert_eq!(left.schema, right.schema);
    assert_eq!(left.custom_values, right.custom_values);
    for (left, right) in [
        (
            buckets(&left.positive_spans, &left.positive_buckets),
            buckets(&right.positive_spans, &right.positive_buckets),
        ),
        (
            buckets(&left.negative_spans, &left.negative_buckets),
            buckets(&right.negative_spans, &right.negative_buckets),
        ),
    ] {
        assert_eq!(left, right);
    }
}

fn assert_chunk(chunk: &EncodedChunk, times: &[i64], values: &[Arc<Histogram>]) {
    let (read_times, read) = read(chunk);
    assert_eq!(sample_count(chunk.encoding, &chunk.bytes), Ok(read.len()));
    assert_eq!(
        (read_times.first(), read_times.last()),
        (Some(&chunk.start_ms), Some(&chunk.end_ms))
    );
    assert_eq!(read_times, times);
    let is_gauge = counter_reset(chunk.encoding, &chunk.bytes) == Ok(CounterReset::Gauge);
    let mut count_before = 0.0;
    for (index, (read, value)) in read.iter().zip(values).enumerate() {
        assert_alike(read, value);
        if is_stale_nan(read.sum) {
            continue;
        }
        assert_eq!(
            read.counter_reset,
            match (is_gauge, index) {
                (true, _) => CounterReset::Gauge,
                (false, 0) => CounterReset::Unknown,
                (false, _) => CounterReset::NotReset,
            }
        );
        assert!(is_gauge || read.count >= count_before);
        count_before = read.count;
    }
}

proptest! {
    #[test]
    fn columns_come_back(seed: u64, samples in 1usize..80, short: bool) {
        let (times, values) = histogram_column(samples, &mut Random::new(seed));
        let limits = if short { ChunkLimits { samples: 10, bytes: 300 } } else { NO_LIMITS };
        let chunks = encode_histograms(&times, &values, limits).unwrap();
        let mut done = 0;
        for chunk in &chunks {
            let end = done + usize::from(chunk.samples);
            assert_chunk(chunk, &times[done..end], &values[done..end]);
            prop_assert!(chunk.samples <= limits.samples);
            done = end;
        }
        prop_assert_eq!(done, samples);
    }

    #[test]
    fn reopened_anywhere_it_goes_on(seed: u64, samples in 2usize..60, at in 1usize..60) {
        let (times, values) = histogram_column(samples, &mut Random::new(seed));
        let first = encode_histograms(&times, &values, NO_LIMITS).unwrap().remove(0);
        let samples = usize::from(first.samples);
        let at = at.min(samples);
        let kept = encode_histograms(&times[..at], &values[..at], NO_LIMITS).unwrap().remove(0);
        let mut encoder = HistogramEncoder::reopen(kept.encoding, &kept.bytes).unwrap();
        prop_assert_eq!((encoder.count(), encoder.last_ms()), (at as u16, times[at - 1]));
        for (time, value) in times.iter().zip(&values).take(samples).skip(at) {
            // Whole ones may be followed by floats, which those encoded at once are written as.
            match encoder.append(*time, value).unwrap() {
                Appended::NewChunk(_) => {
                    prop_assert_eq!(encoder.encoding(), Encoding::Histogram);
                    prop_assert_eq!(first.encoding, Encoding::FloatHistogram);
                    return Ok(());
                }
                Appended::Done | Appended::Recoded => {}
            }
        }
        let (encoding, bytes) = encoder.finish();
        assert_chunk(&EncodedChunk { encoding, bytes, ..first }, &times[..samples], &values[..samples]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        count in 0u8..5,
    ) {
        // A small count, so that layouts are reached.
        let mut small = bytes.clone();
        small.splice(0..small.len().min(2), [0, count]);
        for bytes in [bytes, small] {
            for code in 0..8 {
                let Ok(encoding) = Encoding::from_code(code) else { continue };
                let (mut times, mut values) = (vec![1], Vec::new());
                let result = decode_histograms(encoding, &bytes, &mut times, &mut values);
                prop_assert_eq!(times.len(), values.len() + 1);
                prop_assert!(result.is_ok() || values.is_empty());
                let _ = HistogramEncoder::reopen(encoding, &bytes);
            }
        }
    }
}

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

fn base() -> Histogram {
    Histogram {
        schema: 2,
        zero_threshold: 0.001,
        zero_count: 4.0,
        count: 10.0,
        sum: 1.0,
        positive_spans: vec![span(0, 2), span(2, 1)],
        positive_buckets: vec![1.0, 2.0, 3.0],
        ..Histogram::default()
    }
}

fn gauge() -> Histogram {
    Histogram {
        counter_reset: CounterReset::Gauge,
        ..base()
    }
}

fn stale() -> Histogram {
    Histogram {
        sum: STALE_NAN,
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        schema: CUSTOM_BOUNDS_SCHEMA,
        count: 3.0,
        positive_spans: vec![span(0, 2)],
        positive_buckets: vec![1.0, 2.0],
        custom_values: vec![0.5, 1.0],
        ..Histogram::default()
    }
}

#[test]
fn what_does_not_fit_asks_for_a_new_chunk() {
    use Appended::{Done, NewChunk, Recoded};
    use CounterReset::{Gauge, NotReset, Reset, Unknown};
    type Change = fn(&mut Histogram);
    let cases: [(&str, Histogram, Change, Appended); 21] = [
        ("the same", base(), |_| {}, Done),
        ("more", base(), |next| next.positive_buckets[2] = 30.0, Done),
        (
            "count went down",
            base(),
            |next| next.count = 9.0,
            NewChunk(Reset),
        ),
        (
            "zero count went down",
            base(),
            |next| next.zero_count = 3.0,
            NewChunk(Reset),
        ),
        (
            "a bucket went down",
            base(),
            |next| next.positive_buckets[1] = 1.0,
            NewChunk(Reset),
        ),
        (
            "a new bucket",
            base(),
            |next| {
                next.positive_spans = vec![span(0, 3), span(1, 1)];
                next.positive_buckets = vec![1.0, 2.0, 0.0, 3.0];
            },
            Recoded,
        ),
        (
            "a bucket went",
            base(),
            |next| {
                next.positive_spans.pop();
                next.positive_buckets.pop();
            },
            NewChunk(Reset),
        ),
        (
            "an empty span more",
            base(),
            |next| next.positive_spans.push(span(5, 0)),
            Done,
        ),
        (
            "the schema",
            base(),
            |next| next.schema = 1,
            NewChunk(Unknown),
        ),
        (
            "the zero bucket's width",
            base(),
            |next| next.zero_threshold = 0.1,
            NewChunk(Unknown),
        ),
        (
            "told so",
            base(),
            |next| next.counter_reset = Reset,
            NewChunk(Reset),
        ),
        (
            "told otherwise",
            base(),
            |next| next.counter_reset = NotReset,
            Done,
        ),
        (
            "no whole numbers",
            base(),
            |next| next.count = 10.5,
            NewChunk(NotReset),
        ),
        (
            "a gauge",
            base(),
            |next| next.counter_reset = Gauge,
            NewChunk(Gauge),
        ),
        ("stale", base(), |next| *next = stale(), Done),
        (
            "a gauge's bucket went down",
            gauge(),
            |next| next.positive_buckets[1] = 0.0,
            Done,
        ),
        (
            "a gauge's bucket went",
            gauge(),
            |next| {
                next.positive_spans.pop();
                next.positive_buckets.pop();
            },
            Done,
        ),
        (
            "a gauge's schema",
            gauge(),
            |next| next.schema = 1,
            NewChunk(Gauge),
        ),
        (
            "no gauge any more",
            gauge(),
            |next| next.counter_reset = Unknown,
            NewChunk(Unknown),
        ),
        (
            "after a marker",
            stale(),
            |next| *next = base(),
            NewChunk(Unknown),
        ),
        (
            "other bounds",
            custom(),
            |next| next.custom_values[0] = 0.6,
            NewChunk(Reset),
        ),
    ];
    for (name, first, change, expected) in cases {
        let mut encoder = HistogramEncoder::begin(0, &first, Unknown).unwrap();
        let mut next = first.clone();
        change(&mut next);
        let reset = encoder.reset_before(&next);
        let before = encoder.snapshot();
        assert_eq!(encoder.append(15_000, &next), Ok(expected), "{name}");
        match expected {
            NewChunk(known) => {
                assert_eq!((encoder.snapshot(), reset), (before, known), "{name}");
            }
            Done | Recoded => assert_eq!(encoder.count(), 2),
        }
    }
}

#[test]
fn new_buckets_are_empty_in_the_samples_before() {
    let mut encoder = HistogramEncoder::begin(0, &base(), CounterReset::Reset).unwrap();
    let mut next = base();
    next.positive_spans = vec![span(-1, 1), span(0, 2), span(2, 1)];
    next.positive_buckets = vec![7.0, 1.0, 2.0, 3.0];
    next.negative_spans = vec![span(9, 1)];
    next.negative_buckets = vec![1.0];
    assert_eq!(encoder.append(1, &next), Ok(Appended::Recoded));
    assert_eq!(encoder.append(2, &next), Ok(Appended::Done));
    let (start_ms, end_ms) = (encoder.start_ms(), encoder.last_ms());
    let samples = encoder.count();
    let (encoding, bytes) = encoder.finish();
    assert_eq!(counter_reset(encoding, &bytes), Ok(CounterReset::Reset));
    let chunk = EncodedChunk {
        encoding,
        start_ms,
        end_ms,
        samples,
        bytes,
    };
    let (times, read) = read(&chunk);
    assert_eq!(times, [0, 1, 2]);
    assert_eq!(read[0].positive_spans, [span(-1, 3), span(2, 1)]);
    assert_eq!(read[0].positive_buckets, [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(read[0].negative_buckets, [0.0]);
    assert_eq!(read[2].positive_buckets, [7.0, 1.0, 2.0, 3.0]);
}

#[test]
fn floats_that_happen_to_be_whole_stay_in_their_chunk() {
    let half = Histogram {
        count: 10.5,
        ..base()
    };
    let whole = Histogram {
        count: 11.0,
        ..base()
    };
    let mut encoder = HistogramEncoder::begin(0, &half, CounterReset::Unknown).unwrap();
    assert_eq!(encoder.append(1, &whole), Ok(Appended::Done));
    assert_eq!(encoder.encoding(), Encoding::FloatHistogram);
    let column = [whole, half, base()].map(Arc::new);
    let chunks = encode_histograms(&[0, 1, 2], &column, NO_LIMITS).unwrap();
    let kinds: Vec<_> = chunks
        .iter()
        .map(|chunk| (chunk.encoding, chunk.samples))
        .collect();
    // Each count is less than the one before.
    assert_eq!(kinds, [(Encoding::FloatHistogram, 1); 3]);
}

#[test]
fn counts_that_whole_numbers_cannot_give_are_floats() {
    let big = 2f64.powi(53);
    for (count, encoding) in [
        (0.0, Encoding::Histogram),
        (big - 1.0, Encoding::Histogram),
        (big, Encoding::FloatHistogram),
        (-1.0, Encoding::FloatHistogram),
        (-0.0, Encoding::FloatHistogram),
        (0.5, Encoding::FloatHistogram),
        (f64::NAN, Encoding::FloatHistogram),
        (f64::INFINITY, Encoding::FloatHistogram),
    ] {
        let histogram = Histogram {
            zero_count: count,
            ..base()
        };
        let chunks = encode_histograms(&[5], &[Arc::new(histogram)], NO_LIMITS).unwrap();
        assert_eq!(chunks[0].encoding, encoding, "{count}");
        assert_eq!(read(&chunks[0]).1[0].zero_count.to_bits(), count.to_bits());
    }
}

#[test]
fn histograms_that_contradict_themselves_are_refused() {
    type Change = fn(&mut Histogram);
    let cases: [(Change, ChunkError); 5] = [
        (
            |bad| bad.positive_buckets.push(1.0),
            ChunkError::Buckets { asked: 3, there: 4 },
        ),
        (|bad| bad.positive_spans[1].offset = -1, ChunkError::Spans),
        (
            |bad| bad.negative_spans = vec![span(0, u32::MAX); 3],
            ChunkError::Spans,
        ),
        (|bad| bad.schema = 53, ChunkError::Schema(53)),
        (
            |bad| {
                *bad = custom();
                bad.custom_values.clear();
            },
            ChunkError::Bounds { bounds: 0 },
        ),
    ];
    for (change, error) in cases {
        let mut bad = base();
        change(&mut bad);
        let begun = HistogramEncoder::begin(0, &bad, CounterReset::Unknown);
        assert_eq!(begun.err(), Some(error));
        let mut encoder = HistogramEncoder::begin(0, &base(), CounterReset::Unknown).unwrap();
        let before = encoder.snapshot();
        assert_eq!(encoder.append(1, &bad), Err(error));
        assert_eq!(encoder.snapshot(), before);
    }
}

#[test]
fn a_marker_s_other_fields_are_left_out() {
    let marker = Histogram {
        sum: STALE_NAN,
        positive_buckets: vec![1.0],
        ..base()
    };
    let mut encoder = HistogramEncoder::begin(0, &marker, CounterReset::Unknown).unwrap();
    assert_eq!(encoder.append(1, &marker), Ok(Appended::Done));
    let (encoding, bytes) = encoder.finish();
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_histograms(encoding, &bytes, &mut times, &mut values).unwrap();
    assert_eq!(times, [0, 1]);
    for value in values {
        assert!(is_stale_nan(value.sum) && value.positive_spans.is_empty());
        assert_eq!(value.count, 0.0);
    }
}

#[test]
fn a_full_chunk_asks_for_another() {
    let mut encoder = HistogramEncoder::begin(0, &gauge(), CounterReset::Unknown).unwrap();
    for time in 1..i64::from(u16::MAX) {
        assert_eq!(encoder.append(time, &gauge()), Ok(Appended::Done));
    }
    assert_eq!(encoder.count(), u16::MAX);
    let next = Appended::NewChunk(CounterReset::Gauge);
    assert_eq!(encoder.append(70_000, &gauge()), Ok(next));
    assert_eq!(encoder.append(70_000, &stale()), Ok(next));
}

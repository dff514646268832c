//! Reading whole chunks of histograms.

use std::sync::Arc;

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset};

use super::layout::{FINEST_SCHEMA, Layout};
use super::numbers::{Number, Numbers, Whole};
use super::{HEADER_BYTES, has_starts, is_whole, reset_from_bits, spans};
use crate::bits::BitReader;
use crate::start_times::StartTimes;
use crate::window::XorValue;
use crate::{ChunkError, Encoding, sample_count};

/// The most numbers (buckets, spans, bounds) that a chunk's histograms may take up together:
/// 65,535 of 500 buckets each. More can only be meant to exhaust memory.
const MOST_NUMBERS: usize = 1 << 25;

/// Time, both counts and sum of a sample that changes nothing.
const LEAST_SAMPLE_BITS: usize = 4;

/// What the chunk's header says about its first histogram and the chunk before.
///
/// Decoded histograms don't have it (but for gauges), as in Prometheus: the chunk before may be
/// gone, or another may have come between.
pub fn counter_reset(encoding: Encoding, chunk: &[u8]) -> Result<CounterReset, ChunkError> {
    is_whole(encoding)?;
    let (header, _) = chunk
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(ChunkError::TooShort)?;
    let [first, _, third] = *header;
    Ok(reset_from_bits(match has_starts(encoding) {
        true => first,
        false => third,
    }))
}

/// Appends a chunk's histograms to the two columns. After an error these are as they were.
///
/// Histograms that are equal and follow each other are one. A stale marker is a histogram that has
/// only a sum, the stale NaN.
pub fn decode_histograms(
    encoding: Encoding,
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<Arc<Histogram>>,
) -> Result<(), ChunkError> {
    decode_histograms_with_starts(encoding, chunk, timestamps_ms, values, &mut Vec::new())
}

/// As [`decode_histograms`], with the time each sample's counting began. 0 stands for not known,
/// as for all samples of the encodings without start timestamps.
pub fn decode_histograms_with_starts(
    encoding: Encoding,
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<Arc<Histogram>>,
    starts_ms: &mut Vec<i64>,
) -> Result<(), ChunkError> {
    let before = (timestamps_ms.len(), values.len(), starts_ms.len());
    let push = |timestamp_ms, value, start_ms| {
        timestamps_ms.push(timestamp_ms);
        values.push(value);
        starts_ms.push(start_ms);
    };
    let result = match is_whole(encoding)? {
        true => decode::<Whole>(encoding, chunk, push),
        false => decode::<XorValue>(encoding, chunk, push),
    };
    if result.is_err() {
        timestamps_ms.truncate(before.0);
        values.truncate(before.1);
        starts_ms.truncate(before.2);
    }
    result
}

fn decode<N: Number>(
    encoding: Encoding,
    chunk: &[u8],
    mut push: impl FnMut(i64, Arc<Histogram>, i64),
) -> Result<(), ChunkError> {
    let count = sample_count(encoding, chunk)?;
    let is_gauge = counter_reset(encoding, chunk)? == CounterReset::Gauge;
    let (header, stream) = chunk
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(ChunkError::TooShort)?;
    let [_, _, start_header] = *header;
    let mut starts = StartTimes::new(if has_starts(encoding) {
        start_header
    } else {
        0
    });
    let mut reader = BitReader::new(stream);
    if count > reader.remaining_bits() / LEAST_SAMPLE_BITS {
        return Err(ChunkError::TooShort);
    }
    if count == 0 {
        return Ok(());
    }
    let (layout, positive, negative) = Layout::read(&mut reader, N::LEAST_BUCKET_BITS)?;
    check_size(count, &layout, positive + negative)?;

    let mut numbers = Numbers::<N>::read_first(&mut reader, positive, negative);
    let mut before_ms = 0;
    let mut last: Option<Arc<Histogram>> = None;
    for index in 0..count {
        let changed = index == 0 || numbers.read_next(&mut reader)?;
        let timestamp_ms = numbers.time.value;
        starts.read(&mut reader, index, before_ms, timestamp_ms);
        if reader.overran() {
            return Err(ChunkError::TooShort);
        }
        let reset = match (is_gauge, index) {
            (true, _) => CounterReset::Gauge,
            (false, 0) => CounterReset::Unknown,
            (false, _) => CounterReset::NotReset,
        };
        let histogram = match last {
            Some(same) if !changed && same.counter_reset == reset => same,
            _ => Arc::new(histogram(&layout, &numbers, reset)),
        };
        push(timestamp_ms, Arc::clone(&histogram), starts.start_ms);
        last = Some(histogram);
        before_ms = timestamp_ms;
    }
    Ok(())
}

fn check_size(count: usize, layout: &Layout, buckets: usize) -> Result<(), ChunkError> {
    let spans = layout.positive.len() + layout.negative.len();
    let numbers = count.saturating_mul(buckets + spans + layout.bounds.len());
    match numbers <= MOST_NUMBERS {
        true => Ok(()),
        false => Err(ChunkError::TooLarge {
            limit: MOST_NUMBERS,
        }),
    }
}

fn histogram<N: Number>(layout: &Layout, numbers: &Numbers<N>, reset: CounterReset) -> Histogram {
    if numbers.is_stale() {
        return Histogram {
            sum: numbers.sum.value(),
            ..Histogram::default()
        };
    }
    let finer_by = match layout.schema {
        CUSTOM_BOUNDS_SCHEMA => 0,
        schema => (schema - FINEST_SCHEMA).max(0) as u32,
    };
    let buckets = |spans: &[_], buckets: &[N]| {
        let counts = N::bucket_counts(buckets);
        match finer_by {
            0 => (spans.to_vec(), counts),
            by => spans::coarsen(spans, &counts, by),
        }
    };
    let (positive_spans, positive_buckets) = buckets(&layout.positive, &numbers.positive);
    let (negative_spans, negative_buckets) = buckets(&layout.negative, &numbers.negative);
    Histogram {
        counter_reset: reset,
        schema: layout.schema - finer_by as i32,
        zero_threshold: layout.zero_threshold,
        zero_count: numbers.zero_count.count(),
        count: numbers.count.count(),
        sum: numbers.sum.value(),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        custom_values: layout.bounds.clone(),
    }
}

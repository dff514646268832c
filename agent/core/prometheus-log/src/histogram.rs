//! The native histograms of the log.
//!
//! Integer histograms are written with each bucket as a difference to the one before it, float
//! histograms with absolute counts. Resolutions that newer versions of Prometheus may write are
//! brought down to what is in use.

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};

use crate::RecordError;
use crate::cursor::Cursor;

/// The finest resolution in use.
const FINEST_SCHEMA: i32 = 8;
/// What the format allows: resolutions beyond those in use are reserved.
const RESERVED_SCHEMAS: std::ops::RangeInclusive<i64> = -9..=52;

/// Reads to the end of the histogram, even where it then refuses it.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    integers: bool,
    series: u64,
) -> Result<Histogram, RecordError> {
    let counter_reset = counter_reset(cursor.byte()?);
    let schema = cursor.signed()?;
    let zero_threshold = cursor.float()?;
    let zero_count = read_count(cursor, integers)?;
    let count = read_count(cursor, integers)?;
    let sum = cursor.float()?;
    let (positive_spans, negative_spans) = (read_spans(cursor)?, read_spans(cursor)?);
    let positive_buckets = read_buckets(cursor, integers)?;
    let negative_buckets = read_buckets(cursor, integers)?;
    let custom = schema == i64::from(CUSTOM_BOUNDS_SCHEMA);
    let custom_values = if custom {
        read_floats(cursor)?
    } else {
        Vec::new()
    };
    if !custom && !RESERVED_SCHEMAS.contains(&schema) {
        return Err(RecordError::UnknownSchema { series, schema });
    }
    let mut histogram = Histogram {
        counter_reset,
        schema: i32::try_from(schema).map_err(|_| cursor.number())?,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        custom_values,
    };
    check(&histogram).map_err(|reason| RecordError::InvalidHistogram { series, reason })?;
    coarsen_to_use(&mut histogram);
    Ok(histogram)
}

fn counter_reset(code: u8) -> CounterReset {
    match code {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

fn read_count(cursor: &mut Cursor<'_>, integer: bool) -> Result<f64, RecordError> {
    match integer {
        true => Ok(cursor.unsigned()? as f64),
        false => cursor.float(),
    }
}

fn read_spans(cursor: &mut Cursor<'_>) -> Result<Vec<Span>, RecordError> {
    let count = cursor.count(2)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(cursor.signed()?).map_err(|_| cursor.number())?;
        let length = u32::try_from(cursor.unsigned()?).map_err(|_| cursor.number())?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn read_buckets(cursor: &mut Cursor<'_>, integers: bool) -> Result<Vec<f64>, RecordError> {
    if !integers {
        return read_floats(cursor);
    }
    let count = cursor.count(1)?;
    let mut buckets = Vec::with_capacity(count);
    let mut bucket = 0_i64;
    for _ in 0..count {
        let difference = cursor.signed()?;
        bucket = bucket
            .checked_add(difference)
            .ok_or_else(|| cursor.number())?;
        buckets.push(bucket as f64);
    }
    Ok(buckets)
}

fn read_floats(cursor: &mut Cursor<'_>) -> Result<Vec<f64>, RecordError> {
    let count = cursor.count(8)?;
    let mut floats = Vec::with_capacity(count);
    for _ in 0..count {
        floats.push(cursor.float()?);
    }
    Ok(floats)
}

/// What everyone who walks over the buckets relies on.
fn check(histogram: &Histogram) -> Result<(), &'static str> {
    let sides = [
        (&histogram.positive_spans, &histogram.positive_buckets),
        (&histogram.negative_spans, &histogram.negative_buckets),
    ];
    for (spans, buckets) in sides {
        let populated: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if populated != buckets.len() as u64 {
            return Err("spans and buckets differ in number");
        }
        if spans.iter().skip(1).any(|span| span.offset < 0) {
            return Err("spans overlap");
        }
        if !indexes_fit(spans) {
            return Err("bucket indexes are out of range");
        }
    }
    Ok(())
}

fn indexes_fit(spans: &[Span]) -> bool {
    let mut index = 0_i64;
    spans.iter().all(|span| {
        index = index
            .saturating_add(i64::from(span.offset))
            .saturating_add(i64::from(span.length));
        i32::try_from(index).is_ok()
    })
}

fn coarsen_to_use(histogram: &mut Histogram) {
    let by = histogram.schema - FINEST_SCHEMA;
    if by <= 0 {
        return;
    }
    histogram.schema = FINEST_SCHEMA;
    for (spans, buckets) in [
        (
            &mut histogram.positive_spans,
            &mut histogram.positive_buckets,
        ),
        (
            &mut histogram.negative_spans,
            &mut histogram.negative_buckets,
        ),
    ] {
        (*spans, *buckets) = coarsened(spans, buckets, by as u32);
    }
}

/// Each step of the schema makes one bucket of two: (2n−1, 2n] becomes n.
fn coarsened(spans: &[Span], buckets: &[f64], by: u32) -> (Vec<Span>, Vec<f64>) {
    let (mut merged_spans, mut merged_buckets) = (Vec::<Span>::new(), Vec::<f64>::new());
    // The index after the last merged bucket.
    let mut next = 0_i64;
    for (index, &bucket) in indexes(spans).zip(buckets) {
        let index = ((index - 1) >> by) + 1;
        match (merged_spans.last_mut(), merged_buckets.last_mut()) {
            (Some(_), Some(last)) if index + 1 == next => *last += bucket,
            (Some(span), Some(_)) if index == next => {
                span.length += 1;
                merged_buckets.push(bucket);
            }
            _ => {
                // Shifted right, an index fits wherever it fitted before.
                let offset = (index - next) as i32;
                merged_spans.push(Span { offset, length: 1 });
                merged_buckets.push(bucket);
            }
        }
        next = index + 1;
    }
    (merged_spans, merged_buckets)
}

fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> {
    let mut next = 0_i64;
    spans.iter().flat_map(move |span| {
        let first = next + i64::from(span.offset);
        next = first + i64::from(span.length);
        first..next
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn finer_resolutions_are_brought_down_bucket_by_bucket() {
        // Indexes −1, 0, 1, 2, 5 become 0, 0, 1, 1, 3 at half the resolution.
        let spans = [span(-1, 4), span(2, 1)];
        let buckets = [1.0, 2.0, 4.0, 8.0, 16.0];
        let (spans, buckets) = coarsened(&spans, &buckets, 1);
        assert_eq!(spans, [span(0, 2), span(1, 1)]);
        assert_eq!(buckets, [3.0, 12.0, 16.0]);
        let (spans, buckets) = coarsened(&[span(i32::MIN, 1)], &[1.0], 44);
        assert_eq!((spans, buckets), (vec![span(0, 1)], vec![1.0]));
    }

    #[test]
    fn refuses_what_cannot_be_walked_over() {
        for (spans, buckets, reason) in [
            (vec![span(0, 2)], 1, "spans and buckets differ in number"),
            (
                vec![span(0, u32::MAX), span(0, u32::MAX)],
                2,
                "spans and buckets differ in number",
            ),
            (vec![span(0, 1), span(-1, 1)], 2, "spans overlap"),
            (
                vec![span(i32::MAX, 1)],
                1,
                "bucket indexes are out of range",
            ),
        ] {
            let histogram = Histogram {
                positive_spans: spans,
                positive_buckets: vec![1.0; buckets],
                ..Histogram::default()
            };
            assert_eq!(check(&histogram), Err(reason));
        }
    }
}

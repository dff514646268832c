//! A native histogram as a text: what `$value` shows of one.

use std::fmt::Write as _;

use narthex_model::Histogram;
use narthex_model::histogram::Span;
use narthex_model::histogram_arithmetic::bucket_bound;
use narthex_model::number::format_general;

/// As `{count:3, sum:2.5, [-0.001,0.001]:1, (1,2]:2}`, without empty buckets.
pub(crate) fn histogram_text(histogram: &Histogram) -> String {
    let mut out = format!(
        "{{count:{}, sum:{}",
        format_general(histogram.count),
        format_general(histogram.sum)
    );
    let negative = populated(&histogram.negative_spans, &histogram.negative_buckets);
    for (index, count) in negative.into_iter().rev() {
        let lower = -bound(histogram, index);
        let upper = -bound(histogram, index.saturating_sub(1));
        push_bucket(&mut out, lower, upper, count);
    }
    if histogram.zero_count != 0.0 {
        let threshold = histogram.zero_threshold;
        let count = format_general(histogram.zero_count);
        let (lower, upper) = (format_general(-threshold), format_general(threshold));
        // Writing into a String does not fail.
        let _ = write!(out, ", [{lower},{upper}]:{count}");
    }
    for (index, count) in populated(&histogram.positive_spans, &histogram.positive_buckets) {
        let lower = bound(histogram, index.saturating_sub(1));
        push_bucket(&mut out, lower, bound(histogram, index), count);
    }
    out.push('}');
    out
}

/// The bound on the side of zero that is open is the one of zero's sign.
fn push_bucket(out: &mut String, lower: f64, upper: f64, count: f64) {
    let open = if lower < 0.0 { '[' } else { '(' };
    let close = if upper > 0.0 { ']' } else { ')' };
    let (lower, upper) = (format_general(lower), format_general(upper));
    let _ = write!(
        out,
        ", {open}{lower},{upper}{close}:{}",
        format_general(count)
    );
}

/// Index and count of the buckets that are not empty, ascending.
fn populated(spans: &[Span], counts: &[f64]) -> Vec<(i64, f64)> {
    let mut counts = counts.iter().copied();
    let mut buckets = Vec::new();
    let mut index = 0i64;
    for span in spans {
        index = index.saturating_add(span.offset.into());
        for count in counts.by_ref().take(span.length as usize) {
            if count != 0.0 {
                buckets.push((index, count));
            }
            index = index.saturating_add(1);
        }
    }
    buckets
}

/// The upper bound of a bucket, without its sign.
fn bound(histogram: &Histogram, index: i64) -> f64 {
    if !histogram.uses_custom_bounds() {
        return bucket_bound(index, histogram.schema);
    }
    match usize::try_from(index) {
        Err(_) => f64::NEG_INFINITY,
        Ok(at) => histogram
            .custom_values
            .get(at)
            .copied()
            .unwrap_or(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use narthex_model::histogram::CUSTOM_BOUNDS_SCHEMA;

    #[test]
    fn shows_buckets_that_are_not_empty() {
        let span = |offset, length| Span { offset, length };
        let exponential = Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 7.0,
            sum: 18.4,
            positive_spans: vec![span(0, 2), span(1, 1)],
            positive_buckets: vec![1.0, 0.0, 2.0],
            negative_spans: vec![span(1, 2)],
            negative_buckets: vec![1.0, 1.0],
            ..Histogram::default()
        };
        let custom = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            sum: 5.0,
            positive_spans: vec![span(0, 3)],
            positive_buckets: vec![1.0, 1.0, 1.0],
            custom_values: vec![1.0, 2.5],
            ..Histogram::default()
        };
        for (histogram, text) in [
            (
                exponential,
                "{count:7, sum:18.4, [-4,-2):1, [-2,-1):1, [-0.001,0.001]:2, (0.5,1]:1, (4,8]:2}",
            ),
            (
                custom,
                "{count:3, sum:5, [-Inf,1]:1, (1,2.5]:1, (2.5,+Inf]:1}",
            ),
            (Histogram::default(), "{count:0, sum:0}"),
        ] {
            assert_eq!(histogram_text(&histogram), text);
        }
    }
}

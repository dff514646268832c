//! The buckets of a native histogram with their bounds, and a histogram as a text.

use std::fmt;

use crate::Histogram;
use crate::histogram::Span;
use crate::histogram_arithmetic::bucket_bound;
use crate::number::format_general;

/// A bucket that is not empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

impl Bucket {
    /// The bound on the side of zero is open: it belongs to the bucket next to it.
    fn new(lower: f64, upper: f64, count: f64) -> Self {
        Bucket {
            lower,
            upper,
            lower_inclusive: lower < 0.0,
            upper_inclusive: upper > 0.0,
            count,
        }
    }
}

impl Histogram {
    /// The buckets that are not empty, in ascending order, the zero bucket among them.
    pub fn buckets(&self) -> Vec<Bucket> {
        let negative = populated(&self.negative_spans, &self.negative_buckets).into_iter();
        let mut buckets: Vec<Bucket> = negative
            .rev()
            .map(|(index, count)| {
                let lower = -bound(self, index);
                Bucket::new(lower, -bound(self, index.saturating_sub(1)), count)
            })
            .collect();
        if self.zero_count != 0.0 {
            buckets.push(Bucket {
                lower: -self.zero_threshold,
                upper: self.zero_threshold,
                lower_inclusive: true,
                upper_inclusive: true,
                count: self.zero_count,
            });
        }
        let positive = populated(&self.positive_spans, &self.positive_buckets).into_iter();
        buckets.extend(positive.map(|(index, count)| {
            let lower = bound(self, index.saturating_sub(1));
            Bucket::new(lower, bound(self, index), count)
        }));
        buckets
    }
}

/// As `{count:3, sum:2.5, [-0.001,0.001]:1, (1,2]:2}`, without empty buckets.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, sum) = (format_general(self.count), format_general(self.sum));
        write!(f, "{{count:{count}, sum:{sum}")?;
        for bucket in self.buckets() {
            let open = if bucket.lower_inclusive { '[' } else { '(' };
            let close = if bucket.upper_inclusive { ']' } else { ')' };
            let (lower, upper) = (format_general(bucket.lower), format_general(bucket.upper));
            let count = format_general(bucket.count);
            write!(f, ", {open}{lower},{upper}{close}:{count}")?;
        }
        f.write_str("}")
    }
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
    use crate::histogram::CUSTOM_BOUNDS_SCHEMA;

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
            assert_eq!(histogram.to_string(), text);
        }
    }
}

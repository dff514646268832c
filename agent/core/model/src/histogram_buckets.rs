//! The buckets of a native histogram with their bounds, and a histogram as a text.

use std::fmt;

use crate::Histogram;
use crate::binary_logarithm::log2;
use crate::histogram::bucket_counts;
use crate::number::format_general;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

impl Bucket {
    /// How much of the bucket, from 0 to 1, lies below a value inside of it: on a linear scale, or
    /// on a logarithmic one. Both bounds must be finite.
    pub fn share_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper) = (log2(self.lower.abs()), log2(self.upper.abs()));
        let at = log2(value.abs());
        if value > 0.0 {
            (at - lower) / (upper - lower)
        } else {
            1.0 - (at - upper) / (lower - upper)
        }
    }
}

impl Histogram {
    /// The buckets that are not empty, in ascending order, the zero bucket among them.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = self.negative().collect();
        buckets.reverse();
        if self.zero_count != 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive());
        buckets.retain(|bucket| bucket.count != 0.0);
        buckets
    }

    /// All buckets in ascending order, empty ones included, but the zero bucket only if it holds
    /// something. Those that reach into the zero bucket are cut there.
    pub fn buckets_around_zero(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = self.negative().collect();
        buckets.reverse();
        for bucket in &mut buckets {
            self.cut_at_zero(bucket);
        }
        if self.zero_count > 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive().map(|mut bucket| {
            self.cut_at_zero(&mut bucket);
            bucket
        }));
        buckets
    }

    pub(crate) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// From zero upwards.
    pub(crate) fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        bucket_counts(&self.positive_spans, &self.positive_buckets).map(|(index, count)| {
            let (lower, upper) = (self.bound(index.saturating_sub(1)), self.bound(index));
            self.bucket(index, lower, upper, count)
        })
    }

    /// From zero downwards.
    pub(crate) fn negative(&self) -> impl Iterator<Item = Bucket> + '_ {
        bucket_counts(&self.negative_spans, &self.negative_buckets).map(|(index, count)| {
            let (lower, upper) = (-self.bound(index), -self.bound(index.saturating_sub(1)));
            self.bucket(index, lower, upper, count)
        })
    }

    fn bucket(&self, index: i64, lower: f64, upper: f64, count: f64) -> Bucket {
        let custom = self.uses_custom_bounds();
        Bucket {
            lower,
            upper,
            // An exponential bucket is open on the side of zero.
            lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count,
        }
    }

    fn cut_at_zero(&self, bucket: &mut Bucket) {
        if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            bucket.upper = -self.zero_threshold;
        } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            bucket.lower = self.zero_threshold;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    fn exponential() -> Histogram {
        Histogram {
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
        }
    }

    #[test]
    fn shows_buckets_that_are_not_empty() {
        let custom = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            sum: 5.0,
            positive_spans: vec![span(0, 4)],
            positive_buckets: vec![1.0, 1.0, 1.0, 1.0],
            custom_values: vec![-2.0, -1.0, 2.5],
            ..Histogram::default()
        };
        for (histogram, text) in [
            (
                exponential(),
                "{count:7, sum:18.4, [-4,-2):1, [-2,-1):1, [-0.001,0.001]:2, (0.5,1]:1, (4,8]:2}",
            ),
            (
                custom,
                "{count:3, sum:5, [-Inf,-2]:1, (-2,-1]:1, (-1,2.5]:1, (2.5,+Inf]:1}",
            ),
            (Histogram::default(), "{count:0, sum:0}"),
        ] {
            assert_eq!(histogram.to_string(), text);
        }
    }

    #[test]
    fn buckets_are_cut_at_the_zero_bucket() {
        let histogram = Histogram {
            zero_threshold: 0.75,
            ..exponential()
        };
        let bounds: Vec<(f64, f64)> = histogram
            .buckets_around_zero()
            .iter()
            .map(|bucket| (bucket.lower, bucket.upper))
            .collect();
        assert_eq!(
            bounds,
            [
                (-4.0, -2.0),
                (-2.0, -1.0),
                (-0.75, 0.75),
                (0.75, 1.0),
                (1.0, 2.0),
                (4.0, 8.0)
            ]
        );
    }

    #[test]
    fn shares_of_a_bucket() {
        let bucket = |lower, upper| Bucket {
            lower,
            upper,
            lower_inclusive: false,
            upper_inclusive: true,
            count: 1.0,
        };
        assert_eq!(bucket(1.0, 4.0).share_below(2.5, true), 0.5);
        assert_eq!(bucket(1.0, 4.0).share_below(2.0, false), 0.5);
        assert_eq!(bucket(-8.0, -2.0).share_below(-4.0, false), 0.5);
    }
}

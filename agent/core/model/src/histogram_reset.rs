//! Whether a counter that is a native histogram began anew between two samples.

use std::cmp::Ordering;

use crate::Histogram;
use crate::histogram::{CounterReset, Span, bucket_counts};
use crate::histogram_bounds::bucket_bound;
use crate::histogram_layout::{Layout, Precision};

impl Histogram {
    /// Whether any bucket, the zero bucket or the count of `before` was larger than it is now, or
    /// the layout changed as only a new beginning can change it. The hint decides where it says
    /// something; that of a gauge does not.
    pub fn is_reset_after(&self, before: &Histogram) -> bool {
        match self.counter_reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < before.count {
            return true;
        }
        if self.uses_custom_bounds() {
            if !before.uses_custom_bounds() {
                return true;
            }
            if self.custom_values != before.custom_values {
                return self.any_shared_bound_decreased(before);
            }
        }
        if self.schema > before.schema || self.zero_threshold < before.zero_threshold {
            return true;
        }
        self.any_bucket_decreased(before)
    }

    /// `before` has the same or a finer schema, and the same or a narrower zero bucket.
    fn any_bucket_decreased(&self, before: &Histogram) -> bool {
        if self.has_layout_of(before) && self.all_at_least(before) {
            return false;
        }
        let mut layout = Layout::of(before, Precision::Plain);
        if self.zero_threshold != before.zero_threshold {
            let (zero, threshold) = layout.zero_for(self.zero_threshold, Precision::Plain);
            if threshold != self.zero_threshold {
                // A populated bucket lies across the new threshold.
                return true;
            }
            layout.zero = zero;
        }
        if self.zero_count < layout.zero.sum {
            return true;
        }
        layout.reduce_to(self.schema);
        [
            (
                &self.positive_spans,
                &self.positive_buckets,
                &layout.positive,
            ),
            (
                &self.negative_spans,
                &self.negative_buckets,
                &layout.negative,
            ),
        ]
        .into_iter()
        .any(|(spans, counts, before)| {
            let before = before.iter().map(|entry| (entry.index, entry.count.sum));
            decreased(
                self.beyond_zero(bucket_counts(spans, counts)),
                self.beyond_zero(before),
            )
        })
    }

    fn has_layout_of(&self, other: &Histogram) -> bool {
        let same = |a: &[Span], b: &[Span]| a == b;
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && same(&self.positive_spans, &other.positive_spans)
            && same(&self.negative_spans, &other.negative_spans)
    }

    fn all_at_least(&self, other: &Histogram) -> bool {
        // As a comparison with NaN holds never, it must be asked this way around.
        let less = |a: &[f64], b: &[f64]| a.iter().zip(b).any(|(a, b)| a < b);
        !(self.zero_count < other.zero_count
            || less(&self.positive_buckets, &other.positive_buckets)
            || less(&self.negative_buckets, &other.negative_buckets))
    }

    /// Without the first buckets that end inside of the zero bucket.
    fn beyond_zero(
        &self,
        buckets: impl Iterator<Item = (i64, f64)>,
    ) -> impl Iterator<Item = (i64, f64)> {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let exponential = !self.uses_custom_bounds() && threshold != 0.0;
        buckets
            .skip_while(move |(index, _)| exponential && bucket_bound(*index, schema) <= threshold)
    }

    /// As [`Histogram::is_reset_after`] where custom bounds differ: only those that both have, and
    /// +Inf, are compared.
    fn any_shared_bound_decreased(&self, before: &Histogram) -> bool {
        let shared = self
            .custom_values
            .iter()
            .filter(|bound| before.custom_values.contains(bound))
            .copied();
        let (mut now, mut then) = (self.positive().peekable(), before.positive().peekable());
        for bound in shared.chain([f64::INFINITY]) {
            let (mut now_sum, mut then_sum) = (0.0, 0.0);
            while let Some(bucket) = now.next_if(|bucket| bucket.upper <= bound) {
                now_sum += bucket.count;
            }
            while let Some(bucket) = then.next_if(|bucket| bucket.upper <= bound) {
                then_sum += bucket.count;
            }
            if now_sum < then_sum {
                return true;
            }
        }
        false
    }
}

/// Whether any bucket of `before` holds more than the same one of `now`, or is populated and gone.
fn decreased(
    now: impl Iterator<Item = (i64, f64)>,
    before: impl Iterator<Item = (i64, f64)>,
) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|(at, _)| *at < index).is_some() {}
        let gone = match now.peek() {
            None => count != 0.0,
            Some((at, now)) => match at.cmp(&index) {
                Ordering::Equal => *now < count,
                _ => count != 0.0,
            },
        };
        if gone {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BOUNDS_SCHEMA;

    fn histogram(schema: i32, offset: i32, buckets: &[f64]) -> Histogram {
        Histogram {
            schema,
            count: buckets.iter().sum(),
            positive_spans: vec![Span {
                offset,
                length: u32::try_from(buckets.len()).unwrap(),
            }],
            positive_buckets: buckets.to_vec(),
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64], buckets: &[f64]) -> Histogram {
        Histogram {
            custom_values: bounds.to_vec(),
            ..histogram(CUSTOM_BOUNDS_SCHEMA, 0, buckets)
        }
    }

    fn zero(threshold: f64, count: f64, of: Histogram) -> Histogram {
        Histogram {
            zero_threshold: threshold,
            zero_count: count,
            count: of.count + count,
            ..of
        }
    }

    #[test]
    fn resets() {
        let plain = || histogram(0, 0, &[1.0, 2.0]);
        let growing = || histogram(0, 0, &[2.0, 3.0]);
        for (name, before, now, expected) in [
            ("grows", plain(), growing(), false),
            ("stays", plain(), plain(), false),
            ("count", growing(), plain(), true),
            ("one bucket", histogram(0, 0, &[3.0, 1.0]), plain(), true),
            ("bucket gone", plain(), histogram(0, 1, &[9.0]), true),
            (
                "empty bucket gone",
                histogram(0, 0, &[0.0, 2.0]),
                histogram(0, 1, &[2.0]),
                false,
            ),
            ("finer schema", plain(), histogram(1, 0, &[9.0]), true),
            (
                "coarser schema",
                histogram(1, 0, &[1.0, 2.0, 3.0]),
                histogram(0, 0, &[1.0, 5.0]),
                false,
            ),
            (
                "coarser schema, fewer",
                histogram(1, 0, &[1.0, 2.0, 3.0]),
                histogram(0, 0, &[3.0, 4.0]),
                true,
            ),
            ("narrower zero", zero(1.0, 0.0, plain()), growing(), true),
            (
                "wider zero",
                plain(),
                zero(1.0, 1.0, histogram(0, 1, &[2.0])),
                false,
            ),
            (
                "wider zero, fewer",
                histogram(0, 0, &[3.0, 1.0]),
                zero(1.0, 2.0, histogram(0, 1, &[2.0])),
                true,
            ),
            (
                "zero cuts a bucket",
                plain(),
                zero(1.5, 9.0, Histogram::default()),
                true,
            ),
            ("to custom", plain(), custom(&[1.0], &[9.0]), true),
            (
                "other bounds",
                custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]),
                custom(&[2.0, 3.0], &[2.0, 0.0, 1.0]),
                false,
            ),
            (
                "other bounds, fewer",
                custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]),
                custom(&[2.0, 3.0], &[1.0, 0.0, 3.0]),
                true,
            ),
        ] {
            assert_eq!(now.is_reset_after(&before), expected, "{name}");
        }
    }

    #[test]
    fn hints_decide() {
        let (small, large) = (histogram(0, 0, &[1.0]), histogram(0, 0, &[2.0]));
        let hinted = |histogram: &Histogram, counter_reset| Histogram {
            counter_reset,
            ..histogram.clone()
        };
        assert!(hinted(&large, CounterReset::Reset).is_reset_after(&small));
        assert!(!hinted(&small, CounterReset::NotReset).is_reset_after(&large));
        assert!(hinted(&small, CounterReset::Gauge).is_reset_after(&large));
    }
}

//! Cuts off the observations above or below a value, as far as buckets tell where they are.

use crate::{Bucket, Histogram};

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Below,
    Above,
}

impl Histogram {
    /// Count and sum are estimated anew if anything was cut off.
    pub fn trimmed(&self, keep: Keep, at: f64) -> Histogram {
        let mut trimmed = self.clone();
        let mut left = Left::default();
        let linear = self.uses_custom_bounds();
        let cut = |bucket: &Bucket, positive| cut(bucket, keep, at, positive, linear);
        let sides = [
            (
                self.positive().collect::<Vec<_>>(),
                &mut trimmed.positive_buckets,
                true,
            ),
            (
                self.negative().collect(),
                &mut trimmed.negative_buckets,
                false,
            ),
        ];
        let mut populated = [false, false];
        for ((buckets, counts, positive), populated) in sides.into_iter().zip(&mut populated) {
            for (bucket, count) in buckets.iter().zip(counts) {
                if bucket.count != 0.0 {
                    *populated = true;
                    let (kept, middle) = cut(bucket, positive);
                    left.add(count, kept, middle);
                }
            }
        }
        if self.zero_count > 0.0 {
            let [positive, negative] = populated;
            let bucket = narrowed(self.zero_bucket(), positive, negative);
            let (kept, middle) = cut_zero(&bucket, keep, at);
            left.add(&mut trimmed.zero_count, kept, middle);
        }
        if !left.changed {
            return trimmed;
        }
        trimmed.count = left.count;
        trimmed.sum = left.sum;
        trimmed.compacted()
    }
}

/// What is left of a histogram.
#[derive(Default)]
struct Left {
    count: f64,
    sum: f64,
    changed: bool,
}

impl Left {
    fn add(&mut self, count: &mut f64, kept: f64, middle: f64) {
        self.count += kept;
        self.sum += middle * kept;
        if *count != kept {
            *count = kept;
            self.changed = true;
        }
    }
}

/// How many observations of a bucket stay, and about where they are.
fn cut(bucket: &Bucket, keep: Keep, at: f64, positive: bool, linear: bool) -> (f64, f64) {
    let (whole, none) = match keep {
        Keep::Below => (bucket.upper <= at, bucket.lower >= at),
        Keep::Above => (bucket.lower >= at, bucket.upper <= at),
    };
    if whole {
        let middle = middle(bucket.lower, bucket.upper, positive, linear);
        return (bucket.count, middle);
    }
    // Where the value is no number neither side of it is known, so nothing stays.
    if none || at.is_nan() {
        return (0.0, 0.0);
    }
    if bucket.lower == f64::NEG_INFINITY {
        return cut_lowest(bucket, keep, at);
    }
    if bucket.upper == f64::INFINITY {
        return cut_highest(bucket, keep, at);
    }
    let below = bucket.count * bucket.share_below(at, linear);
    match keep {
        Keep::Below => (below, middle(bucket.lower, at, positive, linear)),
        Keep::Above => (
            bucket.count - below,
            middle(at, bucket.upper, positive, linear),
        ),
    }
}

/// The bucket without a lower end, if the value lies inside of it. If the upper bound is above
/// zero, observations are taken to begin there; that can only be with custom bounds.
fn cut_lowest(bucket: &Bucket, keep: Keep, at: f64) -> (f64, f64) {
    let finite = bucket.upper != f64::INFINITY;
    match keep {
        Keep::Below if at > 0.0 && bucket.upper > 0.0 && finite => {
            (bucket.count * at / bucket.upper, at / 2.0)
        }
        Keep::Below if bucket.upper <= 0.0 => (bucket.count, at),
        Keep::Above if at >= 0.0 && bucket.upper > at && finite => (
            bucket.count * (1.0 - at / bucket.upper),
            (at + bucket.upper) / 2.0,
        ),
        // Where in the bucket the observations are can't be known.
        _ => (0.0, 0.0),
    }
}

/// The bucket without an upper end, if the value lies inside of it.
fn cut_highest(bucket: &Bucket, keep: Keep, at: f64) -> (f64, f64) {
    match keep {
        Keep::Below => (0.0, 0.0),
        Keep::Above => (bucket.count, at),
    }
}

/// A zero bucket reaches only to the side on which there are other observations.
fn narrowed(mut bucket: Bucket, has_positive: bool, has_negative: bool) -> Bucket {
    if has_negative && !has_positive {
        bucket.upper = 0.0;
    }
    if has_positive && !has_negative {
        bucket.lower = 0.0;
    }
    bucket
}

fn cut_zero(bucket: &Bucket, keep: Keep, at: f64) -> (f64, f64) {
    let Bucket { lower, upper, .. } = *bucket;
    let whole = (bucket.count, (lower + upper) / 2.0);
    let none = (0.0, 0.0);
    match keep {
        Keep::Below if at <= lower => none,
        Keep::Below if at >= upper => whole,
        Keep::Below => (
            bucket.count * ((at - lower) / (upper - lower)),
            (lower + at) / 2.0,
        ),
        Keep::Above if at <= lower => whole,
        Keep::Above if at >= upper => none,
        Keep::Above => (
            bucket.count * ((upper - at) / (upper - lower)),
            (at + upper) / 2.0,
        ),
    }
}

fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if positive { geometric } else { -geometric }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 10.0,
            sum: 20.0,
            positive_spans: vec![Span {
                offset: 0,
                length: 3,
            }],
            positive_buckets: vec![4.0, 4.0, 2.0],
            custom_values: vec![1.0, 3.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn custom_buckets_are_cut_linearly() {
        for (keep, at, buckets, count, sum) in [
            (Keep::Below, 3.0, vec![4.0, 4.0], 8.0, 10.0),
            (Keep::Below, 2.0, vec![4.0, 2.0], 6.0, 5.0),
            (Keep::Below, 0.5, vec![2.0], 2.0, 0.5),
            (Keep::Below, -1.0, vec![], 0.0, 0.0),
            (Keep::Above, 1.0, vec![4.0, 2.0], 6.0, 14.0),
            (Keep::Above, 2.0, vec![2.0, 2.0], 4.0, 11.0),
            (Keep::Above, 0.5, vec![2.0, 4.0, 2.0], 8.0, 15.5),
        ] {
            let trimmed = custom().trimmed(keep, at);
            assert_eq!(trimmed.positive_buckets, buckets, "{keep:?} {at}");
            assert_eq!((trimmed.count, trimmed.sum), (count, sum), "{keep:?} {at}");
        }
        let all = custom().trimmed(Keep::Above, f64::NEG_INFINITY);
        assert_eq!(all, custom());
        // Nothing changes in a bucket that is kept whole, even if its place is a guess.
        assert_eq!(custom().trimmed(Keep::Below, f64::INFINITY), custom());
    }

    #[test]
    fn the_zero_bucket_reaches_to_the_populated_side() {
        let histogram = Histogram {
            count: 12.0,
            sum: 30.0,
            zero_threshold: 0.5,
            zero_count: 4.0,
            positive_spans: vec![Span {
                offset: 2,
                length: 1,
            }],
            positive_buckets: vec![8.0],
            ..Histogram::default()
        };
        let trimmed = histogram.trimmed(Keep::Below, 0.25);
        assert_eq!(trimmed.zero_count, 2.0);
        assert!(trimmed.positive_buckets.is_empty());
        assert_eq!((trimmed.count, trimmed.sum), (2.0, 0.25));
    }
}

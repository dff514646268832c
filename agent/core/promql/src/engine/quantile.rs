//! Quantiles: of plain values and of classic histograms' buckets.

use std::cmp::Ordering;

/// Relative differences between buckets below this come from floating point, not from data.
const SMALL_DELTA: f64 = 1e-12;

/// The quantile by linear interpolation between neighbours, NaN before all else. Moves `values`
/// about.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let place = match Quantile::of(q, values.len()) {
        Quantile::Value(value) => return value,
        Quantile::Between(place) => place,
    };
    // Only two of them have to be found, which takes less than sorting all.
    let (_, lower, above) = values.select_nth_unstable_by_key(place.lower, |v| sort_key(*v));
    let upper = above.iter().min_by_key(|value| sort_key(**value));
    place.interpolate(*lower, *upper.unwrap_or(lower))
}

/// Where a quantile lies among values.
pub(super) enum Quantile {
    /// It does not depend on the values.
    Value(f64),
    Between(QuantilePlace),
}

pub(super) struct QuantilePlace {
    /// Of the sorted values, the one at or below the quantile.
    pub lower: usize,
    last: usize,
    weight: f64,
}

impl Quantile {
    pub(super) fn of(q: f64, values: usize) -> Self {
        if values == 0 || q.is_nan() {
            return Quantile::Value(f64::NAN);
        }
        if let Some(beyond) = beyond_bounds(q) {
            return Quantile::Value(beyond);
        }
        let last = values - 1;
        let rank = q * last as f64;
        Quantile::Between(QuantilePlace {
            lower: (rank.floor() as usize).min(last),
            last,
            weight: rank - rank.floor(),
        })
    }
}

impl QuantilePlace {
    /// The value behind `lower`, or itself if it is the last.
    pub(super) fn upper(&self) -> usize {
        (self.lower + 1).min(self.last)
    }

    pub(super) fn interpolate(&self, lower: f64, upper: f64) -> f64 {
        lower * (1.0 - self.weight) + upper * self.weight
    }
}

/// A number for each value, in their order: NaN first, and the zero below zero before the other, so
/// that no two values that differ are alike.
pub(super) fn sort_key(value: f64) -> i64 {
    if value.is_nan() {
        return i64::MIN;
    }
    let bits = value.to_bits() as i64;
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// The value of a sort key.
pub(super) fn from_sort_key(key: i64) -> f64 {
    if key == i64::MIN {
        return f64::NAN;
    }
    let bits = if key < 0 { key ^ i64::MAX } else { key };
    f64::from_bits(bits as u64)
}

/// Ascending, NaN before everything.
pub(super) fn nan_first(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

fn beyond_bounds(q: f64) -> Option<f64> {
    if q < 0.0 {
        Some(f64::NEG_INFINITY)
    } else if q > 1.0 {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// A bucket of a classic histogram: how many observations lie at or below its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub upper_bound: f64,
    pub count: f64,
}

/// What had to be changed so that no bucket holds less than the one below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Correction {
    pub lowest_bucket: f64,
    pub highest_bucket: f64,
    pub max_difference: f64,
}

/// `buckets` must be sorted by bound and not empty; they are changed.
pub(super) fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Correction>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if let Some(beyond) = beyond_bounds(q) {
        return (beyond, None);
    }
    if buckets
        .last()
        .is_none_or(|b| b.upper_bound != f64::INFINITY)
    {
        return (f64::NAN, None);
    }
    unite_equal_bounds(buckets);
    let correction = make_monotonic(buckets);
    (interpolate(q, buckets), correction)
}

fn interpolate(q: f64, buckets: &[Bucket]) -> f64 {
    let [finite @ .., last] = buckets else {
        return f64::NAN;
    };
    let Some(highest) = finite.last() else {
        return f64::NAN;
    };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * last.count;
    // Always the same halving, so that counts of NaN, which have no order, give the same result.
    let index = search(finite.len(), |at| {
        finite.get(at).is_some_and(|bucket| bucket.count >= rank)
    });
    let Some(bucket) = finite.get(index) else {
        return highest.upper_bound;
    };
    if index == 0 && bucket.upper_bound <= 0.0 {
        return bucket.upper_bound;
    }
    let below = match index {
        0 => Bucket {
            upper_bound: 0.0,
            count: 0.0,
        },
        _ => finite.get(index - 1).copied().unwrap_or(*bucket),
    };
    let (start, end) = (below.upper_bound, bucket.upper_bound);
    start + (end - start) * ((rank - below.count) / (bucket.count - below.count))
}

/// The smallest index below `len` for which `holds`, found by halving, or `len`.
fn search(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The share of observations between two values. `buckets` must be sorted and not empty.
pub(super) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets
        .last()
        .is_none_or(|b| b.upper_bound != f64::INFINITY)
    {
        return f64::NAN;
    }
    unite_equal_bounds(buckets);
    let count = buckets.last().map_or(0.0, |b| b.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| rank_of(value, buckets).filter(|rank| *rank <= count || rank.is_nan());
    let (lower, upper) = (rank(lower).unwrap_or(count), rank(upper).unwrap_or(count));
    (upper - lower) / count
}

/// How many observations lie below `value`; None if it lies above all bounds.
fn rank_of(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let first = buckets.first()?;
    // The first bucket begins at zero, unless it lies below that.
    let mut lower_bound = if first.upper_bound <= 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    let mut rank = 0.0;
    for bucket in buckets {
        if lower_bound >= value {
            return Some(rank);
        }
        if lower_bound < value && bucket.upper_bound > value {
            // In a bucket without a lower end there is nothing to interpolate.
            return Some(if lower_bound == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - lower_bound)
                    / (bucket.upper_bound - lower_bound)
            });
        }
        rank = bucket.count;
        lower_bound = bucket.upper_bound;
    }
    None
}

fn unite_equal_bounds(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let equal = next.upper_bound == kept.upper_bound;
        if equal {
            kept.count += next.count;
        }
        equal
    });
}

fn make_monotonic(buckets: &mut [Bucket]) -> Option<Correction> {
    let mut correction: Option<Correction> = None;
    let mut buckets = buckets.iter_mut();
    let mut before = buckets.next()?.count;
    for bucket in buckets {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if nearly_equal(before, count) {
            bucket.count = before;
            continue;
        }
        if count < before {
            bucket.count = before;
            let found = correction.get_or_insert(Correction {
                lowest_bucket: f64::INFINITY,
                highest_bucket: f64::NEG_INFINITY,
                max_difference: 0.0,
            });
            found.lowest_bucket = found.lowest_bucket.min(bucket.upper_bound);
            found.highest_bucket = found.highest_bucket.max(bucket.upper_bound);
            found.max_difference = found.max_difference.max(before - count);
            continue;
        }
        before = count;
    }
    correction
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        let bucket = |(upper_bound, count): &(f64, f64)| Bucket {
            upper_bound: *upper_bound,
            count: *count,
        };
        pairs.iter().map(bucket).collect()
    }

    #[test]
    fn quantiles_of_values() {
        for (q, values, expected) in [
            (0.5, vec![1.0], 1.0),
            (0.5, vec![2.0, 1.0], 1.5),
            (0.8, vec![0.0, 1.0, 4.0], 2.8),
            (0.8, vec![0.0, 1.0, f64::NAN], 0.6),
            (-0.1, vec![1.0], f64::NEG_INFINITY),
            (1.1, vec![1.0], f64::INFINITY),
            (f64::NAN, vec![1.0], f64::NAN),
            (0.5, vec![], f64::NAN),
        ] {
            let got = quantile(q, &mut values.clone());
            assert!(
                (got - expected).abs() < 1e-9
                    || got == expected
                    || (got.is_nan() && expected.is_nan()),
                "{q} {values:?}: {got}"
            );
        }
    }

    #[test]
    fn sort_keys_are_in_the_order_of_their_values() {
        let infinity = f64::INFINITY;
        let ascending = [
            f64::NAN,
            -infinity,
            -1e300,
            -1.0,
            -f64::MIN_POSITIVE,
            -0.0,
            0.0,
            5e-324,
            1.0,
            infinity,
        ];
        assert!(ascending.is_sorted_by(|a, b| sort_key(*a) < sort_key(*b)));
        for value in ascending {
            let back = from_sort_key(sort_key(value));
            assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }

    #[test]
    fn quantiles_of_buckets() {
        let inf = f64::INFINITY;
        for (q, pairs, expected) in [
            (0.5, vec![(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.0),
            (0.75, vec![(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.5),
            (1.0, vec![(1.0, 2.0), (2.0, 4.0), (inf, 8.0)], 2.0),
            (0.1, vec![(-1.0, 2.0), (2.0, 4.0), (inf, 4.0)], -1.0),
            (0.5, vec![(1.0, 2.0), (2.0, 4.0)], f64::NAN),
            (0.5, vec![(inf, 4.0)], f64::NAN),
            (0.5, vec![(1.0, 0.0), (inf, 0.0)], f64::NAN),
        ] {
            let (got, correction) = bucket_quantile(q, &mut buckets(&pairs));
            assert!(
                got == expected || (got.is_nan() && expected.is_nan()),
                "{pairs:?}: {got}"
            );
            assert_eq!(correction, None);
        }
        let (got, correction) =
            bucket_quantile(1.0, &mut buckets(&[(1.0, 4.0), (2.0, 3.0), (inf, 5.0)]));
        assert_eq!(got, 2.0);
        assert_eq!(
            correction,
            Some(Correction {
                lowest_bucket: 2.0,
                highest_bucket: 2.0,
                max_difference: 1.0
            })
        );
    }

    #[test]
    fn fractions_of_buckets() {
        let inf = f64::INFINITY;
        let pairs = [(1.0, 2.0), (3.0, 4.0), (inf, 8.0)];
        for (lower, upper, expected) in [
            (0.0, 1.0, 0.25),
            (0.0, 2.0, 0.375),
            (1.0, 3.0, 0.25),
            (-inf, inf, 1.0),
            (3.0, inf, 0.5),
            (5.0, 9.0, 0.0),
            (2.0, 1.0, 0.0),
        ] {
            let got = bucket_fraction(lower, upper, &mut buckets(&pairs));
            assert_eq!(got, expected, "{lower} {upper}");
        }
    }
}

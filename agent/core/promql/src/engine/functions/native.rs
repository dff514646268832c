//! Functions of native histograms: their numbers, quantiles and fractions.

use narthex_model::binary_logarithm::{exp2, log2};
use narthex_model::{Bucket, Histogram, METRIC_NAME};

use crate::engine::annotations::NanEffect;
use crate::engine::column::Column;
use crate::engine::kahan::KahanSum;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Changed, Relabeled, SeriesInfo, Vector};
use crate::engine::query::Query;

/// The function of that name, if it is one of a single histogram.
pub(in crate::engine) fn function(name: &str) -> Option<fn(&Histogram) -> f64> {
    Some(match name {
        "histogram_count" => |histogram| histogram.count,
        "histogram_sum" => |histogram| histogram.sum,
        "histogram_avg" => |histogram| histogram.sum / histogram.count,
        "histogram_stddev" => |histogram| variance(histogram).sqrt(),
        "histogram_stdvar" => variance,
        _ => return None,
    })
}

/// A number for each histogram; floats are dropped.
pub(in crate::engine) fn of_histograms<'q>(
    query: &Query<'_>,
    input: Vector<'q>,
    function: fn(&Histogram) -> f64,
) -> Vector<'q> {
    // Unlike other functions these leave type and unit, where names are dropped at once.
    let unnamed = |info: &SeriesInfo| SeriesInfo {
        labels: if query.delayed_name_removal {
            info.labels.clone()
        } else {
            info.labels.without(METRIC_NAME)
        },
        drop_name: true,
    };
    let series = input.series().iter().map(unnamed).collect();
    let numbers = Changed::boxed(
        Relabeled::boxed(input, series),
        move |column: &mut Column| {
            column.remove_floats();
            for (step, histogram) in column.take_histograms() {
                column.set(step, function(&histogram));
            }
            Ok(())
        },
    );
    merge_same_labels(numbers, Collision::Merge)
}

/// Each bucket counts as if all its observations were at its middle.
fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = KahanSum::default();
    for bucket in histogram.buckets_around_zero() {
        if bucket.count == 0.0 {
            continue;
        }
        let middle = if histogram.uses_custom_bounds() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let geometric = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 {
                -geometric
            } else {
                geometric
            }
        };
        let delta = middle - mean;
        squares.add(bucket.count * delta * delta);
    }
    squares.total() / histogram.count
}

/// The quantile, and what observations that are no numbers did to it.
pub(in crate::engine) fn quantile(q: f64, histogram: &Histogram) -> (f64, Option<NanEffect>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // Observations that are no numbers are in no bucket but in the count, as if above all others.
    let has_nan = histogram.sum.is_nan();
    let upwards = has_nan || q < 0.5;
    let mut buckets = histogram.buckets_around_zero();
    if !upwards {
        buckets.reverse();
    }
    let share = if upwards { q } else { 1.0 - q };
    let mut rank = share * histogram.count;
    let mut rest = buckets.into_iter();
    let mut count = 0.0;
    let mut bucket = EMPTY;
    for next in rest.by_ref() {
        bucket = next;
        count += bucket.count;
        if bucket.count != 0.0 && count >= rank {
            break;
        }
    }
    if let Some(end) = narrow(histogram, &mut bucket) {
        return (end, None);
    }
    // Rounding may have made it more.
    if count > histogram.count {
        count = histogram.count;
    }
    if count < rank {
        return if has_nan {
            (f64::NAN, Some(NanEffect::QuantileIsNan))
        } else {
            (bucket.upper, None)
        };
    }
    rank = if upwards {
        rank - (count - bucket.count)
    } else {
        count - rank
    };
    let mut effect = None;
    if has_nan {
        // As Prometheus does, the last bucket is then the one to look at.
        for next in rest {
            bucket = next;
            count += bucket.count;
        }
        if count < histogram.count {
            effect = Some(NanEffect::QuantileIsHigher);
        }
    }
    (interpolate(histogram, &bucket, rank / bucket.count), effect)
}

const EMPTY: Bucket = Bucket {
    lower: 0.0,
    upper: 0.0,
    lower_inclusive: false,
    upper_inclusive: false,
    count: 0.0,
};

/// Cuts a bucket to where observations can be; or gives the end of a bucket without bounds.
fn narrow(histogram: &Histogram, bucket: &mut Bucket) -> Option<f64> {
    if histogram.uses_custom_bounds() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero(histogram, bucket);
    }
    None
}

/// The zero bucket reaches only to the side on which there are other buckets.
fn narrow_zero(histogram: &Histogram, bucket: &mut Bucket) {
    let negative = !histogram.negative_buckets.is_empty();
    let positive = !histogram.positive_buckets.is_empty();
    if positive && !negative {
        bucket.lower = 0.0;
    } else if negative && !positive {
        bucket.upper = 0.0;
    }
}

/// On a linear scale in custom buckets and the zero bucket, else on a logarithmic one.
fn interpolate(histogram: &Histogram, bucket: &Bucket, share: f64) -> f64 {
    if histogram.uses_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (log2(bucket.lower.abs()), log2(bucket.upper.abs()));
    if bucket.lower > 0.0 {
        exp2(lower + (upper - lower) * share)
    } else {
        -exp2(upper + (lower - upper) * (1.0 - share))
    }
}

/// The share of observations between two values, and what observations that are no numbers did to
/// it.
pub(in crate::engine) fn fraction(
    lower: f64,
    upper: f64,
    histogram: &Histogram,
) -> (f64, Option<NanEffect>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut count, mut rank) = (0.0, 0.0);
    let (mut below_lower, mut below_upper) = (None, None);
    let mut rest = histogram.buckets_around_zero().into_iter();
    for mut bucket in rest.by_ref() {
        count += bucket.count;
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero {
            narrow_zero(histogram, &mut bucket);
        }
        let linear = histogram.uses_custom_bounds() || is_zero;
        for (value, below) in [(lower, &mut below_lower), (upper, &mut below_upper)] {
            if below.is_none() && bucket.lower >= value {
                *below = Some(rank);
            }
        }
        if below_lower.is_some() && below_upper.is_some() {
            break;
        }
        for (value, below) in [(lower, &mut below_lower), (upper, &mut below_upper)] {
            if below.is_none() && bucket.lower < value && bucket.upper > value {
                // A bucket without a lower end counts whole.
                *below = Some(if linear && bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * bucket.share_below(value, linear)
                });
            }
        }
        if below_lower.is_some() && below_upper.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let mut effect = None;
    if histogram.sum.is_nan() {
        // Observations that are no numbers are in no bucket.
        count += rest.map(|bucket| bucket.count).sum::<f64>();
        if count < histogram.count {
            effect = Some(NanEffect::ExcludedFromFraction);
        }
    } else {
        count = histogram.count;
    }
    let capped = |below: Option<f64>| match below {
        Some(below) if below <= count || below.is_nan() => below,
        _ => count,
    };
    let share = (capped(below_upper) - capped(below_lower)) / histogram.count;
    (share, effect)
}

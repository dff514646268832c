//! Addition and subtraction of native histograms.
//!
//! Two histograms are first brought to one layout: the coarser schema and the wider zero bucket,
//! or the custom bounds that both have. Knows nothing of warnings; [`Sum`] says what was
//! reconciled, so that a query can report it.

use crate::Histogram;
use crate::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    #[error(
        "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"
    )]
    MixedSchemas,
}

/// What adding or subtracting gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    pub histogram: Histogram,
    /// One histogram is said to follow a counter reset, the other not to.
    pub counter_reset_collision: bool,
    /// The custom bounds differ; those that both have were kept.
    pub bounds_reconciled: bool,
}

impl Histogram {
    pub fn uses_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BOUNDS_SCHEMA
    }

    pub fn add(&self, other: &Histogram) -> Result<Sum, HistogramError> {
        self.combine(other, 1.0)
    }

    pub fn subtract(&self, other: &Histogram) -> Result<Sum, HistogramError> {
        self.combine(other, -1.0)
    }

    fn combine(&self, other: &Histogram, sign: f64) -> Result<Sum, HistogramError> {
        let (mut left, mut right) = (Sparse::from(self), Sparse::from(other));
        let bounds_reconciled = match (self.uses_custom_bounds(), other.uses_custom_bounds()) {
            (true, true) => Sparse::share_bounds(&mut left, &mut right),
            (false, false) => {
                Sparse::share_zero_threshold(&mut left, &mut right);
                Sparse::share_schema(&mut left, &mut right);
                false
            }
            _ => return Err(HistogramError::MixedSchemas),
        };
        let (counter_reset, counter_reset_collision) =
            combined_reset(self.counter_reset, other.counter_reset);
        let (positive_spans, positive_buckets) =
            dense(&merged(&left.positive, &right.positive, sign));
        let (negative_spans, negative_buckets) =
            dense(&merged(&left.negative, &right.negative, sign));
        let histogram = Histogram {
            counter_reset,
            schema: left.schema,
            zero_threshold: left.zero_threshold,
            zero_count: left.zero_count + sign * right.zero_count,
            count: self.count + sign * other.count,
            sum: self.sum + sign * other.sum,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: left.custom_values,
        };
        Ok(Sum {
            histogram,
            counter_reset_collision,
            bounds_reconciled,
        })
    }
}

/// Buckets by index, ascending.
type Buckets = Vec<(i64, f64)>;

/// A histogram's buckets while its layout is changed.
struct Sparse {
    schema: i32,
    zero_threshold: f64,
    zero_count: f64,
    positive: Buckets,
    negative: Buckets,
    custom_values: Vec<f64>,
}

impl From<&Histogram> for Sparse {
    fn from(histogram: &Histogram) -> Self {
        Sparse {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: histogram.zero_count,
            positive: sparse(&histogram.positive_spans, &histogram.positive_buckets),
            negative: sparse(&histogram.negative_spans, &histogram.negative_buckets),
            custom_values: histogram.custom_values.clone(),
        }
    }
}

impl Sparse {
    /// Widens the zero buckets until they are the same. Each round takes in whole buckets, so
    /// there are at most as many rounds as buckets.
    fn share_zero_threshold(left: &mut Sparse, right: &mut Sparse) {
        loop {
            if left.zero_threshold > right.zero_threshold {
                right.widen_zero(left.zero_threshold);
            } else if left.zero_threshold < right.zero_threshold {
                left.widen_zero(right.zero_threshold);
            } else {
                return;
            }
        }
    }

    /// Moves the buckets up to `threshold` into the zero bucket. A populated bucket is not cut:
    /// the threshold goes to its end.
    fn widen_zero(&mut self, threshold: f64) {
        let threshold = self.end_of_cut_bucket(threshold);
        for buckets in [&mut self.positive, &mut self.negative] {
            let inside = |index: i64| bucket_bound(index - 1, self.schema) < threshold;
            self.zero_count += buckets
                .iter()
                .filter(|(index, _)| inside(*index))
                .map(|(_, count)| count)
                .sum::<f64>();
            buckets.retain(|(index, _)| !inside(*index));
        }
        self.zero_threshold = threshold;
    }

    /// `threshold`, or the end of the outermost populated bucket that it would cut.
    fn end_of_cut_bucket(&self, threshold: f64) -> f64 {
        let mut threshold = threshold;
        // The end of a bucket of one sign may lie inside of a bucket of the other.
        loop {
            let cut = self
                .positive
                .iter()
                .chain(&self.negative)
                .find(|(index, count)| {
                    *count != 0.0
                        && bucket_bound(index - 1, self.schema) < threshold
                        && bucket_bound(*index, self.schema) > threshold
                });
            match cut {
                Some((index, _)) => threshold = bucket_bound(*index, self.schema),
                None => return threshold,
            }
        }
    }

    fn share_schema(left: &mut Sparse, right: &mut Sparse) {
        let schema = left.schema.min(right.schema);
        for histogram in [left, right] {
            let by = histogram.schema.abs_diff(schema).min(63);
            // Bucket i ends where bucket i·2^by of the finer schema ends.
            let coarser = |index: i64| ((index - 1) >> by) + 1;
            regroup(&mut histogram.positive, coarser);
            regroup(&mut histogram.negative, coarser);
            histogram.schema = schema;
        }
    }

    /// Keeps the bounds that both have; says whether any had to go.
    fn share_bounds(left: &mut Sparse, right: &mut Sparse) -> bool {
        if left.custom_values == right.custom_values {
            return false;
        }
        let shared: Vec<f64> = left
            .custom_values
            .iter()
            .filter(|bound| right.custom_values.contains(bound))
            .copied()
            .collect();
        for histogram in [left, right] {
            let bounds = std::mem::replace(&mut histogram.custom_values, shared.clone());
            regroup(&mut histogram.positive, |index| {
                let upper = usize::try_from(index).ok().and_then(|at| bounds.get(at));
                // Beyond the last bound lies the bucket that ends at +Inf.
                let upper = upper.copied().unwrap_or(f64::INFINITY);
                shared.partition_point(|bound| *bound < upper) as i64
            });
        }
        true
    }
}

/// The upper bound of a bucket of an exponential schema: 2^(index · 2^−schema).
pub fn bucket_bound(index: i64, schema: i32) -> f64 {
    let exponent = index as f64 * f64::from(-schema).exp2();
    if exponent == 1024.0 {
        // The last bucket of numbers ends at the largest one; +Inf has a bucket of its own.
        return f64::MAX;
    }
    exponent.exp2()
}

fn sparse(spans: &[Span], counts: &[f64]) -> Buckets {
    let mut counts = counts.iter();
    let mut buckets = Vec::with_capacity(counts.len());
    let mut index = 0;
    for span in spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            buckets.push((index, *count));
            index += 1;
        }
    }
    buckets
}

fn dense(buckets: &[(i64, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for (index, _) in buckets {
        match spans.last_mut() {
            Some(span) if *index == end => span.length += 1,
            _ => spans.push(Span {
                offset: i32::try_from(index - end).unwrap_or(i32::MAX),
                length: 1,
            }),
        }
        end = index + 1;
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

/// Gives every bucket a new index; those that come to share one are added up.
fn regroup(buckets: &mut Buckets, index_of: impl Fn(i64) -> i64) {
    let mut regrouped: Buckets = Vec::with_capacity(buckets.len());
    for (index, count) in buckets.iter() {
        let index = index_of(*index);
        match regrouped.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => regrouped.push((index, *count)),
        }
    }
    *buckets = regrouped;
}

/// The buckets of both, those of `right` multiplied by `sign`.
fn merged(left: &[(i64, f64)], right: &[(i64, f64)], sign: f64) -> Buckets {
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let (a, b) = (left.peek(), right.peek());
        let next = match (a, b) {
            (None, None) => return out,
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(a), None) => a.0,
            (None, Some(b)) => b.0,
        };
        let mut sum = 0.0;
        if let Some((_, count)) = left.next_if(|bucket| bucket.0 == next) {
            sum += count;
        }
        if let Some((_, count)) = right.next_if(|bucket| bucket.0 == next) {
            sum += sign * count;
        }
        out.push((next, sum));
    }
}

/// The hint of a sum, and whether the hints contradict each other.
fn combined_reset(left: CounterReset, right: CounterReset) -> (CounterReset, bool) {
    use CounterReset::{Gauge, Unknown};
    match (left, right) {
        _ if left == right => (left, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        _ => (Unknown, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(schema: i32, offset: i32, buckets: &[f64]) -> Histogram {
        Histogram {
            schema,
            count: buckets.iter().sum(),
            sum: 1.0,
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
            ..exponential(CUSTOM_BOUNDS_SCHEMA, 0, buckets)
        }
    }

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn buckets_of_both_are_added_or_subtracted() {
        let (a, b) = (exponential(0, 0, &[1.0, 2.0]), exponential(0, 4, &[5.0]));
        let sum = a.add(&b).unwrap().histogram;
        assert_eq!(sum.positive_spans, [span(0, 2), span(2, 1)]);
        assert_eq!(sum.positive_buckets, [1.0, 2.0, 5.0]);
        assert_eq!((sum.count, sum.sum), (8.0, 2.0));
        let rest = sum.subtract(&b).unwrap().histogram;
        assert_eq!(rest.positive_buckets, [1.0, 2.0, 0.0]);
        assert_eq!(rest.count, 3.0);
    }

    #[test]
    fn the_coarser_schema_is_kept() {
        // Buckets 1 and 2 of schema 1 are bucket 1 of schema 0.
        let (fine, coarse) = (
            exponential(1, 0, &[1.0, 2.0, 4.0]),
            exponential(0, 0, &[8.0, 16.0]),
        );
        for sum in [fine.add(&coarse), coarse.add(&fine)] {
            let sum = sum.unwrap().histogram;
            assert_eq!((sum.schema, sum.positive_spans), (0, vec![span(0, 2)]));
            assert_eq!(sum.positive_buckets, [9.0, 22.0]);
        }
    }

    #[test]
    fn the_wider_zero_bucket_takes_in_whole_buckets() {
        let narrow = exponential(0, 0, &[1.0, 2.0, 4.0]);
        let wide = Histogram {
            zero_threshold: 1.5,
            zero_count: 3.0,
            ..Histogram::default()
        };
        // Bucket 1 goes from 1 to 2 and is populated, so the threshold becomes 2.
        let sum = narrow.add(&wide).unwrap().histogram;
        assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 6.0));
        assert_eq!(
            (sum.positive_spans, sum.positive_buckets),
            (vec![span(2, 1)], vec![4.0])
        );
    }

    #[test]
    fn custom_bounds_that_both_have_are_kept() {
        let (a, b) = (
            custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 4.0, 8.0]),
            custom(&[2.0, 3.0], &[1.0, 1.0, 1.0]),
        );
        let sum = a.add(&b).unwrap();
        assert!(sum.bounds_reconciled);
        assert_eq!(sum.histogram.custom_values, [2.0]);
        assert_eq!(sum.histogram.positive_buckets, [4.0, 14.0]);
        assert!(!a.add(&a).unwrap().bounds_reconciled);
        assert_eq!(
            a.add(&exponential(0, 0, &[1.0])),
            Err(HistogramError::MixedSchemas)
        );
    }

    #[test]
    fn hints_of_counter_resets() {
        use CounterReset::{Gauge, NotReset, Reset, Unknown};
        for (left, right, expected) in [
            (Reset, Reset, (Reset, false)),
            (Reset, Gauge, (Gauge, false)),
            (Unknown, Reset, (Unknown, false)),
            (Reset, NotReset, (Unknown, true)),
        ] {
            assert_eq!(combined_reset(left, right), expected);
            assert_eq!(combined_reset(right, left), expected);
        }
    }

    #[test]
    fn bounds_of_exponential_buckets() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (3, 0, 8.0),
            (-1, 0, 0.5),
            (1, -1, 4.0),
            (2, 1, 2.0),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
        ] {
            assert_eq!(bucket_bound(index, schema), bound, "{index} {schema}");
        }
    }
}

//! Addition and subtraction of native histograms.
//!
//! Two histograms are first brought to one layout: the coarser schema and the wider zero bucket,
//! or the custom bounds that both have. Knows nothing of warnings; [`Combined`] says what was
//! reconciled, so that a query can report it.

use crate::Histogram;
use crate::histogram::{CounterReset, Span};
use crate::histogram_bounds::bucket_bound;
use crate::histogram_layout::{Layout, Precision};
use crate::kahan::KahanSum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    #[error(
        "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"
    )]
    MixedSchemas,
}

/// What had to be settled between two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One histogram is said to follow a counter reset, the other not to.
    pub counter_reset_collision: bool,
    /// The custom bounds differ; those that both have were kept.
    pub bounds_reconciled: bool,
}

impl Histogram {
    /// May leave empty buckets. After an error the histogram is as it was.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.combine(other, 1.0)
    }

    /// As [`Histogram::add`]. The hint is that of a sum; a difference that is shown to someone is a
    /// gauge, which the caller says.
    pub fn subtract(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.combine(other, -1.0)
    }

    fn combine(&mut self, other: &Histogram, sign: f64) -> Result<Combined, HistogramError> {
        check_schemas(self, other)?;
        let mut combined = self.combine_hints(other);
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        if has_same_layout(self, other) {
            self.zero_count += sign * other.zero_count;
            add_each(&mut self.positive_buckets, &other.positive_buckets, sign);
            add_each(&mut self.negative_buckets, &other.negative_buckets, sign);
            return Ok(combined);
        }
        let mut layout = Layout::of(self, Precision::Plain);
        let other = Layout::of(other, Precision::Plain);
        combined.bounds_reconciled = combine_layouts(&mut layout, other, sign);
        layout.write_to(self);
        Ok(combined)
    }

    fn combine_hints(&mut self, other: &Histogram) -> Combined {
        let (hint, counter_reset_collision) =
            combined_reset(self.counter_reset, other.counter_reset);
        self.counter_reset = hint;
        Combined {
            counter_reset_collision,
            bounds_reconciled: false,
        }
    }
}

/// A sum of many histograms that keeps what rounding would lose.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    total: Histogram,
    /// None until something was added.
    rest: Option<Compensation>,
}

/// What rounding took from the counts of a sum, in the order of its buckets.
#[derive(Clone, Debug, Default)]
struct Compensation {
    zero_count: f64,
    count: f64,
    sum: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl HistogramSum {
    pub fn new(first: Histogram) -> Self {
        HistogramSum {
            total: first,
            rest: None,
        }
    }

    /// The sum without its compensation.
    pub fn rough(&self) -> &Histogram {
        &self.total
    }

    /// Whether custom bounds had to be reconciled. After an error the sum is as it was.
    pub fn add(&mut self, other: &Histogram) -> Result<bool, HistogramError> {
        let total = &mut self.total;
        check_schemas(total, other)?;
        total.combine_hints(other);
        let rest = self.rest.get_or_insert_with(|| Compensation {
            positive: vec![0.0; total.positive_buckets.len()],
            negative: vec![0.0; total.negative_buckets.len()],
            ..Compensation::default()
        });
        add_one(&mut total.count, &mut rest.count, other.count);
        add_one(&mut total.sum, &mut rest.sum, other.sum);
        if has_same_layout(total, other) {
            add_one(
                &mut total.zero_count,
                &mut rest.zero_count,
                other.zero_count,
            );
            for (totals, rests, counts) in [
                (
                    &mut total.positive_buckets,
                    &mut rest.positive,
                    &other.positive_buckets,
                ),
                (
                    &mut total.negative_buckets,
                    &mut rest.negative,
                    &other.negative_buckets,
                ),
            ] {
                for ((total, rest), count) in totals.iter_mut().zip(rests).zip(counts) {
                    add_one(total, rest, *count);
                }
            }
            return Ok(false);
        }
        let mut layout = Layout::of(total, Precision::Compensated);
        layout.zero.compensation = rest.zero_count;
        for (entries, rests) in [
            (&mut layout.positive, &rest.positive),
            (&mut layout.negative, &rest.negative),
        ] {
            for (entry, rest) in entries.iter_mut().zip(rests) {
                entry.count.compensation = *rest;
            }
        }
        let other = Layout::of(other, Precision::Compensated);
        let bounds_reconciled = combine_layouts(&mut layout, other, 1.0);
        rest.zero_count = layout.zero.compensation;
        (rest.positive, rest.negative) = layout.write_to(total);
        Ok(bounds_reconciled)
    }

    pub fn scale(&mut self, factor: f64) {
        self.total.scale(factor);
        if let Some(rest) = &mut self.rest {
            rest.for_each(|value| *value *= factor);
        }
    }

    /// By something else than zero.
    pub fn divide(&mut self, by: f64) {
        self.total.divide(by);
        if let Some(rest) = &mut self.rest {
            rest.for_each(|value| *value /= by);
        }
    }

    pub fn finish(self) -> Histogram {
        let mut total = self.total;
        if let Some(rest) = &self.rest {
            total.zero_count += rest.zero_count;
            total.count += rest.count;
            total.sum += rest.sum;
            add_each(&mut total.positive_buckets, &rest.positive, 1.0);
            add_each(&mut total.negative_buckets, &rest.negative, 1.0);
        }
        total
    }
}

impl Compensation {
    fn for_each(&mut self, mut change: impl FnMut(&mut f64)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive.iter_mut().for_each(&mut change);
        self.negative.iter_mut().for_each(change);
    }
}

fn check_schemas(a: &Histogram, b: &Histogram) -> Result<(), HistogramError> {
    if a.uses_custom_bounds() != b.uses_custom_bounds() {
        return Err(HistogramError::MixedSchemas);
    }
    Ok(())
}

/// Whether the buckets of both can be added one by one.
fn has_same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && a.custom_values == b.custom_values
        && !begins_in_zero_bucket(b, &b.positive_spans)
        && !begins_in_zero_bucket(b, &b.negative_spans)
}

fn begins_in_zero_bucket(histogram: &Histogram, spans: &[Span]) -> bool {
    let first = spans.iter().find(|span| span.length > 0);
    histogram.zero_threshold > 0.0
        && first.is_some_and(|span| {
            bucket_bound(span.offset.into(), histogram.schema) <= histogram.zero_threshold
        })
}

/// Whether custom bounds had to be reconciled. Both are exponential or both are custom.
fn combine_layouts(layout: &mut Layout, mut other: Layout, sign: f64) -> bool {
    if layout.schema == crate::histogram::CUSTOM_BOUNDS_SCHEMA {
        if layout.custom_values == other.custom_values {
            layout.add_buckets(&other, sign);
            return false;
        }
        layout.add_other_bounds(&other, sign);
        return true;
    }
    let zero = layout.share_zero_bucket(&other);
    let precision = layout.precision;
    precision.add(&mut layout.zero, sign * zero.sum);
    if precision == Precision::Compensated {
        layout.zero.add(sign * zero.compensation);
    }
    let schema = layout.schema.min(other.schema);
    layout.reduce_to(schema);
    other.reduce_to(schema);
    layout.add_buckets(&other, sign);
    false
}

fn add_each(to: &mut [f64], counts: &[f64], sign: f64) {
    for (to, count) in to.iter_mut().zip(counts) {
        *to += sign * count;
    }
}

fn add_one(total: &mut f64, rest: &mut f64, value: f64) {
    let mut sum = KahanSum {
        sum: *total,
        compensation: *rest,
    };
    sum.add(value);
    (*total, *rest) = (sum.sum, sum.compensation);
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
    use crate::histogram::CUSTOM_BOUNDS_SCHEMA;

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

    /// The plain sum; the compensated one must have the same layout and hint.
    fn sum(a: &Histogram, b: &Histogram) -> (Histogram, Combined) {
        let mut plain = a.clone();
        let combined = plain.add(b).unwrap();
        let mut careful = HistogramSum::new(a.clone());
        assert_eq!(careful.add(b), Ok(combined.bounds_reconciled));
        assert_eq!(careful.finish(), plain);
        (plain, combined)
    }

    #[test]
    fn buckets_of_both_are_added_or_subtracted() {
        let (a, b) = (exponential(0, 0, &[1.0, 2.0]), exponential(0, 4, &[5.0]));
        let (mut both, _) = sum(&a, &b);
        assert_eq!(both.positive_spans, [span(0, 2), span(2, 1)]);
        assert_eq!(both.positive_buckets, [1.0, 2.0, 5.0]);
        assert_eq!((both.count, both.sum), (8.0, 2.0));
        both.subtract(&b).unwrap();
        assert_eq!(both.positive_buckets, [1.0, 2.0, 0.0]);
        assert_eq!(both.count, 3.0);
        let both = both.compacted();
        assert_eq!(both.positive_buckets, [1.0, 2.0]);
        assert_eq!(both.positive_spans, [span(0, 2)]);
    }

    #[test]
    fn the_coarser_schema_is_kept() {
        // Buckets 1 and 2 of schema 1 are bucket 1 of schema 0.
        let (fine, coarse) = (
            exponential(1, 0, &[1.0, 2.0, 4.0]),
            exponential(0, 0, &[8.0, 16.0]),
        );
        for (both, _) in [sum(&fine, &coarse), sum(&coarse, &fine)] {
            assert_eq!((both.schema, both.positive_spans), (0, vec![span(0, 2)]));
            assert_eq!(both.positive_buckets, [9.0, 22.0]);
        }
        assert_eq!(fine.reduced_to(0).positive_buckets, [1.0, 6.0]);
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
        for (both, _) in [sum(&narrow, &wide), sum(&wide, &narrow)] {
            assert_eq!((both.zero_threshold, both.zero_count), (2.0, 6.0));
            assert_eq!(both.positive_spans, [span(2, 1)]);
            assert_eq!(both.positive_buckets, [4.0]);
        }
    }

    #[test]
    fn a_bucket_of_one_sign_may_widen_the_zero_bucket_for_the_other() {
        let both_signs = Histogram {
            negative_spans: vec![span(2, 1)],
            negative_buckets: vec![5.0],
            ..exponential(0, 1, &[1.0, 2.0])
        };
        let wide = Histogram {
            zero_threshold: 2.5,
            zero_count: 3.0,
            ..Histogram::default()
        };
        let (both, _) = sum(&both_signs, &wide);
        assert_eq!((both.zero_threshold, both.zero_count), (4.0, 11.0));
        assert!(both.positive_buckets.is_empty() && both.negative_buckets.is_empty());
    }

    #[test]
    fn custom_bounds_that_both_have_are_kept() {
        let (a, b) = (
            custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 4.0, 8.0]),
            custom(&[2.0, 3.0], &[1.0, 1.0, 1.0]),
        );
        let (both, combined) = sum(&a, &b);
        assert!(combined.bounds_reconciled);
        assert_eq!(both.custom_values, [2.0]);
        assert_eq!(both.positive_buckets, [4.0, 14.0]);
        assert!(!sum(&a, &a).1.bounds_reconciled);
        let exponential = exponential(0, 0, &[1.0]);
        assert_eq!(
            a.clone().add(&exponential),
            Err(HistogramError::MixedSchemas)
        );
        let mut careful = HistogramSum::new(a.clone());
        assert_eq!(careful.add(&exponential), Err(HistogramError::MixedSchemas));
        assert_eq!(careful.finish(), a);
    }

    #[test]
    fn sums_keep_small_counts() {
        let first = exponential(0, 0, &[1.0]);
        let mut careful = HistogramSum::new(first.clone());
        let mut large = exponential(0, 0, &[1e100]);
        careful.add(&large).unwrap();
        careful.add(&first).unwrap();
        large.scale(-1.0);
        careful.add(&large).unwrap();
        // A layout of its own does not lose the compensation.
        careful.add(&exponential(0, 5, &[1.0])).unwrap();
        let total = careful.finish();
        assert_eq!(total.positive_buckets, [2.0, 1.0]);
        assert_eq!(total.count, 3.0);
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
}

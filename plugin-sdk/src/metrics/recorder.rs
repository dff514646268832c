//! Native histograms of what a plugin measures itself.

use std::collections::BTreeMap;

use super::{NativeHistogram, Span};

/// Counts values into the buckets of a native histogram. Keep it between collections.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeRecorder {
    schema: i32,
    zero_threshold: f64,
    zero_count: f64,
    count: f64,
    sum: f64,
    positive: BTreeMap<i32, f64>,
    negative: BTreeMap<i32, f64>,
}

impl NativeRecorder {
    /// The schema, -4 to 8, says how fine the buckets are: each ends 2^(2^-schema) times as high as
    /// the one before, at 3 by 9 %. What lies outside is taken as the nearest.
    pub fn new(schema: i32) -> Self {
        NativeRecorder {
            schema: schema.clamp(-4, 8),
            // The smallest power of two that upstream's libraries still tell from zero.
            zero_threshold: 2f64.powi(-128),
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        }
    }

    /// Counts a value. One that is not a number counts, but lies in no bucket.
    pub fn observe(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        let size = value.abs();
        if value.is_nan() {
            return;
        }
        if size <= self.zero_threshold {
            self.zero_count += 1.0;
            return;
        }
        let index = self.index(size);
        let buckets = match value > 0.0 {
            true => &mut self.positive,
            false => &mut self.negative,
        };
        *buckets.entry(index).or_default() += 1.0;
    }

    /// What was counted so far.
    pub fn histogram(&self) -> NativeHistogram {
        let (positive_spans, positive_counts) = in_spans(&self.positive);
        let (negative_spans, negative_counts) = in_spans(&self.negative);
        NativeHistogram {
            schema: self.schema,
            count: self.count,
            sum: self.sum,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            positive_spans,
            positive_counts,
            negative_spans,
            negative_counts,
            custom_bounds: Vec::new(),
        }
    }

    /// The bucket whose upper bound is the first at or above `size`. Infinity shares the one of the
    /// largest number.
    fn index(&self, size: f64) -> i32 {
        let size = size.min(f64::MAX);
        let mut index = (size.log2() * f64::from(self.schema).exp2()).ceil() as i32;
        // The logarithm may be off by its last digit, which matters at the bounds.
        while self.bound(index) < size {
            index += 1;
        }
        while self.bound(index - 1) >= size {
            index -= 1;
        }
        index
    }

    fn bound(&self, index: i32) -> f64 {
        (f64::from(index) * f64::from(-self.schema).exp2()).exp2()
    }
}

fn in_spans(buckets: &BTreeMap<i32, f64>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for &index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span {
                offset: index - next,
                length: 1,
            }),
        }
        next = index + 1;
    }
    (spans, buckets.values().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_in_their_buckets() {
        // At schema 0 bucket i ends at 2^i.
        let mut recorder = NativeRecorder::new(0);
        for value in [0.0, 1.0, 1.5, 2.0, 2.1, 16.0, -0.5, f64::NAN] {
            recorder.observe(value);
        }
        let histogram = recorder.histogram();
        assert_eq!(histogram.count, 8.0);
        assert_eq!(histogram.zero_count, 1.0);
        let spans = |spans: &[Span]| -> Vec<(i32, u32)> {
            spans
                .iter()
                .map(|span| (span.offset, span.length))
                .collect()
        };
        assert_eq!(spans(&histogram.positive_spans), [(0, 3), (1, 1)]);
        assert_eq!(histogram.positive_counts, [1.0, 2.0, 1.0, 1.0]);
        assert_eq!(spans(&histogram.negative_spans), [(-1, 1)]);
        assert_eq!(histogram.negative_counts, [1.0]);
        assert!(histogram.sum.is_nan());
    }

    #[test]
    fn bounds_belong_to_the_bucket_below_at_every_schema() {
        for schema in -4..=8 {
            let recorder = NativeRecorder::new(schema);
            for index in -100..100 {
                let bound = recorder.bound(index);
                if bound.is_finite() && bound > 0.0 {
                    assert_eq!(recorder.index(bound), index, "schema {schema}");
                    let above = f64::from_bits(bound.to_bits() + 1);
                    assert_eq!(recorder.index(above), index + 1, "schema {schema}");
                }
            }
            for size in [f64::MIN_POSITIVE, f64::MAX, f64::INFINITY] {
                recorder.index(size);
            }
        }
    }
}

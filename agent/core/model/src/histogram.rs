//! Native histograms: sparse buckets at exponential or custom bounds.
//!
//! Counts are floats here; integer histograms are converted where they enter. Layout as in
//! Prometheus: spans of (gap to the former span, length) say which buckets are populated, the
//! bucket list holds their absolute counts.

/// The schema that says the bounds are given in `custom_values`.
pub const CUSTOM_BOUNDS_SCHEMA: i32 = -53;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub counter_reset: CounterReset,
    /// −4 to 8 (growth of 2^(2^−schema) per bucket), or [`CUSTOM_BOUNDS_SCHEMA`].
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of the buckets under the custom schema, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    pub fn uses_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BOUNDS_SCHEMA
    }

    pub fn is_gauge(&self) -> bool {
        self.counter_reset == CounterReset::Gauge
    }

    /// How many float samples take as much memory.
    pub fn size_in_samples(&self) -> usize {
        const SAMPLE_BYTES: usize = 16;
        const TIME_BYTES: usize = 8;
        /// Of the structure itself, as Prometheus counts it.
        const STRUCTURE_BYTES: usize = 168;
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let buckets = self.positive_buckets.len() + self.negative_buckets.len();
        let numbers = spans + buckets + self.custom_values.len();
        (TIME_BYTES + STRUCTURE_BYTES + numbers * 8) / SAMPLE_BYTES
    }

    /// Whether any count or the sum is no longer finite because it grew too large.
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum]
            .iter()
            .chain(&self.positive_buckets)
            .chain(&self.negative_buckets)
            .chain(&self.custom_values)
            .any(|value| value.is_infinite())
    }

    /// Multiplies all counts and the sum. A negative factor makes a gauge of it.
    pub fn scale(&mut self, factor: f64) {
        self.for_each_count(|count| *count *= factor);
        if factor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Divides all counts and the sum. By zero, no bucket but the zero bucket is left.
    pub fn divide(&mut self, by: f64) {
        if by == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
        }
        self.for_each_count(|count| *count /= by);
        if by < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Whether both hold the same to the bit, whatever their hints. Spans may be cut differently
    /// but must cover the same buckets, empty ones included.
    pub fn is_same_as(&self, other: &Histogram) -> bool {
        let bits = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let all_bits =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| bits(*a, *b));
        self.schema == other.schema
            && bits(self.count, other.count)
            && bits(self.sum, other.sum)
            && (!self.uses_custom_bounds() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && bits(self.zero_count, other.zero_count)
            && all_bits(&self.negative_buckets, &other.negative_buckets)
            && all_bits(&self.positive_buckets, &other.positive_buckets)
            && self.covers_the_same(other)
    }

    /// Bucket lists of both have the same lengths.
    fn covers_the_same(&self, other: &Histogram) -> bool {
        let same = |a: &[Span], b: &[Span], counts: &[f64]| {
            a == b
                || indexes(a)
                    .take(counts.len())
                    .eq(indexes(b).take(counts.len()))
        };
        same(
            &self.negative_spans,
            &other.negative_spans,
            &self.negative_buckets,
        ) && same(
            &self.positive_spans,
            &other.positive_spans,
            &self.positive_buckets,
        )
    }

    fn for_each_count(&mut self, mut change: impl FnMut(&mut f64)) {
        change(&mut self.zero_count);
        change(&mut self.count);
        change(&mut self.sum);
        self.positive_buckets.iter_mut().for_each(&mut change);
        self.negative_buckets.iter_mut().for_each(change);
    }
}

/// The indexes of the buckets that spans cover, ascending.
pub(crate) fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0_i64;
    spans.iter().flat_map(move |span| {
        let start = next.saturating_add(span.offset.into());
        next = start.saturating_add(span.length.into());
        start..next
    })
}

/// Index and count of each bucket, ascending.
pub(crate) fn bucket_counts<'h>(
    spans: &'h [Span],
    counts: &'h [f64],
) -> impl Iterator<Item = (i64, f64)> + 'h {
    indexes(spans).zip(counts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    fn example() -> Histogram {
        Histogram {
            count: 6.0,
            sum: 3.0,
            zero_count: 1.0,
            zero_threshold: 0.001,
            positive_spans: vec![span(1, 2)],
            positive_buckets: vec![2.0, 3.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn scaling_and_dividing() {
        let mut scaled = example();
        scaled.scale(-2.0);
        assert_eq!(
            (scaled.count, scaled.sum, scaled.zero_count),
            (-12.0, -6.0, -2.0)
        );
        assert_eq!(scaled.positive_buckets, [-4.0, -6.0]);
        assert!(scaled.is_gauge());
        let mut divided = example();
        divided.divide(0.0);
        assert!(divided.positive_buckets.is_empty() && divided.positive_spans.is_empty());
        assert_eq!(divided.count, f64::INFINITY);
        assert!(divided.has_overflow());
        assert!(!divided.is_gauge());
    }

    #[test]
    fn sameness_looks_at_buckets_not_at_how_spans_are_cut() {
        let whole = example();
        let cut = Histogram {
            counter_reset: CounterReset::Gauge,
            positive_spans: vec![span(0, 0), span(1, 1), span(0, 1)],
            ..example()
        };
        assert!(whole.is_same_as(&cut));
        let moved = Histogram {
            positive_spans: vec![span(0, 2)],
            ..example()
        };
        assert!(!whole.is_same_as(&moved));
        let fewer = Histogram {
            zero_count: 0.5,
            ..example()
        };
        assert!(!whole.is_same_as(&fewer));
    }

    #[test]
    fn sizes_are_counted_in_samples() {
        // 8 + 168 + 8 (one span) + 16 (two buckets) bytes.
        assert_eq!(example().size_in_samples(), 12);
    }
}

//! A native histogram's buckets by index, while its layout is changed.
//!
//! Every count carries a compensation, which a plain sum leaves at zero. The order in which counts
//! are added is Prometheus's, as the last digits depend on it.

use crate::Histogram;
use crate::histogram::{Span, bucket_counts};
use crate::histogram_bounds::bucket_bound;
use crate::kahan::KahanSum;

/// Whether sums keep what rounding would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Plain,
    Compensated,
}

impl Precision {
    pub(crate) fn add(self, to: &mut KahanSum, value: f64) {
        match self {
            Precision::Plain => to.sum += value,
            Precision::Compensated => to.add(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub index: i64,
    pub count: KahanSum,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.count.sum == 0.0 && self.count.compensation == 0.0
    }
}

/// Ascending by index.
pub(crate) type Entries = Vec<Entry>;

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub precision: Precision,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero: KahanSum,
    pub positive: Entries,
    pub negative: Entries,
    pub custom_values: Vec<f64>,
}

impl Layout {
    pub(crate) fn of(histogram: &Histogram, precision: Precision) -> Self {
        let entries = |spans: &[Span], counts: &[f64]| {
            let buckets = bucket_counts(spans, counts);
            let entry = |(index, count)| Entry {
                index,
                count: KahanSum::from_first(count),
            };
            buckets.map(entry).collect()
        };
        Layout {
            precision,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero: KahanSum::from_first(histogram.zero_count),
            positive: entries(&histogram.positive_spans, &histogram.positive_buckets),
            negative: entries(&histogram.negative_spans, &histogram.negative_buckets),
            custom_values: histogram.custom_values.clone(),
        }
    }

    /// Writes layout and counts into a histogram; gives the compensations in the order of its
    /// buckets, positive ones first.
    pub(crate) fn write_to(self, histogram: &mut Histogram) -> (Vec<f64>, Vec<f64>) {
        histogram.schema = self.schema;
        histogram.zero_threshold = self.zero_threshold;
        histogram.zero_count = self.zero.sum;
        histogram.custom_values = self.custom_values;
        histogram.positive_spans = spans_of(&self.positive);
        histogram.negative_spans = spans_of(&self.negative);
        let counts = |entries: &Entries| entries.iter().map(|entry| entry.count.sum).collect();
        histogram.positive_buckets = counts(&self.positive);
        histogram.negative_buckets = counts(&self.negative);
        let rest = |entries: &Entries| {
            entries
                .iter()
                .map(|entry| entry.count.compensation)
                .collect()
        };
        (rest(&self.positive), rest(&self.negative))
    }

    /// Brings two exponential layouts to the wider zero bucket. Only `self` is changed; the zero
    /// count that `other` would have is given back.
    pub(crate) fn share_zero_bucket(&mut self, other: &Layout) -> KahanSum {
        let mut other_zero = KahanSum::from_first(other.zero.sum);
        let mut other_threshold = other.zero_threshold;
        // Each round takes in a whole bucket, so there are at most as many rounds as buckets. A
        // threshold that is no number can't be reached by widening.
        while other_threshold != self.zero_threshold
            && !(other_threshold.is_nan() || self.zero_threshold.is_nan())
        {
            if self.zero_threshold > other_threshold {
                (other_zero, other_threshold) =
                    other.zero_for(self.zero_threshold, Precision::Plain);
            }
            if other_threshold > self.zero_threshold {
                let (zero, threshold) = self.zero_for(other_threshold, self.precision);
                self.zero.sum = zero.sum;
                if self.precision == Precision::Compensated {
                    self.zero.compensation = zero.compensation;
                }
                self.zero_threshold = threshold;
                self.empty_inside_zero();
            }
        }
        other_zero
    }

    /// The zero count under a larger threshold, which goes to the end of the outermost populated
    /// bucket that it would cut. With the plain precision compensations are not looked at.
    pub(crate) fn zero_for(&self, threshold: f64, precision: Precision) -> (KahanSum, f64) {
        let compensated = precision == Precision::Compensated;
        let mut threshold = threshold;
        let mut zero = self.zero;
        if !compensated {
            zero.compensation = 0.0;
        }
        if threshold == self.zero_threshold {
            return (zero, threshold);
        }
        loop {
            // The compensation is not begun anew, as in Prometheus.
            zero.sum = self.zero.sum;
            let cut = self.gather(&self.positive, threshold, compensated, &mut zero);
            threshold = cut.unwrap_or(threshold);
            let cut = self.gather(&self.negative, threshold, compensated, &mut zero);
            match cut {
                // The end of a bucket of one sign may lie inside of a bucket of the other.
                Some(end) => threshold = end,
                None => return (zero, threshold),
            }
        }
    }

    /// Adds the buckets up to `threshold` to `zero`; gives the end of a populated one that lies
    /// across it.
    fn gather(
        &self,
        entries: &Entries,
        threshold: f64,
        compensated: bool,
        zero: &mut KahanSum,
    ) -> Option<f64> {
        for entry in entries {
            if bucket_bound(entry.index.saturating_sub(1), self.schema) >= threshold {
                return None;
            }
            zero.add(entry.count.sum);
            if compensated {
                zero.add(entry.count.compensation);
            }
            let upper = bucket_bound(entry.index, self.schema);
            if upper > threshold {
                return (entry.count.sum != 0.0).then_some(upper);
            }
        }
        None
    }

    fn empty_inside_zero(&mut self) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let stays = |entry: &Entry| {
            !entry.is_empty() && bucket_bound(entry.index.saturating_sub(1), schema) >= threshold
        };
        self.positive.retain(stays);
        self.negative.retain(stays);
    }

    /// Unites buckets so that they are those of a coarser schema.
    pub(crate) fn reduce_to(&mut self, schema: i32) {
        let by = self.schema.saturating_sub(schema).clamp(0, 62);
        if by == 0 {
            return;
        }
        for entries in [&mut self.positive, &mut self.negative] {
            let mut reduced: Entries = Vec::with_capacity(entries.len());
            for entry in entries.iter() {
                // Bucket i ends where bucket i·2^by of the finer schema ends.
                let index = (entry.index.saturating_sub(1) >> by) + 1;
                match reduced.last_mut() {
                    Some(last) if last.index == index => {
                        add_count(self.precision, &mut last.count, entry.count, true);
                    }
                    _ => reduced.push(Entry { index, ..*entry }),
                }
            }
            *entries = reduced;
        }
        self.schema = schema;
    }

    /// Adds the buckets of a layout with the same bounds, multiplied by `sign`.
    pub(crate) fn add_buckets(&mut self, other: &Layout, sign: f64) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let exponential = self.custom_values.is_empty() && schema != CUSTOM;
        for (entries, more) in [
            (&mut self.positive, &other.positive),
            (&mut self.negative, &other.negative),
        ] {
            // What lies in the zero bucket has been counted there.
            let inside =
                |entry: &&Entry| exponential && bucket_bound(entry.index, schema) <= threshold;
            let more = more.iter().skip_while(inside);
            *entries = merged(entries, more, sign, self.precision);
        }
    }

    /// Adds a layout with other custom bounds, multiplied by `sign`; those that both have are kept.
    pub(crate) fn add_other_bounds(&mut self, other: &Layout, sign: f64) {
        let shared: Vec<f64> = self
            .custom_values
            .iter()
            .filter(|bound| other.custom_values.contains(bound))
            .copied()
            .collect();
        let mut counts = vec![KahanSum::default(); shared.len() + 1];
        let compensated = self.precision == Precision::Compensated;
        for entry in &self.positive {
            if let Some(count) = counts.get_mut(place(&shared, &self.custom_values, entry.index)) {
                count.add(entry.count.sum);
                if compensated {
                    count.add(entry.count.compensation);
                }
            }
        }
        for entry in &other.positive {
            if let Some(count) = counts.get_mut(place(&shared, &other.custom_values, entry.index)) {
                count.add(sign * entry.count.sum);
            }
        }
        let entries = (0..)
            .zip(counts)
            .map(|(index, count)| Entry { index, count });
        self.positive = entries.filter(|entry| !entry.is_empty()).collect();
        self.custom_values = shared;
    }
}

const CUSTOM: i32 = crate::histogram::CUSTOM_BOUNDS_SCHEMA;

/// Which of the shared bounds a bucket lies under.
fn place(shared: &[f64], bounds: &[f64], index: i64) -> usize {
    let upper = usize::try_from(index).ok().and_then(|at| bounds.get(at));
    match upper {
        Some(upper) => shared.partition_point(|bound| bound < upper),
        // Beyond the last bound lies the bucket that ends at +Inf.
        None => shared.len(),
    }
}

/// `always`: the compensation of what is added counts even if it is zero.
fn add_count(precision: Precision, to: &mut KahanSum, count: KahanSum, always: bool) {
    precision.add(to, count.sum);
    if precision == Precision::Compensated && (always || count.compensation != 0.0) {
        to.add(count.compensation);
    }
}

fn merged<'e>(
    entries: &Entries,
    more: impl Iterator<Item = &'e Entry>,
    sign: f64,
    precision: Precision,
) -> Entries {
    let mut out = Vec::with_capacity(entries.len());
    let mut own = entries.iter().copied().peekable();
    for entry in more {
        while let Some(before) = own.next_if(|own| own.index < entry.index) {
            out.push(before);
        }
        let count = KahanSum {
            sum: sign * entry.count.sum,
            compensation: sign * entry.count.compensation,
        };
        match own.next_if(|own| own.index == entry.index) {
            Some(mut same) => {
                add_count(precision, &mut same.count, count, false);
                out.push(same);
            }
            None => out.push(Entry {
                index: entry.index,
                count,
            }),
        }
    }
    out.extend(own);
    out
}

fn spans_of(entries: &Entries) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for entry in entries {
        match spans.last_mut() {
            Some(span) if entry.index == end => span.length += 1,
            _ => spans.push(Span {
                offset: i32::try_from(entry.index.saturating_sub(end)).unwrap_or(i32::MAX),
                length: 1,
            }),
        }
        end = entry.index.saturating_add(1);
    }
    spans
}

impl Histogram {
    /// The same in a coarser schema. A finer one, and custom bounds, leave it as it is.
    pub fn reduced_to(&self, schema: i32) -> Histogram {
        let mut reduced = self.clone();
        if !self.uses_custom_bounds() && schema < self.schema {
            let mut layout = Layout::of(self, Precision::Plain);
            layout.reduce_to(schema);
            layout.write_to(&mut reduced);
        }
        reduced
    }

    /// Without empty buckets.
    pub fn compacted(mut self) -> Histogram {
        compact(&mut self.positive_spans, &mut self.positive_buckets);
        compact(&mut self.negative_spans, &mut self.negative_buckets);
        self
    }
}

fn compact(spans: &mut Vec<Span>, counts: &mut Vec<f64>) {
    let is_compact = counts.iter().all(|count| *count != 0.0)
        && spans.iter().all(|span| span.length > 0)
        && spans.iter().skip(1).all(|span| span.offset > 0);
    if is_compact {
        return;
    }
    let buckets = bucket_counts(spans, counts).filter(|(_, count)| *count != 0.0);
    let entries: Entries = buckets
        .map(|(index, count)| Entry {
            index,
            count: KahanSum::from_first(count),
        })
        .collect();
    *spans = spans_of(&entries);
    *counts = entries.iter().map(|entry| entry.count.sum).collect();
}

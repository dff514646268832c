//! The values of metrics, and the columns they stand in.

use crate::Error;

use super::{Family, Histogram, MetricType, NativeHistogram, Summary, Times, Values};

/// A value of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram(Histogram),
    Native(NativeHistogram),
    Summary(Summary),
}

/// What the value of a metric can be: a number, a histogram, …
pub trait Sample {
    fn into_value(self) -> Value;
}

/// The value of a metric that says all in its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info;

impl Sample for Info {
    fn into_value(self) -> Value {
        Value::Number(1.0)
    }
}

impl Sample for Value {
    fn into_value(self) -> Value {
        self
    }
}

macro_rules! sample {
    ($kind:ty, $case:ident) => {
        impl Sample for $kind {
            fn into_value(self) -> Value {
                Value::$case(self)
            }
        }

        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Value::$case(value)
            }
        }
    };
}

sample!(f64, Number);
sample!(Histogram, Histogram);
sample!(NativeHistogram, Native);
sample!(Summary, Summary);

impl Value {
    /// What is wrong with it by itself.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Value::Number(_) => None,
            Value::Histogram(histogram) => histogram.fault(),
            Value::Native(histogram) => histogram.fault(),
            Value::Summary(summary) => {
                let in_range = |(quantile, _): &(f64, f64)| (0.0..=1.0).contains(quantile);
                let all = summary.quantiles.iter().all(in_range);
                (!all).then_some("has a quantile that is not from 0 to 1")
            }
        }
    }
}

impl Histogram {
    /// Empty, with these upper bounds; the one of +Inf is always there.
    pub fn new(bounds: &[f64]) -> Self {
        Histogram {
            buckets: bounds.iter().map(|&bound| (bound, 0.0)).collect(),
            sum: 0.0,
            count: 0.0,
        }
    }

    /// Counts a value. For what a plugin measures itself: keep the histogram between collections.
    pub fn observe(&mut self, value: f64) {
        for (bound, count) in &mut self.buckets {
            if value <= *bound {
                *count += 1.0;
            }
        }
        self.sum += value;
        self.count += 1.0;
    }

    fn fault(&self) -> Option<&'static str> {
        let pairs = || self.buckets.iter().zip(self.buckets.iter().skip(1));
        if !pairs().all(|(a, b)| a.0 < b.0) || self.buckets.iter().any(|(bound, _)| bound.is_nan())
        {
            return Some("has a histogram whose bounds don't ascend");
        }
        let last = self
            .buckets
            .last()
            .is_none_or(|(_, last)| *last <= self.count);
        if !pairs().all(|(a, b)| a.1 <= b.1) || !last {
            return Some("has a histogram whose counts are not cumulative");
        }
        None
    }
}

impl NativeHistogram {
    fn fault(&self) -> Option<&'static str> {
        let fits = |spans: &[super::Span], counts: &[f64]| {
            let listed: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
            let ahead = spans.iter().skip(1).all(|span| span.offset >= 0);
            listed == counts.len() as u64 && ahead
        };
        if !matches!(self.schema, -53 | -4..=8) {
            return Some("has a native histogram of an unknown schema");
        }
        if !fits(&self.positive_spans, &self.positive_counts)
            || !fits(&self.negative_spans, &self.negative_counts)
        {
            return Some("has a native histogram whose spans don't fit its counts");
        }
        if self.schema != -53 && !self.custom_bounds.is_empty() {
            return Some("has a native histogram with custom bounds that its schema does not take");
        }
        None
    }
}

impl Values {
    /// The column of a family that has no metrics yet.
    pub(super) fn empty(kind: MetricType) -> Values {
        match kind {
            MetricType::Histogram | MetricType::GaugeHistogram => Values::Histograms(Vec::new()),
            MetricType::Summary => Values::Summaries(Vec::new()),
            _ => Values::Numbers(Vec::new()),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::Numbers(values) => values.len(),
            Values::Histograms(values) => values.len(),
            Values::NativeHistograms(values) => values.len(),
            Values::Summaries(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of one metric.
    pub fn get(&self, at: usize) -> Option<Value> {
        match self {
            Values::Numbers(values) => values.get(at).copied().map(Value::Number),
            Values::Histograms(values) => values.get(at).cloned().map(Value::Histogram),
            Values::NativeHistograms(values) => values.get(at).cloned().map(Value::Native),
            Values::Summaries(values) => values.get(at).cloned().map(Value::Summary),
        }
    }

    /// Whether the value fits the column.
    pub(super) fn push(&mut self, value: Value, kind: MetricType) -> bool {
        let of_histograms = matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram);
        // The first histogram decides which kind of them it is.
        if self.is_empty() && of_histograms && matches!(value, Value::Native(_)) {
            *self = Values::NativeHistograms(Vec::new());
        }
        match (self, value) {
            (Values::Numbers(values), Value::Number(value)) => values.push(value),
            (Values::Histograms(values), Value::Histogram(value)) => values.push(value),
            (Values::NativeHistograms(values), Value::Native(value)) => values.push(value),
            (Values::Summaries(values), Value::Summary(value)) => values.push(value),
            _ => return false,
        }
        true
    }
}

/// A metric of a family, for tests and other readers.
#[derive(Clone, Debug, PartialEq)]
pub struct Given<'a> {
    /// In the order of the family's label names.
    pub label_values: &'a [String],
    pub value: Value,
    pub times: Times,
}

impl Family {
    /// A family whose labels are known only at run time, to be filled by [`Family::push`] and handed
    /// to [`super::Metrics::extend`]. Where they are known before, the builders are easier.
    pub fn new(
        name: impl Into<String>,
        help: impl Into<String>,
        kind: MetricType,
        label_names: Vec<String>,
    ) -> Self {
        Family {
            name: name.into(),
            kind,
            help: help.into(),
            unit: String::new(),
            label_names,
            label_values: Vec::new(),
            values: Values::empty(kind),
            timestamps_ms: Vec::new(),
            start_timestamps_ms: Vec::new(),
        }
    }

    /// Adds a metric with a value for each label.
    pub fn push(
        &mut self,
        label_values: Vec<String>,
        value: impl Into<Value>,
        times: Times,
    ) -> Result<(), Error> {
        let mut fault = None;
        let labels = label_values.into_iter();
        super::push(self, &mut fault, labels, value.into(), times);
        fault.map_or(Ok(()), |fault| Err(Error::new(fault)))
    }

    /// Whether it has no metrics.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Its metrics, in the order in which they were given.
    pub fn metrics(&self) -> impl Iterator<Item = Given<'_>> {
        let width = self.label_names.len();
        (0..self.values.len()).filter_map(move |at| {
            Some(Given {
                label_values: self.label_values.get(at * width..(at + 1) * width)?,
                value: self.values.get(at)?,
                times: Times {
                    timestamp_ms: self.timestamps_ms.get(at).copied(),
                    start_timestamp_ms: self.start_timestamps_ms.get(at).copied(),
                },
            })
        })
    }
}

//! `rate`, `increase`, `delta` (extrapolated to the window) and `irate`, `idelta` (of the last two
//! samples).

use std::sync::Arc;

use narthex_model::{Labels, SampleValue};

use super::histogram_rate::{self, Resets};
use super::{Notes, Samples, Window, WindowFunction};
use crate::engine::error::QueryError;
use crate::engine::query::Query;
use crate::syntax::ast::Span;

/// A gap up to this factor of the mean one still counts as one gap.
const EXTRAPOLATION_FACTOR: f64 = 1.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rate,
    Increase,
    Delta,
}

pub(super) struct Extrapolated<'q> {
    query: &'q Query<'q>,
    kind: Kind,
    range_seconds: f64,
    span: Span,
    /// The samples that are smaller than the one before: where a counter began anew.
    resets: Vec<usize>,
    /// Those before this index of `resets` lie before the window.
    first_reset: usize,
    histogram_resets: Resets,
}

impl<'q> Extrapolated<'q> {
    pub(super) fn new(query: &'q Query<'q>, kind: Kind, range_ms: i64, span: Span) -> Self {
        Extrapolated {
            query,
            kind,
            range_seconds: seconds(range_ms),
            span,
            resets: Vec::new(),
            first_reset: 0,
            histogram_resets: Resets::default(),
        }
    }

    fn is_counter(&self) -> bool {
        self.kind != Kind::Delta
    }

    /// From the increase between the samples to the result.
    fn factor(&self, edges: &Edges, increase: f64, first: f64) -> f64 {
        let mut factor = edges.factor(increase, self.is_counter().then_some(first));
        if self.kind == Kind::Rate {
            factor /= self.range_seconds;
        }
        factor
    }

    /// What resets inside of the window hide of the increase is added in order of time, as
    /// floating-point sums depend on it.
    fn add_resets(&mut self, window: &Window<'_>, mut increase: f64) -> f64 {
        while self
            .resets
            .get(self.first_reset)
            .is_some_and(|at| *at <= window.first)
        {
            self.first_reset += 1;
        }
        let inside = self.resets.get(self.first_reset..).unwrap_or_default();
        for at in inside.iter().take_while(|at| **at < window.end) {
            if let Some(before) = window.values.get(at - window.first - 1) {
                increase += before;
            }
        }
        increase
    }
}

impl WindowFunction for Extrapolated<'_> {
    fn begin(&mut self, samples: &Samples) {
        self.resets.clear();
        self.first_reset = 0;
        if self.is_counter() {
            let pairs = samples.values.windows(2).enumerate();
            let resets = pairs.filter(|(_, pair)| pair[1] < pair[0]);
            self.resets.extend(resets.map(|(at, _)| at + 1));
            self.histogram_resets.find(samples);
        }
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let (Some(&first), Some(&last)) = (window.values.first(), window.values.last()) else {
            return Ok(None);
        };
        let (Some(&first_ms), Some(&last_ms)) = (window.times_ms.first(), window.times_ms.last())
        else {
            return Ok(None);
        };
        let gaps = window.values.len() - 1;
        if gaps == 0 {
            return Ok(None);
        }
        let mut increase = last - first;
        if self.is_counter() {
            increase = self.add_resets(window, increase);
        }
        let edges = Edges::new(window, (first_ms, last_ms), gaps);
        Ok(Some(increase * self.factor(&edges, increase, first)))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        let resets = self.is_counter().then_some(&self.histogram_resets);
        let Some(mut increase) = histogram_rate::increase(window, resets, notes) else {
            return Ok(None);
        };
        let ([first_ms, .., last_ms], Some(first)) =
            (window.beside.times_ms, window.beside.histograms.first())
        else {
            return Ok(None);
        };
        let edges = Edges::new(
            window,
            (*first_ms, *last_ms),
            window.beside.histograms.len() - 1,
        );
        increase.scale(self.factor(&edges, increase.count, first.count));
        Ok(Some(SampleValue::Histogram(Arc::new(increase))))
    }

    fn annotates(&self) -> bool {
        self.is_counter()
    }

    fn finish(&mut self, labels: &Labels) {
        if !self.is_counter() {
            return;
        }
        let name = labels.metric_name().unwrap_or_default();
        let counter = ["_total", "_sum", "_count", "_bucket"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        if !name.is_empty() && !counter {
            self.query.annotate(self.span, |annotations, span| {
                annotations.possible_non_counter(name, span);
            });
        }
    }
}

/// How the samples lie in their window, in seconds.
struct Edges {
    to_start: f64,
    sampled: f64,
    to_end: f64,
    gaps: f64,
}

impl Edges {
    fn new(window: &Window<'_>, (first_ms, last_ms): (i64, i64), gaps: usize) -> Self {
        Edges {
            to_start: seconds(first_ms.saturating_sub(window.start_ms)),
            sampled: seconds(last_ms.saturating_sub(first_ms)),
            to_end: seconds(window.end_ms.saturating_sub(last_ms)),
            gaps: count(gaps),
        }
    }

    /// By how much the increase between the samples grows to the one of the window. A counter,
    /// whose first value is given, is not assumed to have been below zero.
    fn factor(&self, increase: f64, counter_first: Option<f64>) -> f64 {
        let gap = self.sampled / self.gaps;
        let threshold = gap * EXTRAPOLATION_FACTOR;
        let mut to_start = self.to_start;
        if to_start >= threshold {
            to_start = gap / 2.0;
        }
        if let Some(first) = counter_first
            && increase > 0.0
            && first >= 0.0
        {
            let to_zero = self.sampled * (first / increase);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        let mut to_end = self.to_end;
        if to_end >= threshold {
            to_end = gap / 2.0;
        }
        if self.sampled == 0.0 {
            1.0
        } else {
            (self.sampled + to_start + to_end) / self.sampled
        }
    }
}

/// `irate` and `idelta`.
pub(super) struct OfLastTwo {
    pub per_second: bool,
}

impl WindowFunction for OfLastTwo {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok(instant(window, self.per_second))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        Ok(histogram_rate::of_last_two(window, self.per_second, notes))
    }
}

fn instant(window: &Window<'_>, per_second: bool) -> Option<f64> {
    let (&[.., before_ms, last_ms], &[.., before, last]) = (window.times_ms, window.values) else {
        return None;
    };
    if last_ms == before_ms {
        return None;
    }
    let elapsed_ms = last_ms.saturating_sub(before_ms);
    Some(change(before, last, elapsed_ms, per_second))
}

/// From one float to the next; of a counter, and then per second, or of a gauge.
pub(super) fn change(before: f64, last: f64, elapsed_ms: i64, per_second: bool) -> f64 {
    if !per_second {
        return last - before;
    }
    let is_reset = last < before;
    let increase = if is_reset { last } else { last - before };
    increase / seconds(elapsed_ms)
}

pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(super) fn count(samples: usize) -> f64 {
    samples as f64
}

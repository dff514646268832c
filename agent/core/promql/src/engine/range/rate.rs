//! `rate`, `increase`, `delta` (extrapolated to the window) and `irate`, `idelta` (of the last two
//! samples).

use std::sync::Arc;

use narthex_model::{Labels, SampleValue};

use super::histogram_rate::{self, HistogramResets};
use super::start::{overlap, started, starts_anew};
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

impl Kind {
    pub(super) fn is_counter(self) -> bool {
        self != Kind::Delta
    }
}

/// Where a counter of floats began anew.
#[derive(Default)]
pub(super) struct Resets {
    /// The samples that are smaller than the one before, or of a counter that started after it.
    at: Vec<usize>,
    /// Those before this index of `at` lie before the window.
    first: usize,
}

impl Resets {
    /// Forgets those of another series.
    pub(super) fn find(&mut self, samples: &Samples, with_starts: bool) {
        self.first = 0;
        self.at.clear();
        let with_starts = with_starts && !samples.starts_ms.is_empty();
        let values = &samples.values;
        let falls = values.iter().zip(values.iter().skip(1));
        // Counting is fast, and most often there is nothing to be found.
        if !with_starts && falls.filter(|(before, after)| after < before).count() == 0 {
            return;
        }
        let by_start = |at| starts_anew(samples.started(at), samples.started(at + 1));
        let pairs = values.windows(2).enumerate();
        let resets =
            pairs.filter(|(before, pair)| pair[1] < pair[0] || (with_starts && by_start(*before)));
        self.at.extend(resets.map(|(before, _)| before + 1));
    }

    /// Those after sample number `first` and before number `end`; `first` only grows from call to
    /// call.
    pub(super) fn between(&mut self, first: usize, end: usize) -> impl Iterator<Item = usize> {
        while self.at.get(self.first).is_some_and(|at| *at <= first) {
            self.first += 1;
        }
        let rest = self.at.get(self.first..).unwrap_or_default();
        rest.iter().copied().take_while(move |at| *at < end)
    }
}

pub(super) struct Extrapolated<'q> {
    query: &'q Query<'q>,
    kind: Kind,
    range_seconds: f64,
    span: Span,
    resets: Resets,
    histogram_resets: HistogramResets,
    overlaps: Overlaps,
}

impl<'q> Extrapolated<'q> {
    pub(super) fn new(query: &'q Query<'q>, kind: Kind, range_ms: i64, span: Span) -> Self {
        Extrapolated {
            query,
            kind,
            range_seconds: seconds(range_ms),
            span,
            resets: Resets::default(),
            histogram_resets: HistogramResets::default(),
            overlaps: Overlaps::default(),
        }
    }

    fn is_counter(&self) -> bool {
        self.kind.is_counter()
    }

    /// From the increase between the samples to the result.
    fn factor(&self, edges: &Edges, increase: f64, first: f64) -> f64 {
        self.per_second(edges.factor(increase, self.is_counter().then_some(first)))
    }

    fn per_second(&self, mut factor: f64) -> f64 {
        if self.kind == Kind::Rate {
            factor /= self.range_seconds;
        }
        factor
    }

    /// The start of the counter, if it lies in the window before the first sample: then it was
    /// zero at that time.
    fn start_inside(&self, window: &Window<'_>, starts_ms: &[i64], first_ms: i64) -> Option<i64> {
        let start_ms = *starts_ms.first().filter(|_| self.is_counter())?;
        let inside = start_ms > window.start_ms && start_ms < first_ms;
        (start_ms != 0 && inside).then_some(start_ms)
    }

    /// What resets inside of the window hide of the increase is added in order of time, as
    /// floating-point sums depend on it.
    fn add_resets(&mut self, window: &Window<'_>, mut increase: f64) -> f64 {
        for at in self.resets.between(window.first, window.end) {
            if let Some(before) = window.values.get(at - window.first - 1) {
                increase += before;
            }
        }
        increase
    }
}

impl WindowFunction for Extrapolated<'_> {
    fn begin(&mut self, samples: &Samples) {
        if self.is_counter() {
            self.resets.find(samples, true);
            self.histogram_resets.find(samples);
            self.overlaps.find(samples);
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
        let start_ms = self.start_inside(window, window.starts_ms(), first_ms);
        if gaps == 0 && start_ms.is_none() {
            return Ok(None);
        }
        let mut increase = last - first;
        if self.is_counter() {
            increase = self.add_resets(window, increase);
            self.overlaps.note_floats(window);
        }
        let edges = Edges::new(window, (first_ms, last_ms), gaps);
        if let Some(start_ms) = start_ms {
            let factor = edges.factor_from_start(last_ms, start_ms);
            return Ok(Some((increase + first) * self.per_second(factor)));
        }
        Ok(Some(increase * self.factor(&edges, increase, first)))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        let times_ms = window.beside.times_ms;
        let (Some(first_ms), Some(last_ms)) = (times_ms.first(), times_ms.last()) else {
            return Ok(None);
        };
        let resets = self.is_counter().then_some(&self.histogram_resets);
        let start_ms = self.start_inside(window, window.beside.starts_ms(), *first_ms);
        let increase = histogram_rate::increase(window, resets, start_ms.is_some(), notes);
        let (Some(mut increase), Some(first)) = (increase, window.beside.histograms.first()) else {
            return Ok(None);
        };
        if self.is_counter() {
            self.overlaps.note_histograms(window);
        }
        let edges = Edges::new(
            window,
            (*first_ms, *last_ms),
            window.beside.histograms.len() - 1,
        );
        if let Some(start_ms) = start_ms {
            increase.scale(self.per_second(edges.factor_from_start(*last_ms, start_ms)));
            return Ok(Some(SampleValue::Histogram(Arc::new(increase))));
        }
        increase.scale(self.factor(&edges, increase.count, first.count));
        Ok(Some(SampleValue::Histogram(Arc::new(increase))))
    }

    fn annotates(&self) -> bool {
        self.is_counter()
    }

    fn finish(&mut self, labels: &Labels) {
        if self.is_counter() {
            note_non_counter(self.query, labels, self.span);
        }
    }

    fn leave(&mut self, notes: &Notes<'_>) {
        let windows = std::mem::take(&mut self.overlaps.windows);
        if windows > 0 {
            notes
                .add(|annotations, name, span| annotations.start_time_overlap(name, windows, span));
        }
    }
}

/// Says so where a counter's function is used on what may be none: its type tells, where types are
/// labels, else its name.
pub(super) fn note_non_counter(query: &Query<'_>, labels: &Labels, span: Span) {
    let name = labels.metric_name().unwrap_or_default();
    if name.is_empty() {
        return;
    }
    if query.type_and_unit_labels {
        let type_label = labels.value_or_empty("__type__");
        if !matches!(type_label, "counter" | "histogram") {
            query.annotate(span, |annotations, span| {
                annotations.possible_non_counter_type(name, type_label, span);
            });
        }
        return;
    }
    let counter = ["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    if !counter {
        query.annotate(span, |annotations, span| {
            annotations.possible_non_counter(name, span);
        });
    }
}

/// The samples whose start lies before the sample before, though it is another one than its.
#[derive(Default)]
struct Overlaps {
    floats: Vec<usize>,
    histograms: Vec<usize>,
    /// How many windows held any.
    windows: u64,
}

impl Overlaps {
    fn find(&mut self, samples: &Samples) {
        let is_overlap = |pair: Option<_>| pair.is_some_and(|(a, b)| overlap(a, b));
        let floats = (1..samples.starts_ms.len())
            .filter(|at| is_overlap(samples.started(at - 1).zip(samples.started(*at))));
        self.floats.clear();
        self.floats.extend(floats);
        let histograms = (1..samples.histogram_starts_ms.len()).filter(|at| {
            let before = samples.histogram_started(at - 1);
            is_overlap(before.zip(samples.histogram_started(*at)))
        });
        self.histograms.clear();
        self.histograms.extend(histograms);
    }

    fn note_floats(&mut self, window: &Window<'_>) {
        let inside = |at: &usize| *at > window.first && *at < window.end;
        self.windows += u64::from(self.floats.iter().any(inside));
    }

    fn note_histograms(&mut self, window: &Window<'_>) {
        let beside = window.beside;
        let inside = |at: &usize| *at > beside.first && *at < beside.end;
        self.windows += u64::from(self.histograms.iter().any(inside));
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

    /// By how much the increase since the start of the counter grows to the one of the window,
    /// whose part before the start holds nothing.
    fn factor_from_start(&self, last_ms: i64, start_ms: i64) -> f64 {
        let since_start = seconds(last_ms.saturating_sub(start_ms));
        let gap = if self.gaps > 0.0 {
            self.sampled / self.gaps
        } else {
            0.0
        };
        let mut to_end = self.to_end;
        if to_end >= gap * EXTRAPOLATION_FACTOR {
            to_end = gap / 2.0;
        }
        (since_start + to_end) / since_start
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
    let started = |at| started(window.times_ms, window.starts_ms(), at);
    let at = window.values.len() - 2;
    let anew = starts_anew(started(at), started(at + 1));
    Some(change(before, last, elapsed_ms, per_second, anew))
}

/// From one float to the next; of a counter, which may have started anew, and then per second, or
/// of a gauge.
pub(super) fn change(before: f64, last: f64, elapsed_ms: i64, per_second: bool, anew: bool) -> f64 {
    if !per_second {
        return last - before;
    }
    let is_reset = last < before || anew;
    let increase = if is_reset { last } else { last - before };
    increase / seconds(elapsed_ms)
}

pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(super) fn count(samples: usize) -> f64 {
    samples as f64
}

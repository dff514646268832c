//! Range vectors, and the functions that slide a window over them.
//!
//! A [`RangeSource`] gives the samples of one series at a time; [`Sliding`] moves the window's
//! two ends over them, each only forward, and asks a [`WindowFunction`] at each step.

use std::sync::Arc;

use narthex_model::{Histogram, Labels, SampleValue};
use narthex_storage::Series;

use super::annotations::Annotations;
use super::budget::Charge;
use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use super::query::Query;
use super::scan::{Read, scan};
use super::statistics::Use;
use super::steps::{Shift, Steps};
use crate::syntax::ast::Span;
use select::{StoredUse, read_samples};
use slide::{Slider, Sliding, Windows, advance};

mod changes;
pub(super) mod extended;
mod extremes;
pub(super) mod histogram_extended;
mod histogram_over_time;
mod histogram_rate;
mod lanes;
mod over_time;
mod quantiles;
mod rate;
mod regression;
pub(super) mod select;
mod slide;
mod smoothing;
mod start;
pub(super) mod table;

pub(super) use histogram_over_time::HintsSeen;
pub(super) use histogram_rate::{Finding, tell};

use start::Started;

/// The samples of one series, floats and histograms apart, each ascending in time, without stale
/// markers. A time is in only one of them.
pub(super) struct Samples {
    pub times_ms: Vec<i64>,
    pub values: Vec<f64>,
    pub histogram_times_ms: Vec<i64>,
    pub histograms: Vec<Arc<Histogram>>,
    /// When each float and each histogram started, 0 if that is not known; empty if starts are not
    /// looked at.
    pub starts_ms: Vec<i64>,
    pub histogram_starts_ms: Vec<i64>,
    /// How many samples the histograms count for.
    histograms_size: usize,
    charge: Charge,
}

impl Samples {
    pub(super) fn new(query: &Query<'_>) -> Result<Self, QueryError> {
        Ok(Samples {
            times_ms: Vec::new(),
            values: Vec::new(),
            histogram_times_ms: Vec::new(),
            histograms: Vec::new(),
            starts_ms: Vec::new(),
            histogram_starts_ms: Vec::new(),
            histograms_size: 0,
            charge: query.charge(0)?,
        })
    }

    pub(super) fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
        self.histogram_times_ms.clear();
        self.histograms.clear();
        self.starts_ms.clear();
        self.histogram_starts_ms.clear();
        self.histograms_size = 0;
    }

    pub(super) fn push(&mut self, time_ms: i64, value: f64) {
        self.times_ms.push(time_ms);
        self.values.push(value);
    }

    pub(super) fn push_histogram(&mut self, time_ms: i64, histogram: Arc<Histogram>) {
        self.histograms_size += histogram.size_in_samples();
        self.histogram_times_ms.push(time_ms);
        self.histograms.push(histogram);
    }

    /// Float number `at` with its start.
    fn started(&self, at: usize) -> Option<Started> {
        start::started(&self.times_ms, &self.starts_ms, at)
    }

    fn histogram_started(&self, at: usize) -> Option<Started> {
        start::started(&self.histogram_times_ms, &self.histogram_starts_ms, at)
    }

    /// Accounts for what was pushed. Their memory stays with the next series.
    pub(super) fn account(&mut self) -> Result<(), QueryError> {
        self.charge
            .reach(self.values.len().saturating_add(self.histograms_size))
    }
}

/// Gives range vectors: labels first, then the samples of one series after the other.
pub(super) trait RangeSource {
    fn series(&self) -> &[SeriesInfo];

    /// Replaces `samples` by those of the next series.
    fn next(&mut self, samples: &mut Samples) -> Result<(), QueryError>;

    fn skip(&mut self) -> Result<(), QueryError>;

    /// The series themselves, where they come out of the store as they are: then each can be read
    /// on its own, and this source gives none of them any more.
    fn take_stored(&mut self) -> Option<StoredUse> {
        None
    }
}

/// A range vector with the windows that are to be looked at.
pub(super) struct RangeVector<'q> {
    pub source: Box<dyn RangeSource + 'q>,
    pub range_ms: i64,
    /// How far windows reach beyond the start and the end of the range.
    pub reach_ms: (i64, i64),
    pub shift: Shift,
    /// Of the argument, for annotations.
    pub span: Span,
}

/// What a function sees of one series at one step: at least one sample.
#[derive(Clone, Copy)]
pub(super) struct Window<'w> {
    pub times_ms: &'w [i64],
    pub values: &'w [f64],
    /// Where the window begins and ends among all floats of the series; both only grow.
    pub first: usize,
    pub end: usize,
    pub beside: &'w HistogramWindow<'w>,
    /// The range: after `start_ms` and up to `end_ms`. Samples lie in it, save where the window
    /// of an anchored or smoothed range reaches beyond.
    pub start_ms: i64,
    pub end_ms: i64,
    pub step: usize,
    /// The time of the step.
    pub time_ms: i64,
}

impl<'w> Window<'w> {
    /// When the counters of the floats started; empty if starts are not looked at.
    fn starts_ms(&self) -> &'w [i64] {
        let all = &self.beside.samples.starts_ms;
        all.get(self.first..self.end).unwrap_or_default()
    }
}

/// The histograms of a window.
#[derive(Clone, Copy)]
pub(super) struct HistogramWindow<'s> {
    samples: &'s Samples,
    pub times_ms: &'s [i64],
    pub histograms: &'s [Arc<Histogram>],
    /// Where the window begins and ends among all histograms of the series; both only grow.
    pub first: usize,
    end: usize,
}

/// A function of a window. It may keep state from window to window of a series, as they move
/// forward only.
pub(super) trait WindowFunction: Send {
    /// Before the first window of a series.
    fn begin(&mut self, _samples: &Samples) {}

    /// Of a window that holds nothing but floats.
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError>;

    /// Of several such windows, each with the result of `evaluate`; some functions are faster so.
    fn evaluate_all(
        &mut self,
        windows: &Windows<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        for window in windows.iter() {
            if let Some(value) = self.evaluate(&window)? {
                column.set(window.step, value);
            }
        }
        Ok(())
    }

    /// Of a window that holds at least one histogram. `notes` says what there is to be told.
    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        self.evaluate_floats_among(window, notes)
    }

    /// The floats of such a window alone; the histograms are passed over.
    fn evaluate_floats_among(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        if window.values.is_empty() {
            return Ok(None);
        }
        notes.add(|annotations, name, span| annotations.histograms_ignored_in_range(name, span));
        let value = self.evaluate(window)?;
        Ok(value.map(SampleValue::Float))
    }

    /// After the last window of a series.
    fn leave(&mut self, _notes: &Notes<'_>) {}

    /// After the last window of a series that gave a float.
    fn finish(&mut self, _labels: &Labels) {}

    /// Whether it may annotate; then no series may be passed over.
    fn annotates(&self) -> bool {
        false
    }
}

/// Where a function tells what it met in a series.
pub(super) struct Notes<'n> {
    query: &'n Query<'n>,
    /// Of the first argument.
    span: Span,
    labels: &'n Labels,
}

impl<'n> Notes<'n> {
    pub(super) fn new(query: &'n Query<'n>, span: Span, labels: &'n Labels) -> Self {
        Notes {
            query,
            span,
            labels,
        }
    }

    /// Runs `add` with the metric's name and the place.
    pub(super) fn add(&self, add: impl FnOnce(&mut Annotations, &str, Span)) {
        let name = self.labels.metric_name().unwrap_or_default();
        self.query
            .annotate(self.span, |annotations, span| add(annotations, name, span));
    }
}

/// A function without state.
pub(super) struct Plain<F>(pub F);

impl<F: FnMut(&Window<'_>) -> Option<f64> + Send> WindowFunction for Plain<F> {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok((self.0)(window))
    }
}

/// Makes a function in its first state, one for each thread; None: there is no such function.
pub(super) type MakeFunction<'q> =
    Box<dyn Fn() -> Option<Box<dyn WindowFunction + 'q>> + Send + Sync + 'q>;

/// A range function applied to a range vector whose series come one after the other.
struct RangeCall<'q> {
    sliding: Sliding<'q>,
    source: Box<dyn RangeSource + 'q>,
    series: Vec<SeriesInfo>,
    next: usize,
    slider: Slider<'q>,
}

/// `series` stands for the series of the input, one for one. `notes_span` is where the call's
/// first argument stands.
pub(super) fn range_call<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    mut input: RangeVector<'q>,
    series: Vec<SeriesInfo>,
    make: MakeFunction<'q>,
    notes_span: Span,
) -> Result<Option<Vector<'q>>, QueryError> {
    let Some(function) = make() else {
        return Ok(None);
    };
    let sliding = Sliding {
        query,
        steps,
        range_ms: input.range_ms,
        reach_ms: input.reach_ms,
        shift: input.shift,
        notes_span,
    };
    if let Some(stored) = input.source.take_stored() {
        let read = StoredCall {
            sliding,
            wanted: stored.wanted,
            annotates: function.annotates(),
            make,
        };
        return scan(query, steps, stored.stored, series, read).map(Some);
    }
    Ok(Some(Box::new(RangeCall {
        sliding,
        source: input.source,
        series,
        next: 0,
        slider: Slider::new(query, function)?,
    })))
}

/// A range function over stored series.
struct StoredCall<'q> {
    sliding: Sliding<'q>,
    wanted: Use,
    annotates: bool,
    make: MakeFunction<'q>,
}

impl<'q> Read for StoredCall<'q> {
    type State = Slider<'q>;

    fn state(&self) -> Result<Self::State, QueryError> {
        let function = (self.make)().ok_or_else(exhausted)?;
        Slider::new(self.sliding.query, function)
    }

    fn read(
        &self,
        slider: &mut Slider<'q>,
        series: &dyn Series,
        column: Column,
        read: &mut usize,
    ) -> Result<Column, QueryError> {
        let samples = &mut slider.samples;
        read_samples(self.sliding.query, series, self.wanted, samples, read)?;
        slider.fill(&self.sliding, series.labels(), column)
    }

    fn must_read_all(&self) -> bool {
        self.annotates
    }
}

impl<'s> HistogramWindow<'s> {
    /// When the counters of the histograms started; empty if starts are not looked at.
    fn starts_ms(&self) -> &'s [i64] {
        let all = &self.samples.histogram_starts_ms;
        all.get(self.first..self.end).unwrap_or_default()
    }

    fn without_first(&self, count: usize) -> Self {
        HistogramWindow {
            times_ms: self.times_ms.get(count..).unwrap_or_default(),
            histograms: self.histograms.get(count..).unwrap_or_default(),
            first: self.first + count,
            ..*self
        }
    }

    fn new(samples: &'s Samples) -> Self {
        HistogramWindow {
            samples,
            first: 0,
            end: 0,
            times_ms: &[],
            histograms: &[],
        }
    }

    fn advance(&mut self, start_ms: i64, end_ms: i64) {
        let all_ms = &self.samples.histogram_times_ms;
        self.end = advance(all_ms, self.end, end_ms);
        self.first = advance(all_ms, self.first, start_ms);
        let range = self.first..self.end;
        self.times_ms = all_ms.get(range.clone()).unwrap_or_default();
        self.histograms = self.samples.histograms.get(range).unwrap_or_default();
    }

    fn is_at_end(&self) -> bool {
        self.end == self.samples.histograms.len()
    }
}

/// How many samples histograms count for.
pub(super) fn sizes(histograms: &[Arc<Histogram>]) -> usize {
    histograms.iter().map(|h| h.size_in_samples()).sum()
}

impl VectorOperator for RangeCall<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let index = self.next;
        self.next += 1;
        self.source.next(&mut self.slider.samples)?;
        let info = self.source.series().get(index).ok_or_else(exhausted)?;
        let Sliding { query, steps, .. } = self.sliding;
        let column = query.column(&steps)?;
        self.slider.fill(&self.sliding, &info.labels, column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        if self.slider.function.annotates() {
            return self.next().map(drop);
        }
        self.next += 1;
        self.source.skip()
    }
}

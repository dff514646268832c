//! Range vectors, and the functions that slide a window over them.
//!
//! A [`RangeSource`] gives the samples of one series at a time; [`RangeCall`] moves the window's
//! two ends over them, each only forward, and asks a [`WindowFunction`] at each step.

use narthex_model::Labels;

use super::budget::Charge;
use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator};
use super::query::Query;
use super::steps::{Shift, Steps};
use crate::syntax::ast::Span;

mod changes;
mod extremes;
mod over_time;
mod quantiles;
mod rate;
mod regression;
pub(super) mod select;
mod smoothing;
pub(super) mod table;

/// The samples of one series, ascending in time, without stale markers.
pub(super) struct Samples {
    pub times_ms: Vec<i64>,
    pub values: Vec<f64>,
    charge: Charge,
}

impl Samples {
    pub(super) fn new(query: &Query<'_>) -> Result<Self, QueryError> {
        Ok(Samples {
            times_ms: Vec::new(),
            values: Vec::new(),
            charge: query.charge(0)?,
        })
    }

    pub(super) fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
    }

    pub(super) fn push(&mut self, time_ms: i64, value: f64) {
        self.times_ms.push(time_ms);
        self.values.push(value);
    }

    /// Accounts for what was pushed.
    pub(super) fn account(&mut self) -> Result<(), QueryError> {
        self.charge.resize(self.values.len())
    }
}

/// Gives range vectors: labels first, then the samples of one series after the other.
pub(super) trait RangeSource {
    fn series(&self) -> &[SeriesInfo];

    /// Replaces `samples` by those of the next series.
    fn next(&mut self, samples: &mut Samples) -> Result<(), QueryError>;

    fn skip(&mut self) -> Result<(), QueryError>;
}

/// A range vector with the windows that are to be looked at.
pub(super) struct RangeVector<'q> {
    pub source: Box<dyn RangeSource + 'q>,
    pub range_ms: i64,
    pub shift: Shift,
    /// Of the argument, for annotations.
    pub span: Span,
}

/// What a function sees of one series at one step: at least one sample.
pub(super) struct Window<'w> {
    pub times_ms: &'w [i64],
    pub values: &'w [f64],
    /// Where the window begins and ends among all samples of the series; both only grow.
    pub first: usize,
    pub end: usize,
    /// Samples lie after `start_ms` and up to `end_ms`.
    pub start_ms: i64,
    pub end_ms: i64,
    pub step: usize,
    /// The time of the step.
    pub time_ms: i64,
}

/// A function of a window. It may keep state from window to window of a series, as they move
/// forward only.
pub(super) trait WindowFunction {
    /// Before the first window of a series.
    fn begin(&mut self, _samples: &Samples) {}

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError>;

    /// After the last window of a series that gave a value.
    fn finish(&mut self, _labels: &Labels) {}

    /// Whether it may annotate; then no series may be passed over.
    fn annotates(&self) -> bool {
        false
    }
}

/// A function without state.
pub(super) struct Plain<F>(pub F);

impl<F: FnMut(&Window<'_>) -> Option<f64>> WindowFunction for Plain<F> {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok((self.0)(window))
    }
}

/// A range function applied to a range vector.
pub(super) struct RangeCall<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    input: RangeVector<'q>,
    series: Vec<SeriesInfo>,
    next: usize,
    samples: Samples,
    function: Box<dyn WindowFunction + 'q>,
}

impl<'q> RangeCall<'q> {
    /// `series` stands for the series of the input, one for one.
    pub(super) fn boxed(
        query: &'q Query<'q>,
        steps: Steps,
        input: RangeVector<'q>,
        series: Vec<SeriesInfo>,
        function: Box<dyn WindowFunction + 'q>,
    ) -> Result<Vector<'q>, QueryError> {
        Ok(Box::new(RangeCall {
            query,
            steps,
            input,
            series,
            next: 0,
            samples: Samples::new(query)?,
            function,
        }))
    }

    fn slide(&mut self, column: &mut Column) -> Result<(), QueryError> {
        let (times_ms, values) = (&self.samples.times_ms, &self.samples.values);
        let (mut first, mut end) = (0, 0);
        let mut seen = 0;
        self.function.begin(&self.samples);
        for step in 0..self.steps.count {
            let time_ms = self.steps.time_ms(step);
            let end_ms = self.input.shift.apply(time_ms);
            let start_ms = end_ms.saturating_sub(self.input.range_ms);
            end = advance(times_ms, end, end_ms);
            first = advance(times_ms, first, start_ms);
            let (Some(window_times), Some(window_values)) =
                (times_ms.get(first..end), values.get(first..end))
            else {
                continue;
            };
            if window_times.is_empty() {
                if end == times_ms.len() && self.input.shift.at_ms.is_none() {
                    break;
                }
                continue;
            }
            seen += window_times.len();
            self.query.check_canceled()?;
            let window = Window {
                times_ms: window_times,
                values: window_values,
                first,
                end,
                start_ms,
                end_ms,
                step,
                time_ms,
            };
            if let Some(value) = self.function.evaluate(&window)? {
                column.set(step, value);
            }
        }
        self.query.budget.count_queryable(seen);
        Ok(())
    }
}

impl VectorOperator for RangeCall<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let index = self.next;
        self.next += 1;
        self.input.source.next(&mut self.samples)?;
        let mut column = self.query.column(&self.steps)?;
        self.slide(&mut column)?;
        if let Some(info) = self.input.source.series().get(index)
            && !column.is_empty()
        {
            self.function.finish(&info.labels);
        }
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        if self.function.annotates() {
            return self.next().map(drop);
        }
        self.next += 1;
        self.input.source.skip()
    }
}

/// The first index from `from` on whose time lies after `time_ms`.
fn advance(times_ms: &[i64], from: usize, time_ms: i64) -> usize {
    let Some(rest) = times_ms.get(from..) else {
        return from;
    };
    let near = rest.iter().take(8).position(|t| *t > time_ms);
    match near {
        Some(steps) => from + steps,
        // Far away, or at the end.
        None => from + rest.partition_point(|t| *t <= time_ms),
    }
}

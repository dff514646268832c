//! Moves windows over the samples of one series.
//!
//! Both ends of a window only go forward. Windows that hold nothing but floats are gathered and
//! given to the function some at a time, so that it can do several at once.

use narthex_model::Labels;

use super::{HistogramWindow, Notes, Samples, Window, WindowFunction, sizes};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::query::Query;
use crate::engine::steps::{Shift, Steps};
use crate::syntax::ast::Span;

/// So many windows are gathered at most.
const GATHERED: usize = 128;

/// So many samples are looked at between two looks at the cancel token.
const PATIENCE: usize = 1 << 14;

/// Windows that a function may look at side by side.
pub(super) const LANES: usize = 4;

/// Which windows there are.
#[derive(Clone, Copy)]
pub(super) struct Sliding<'q> {
    pub query: &'q Query<'q>,
    pub steps: Steps,
    pub range_ms: i64,
    pub reach_ms: (i64, i64),
    pub shift: Shift,
    /// Of the call's first argument.
    pub notes_span: Span,
}

/// What is kept from one series to the next.
pub(super) struct Slider<'q> {
    pub samples: Samples,
    pub function: Box<dyn WindowFunction + 'q>,
    gathered: Vec<Bounds>,
}

/// Where a window lies.
#[derive(Clone, Copy)]
struct Bounds {
    first: usize,
    end: usize,
    start_ms: i64,
    end_ms: i64,
    step: usize,
    time_ms: i64,
}

/// Windows of one series, each with at least one float and no histogram, in the order of the steps.
pub(in crate::engine) struct Windows<'w> {
    samples: &'w Samples,
    beside: &'w HistogramWindow<'w>,
    bounds: &'w [Bounds],
}

impl<'w> Windows<'w> {
    pub(super) fn iter(&self) -> impl Iterator<Item = Window<'w>> {
        self.bounds.iter().map(|bounds| self.window(bounds))
    }

    /// As many of them as go up in fours, and the rest.
    pub(super) fn in_lanes(
        &self,
    ) -> (
        impl Iterator<Item = [Window<'w>; LANES]>,
        impl Iterator<Item = Window<'w>>,
    ) {
        let (lanes, rest) = self.bounds.as_chunks();
        let lanes = lanes
            .iter()
            .map(|lanes| lanes.each_ref().map(|bounds| self.window(bounds)));
        (lanes, rest.iter().map(|bounds| self.window(bounds)))
    }

    /// Of the whole series.
    pub(super) fn all_values(&self) -> &'w [f64] {
        &self.samples.values
    }

    /// Whether neighbouring windows share samples.
    pub(super) fn overlap(&self) -> bool {
        self.bounds
            .windows(2)
            .any(|pair| pair[1].first < pair[0].end)
    }

    fn window(&self, bounds: &Bounds) -> Window<'w> {
        let range = bounds.first..bounds.end;
        Window {
            times_ms: self.samples.times_ms.get(range.clone()).unwrap_or_default(),
            values: self.samples.values.get(range).unwrap_or_default(),
            first: bounds.first,
            end: bounds.end,
            beside: self.beside,
            start_ms: bounds.start_ms,
            end_ms: bounds.end_ms,
            step: bounds.step,
            time_ms: bounds.time_ms,
        }
    }
}

impl<'q> Slider<'q> {
    pub(super) fn new(
        query: &Query<'_>,
        function: Box<dyn WindowFunction + 'q>,
    ) -> Result<Self, QueryError> {
        Ok(Slider {
            samples: Samples::new(query)?,
            function,
            gathered: Vec::new(),
        })
    }

    /// What the function gives for the samples, in an empty column.
    pub(super) fn fill(
        &mut self,
        sliding: &Sliding<'_>,
        labels: &Labels,
        mut column: Column,
    ) -> Result<Column, QueryError> {
        let notes = Notes::new(sliding.query, sliding.notes_span, labels);
        self.function.begin(&self.samples);
        self.slide(sliding, &notes, &mut column)?;
        self.function.leave(&notes);
        if !column.floats().is_empty() {
            self.function.finish(labels);
        }
        Ok(column)
    }

    fn slide(
        &mut self,
        sliding: &Sliding<'_>,
        notes: &Notes<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        let Slider {
            samples,
            function,
            gathered,
        } = self;
        gathered.clear();
        let (samples, function) = (&*samples, &mut **function);
        let mut beside = HistogramWindow::new(samples);
        // What is beside a window counts, too: then each is evaluated at once.
        let only_floats = samples.histograms.is_empty();
        let most = if only_floats { GATHERED } else { 1 };
        let mut ends = Ends::default();
        let (mut seen, mut patience) = (0, PATIENCE);
        for step in 0..sliding.steps.count {
            let bounds = ends.at(sliding, samples, step);
            if !only_floats {
                let (from_ms, until_ms) = sliding.reach(&bounds);
                beside.advance(from_ms, until_ms);
            }
            let mixed = !beside.histograms.is_empty();
            let floats = bounds.end.saturating_sub(bounds.first);
            if floats == 0 && !mixed {
                let at_end = bounds.end == samples.times_ms.len() && beside.is_at_end();
                if at_end && sliding.shift.at_ms.is_none() {
                    break;
                }
                continue;
            }
            seen += floats;
            if !mixed {
                gathered.push(bounds);
            }
            if gathered.len() >= most || seen >= patience {
                evaluate(function, samples, &beside, gathered, column)?;
                sliding.query.check_canceled()?;
                patience = seen.saturating_add(PATIENCE);
            }
            if mixed {
                let windows = Windows {
                    samples,
                    beside: &beside,
                    bounds: &[],
                };
                seen += sizes(beside.histograms);
                evaluate_histograms(function, &windows.window(&bounds), notes, column)?;
            }
        }
        evaluate(function, samples, &beside, gathered, column)?;
        let tell_sizes = |tell: &mut dyn FnMut(usize, usize)| sliding.tell_sizes(samples, tell);
        sliding.query.count_queryable(seen, tell_sizes);
        Ok(())
    }
}

/// Gives the windows that were gathered to the function.
fn evaluate(
    function: &mut dyn WindowFunction,
    samples: &Samples,
    beside: &HistogramWindow<'_>,
    gathered: &mut Vec<Bounds>,
    column: &mut Column,
) -> Result<(), QueryError> {
    if gathered.is_empty() {
        return Ok(());
    }
    let windows = Windows {
        samples,
        beside,
        bounds: gathered,
    };
    function.evaluate_all(&windows, column)?;
    gathered.clear();
    Ok(())
}

/// Apart, so that the loop over windows of floats stays small.
#[inline(never)]
fn evaluate_histograms(
    function: &mut dyn WindowFunction,
    window: &Window<'_>,
    notes: &Notes<'_>,
    column: &mut Column,
) -> Result<(), QueryError> {
    match function.evaluate_histograms(window, notes)? {
        Some(value) => column.set_value(window.step, value),
        None => Ok(()),
    }
}

impl Sliding<'_> {
    /// After which time and up to which the samples of a window lie.
    fn reach(&self, bounds: &Bounds) -> (i64, i64) {
        let (before_ms, after_ms) = self.reach_ms;
        (
            bounds.start_ms.saturating_sub(before_ms),
            bounds.end_ms.saturating_add(after_ms),
        )
    }

    /// Tells for each step how many samples its window holds. Apart from the loop over windows, as
    /// hardly anybody wants to know.
    fn tell_sizes(&self, samples: &Samples, tell: &mut dyn FnMut(usize, usize)) {
        let (before_ms, after_ms) = self.reach_ms;
        let floats_until = |time_ms: i64| samples.times_ms.partition_point(|t| *t <= time_ms);
        // The sizes of all histograms before each.
        let mut sizes = vec![0];
        for histogram in &samples.histograms {
            let before = sizes.last().copied().unwrap_or(0);
            sizes.push(before + histogram.size_in_samples());
        }
        let histograms_until = |time_ms: i64| {
            let count = samples
                .histogram_times_ms
                .partition_point(|t| *t <= time_ms);
            sizes.get(count).copied().unwrap_or(0)
        };
        let until = |time_ms: i64| floats_until(time_ms) + histograms_until(time_ms);
        for step in 0..self.steps.count {
            let end_ms = self.shift.apply(self.steps.time_ms(step));
            let from_ms = end_ms.saturating_sub(self.range_ms.saturating_add(before_ms));
            let until_ms = end_ms.saturating_add(after_ms);
            tell(step, until(until_ms).saturating_sub(until(from_ms)));
        }
    }
}

/// Where the last window began and ended, and how far these went from the one before it: samples
/// are spaced evenly most often.
#[derive(Default)]
struct Ends {
    first: usize,
    end: usize,
    first_stride: usize,
    end_stride: usize,
}

impl Ends {
    fn at(&mut self, sliding: &Sliding<'_>, samples: &Samples, step: usize) -> Bounds {
        let time_ms = sliding.steps.time_ms(step);
        let end_ms = sliding.shift.apply(time_ms);
        let mut bounds = Bounds {
            first: 0,
            end: 0,
            start_ms: end_ms.saturating_sub(sliding.range_ms),
            end_ms,
            step,
            time_ms,
        };
        let (from_ms, until_ms) = sliding.reach(&bounds);
        let times_ms = &samples.times_ms;
        let guessed = |at: usize, stride: usize, time_ms| {
            let guess = at + stride;
            let fits = times_ms.get(guess).is_some_and(|next| *next > time_ms)
                && guess
                    .checked_sub(1)
                    .and_then(|before| times_ms.get(before))
                    .is_some_and(|before| *before <= time_ms);
            if fits {
                guess
            } else {
                advance(times_ms, at, time_ms)
            }
        };
        bounds.end = guessed(self.end, self.end_stride, until_ms);
        bounds.first = guessed(self.first, self.first_stride, from_ms);
        *self = Ends {
            first: bounds.first,
            end: bounds.end,
            first_stride: bounds.first - self.first,
            end_stride: bounds.end - self.end,
        };
        bounds
    }
}

/// The first index from `from` on whose time lies after `time_ms`.
pub(super) fn advance(times_ms: &[i64], from: usize, time_ms: i64) -> usize {
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

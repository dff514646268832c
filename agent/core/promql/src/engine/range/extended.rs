//! `anchored` and `smoothed`: ranges whose values at the borders are known, so that nothing is
//! extrapolated.
//!
//! Anchored ranges begin with the last sample before them, smoothed ones at both ends with the
//! value on the line between the samples around the border. The windows that functions see here
//! reach beyond the range by the lookback.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::{Histogram, Labels, SampleValue};

use super::rate::{Kind, Resets, note_non_counter, seconds};
use super::{HistogramWindow, Notes, Samples, Window, WindowFunction, histogram_extended};
use crate::engine::error::QueryError;
use crate::engine::query::Query;
use crate::syntax::ast::{Span, VectorSelector};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Extension {
    None,
    Anchored,
    Smoothed,
}

const ANCHORED_FUNCTIONS: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED_FUNCTIONS: [&str; 3] = ["delta", "increase", "rate"];

impl Extension {
    pub(in crate::engine) fn of(selector: &VectorSelector) -> Self {
        match (selector.anchored, selector.smoothed) {
            (true, _) => Extension::Anchored,
            (_, true) => Extension::Smoothed,
            _ => Extension::None,
        }
    }

    /// How far windows reach beyond the start and the end of the range.
    pub(in crate::engine) fn reach_ms(self, lookback_ms: i64) -> (i64, i64) {
        match self {
            Extension::None => (0, 0),
            Extension::Anchored => (lookback_ms, 0),
            Extension::Smoothed => (lookback_ms, lookback_ms),
        }
    }

    /// As a result of their own, extended ranges are of floats.
    pub(in crate::engine) fn check_result(
        self,
        histograms: &[(i64, Arc<Histogram>)],
    ) -> Result<(), QueryError> {
        let modifier = match self {
            _ if histograms.is_empty() => return Ok(()),
            Extension::None => return Ok(()),
            Extension::Anchored => "anchored",
            Extension::Smoothed => "smoothed",
        };
        Err(QueryError::execution(format!(
            "{modifier} modifier is not supported with histograms"
        )))
    }

    /// Functions that don't know of samples outside of the range would take them for inner ones.
    pub(in crate::engine) fn check_function(self, name: &str) -> Result<(), QueryError> {
        let (modifier, allowed) = match self {
            Extension::None => return Ok(()),
            Extension::Anchored => ("anchored", &ANCHORED_FUNCTIONS[..]),
            Extension::Smoothed => ("smoothed", &SMOOTHED_FUNCTIONS[..]),
        };
        if allowed.contains(&name) {
            return Ok(());
        }
        Err(QueryError::execution(format!(
            "{modifier} modifier can only be used with: {} - not with {name}",
            allowed.join(", ")
        )))
    }
}

/// Where the borders of a range lie among its samples.
pub(super) struct Place {
    /// The sample before the range, or the first one of all, stands for the left border, `last`
    /// for the right one.
    pub first: usize,
    pub last: usize,
}

impl Place {
    /// None if the range holds nothing.
    pub(super) fn of(times_ms: &[i64], start_ms: i64, end_ms: i64, smoothed: bool) -> Option<Self> {
        let mut last = times_ms.len().checked_sub(1)?;
        let candidates = times_ms.get(..last)?;
        let first = candidates
            .partition_point(|t| *t <= start_ms)
            .saturating_sub(1);
        if smoothed {
            last = candidates.partition_point(|t| *t < end_ms);
        }
        let nothing =
            *times_ms.get(last)? <= start_ms || (smoothed && *times_ms.get(first)? > end_ms);
        (!nothing).then_some(Place { first, last })
    }
}

/// `rate`, `increase` and `delta` between the values at the borders.
pub(super) struct Extended<'q> {
    pub query: &'q Query<'q>,
    pub kind: Kind,
    pub smoothed: bool,
    pub range_ms: i64,
    pub span: Span,
    pub resets: Resets,
}

impl WindowFunction for Extended<'_> {
    fn begin(&mut self, samples: &Samples) {
        if self.kind.is_counter() {
            // Starts are not looked at here, as in Prometheus.
            self.resets.find(samples, false);
        }
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let is_counter = self.kind.is_counter();
        let Some(borders) = Borders::of(window, self.smoothed, is_counter) else {
            return Ok(None);
        };
        let Borders { left, right, .. } = borders;
        let mut increase = right - left;
        if is_counter {
            increase += self.correction(window, &borders);
        }
        if self.kind == Kind::Rate {
            increase /= seconds(self.range_ms);
        }
        Ok(Some(increase))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        let is_counter = self.kind.is_counter();
        let found = histogram_extended::increase(window, self.smoothed, is_counter, notes);
        let Some(mut increase) = found else {
            return Ok(None);
        };
        if self.kind == Kind::Rate {
            increase.divide(seconds(self.range_ms));
        }
        increase.counter_reset = CounterReset::Gauge;
        Ok(Some(SampleValue::Histogram(Arc::new(increase.compacted()))))
    }

    fn annotates(&self) -> bool {
        self.kind.is_counter()
    }

    fn finish(&mut self, labels: &Labels) {
        if self.kind.is_counter() {
            note_non_counter(self.query, labels, self.span);
        }
    }
}

impl Extended<'_> {
    /// What the counter's resets between the borders hide.
    fn correction(&mut self, window: &Window<'_>, borders: &Borders) -> f64 {
        let mut before = borders.left;
        let mut hidden = 0.0;
        let (first, end) = borders.inside;
        if let Some(inside @ [first_value, ..]) = window.values.get(first..end) {
            if *first_value < before {
                hidden += before;
            }
            for at in self
                .resets
                .between(window.first + first, window.first + end)
            {
                if let Some(value) = window.values.get(at - window.first - 1) {
                    hidden += value;
                }
            }
            before = inside.last().copied().unwrap_or(before);
        }
        if borders.right < before {
            hidden += before;
        }
        hidden
    }
}

/// The values at the borders of a range, and which samples of the window lie between them.
struct Borders {
    left: f64,
    right: f64,
    inside: (usize, usize),
}

impl Borders {
    /// None if the range holds nothing.
    fn of(window: &Window<'_>, smoothed: bool, is_counter: bool) -> Option<Self> {
        let (times_ms, values) = (window.times_ms, window.values);
        let sample = |at: usize| Some((*times_ms.get(at)?, *values.get(at)?));
        let Place { mut first, last } =
            Place::of(times_ms, window.start_ms, window.end_ms, smoothed)?;
        let (first_sample, last_sample) = (sample(first)?, sample(last)?);
        let mut left = first_sample.1;
        if smoothed && first_sample.0 < window.start_ms {
            left = interpolate(
                first_sample,
                sample(first + 1)?,
                window.start_ms,
                is_counter,
            );
        }
        let mut right = last_sample.1;
        if smoothed && last > 0 && last_sample.0 > window.end_ms {
            right = interpolate(sample(last - 1)?, last_sample, window.end_ms, is_counter);
        }
        if first_sample.0 <= window.start_ms {
            first += 1;
        }
        let end = last + usize::from(last_sample.0 < window.end_ms);
        Some(Borders {
            left,
            right,
            inside: (first, end.max(first)),
        })
    }
}

/// The value at `time_ms` on the line between two samples. A counter that was reset between them
/// rises from zero.
pub(in crate::engine) fn interpolate(
    before: (i64, f64),
    after: (i64, f64),
    time_ms: i64,
    is_counter: bool,
) -> f64 {
    let (mut low, high) = (before.1, after.1);
    if is_counter && high < low {
        low = 0.0;
    }
    let elapsed = time_ms.saturating_sub(before.0) as f64;
    let whole = after.0.saturating_sub(before.0) as f64;
    low + (high - low) * elapsed / whole
}

/// The samples of an extended range as a result of its own: with values at both borders.
pub(in crate::engine) fn with_borders(
    samples: &Samples,
    start_ms: i64,
    end_ms: i64,
    extension: Extension,
) -> Vec<(i64, f64)> {
    let window = Window {
        times_ms: &samples.times_ms,
        values: &samples.values,
        beside: &HistogramWindow::new(samples),
        first: 0,
        end: samples.values.len(),
        start_ms,
        end_ms,
        step: 0,
        time_ms: end_ms,
    };
    let smoothed = extension == Extension::Smoothed;
    let Some(borders) = Borders::of(&window, smoothed, false) else {
        return Vec::new();
    };
    let (first, end) = borders.inside;
    let times_ms = samples.times_ms.get(first..end).unwrap_or_default();
    let values = samples.values.get(first..end).unwrap_or_default();
    let inside = times_ms.iter().copied().zip(values.iter().copied());
    std::iter::once((start_ms, borders.left))
        .chain(inside)
        .chain([(end_ms, borders.right)])
        .collect()
}

/// `changes` and `resets`, from the last sample up to the start of the range on.
pub(super) struct Anchored<F>(pub F);

impl<F: WindowFunction> WindowFunction for Anchored<F> {
    fn begin(&mut self, samples: &Samples) {
        self.0.begin(samples);
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        match Anchor::of(window) {
            Some(anchor) => self.0.evaluate(&anchor.window(window)),
            None => Ok(None),
        }
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        match Anchor::of(window) {
            Some(anchor) => self.0.evaluate_histograms(&anchor.window(window), notes),
            None => Ok(None),
        }
    }
}

/// Where a window begins if it has only the last of the samples up to the start of the range.
struct Anchor<'w> {
    floats: usize,
    beside: HistogramWindow<'w>,
}

impl<'w> Anchor<'w> {
    /// None if nothing lies after the start.
    fn of(window: &Window<'w>) -> Option<Self> {
        let up_to_start = |times_ms: &[i64]| times_ms.partition_point(|t| *t <= window.start_ms);
        let histogram_times_ms = window.beside.times_ms;
        let mut floats = up_to_start(window.times_ms);
        let mut histograms = up_to_start(histogram_times_ms);
        if floats == window.times_ms.len() && histograms == histogram_times_ms.len() {
            return None;
        }
        let last = |times_ms: &[i64], count: usize| times_ms.get(count.checked_sub(1)?).copied();
        let last_float = last(window.times_ms, floats);
        if last_float >= last(histogram_times_ms, histograms) {
            floats = floats.saturating_sub(1);
        } else {
            histograms = histograms.saturating_sub(1);
        }
        Some(Anchor {
            floats,
            beside: window.beside.without_first(histograms),
        })
    }

    fn window<'a>(&'a self, window: &Window<'a>) -> Window<'a> {
        Window {
            times_ms: window.times_ms.get(self.floats..).unwrap_or_default(),
            values: window.values.get(self.floats..).unwrap_or_default(),
            first: window.first + self.floats,
            beside: &self.beside,
            ..*window
        }
    }
}

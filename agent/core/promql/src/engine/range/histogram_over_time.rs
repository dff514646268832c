//! Functions of windows that do something with histograms and need no state: sums, means, counts,
//! the first and the last sample.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::histogram_arithmetic::{HistogramError, HistogramSum};
use narthex_model::{Histogram, SampleValue};

use super::rate::{count, seconds};
use super::{Notes, Window, WindowFunction};
use crate::engine::annotations::HistogramOperation;
use crate::engine::error::QueryError;
use crate::engine::kahan::HistogramMean;

/// Of a window with at least one histogram.
pub(super) type Function = fn(&Window<'_>, &Notes<'_>) -> Option<SampleValue>;

/// One function of windows of floats, one of those with histograms.
pub(super) struct Both {
    pub floats: fn(&Window<'_>) -> Option<f64>,
    pub histograms: Function,
}

impl WindowFunction for Both {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok((self.floats)(window))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        Ok((self.histograms)(window, notes))
    }
}

pub(super) fn sum(window: &Window<'_>, notes: &Notes<'_>) -> Option<SampleValue> {
    add_up(
        window,
        notes,
        HistogramSum::new,
        HistogramSum::add,
        HistogramSum::finish,
    )
}

pub(super) fn avg(window: &Window<'_>, notes: &Notes<'_>) -> Option<SampleValue> {
    add_up(
        window,
        notes,
        HistogramMean::from_first,
        HistogramMean::add,
        HistogramMean::mean,
    )
}

pub(super) fn samples(window: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    let samples = window.values.len() + window.beside.histograms.len();
    Some(SampleValue::Float(count(samples)))
}

pub(super) fn present(_: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    Some(SampleValue::Float(1.0))
}

pub(super) fn last(window: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    match (window.times_ms.last(), window.beside.times_ms.last()) {
        (Some(float_ms), Some(histogram_ms)) if float_ms > histogram_ms => {
            window.values.last().copied().map(SampleValue::Float)
        }
        _ => window
            .beside
            .histograms
            .last()
            .cloned()
            .map(SampleValue::Histogram),
    }
}

pub(super) fn first(window: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    match (window.times_ms.first(), window.beside.times_ms.first()) {
        (Some(float_ms), Some(histogram_ms)) if float_ms < histogram_ms => {
            window.values.first().copied().map(SampleValue::Float)
        }
        _ => window
            .beside
            .histograms
            .first()
            .cloned()
            .map(SampleValue::Histogram),
    }
}

pub(super) fn last_time(window: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    let times = [window.times_ms.last(), window.beside.times_ms.last()];
    let last_ms = times.into_iter().flatten().max()?;
    Some(SampleValue::Float(seconds(*last_ms)))
}

pub(super) fn first_time(window: &Window<'_>, _: &Notes<'_>) -> Option<SampleValue> {
    let times = [window.times_ms.first(), window.beside.times_ms.first()];
    let first_ms = times.into_iter().flatten().min()?;
    Some(SampleValue::Float(seconds(*first_ms)))
}

/// Hints that contradict each other, seen in what is added up.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct HintsSeen {
    reset: bool,
    not_reset: bool,
}

impl HintsSeen {
    pub(in crate::engine) fn see(&mut self, histogram: &Histogram) {
        self.reset |= histogram.counter_reset == CounterReset::Reset;
        self.not_reset |= histogram.counter_reset == CounterReset::NotReset;
    }

    pub(in crate::engine) fn collide(self) -> bool {
        self.reset && self.not_reset
    }
}

/// Nothing comes of a mix of floats and histograms, or of exponential and custom buckets.
fn add_up<S>(
    window: &Window<'_>,
    notes: &Notes<'_>,
    begin: fn(Histogram) -> S,
    add: fn(&mut S, &Histogram) -> Result<bool, HistogramError>,
    finish: fn(S) -> Histogram,
) -> Option<SampleValue> {
    if !window.values.is_empty() {
        notes.add(|annotations, name, span| annotations.mixed_floats_and_histograms(name, span));
        return None;
    }
    let (first, rest) = window.beside.histograms.split_first()?;
    let mut hints = HintsSeen::default();
    hints.see(first);
    let mut sum = begin(Histogram::clone(first));
    let mut bounds_reconciled = false;
    for histogram in rest {
        hints.see(histogram);
        match add(&mut sum, histogram) {
            Ok(reconciled) => bounds_reconciled |= reconciled,
            Err(HistogramError::MixedSchemas) => {
                notes.add(|annotations, name, span| {
                    annotations.mixed_exponential_and_custom(name, span);
                });
                return None;
            }
        }
    }
    if hints.collide() {
        notes.add(|annotations, _, span| {
            annotations.counter_reset_collision(HistogramOperation::Aggregation, span);
        });
    }
    if bounds_reconciled {
        notes.add(|annotations, _, span| {
            annotations.bounds_reconciled(HistogramOperation::Aggregation, span);
        });
    }
    Some(SampleValue::Histogram(Arc::new(finish(sum))))
}

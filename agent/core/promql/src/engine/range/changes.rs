//! `changes` and `resets`: how often neighbouring samples differ, from running counts.

use narthex_model::{Histogram, SampleValue};

use super::rate::count;
use super::start::{Started, starts_anew};
use super::{Notes, Samples, Window, WindowFunction};
use crate::engine::column::Value;
use crate::engine::error::QueryError;

pub(super) struct Events {
    /// Also where the counter started anew.
    starts: bool,
    happened: fn(before: f64, after: f64) -> bool,
    happened_to_histograms: fn(before: &Histogram, after: &Histogram) -> bool,
    /// How often it happened up to and with each sample, floats and histograms in order of time.
    up_to: Vec<usize>,
}

/// With its start, where starts are looked at.
type Sample<'s> = Option<(Value<'s>, Option<Started>)>;

fn float_sample(samples: &Samples, at: usize) -> Sample<'_> {
    let value = samples.values.get(at)?;
    Some((Value::Float(*value), samples.started(at)))
}

impl Events {
    pub(super) fn changes() -> Self {
        Events {
            starts: false,
            happened: |before, after| before != after && !(before.is_nan() && after.is_nan()),
            happened_to_histograms: |before, after| !after.is_same_as(before),
            up_to: Vec::new(),
        }
    }

    pub(super) fn resets() -> Self {
        Events {
            starts: true,
            happened: |before, after| after < before,
            happened_to_histograms: |before, after| after.is_reset_after(before),
            up_to: Vec::new(),
        }
    }

    /// As `begin`, where there are histograms. From a float to a histogram or back it happens
    /// always.
    fn begin_mixed(&mut self, samples: &Samples) {
        let mut floats = (0..samples.values.len())
            .filter_map(|at| Some((*samples.times_ms.get(at)?, at)))
            .peekable();
        let histograms = samples.histogram_times_ms.iter().enumerate();
        let mut before = None;
        for (at, time_ms) in histograms {
            while let Some((_, float)) = floats.next_if(|(float_ms, _)| float_ms < time_ms) {
                before = self.count(before, float_sample(samples, float));
            }
            let value = samples.histograms.get(at).map(Value::Histogram);
            before = self.count(before, value.map(|v| (v, samples.histogram_started(at))));
        }
        for (_, float) in floats {
            before = self.count(before, float_sample(samples, float));
        }
    }

    /// Notes the next sample and gives it back.
    fn count<'s>(&mut self, before: Sample<'s>, now: Sample<'s>) -> Sample<'s> {
        let happens = match (before, now) {
            (Some((Value::Float(before), s)), Some((Value::Float(now), t))) => {
                (self.happened)(before, now) || (self.starts && starts_anew(s, t))
            }
            (Some((Value::Histogram(before), s)), Some((Value::Histogram(now), t))) => {
                (self.happened_to_histograms)(before, now) || (self.starts && starts_anew(s, t))
            }
            (None, _) => false,
            _ => true,
        };
        let total = self.up_to.last().copied().unwrap_or(0);
        self.up_to.push(total + usize::from(happens));
        now
    }

    fn between(&self, window: &Window<'_>) -> Option<f64> {
        let start = window.first + window.beside.first;
        let first = self.up_to.get(start)?;
        let samples = window.values.len() + window.beside.histograms.len();
        let last = self.up_to.get(start + samples - 1)?;
        Some(count(last.saturating_sub(*first)))
    }
}

impl WindowFunction for Events {
    fn begin(&mut self, samples: &Samples) {
        self.up_to.clear();
        if !samples.histograms.is_empty() {
            return self.begin_mixed(samples);
        }
        let mut total = 0;
        let mut before = None;
        let with_starts = self.starts && !samples.starts_ms.is_empty();
        for (at, value) in samples.values.iter().enumerate() {
            let by_value = before.is_some_and(|before| (self.happened)(before, *value));
            let by_start = || {
                let before = at.checked_sub(1).and_then(|at| samples.started(at));
                starts_anew(before, samples.started(at))
            };
            if by_value || (with_starts && by_start()) {
                total += 1;
            }
            self.up_to.push(total);
            before = Some(*value);
        }
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok(self.between(window))
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        _: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        Ok(self.between(window).map(SampleValue::Float))
    }
}

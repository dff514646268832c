//! `changes` and `resets`: how often neighbouring samples differ, from running counts.

use narthex_model::{Histogram, SampleValue};

use super::rate::count;
use super::{Notes, Samples, Window, WindowFunction};
use crate::engine::column::Value;
use crate::engine::error::QueryError;

pub(super) struct Events {
    happened: fn(before: f64, after: f64) -> bool,
    happened_to_histograms: fn(before: &Histogram, after: &Histogram) -> bool,
    /// How often it happened up to and with each sample, floats and histograms in order of time.
    up_to: Vec<usize>,
}

impl Events {
    pub(super) fn changes() -> Self {
        Events {
            happened: |before, after| before != after && !(before.is_nan() && after.is_nan()),
            happened_to_histograms: |before, after| !after.is_same_as(before),
            up_to: Vec::new(),
        }
    }

    pub(super) fn resets() -> Self {
        Events {
            happened: |before, after| after < before,
            happened_to_histograms: |before, after| after.is_reset_after(before),
            up_to: Vec::new(),
        }
    }

    /// As `begin`, where there are histograms. From a float to a histogram or back it happens
    /// always.
    fn begin_mixed(&mut self, samples: &Samples) {
        let floats = samples.times_ms.iter().zip(&samples.values);
        let mut floats = floats.peekable();
        let histograms = samples.histogram_times_ms.iter().zip(&samples.histograms);
        let mut total = 0;
        let mut before: Option<Value<'_>> = None;
        for (time_ms, histogram) in histograms {
            while let Some((_, value)) = floats.next_if(|(float_ms, _)| *float_ms < time_ms) {
                total += usize::from(self.happens(before, Value::Float(*value)));
                self.up_to.push(total);
                before = Some(Value::Float(*value));
            }
            total += usize::from(self.happens(before, Value::Histogram(histogram)));
            self.up_to.push(total);
            before = Some(Value::Histogram(histogram));
        }
        for (_, value) in floats {
            total += usize::from(self.happens(before, Value::Float(*value)));
            self.up_to.push(total);
            before = Some(Value::Float(*value));
        }
    }

    fn happens(&self, before: Option<Value<'_>>, now: Value<'_>) -> bool {
        match (before, now) {
            (None, _) => false,
            (Some(Value::Float(before)), Value::Float(now)) => (self.happened)(before, now),
            (Some(Value::Histogram(before)), Value::Histogram(now)) => {
                (self.happened_to_histograms)(before, now)
            }
            _ => true,
        }
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
        for value in &samples.values {
            if before.is_some_and(|before| (self.happened)(before, *value)) {
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

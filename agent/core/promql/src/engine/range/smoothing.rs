//! `double_exponential_smoothing`: a weighted moving average that follows the trend.

use std::sync::Arc;

use narthex_model::SampleValue;

use super::{Notes, Window, WindowFunction};
use crate::engine::error::QueryError;
use crate::engine::scalar::Scalar;

pub(super) struct Smoothing {
    pub smoothing: Arc<Scalar>,
    pub trend: Arc<Scalar>,
}

impl WindowFunction for Smoothing {
    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        // Wrong factors are an error even where there is nothing to be smoothed.
        factor("smoothing", self.smoothing.at(window.step))?;
        factor("trend", self.trend.at(window.step))?;
        self.evaluate_floats_among(window, notes)
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let smoothing = factor("smoothing", self.smoothing.at(window.step))?;
        let trend = factor("trend", self.trend.at(window.step))?;
        let &[first, second, ..] = window.values else {
            return Ok(None);
        };
        let (mut level, mut before) = (first, 0.0);
        let mut slope = second - first;
        for (index, value) in window.values.iter().enumerate().skip(1) {
            if index > 1 {
                slope = trend * (level - before) + (1.0 - trend) * slope;
            }
            let scaled = smoothing * value;
            let carried = (1.0 - smoothing) * (level + slope);
            (before, level) = (level, scaled + carried);
        }
        Ok(Some(level))
    }
}

fn factor(name: &str, value: f64) -> Result<f64, QueryError> {
    // NaN passes, as it is neither too small nor too large.
    if value <= 0.0 || value >= 1.0 {
        let short = if name == "smoothing" { "sf" } else { "tf" };
        return Err(QueryError::execution(format!(
            "invalid {name} factor. Expected: 0 < {short} < 1, got: {value:.6}"
        )));
    }
    Ok(value)
}

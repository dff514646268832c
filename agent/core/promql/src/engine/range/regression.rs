//! `deriv` and `predict_linear`: a line through the samples by least squares.

use std::sync::Arc;

use super::rate::{count, seconds};
use super::{Window, WindowFunction};
use crate::engine::error::QueryError;
use crate::engine::kahan::KahanSum;
use crate::engine::scalar::Scalar;

#[derive(Default)]
pub(super) struct Deriv {
    times: Times,
}

impl WindowFunction for Deriv {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        // A time near the samples keeps the numbers small and exact.
        let first_ms = window.times_ms.first();
        let line = first_ms.and_then(|first_ms| self.times.line(window, *first_ms));
        Ok(line.map(|line| line.slope))
    }
}

pub(super) struct PredictLinear {
    ahead_seconds: Arc<Scalar>,
    times: Times,
}

impl PredictLinear {
    pub(super) fn new(ahead_seconds: Arc<Scalar>) -> Self {
        PredictLinear {
            ahead_seconds,
            times: Times::default(),
        }
    }
}

impl WindowFunction for PredictLinear {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let ahead_seconds = self.ahead_seconds.at(window.step);
        let line = self.times.line(window, window.time_ms);
        Ok(line.map(|line| line.slope * ahead_seconds + line.intercept))
    }
}

struct Line {
    /// Per second.
    slope: f64,
    /// The value at the time that was asked for.
    intercept: f64,
}

/// How the times of a window lie and what depends on nothing else. Most often they lie the same in
/// the next window, and in those of other series.
#[derive(Default)]
struct Times {
    /// Seen from the time of the intercept.
    offsets_ms: Vec<i64>,
    seconds: Vec<f64>,
    sum: f64,
    sum_of_squares: f64,
}

impl Times {
    fn line(&mut self, window: &Window<'_>, intercept_ms: i64) -> Option<Line> {
        let (first, rest) = window.values.split_first()?;
        if rest.is_empty() {
            return None;
        }
        if rest.iter().all(|value| value == first) {
            return Some(if first.is_infinite() {
                Line {
                    slope: f64::NAN,
                    intercept: f64::NAN,
                }
            } else {
                Line {
                    slope: 0.0,
                    intercept: *first,
                }
            });
        }
        self.look_at(window.times_ms, intercept_ms);
        let [mut sum_y, mut sum_xy] = [KahanSum::default(); 2];
        for (x, y) in self.seconds.iter().zip(window.values) {
            sum_y.add(*y);
            sum_xy.add(x * y);
        }
        let n = count(window.values.len());
        let (x, y) = (self.sum, sum_y.total());
        let covariance = sum_xy.total() - x * y / n;
        let variance = self.sum_of_squares - x * x / n;
        let slope = covariance / variance;
        Some(Line {
            slope,
            intercept: y / n - slope * x / n,
        })
    }

    fn look_at(&mut self, times_ms: &[i64], intercept_ms: i64) {
        let offset_ms = |time_ms: &i64| time_ms.saturating_sub(intercept_ms);
        let pairs = || times_ms.iter().zip(&self.offsets_ms);
        let moved = |(time_ms, known): (&i64, &i64)| time_ms.wrapping_sub(intercept_ms) != *known;
        // Counted to the end, which takes less than looking for the first.
        if times_ms.len() == self.offsets_ms.len()
            && pairs().filter(|pair| moved(*pair)).count() == 0
        {
            return;
        }
        self.offsets_ms.clear();
        self.offsets_ms.extend(times_ms.iter().map(offset_ms));
        self.seconds.clear();
        self.seconds
            .extend(self.offsets_ms.iter().copied().map(seconds));
        let [mut sum, mut sum_of_squares] = [KahanSum::default(); 2];
        for x in &self.seconds {
            sum.add(*x);
            sum_of_squares.add(x * x);
        }
        (self.sum, self.sum_of_squares) = (sum.total(), sum_of_squares.total());
    }
}

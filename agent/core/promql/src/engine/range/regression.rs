//! `deriv` and `predict_linear`: a line through the samples by least squares.

use std::sync::Arc;

use super::lanes::{Lanes, SumLanes, each, split};
use super::rate::{count, seconds};
use super::slide::{LANES, Windows};
use super::{Window, WindowFunction};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::kahan::KahanSum;
use crate::engine::scalar::Scalar;

/// By what is wanted of the line.
pub(super) enum Regression {
    Slope,
    /// The value so many seconds after the time of the step.
    Ahead(Arc<Scalar>),
}

impl Regression {
    fn value(&self, window: &Window<'_>, line: &Line) -> f64 {
        match self {
            Regression::Slope => line.slope,
            Regression::Ahead(seconds) => line.slope * seconds.at(window.step) + line.intercept,
        }
    }

    /// The time from which the window's times are seen.
    fn origin_ms(&self, window: &Window<'_>) -> i64 {
        match self {
            // A time near the samples keeps the numbers small and exact.
            Regression::Slope => window.times_ms.first().copied().unwrap_or_default(),
            Regression::Ahead(_) => window.time_ms,
        }
    }

    fn line(&self, window: &Window<'_>) -> Line {
        let origin_ms = self.origin_ms(window);
        let [mut x, mut xx, mut y, mut xy] = [KahanSum::default(); 4];
        for (time_ms, value) in window.times_ms.iter().zip(window.values) {
            let time = seconds(time_ms.saturating_sub(origin_ms));
            x.add(time);
            xx.add(time * time);
            y.add(*value);
            xy.add(time * value);
        }
        Line::of([x, xx, y, xy], window.values.len())
    }

    /// What [`Regression::line`] gives for each of windows side by side. `seconds_of` is room for
    /// their times.
    fn lines(&self, windows: &[Window<'_>; LANES], seconds_of: &mut Vec<Lanes>) -> [Line; LANES] {
        let origins_ms = windows.each_ref().map(|window| self.origin_ms(window));
        let lengths = windows.each_ref().map(|window| window.values.len());
        let (values, more_values) = split(windows.each_ref().map(|window| window.values));
        let (times_ms, more_times_ms) = split(windows.each_ref().map(|window| window.times_ms));
        seconds_of.clear();
        seconds_of.resize(values[0].len(), [0.0; LANES]);
        let [mut sum_x, mut sum_xx, mut sum_y, mut sum_xy] = [const { SumLanes::new() }; 4];
        // Two sums at a time: so many stay in the processor's registers.
        for (at, x) in seconds_of.iter_mut().enumerate() {
            for lane in 0..LANES {
                x[lane] = seconds(times_ms[lane][at].saturating_sub(origins_ms[lane]));
            }
            sum_x.add(*x);
            sum_xx.add(each(*x, *x, |a, b| a * b));
        }
        for (at, x) in seconds_of.iter().enumerate() {
            let y = values.map(|values| values[at]);
            sum_y.add(y);
            sum_xy.add(each(*x, y, |a, b| a * b));
        }
        let mut sums = [sum_x, sum_xx, sum_y, sum_xy];
        std::array::from_fn(|lane| {
            let rest = more_times_ms[lane].iter().zip(more_values[lane]);
            for (time_ms, y) in rest {
                let x = seconds(time_ms.saturating_sub(origins_ms[lane]));
                for (sum, addend) in sums.iter_mut().zip([x, x * x, *y, x * y]) {
                    sum.add_to(lane, addend);
                }
            }
            let sums = sums.each_ref().map(|sums| sums.sum(lane));
            match sums {
                [Some(x), Some(xx), Some(y), Some(xy)] => Line::of([x, xx, y, xy], lengths[lane]),
                _ => self.line(&windows[lane]),
            }
        })
    }
}

impl WindowFunction for Regression {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        if window.values.len() < 2 {
            return Ok(None);
        }
        let line = Line::level(window.values).unwrap_or_else(|| self.line(window));
        Ok(Some(self.value(window, &line)))
    }

    fn evaluate_all(
        &mut self,
        windows: &Windows<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        let (lanes, rest) = windows.in_lanes();
        let mut seconds_of = Vec::new();
        for windows in lanes {
            let lines = self.lines(&windows, &mut seconds_of);
            for (window, line) in windows.iter().zip(lines) {
                if window.values.len() > 1 {
                    let line = Line::level(window.values).unwrap_or(line);
                    column.set(window.step, self.value(window, &line));
                }
            }
        }
        for window in rest {
            if let Some(value) = self.evaluate(&window)? {
                column.set(window.step, value);
            }
        }
        Ok(())
    }
}

struct Line {
    /// Per second.
    slope: f64,
    /// The value at the origin of the times.
    intercept: f64,
}

impl Line {
    /// Of the compensated sums over times x and values y: x, x², y, xy.
    fn of(sums: [KahanSum; 4], samples: usize) -> Self {
        let n = count(samples);
        let [x, xx, y, xy] = sums.map(|sum| sum.total());
        let covariance = xy - x * y / n;
        let variance = xx - x * x / n;
        let slope = covariance / variance;
        Line {
            slope,
            intercept: y / n - slope * x / n,
        }
    }

    /// Through values that are all the same.
    fn level(values: &[f64]) -> Option<Self> {
        let (first, rest) = values.split_first()?;
        if rest.iter().any(|value| value != first) {
            return None;
        }
        Some(match first.is_infinite() {
            true => Line {
                slope: f64::NAN,
                intercept: f64::NAN,
            },
            false => Line {
                slope: 0.0,
                intercept: *first,
            },
        })
    }
}

//! `deriv` and `predict_linear`: a line through the samples by least squares.

use std::sync::Arc;

use super::lanes::{SumLanes, split};
use super::rate::{count, seconds};
use super::slide::{LANES, Windows};
use super::{Window, WindowFunction};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::kahan::KahanSum;
use crate::engine::scalar::Scalar;

pub(super) struct Regression {
    wanted: Wanted,
    times: Times,
}

/// What is wanted of the line.
enum Wanted {
    Slope,
    /// The value so many seconds after the time of the step.
    Ahead(Arc<Scalar>),
}

impl Regression {
    pub(super) fn deriv() -> Self {
        Regression {
            wanted: Wanted::Slope,
            times: Times::default(),
        }
    }

    pub(super) fn predict_linear(ahead_seconds: Arc<Scalar>) -> Self {
        Regression {
            wanted: Wanted::Ahead(ahead_seconds),
            times: Times::default(),
        }
    }

    fn value(&self, window: &Window<'_>, line: &Line) -> f64 {
        match &self.wanted {
            Wanted::Slope => line.slope,
            Wanted::Ahead(seconds) => line.slope * seconds.at(window.step) + line.intercept,
        }
    }

    /// The time from which the window's times are seen.
    fn origin_ms(&self, window: &Window<'_>) -> i64 {
        match &self.wanted {
            // A time near the samples keeps the numbers small and exact.
            Wanted::Slope => window.times_ms.first().copied().unwrap_or_default(),
            Wanted::Ahead(_) => window.time_ms,
        }
    }

    /// Lines through windows side by side, if their times lie alike.
    fn lines(&mut self, windows: &[Window<'_>; LANES]) -> Option<[Line; LANES]> {
        let [first, others @ ..] = windows;
        if first.values.len() < 2 {
            return None;
        }
        self.times.look_at(first.times_ms, self.origin_ms(first));
        let lie_alike =
            |other: &Window<'_>| self.times.lie_as(other.times_ms, self.origin_ms(other));
        if !others.iter().all(lie_alike) {
            return None;
        }
        let (sums_y, sums_xy) = self
            .times
            .sums(windows.each_ref().map(|window| window.values));
        Some(std::array::from_fn(|lane| {
            let values = windows[lane].values;
            constant(values).unwrap_or_else(|| match (sums_y.sum(lane), sums_xy.sum(lane)) {
                (Some(sum_y), Some(sum_xy)) => self.times.through(values.len(), sum_y, sum_xy),
                _ => self.times.line(values),
            })
        }))
    }
}

impl WindowFunction for Regression {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        if window.values.len() < 2 {
            return Ok(None);
        }
        let line = constant(window.values).unwrap_or_else(|| {
            self.times.look_at(window.times_ms, self.origin_ms(window));
            self.times.line(window.values)
        });
        Ok(Some(self.value(window, &line)))
    }

    fn evaluate_all(
        &mut self,
        windows: &Windows<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        let (lanes, rest) = windows.in_lanes();
        for windows in lanes {
            let lines = self.lines(&windows);
            for (lane, window) in windows.iter().enumerate() {
                let line = lines.as_ref().map(|lines| &lines[lane]);
                let value = match line {
                    Some(line) => Some(self.value(window, line)),
                    None => self.evaluate(window)?,
                };
                if let Some(value) = value {
                    column.set(window.step, value);
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

/// How the times of a window lie and what depends on nothing else. Most often they lie the same in
/// the next window, and in those of other series.
#[derive(Default)]
struct Times {
    /// Seen from the origin.
    offsets_ms: Vec<i64>,
    seconds: Vec<f64>,
    sum: f64,
    sum_of_squares: f64,
}

impl Times {
    /// Through values that lie at these times.
    fn line(&self, values: &[f64]) -> Line {
        let [mut sum_y, mut sum_xy] = [KahanSum::default(); 2];
        for (x, y) in self.seconds.iter().zip(values) {
            sum_y.add(*y);
            sum_xy.add(x * y);
        }
        self.through(values.len(), sum_y, sum_xy)
    }

    fn through(&self, samples: usize, sum_y: KahanSum, sum_xy: KahanSum) -> Line {
        let n = count(samples);
        let (x, y) = (self.sum, sum_y.total());
        let covariance = sum_xy.total() - x * y / n;
        let variance = self.sum_of_squares - x * x / n;
        let slope = covariance / variance;
        Line {
            slope,
            intercept: y / n - slope * x / n,
        }
    }

    /// Of the values, and of times with values, of windows that all lie at these times.
    fn sums(&self, windows: [&[f64]; LANES]) -> (SumLanes, SumLanes) {
        let (mut sums_y, mut sums_xy) = (SumLanes::default(), SumLanes::default());
        let (windows, _) = split(windows, self.seconds.len());
        for (at, x) in self.seconds.iter().enumerate() {
            let ys = windows.map(|values| values[at]);
            sums_y.add(ys);
            sums_xy.add(ys.map(|y| x * y));
        }
        (sums_y, sums_xy)
    }

    fn lie_as(&self, times_ms: &[i64], origin_ms: i64) -> bool {
        let pairs = || times_ms.iter().zip(&self.offsets_ms);
        let moved = |(time_ms, known): (&i64, &i64)| time_ms.wrapping_sub(origin_ms) != *known;
        // Counted to the end, which takes less than looking for the first.
        times_ms.len() == self.offsets_ms.len() && pairs().filter(|pair| moved(*pair)).count() == 0
    }

    fn look_at(&mut self, times_ms: &[i64], origin_ms: i64) {
        if self.lie_as(times_ms, origin_ms) {
            return;
        }
        let offset_ms = |time_ms: &i64| time_ms.saturating_sub(origin_ms);
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

/// The line through values that are all the same.
fn constant(values: &[f64]) -> Option<Line> {
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

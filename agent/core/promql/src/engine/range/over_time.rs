//! Sums, means and spread of a window.
//!
//! A compensated sum depends on its order, so each window is added up anew, in its order; several
//! windows side by side, as a processor can do more than one addition at a time. Only where all sums
//! are exact does their order mean nothing, and they come from running sums.

use narthex_model::SampleValue;

use super::histogram_over_time::Function;
use super::lanes::{SumLanes, split};
use super::rate::count;
use super::slide::{LANES, Windows};
use super::{Notes, Samples, Window, WindowFunction};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::kahan::{KahanMean, KahanSum};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Sum,
    Mean,
}

/// `sum_over_time` and `avg_over_time`.
pub(super) struct Totals {
    total: Total,
    histograms: Function,
    exact: ExactSums,
}

impl Totals {
    pub(super) fn new(total: Total, histograms: Function) -> Self {
        Totals {
            total,
            histograms,
            exact: ExactSums::default(),
        }
    }

    /// From a window's sum.
    fn total_of(&self, sum: KahanSum, samples: usize) -> f64 {
        match self.total {
            Total::Sum => sum.total(),
            Total::Mean => sum.sum / count(samples) + sum.compensation / count(samples),
        }
    }

    fn of(&self, window: &Window<'_>) -> Option<f64> {
        match self.total {
            Total::Sum => Some(sum(window)),
            Total::Mean => avg(window),
        }
    }
}

impl WindowFunction for Totals {
    fn begin(&mut self, _: &Samples) {
        self.exact.known = Known::Nothing;
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        Ok(self.of(window))
    }

    fn evaluate_all(
        &mut self,
        windows: &Windows<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        if windows.overlap() && self.exact.hold(windows) {
            for window in windows.iter() {
                let sum = KahanSum::from_first(self.exact.sum(&window));
                column.set(window.step, self.total_of(sum, window.values.len()));
            }
            return Ok(());
        }
        let (lanes, rest) = windows.in_lanes();
        for windows in lanes {
            let sums = SumLanes::of(windows.map(|window| window.values));
            for (lane, window) in windows.iter().enumerate() {
                let value = match sums.sum(lane) {
                    Some(sum) => Some(self.total_of(sum, window.values.len())),
                    None => self.of(window),
                };
                if let Some(value) = value {
                    column.set(window.step, value);
                }
            }
        }
        for window in rest {
            if let Some(value) = self.of(&window) {
                column.set(window.step, value);
            }
        }
        Ok(())
    }

    fn evaluate_histograms(
        &mut self,
        window: &Window<'_>,
        notes: &Notes<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        Ok((self.histograms)(window, notes))
    }
}

fn sum(window: &Window<'_>) -> f64 {
    let mut sum = KahanSum::default();
    for value in window.values {
        sum.add(*value);
    }
    if sum.sum.is_infinite() {
        sum.sum
    } else {
        sum.total()
    }
}

fn avg(window: &Window<'_>) -> Option<f64> {
    let (first, rest) = window.values.split_first()?;
    let mut mean = KahanMean::from_first(*first);
    for value in rest {
        mean.add(*value);
    }
    Some(mean.mean())
}

/// Running sums of a series of whole numbers that are small enough for all sums to be exact: then a
/// compensated sum loses nothing either, and compensates nothing.
#[derive(Default)]
struct ExactSums {
    known: Known,
    /// Of the samples before each one, and of all.
    before: Vec<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nobody has looked at this series yet.
    #[default]
    Nothing,
    Exact,
    NotExact,
}

impl ExactSums {
    /// Whether there are such sums of the windows' series.
    fn hold(&mut self, windows: &Windows<'_>) -> bool {
        if self.known == Known::Nothing {
            self.known = match self.add_up(windows.all_values()) {
                true => Known::Exact,
                false => Known::NotExact,
            };
        }
        self.known == Known::Exact
    }

    fn add_up(&mut self, values: &[f64]) -> bool {
        /// Up to here floats hold every whole number.
        const LARGEST: i64 = 1 << 53;
        self.before.clear();
        self.before.push(0);
        let (mut sum, mut size) = (0_i64, 0_i64);
        for value in values {
            let whole = *value as i64;
            if whole as f64 != *value {
                return false;
            }
            size = size.saturating_add(whole.saturating_abs());
            sum = sum.wrapping_add(whole);
            self.before.push(sum);
        }
        size <= LARGEST
    }

    fn sum(&self, window: &Window<'_>) -> f64 {
        let before = |at: usize| self.before.get(at).copied().unwrap_or_default();
        (before(window.end) - before(window.first)) as f64
    }
}

/// `stddev_over_time` and `stdvar_over_time`, by what is made of the variance.
pub(super) struct Variance(pub fn(f64) -> f64);

impl WindowFunction for Variance {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let mut spread = Spread::default();
        for value in window.values {
            spread.add(*value);
        }
        Ok(Some((self.0)(spread.variance())))
    }

    fn evaluate_all(
        &mut self,
        windows: &Windows<'_>,
        column: &mut Column,
    ) -> Result<(), QueryError> {
        let (lanes, rest) = windows.in_lanes();
        for windows in lanes {
            let spreads = Spread::of(windows.map(|window| window.values));
            for (spread, window) in spreads.iter().zip(windows) {
                column.set(window.step, (self.0)(spread.variance()));
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

/// Mean and squared distances from it, by Welford's method.
#[derive(Clone, Copy, Default)]
struct Spread {
    mean: KahanSum,
    squares: KahanSum,
    seen: f64,
}

impl Spread {
    /// Of windows side by side.
    fn of(windows: [&[f64]; LANES]) -> [Spread; LANES] {
        let mut spreads = [Spread::default(); LANES];
        let (heads, tails) = split(windows);
        for at in 0..heads[0].len() {
            for (spread, head) in spreads.iter_mut().zip(heads) {
                spread.add(head[at]);
            }
        }
        for (spread, tail) in spreads.iter_mut().zip(tails) {
            for value in tail {
                spread.add(*value);
            }
        }
        spreads
    }

    #[inline]
    fn add(&mut self, value: f64) {
        self.seen += 1.0;
        let delta = value - self.mean.total();
        self.mean.add(delta / self.seen);
        self.squares.add(delta * (value - self.mean.total()));
    }

    fn variance(&self) -> f64 {
        self.squares.total() / self.seen
    }
}

pub(super) fn samples(window: &Window<'_>) -> Option<f64> {
    Some(count(window.values.len()))
}

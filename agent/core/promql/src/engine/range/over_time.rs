//! Sums, means and spread of a window.
//!
//! Each window is added up anew: a compensated sum depends on its order, so a sum that slides
//! would differ from Prometheus's in the last digits.

use super::Window;
use super::rate::count;
use crate::engine::kahan::{KahanMean, KahanSum};

pub(super) fn sum(window: &Window<'_>) -> Option<f64> {
    let mut sum = KahanSum::default();
    for value in window.values {
        sum.add(*value);
    }
    Some(if sum.sum.is_infinite() {
        sum.sum
    } else {
        sum.total()
    })
}

pub(super) fn avg(window: &Window<'_>) -> Option<f64> {
    let (first, rest) = window.values.split_first()?;
    let mut mean = KahanMean::from_first(*first);
    for value in rest {
        mean.add(*value);
    }
    Some(mean.mean())
}

pub(super) fn variance(window: &Window<'_>) -> Option<f64> {
    let (mut mean, mut squares) = (KahanSum::default(), KahanSum::default());
    let mut seen = 0.0;
    for value in window.values {
        seen += 1.0;
        let delta = value - mean.total();
        mean.add(delta / seen);
        squares.add(delta * (value - mean.total()));
    }
    Some(squares.total() / seen)
}

pub(super) fn samples(window: &Window<'_>) -> Option<f64> {
    Some(count(window.values.len()))
}

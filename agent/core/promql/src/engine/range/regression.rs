//! `deriv` and `predict_linear`: a line through the samples by least squares.

use super::Window;
use super::rate::seconds;
use crate::engine::kahan::KahanSum;

pub(super) fn deriv(window: &Window<'_>) -> Option<f64> {
    // A time near the samples keeps the numbers small and exact.
    let line = line(window, *window.times_ms.first()?)?;
    Some(line.slope)
}

pub(super) fn predict_linear(window: &Window<'_>, ahead_seconds: f64) -> Option<f64> {
    let line = line(window, window.time_ms)?;
    Some(line.slope * ahead_seconds + line.intercept)
}

struct Line {
    /// Per second.
    slope: f64,
    /// The value at the time that was asked for.
    intercept: f64,
}

fn line(window: &Window<'_>, intercept_ms: i64) -> Option<Line> {
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
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [KahanSum::default(); 4];
    let mut n = 0.0;
    for (time_ms, y) in window.times_ms.iter().zip(window.values) {
        n += 1.0;
        let x = seconds(time_ms.saturating_sub(intercept_ms));
        sum_x.add(x);
        sum_y.add(*y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let (x, y) = (sum_x.total(), sum_y.total());
    let covariance = sum_xy.total() - x * y / n;
    let variance = sum_xx.total() - x * x / n;
    let slope = covariance / variance;
    Some(Line {
        slope,
        intercept: y / n - slope * x / n,
    })
}

//! Functions of ranges as their definitions say, without any cleverness.

use narthex_model::is_stale_nan;

type Window = [(i64, f64)];
type Definition = fn(&Window) -> Option<f64>;

type DefinitionWith = fn(&Window, time_ms: i64) -> Option<f64>;

/// Functions with a parameter, and a text that has it, with `m` for the window.
pub(crate) const DEFINITIONS_WITH: &[(&str, DefinitionWith)] = &[
    ("quantile_over_time(0.3, m)", |w, _| Some(quantile(w, 0.3))),
    ("quantile_over_time(1, m)", |w, _| Some(quantile(w, 1.0))),
    ("predict_linear(m, 100)", |w, time_ms| {
        let (slope, value) = line(w, time_ms)?;
        Some(slope * 100.0 + value)
    }),
];

pub(crate) const DEFINITIONS: &[(&str, Definition)] = &[
    ("count_over_time", |w| Some(w.len() as f64)),
    ("present_over_time", |_| Some(1.0)),
    ("last_over_time", |w| w.last().map(|(_, v)| *v)),
    ("first_over_time", |w| w.first().map(|(_, v)| *v)),
    ("max_over_time", |w| {
        Some(extreme(w, |new, old| new > old).1)
    }),
    ("min_over_time", |w| {
        Some(extreme(w, |new, old| new < old).1)
    }),
    ("ts_of_max_over_time", |w| {
        Some(extreme(w, |new, old| new >= old).0 as f64 / 1000.0)
    }),
    ("ts_of_min_over_time", |w| {
        Some(extreme(w, |new, old| new <= old).0 as f64 / 1000.0)
    }),
    ("changes", |w| {
        let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
        Some(count_pairs(w, differ))
    }),
    ("resets", |w| {
        Some(count_pairs(w, |before, after| after < before))
    }),
    ("idelta", |w| {
        let [.., (_, before), (_, last)] = w else {
            return None;
        };
        Some(last - before)
    }),
    ("irate", |w| {
        let [.., (before_ms, before), (last_ms, last)] = w else {
            return None;
        };
        let increase = if last < before { *last } else { last - before };
        Some(increase / ((last_ms - before_ms) as f64 / 1000.0))
    }),
    ("sum_over_time", |w| {
        let sum = neumaier(w.iter().map(|(_, value)| *value));
        Some(if sum.0.is_infinite() {
            sum.0
        } else {
            sum.0 + sum.1
        })
    }),
    ("avg_over_time", |w| Some(mean(w))),
    ("stdvar_over_time", |w| Some(variance(w))),
    ("stddev_over_time", |w| Some(variance(w).sqrt())),
    ("deriv", |w| Some(line(w, w[0].0)?.0)),
];

/// The samples after `time_ms - range_ms`, up to `time_ms`.
pub(crate) fn window(samples: &Window, time_ms: i64, range_ms: i64) -> Vec<(i64, f64)> {
    let inside = |(at, value): &&(i64, f64)| {
        *at > time_ms - range_ms && *at <= time_ms && !is_stale_nan(*value)
    };
    samples.iter().filter(inside).copied().collect()
}

fn extreme(window: &Window, replaces: fn(f64, f64) -> bool) -> (i64, f64) {
    let mut best = window[0];
    for sample in window {
        if replaces(sample.1, best.1) || best.1.is_nan() {
            best = *sample;
        }
    }
    best
}

fn count_pairs(window: &Window, counts: fn(f64, f64) -> bool) -> f64 {
    let pairs = window.windows(2);
    pairs.filter(|pair| counts(pair[0].1, pair[1].1)).count() as f64
}

/// One addend more in a sum with what got lost on the way, Neumaier's, written out.
fn add((sum, lost): (f64, f64), value: f64) -> (f64, f64) {
    let total = sum + value;
    let lost = if total.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        lost + ((sum - total) + value)
    } else {
        lost + ((value - total) + sum)
    };
    (total, lost)
}

fn neumaier(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((0.0, 0.0), add)
}

/// Once the sum would be infinite, each sample adds its share instead.
fn mean(window: &Window) -> f64 {
    let mut sum = (window[0].1, 0.0);
    let mut incremental = false;
    for (at, (_, value)) in window.iter().enumerate().skip(1) {
        let (before, count) = (at as f64, at as f64 + 1.0);
        if !incremental {
            let next = add(sum, *value);
            if !next.0.is_infinite() {
                sum = next;
                continue;
            }
            incremental = true;
            sum = (sum.0 / before, sum.1 / before);
        }
        let kept = before / count;
        sum = add((sum.0 * kept, sum.1 * kept), value / count);
    }
    if incremental {
        return sum.0 + sum.1;
    }
    let count = window.len() as f64;
    sum.0 / count + sum.1 / count
}

fn variance(window: &Window) -> f64 {
    let (mut mean, mut squares) = ((0.0, 0.0), (0.0, 0.0));
    for (at, (_, value)) in window.iter().enumerate() {
        let delta = value - (mean.0 + mean.1);
        mean = add(mean, delta / (at + 1) as f64);
        squares = add(squares, delta * (value - (mean.0 + mean.1)));
    }
    (squares.0 + squares.1) / window.len() as f64
}

/// Slope and value at a time of the line with the least squares.
fn line(window: &Window, at_ms: i64) -> Option<(f64, f64)> {
    if window.len() < 2 {
        return None;
    }
    if window.iter().all(|(_, value)| *value == window[0].1) {
        let value = window[0].1;
        return Some(if value.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, value)
        });
    }
    let n = window.len() as f64;
    let total = |of: fn(f64, f64) -> f64| {
        let terms = window.iter();
        let (sum, lost) = neumaier(terms.map(|(t, y)| of((t - at_ms) as f64 / 1000.0, *y)));
        sum + lost
    };
    let (x, y) = (total(|x, _| x), total(|_, y| y));
    let covariance = total(|x, y| x * y) - x * y / n;
    let spread = total(|x, _| x * x) - x * x / n;
    let slope = covariance / spread;
    Some((slope, y / n - slope * x / n))
}

/// Of values of which NaN is the smallest.
fn quantile(window: &Window, q: f64) -> f64 {
    let mut values: Vec<f64> = window.iter().map(|(_, value)| *value).collect();
    values.sort_by(|a, b| (!a.is_nan()).cmp(&!b.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let lower = values[rank.floor() as usize];
    let upper = values[(rank.floor() as usize + 1).min(values.len() - 1)];
    let weight = rank - rank.floor();
    lower * (1.0 - weight) + upper * weight
}

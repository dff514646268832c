//! Functions of ranges as their definitions say, without any cleverness.

use narthex_model::is_stale_nan;

type Window = [(i64, f64)];
type Definition = fn(&Window) -> Option<f64>;

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
        // Neumaier's sum, written out.
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        for (_, value) in w {
            let total = sum + value;
            lost = if total.is_infinite() {
                0.0
            } else if sum.abs() >= value.abs() {
                lost + ((sum - total) + value)
            } else {
                lost + ((value - total) + sum)
            };
            sum = total;
        }
        Some(if sum.is_infinite() { sum } else { sum + lost })
    }),
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

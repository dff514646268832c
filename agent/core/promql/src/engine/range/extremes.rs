//! The largest and smallest value of a window and when they were, in constant time per sample.

use std::collections::VecDeque;

use super::rate::seconds;
use super::{Samples, Window, WindowFunction};
use crate::engine::error::QueryError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    Max,
    Min,
}

/// The value. Of equal ones the first counts, and NaN only where there is nothing else.
///
/// A window is taken as two parts that meet at a border which moves only when it is passed by: of
/// the part before it the extremes from each sample on are kept, of the part behind it the one of
/// all.
pub(super) struct ExtremeValue {
    extreme: Extreme,
    /// From each sample on up to the border.
    before: Vec<f64>,
    /// The sample that the first of `before` belongs to, and the one behind the last.
    start: usize,
    border: usize,
    /// From the border on up to `end`; NaN if that is nothing.
    behind: f64,
    end: usize,
}

impl ExtremeValue {
    pub(super) fn new(extreme: Extreme) -> Self {
        ExtremeValue {
            extreme,
            before: Vec::new(),
            start: 0,
            border: 0,
            behind: f64::NAN,
            end: 0,
        }
    }

    /// The same for both extremes, but the comparison is known where it is compiled.
    fn slide(&mut self, window: &Window<'_>, replaces: impl Fn(f64, f64) -> bool) -> f64 {
        let better = |old: f64, new: f64| {
            if replaces(new, old) || old.is_nan() {
                new
            } else {
                old
            }
        };
        if window.first >= self.border {
            self.start = window.first;
            self.border = window.end;
            self.behind = f64::NAN;
            self.before.clear();
            self.before.resize(window.values.len(), f64::NAN);
            let mut best = f64::NAN;
            for (slot, value) in self.before.iter_mut().zip(window.values).rev() {
                best = better(*value, best);
                *slot = best;
            }
        } else {
            let new = window.values.get(self.end - window.first..);
            for value in new.unwrap_or_default() {
                self.behind = better(self.behind, *value);
            }
        }
        self.end = window.end;
        let before = self.before.get(window.first - self.start);
        better(before.copied().unwrap_or(f64::NAN), self.behind)
    }
}

impl WindowFunction for ExtremeValue {
    fn begin(&mut self, _samples: &Samples) {
        self.border = 0;
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        if window.values.is_empty() {
            return Ok(None);
        }
        Ok(Some(match self.extreme {
            Extreme::Max => self.slide(window, |new, old| new > old),
            Extreme::Min => self.slide(window, |new, old| new < old),
        }))
    }
}

/// The time. Of equal values the last counts.
///
/// A queue holds the samples that are or can still become the extreme of a window: each is beaten
/// by all before it. NaN never stands in it; of a window of nothing but NaN the last sample counts.
pub(super) struct ExtremeTime {
    extreme: Extreme,
    /// Index among the series' samples, and value.
    queue: VecDeque<(usize, f64)>,
    /// Samples before this one have been looked at.
    end: usize,
}

impl ExtremeTime {
    pub(super) fn new(extreme: Extreme) -> Self {
        ExtremeTime {
            extreme,
            queue: VecDeque::new(),
            end: 0,
        }
    }

    fn replaces(&self, new: f64, old: f64) -> bool {
        match self.extreme {
            Extreme::Max => new >= old,
            Extreme::Min => new <= old,
        }
    }

    fn push(&mut self, index: usize, value: f64) {
        if value.is_nan() {
            return;
        }
        while let Some((_, last)) = self.queue.back()
            && self.replaces(value, *last)
        {
            self.queue.pop_back();
        }
        self.queue.push_back((index, value));
    }
}

impl WindowFunction for ExtremeTime {
    fn begin(&mut self, _samples: &Samples) {
        self.queue.clear();
        self.end = 0;
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let from = self.end.max(window.first);
        let new = window.values.get(from - window.first..).unwrap_or_default();
        for (offset, value) in new.iter().enumerate() {
            self.push(from + offset, *value);
        }
        self.end = window.end;
        while let Some((index, _)) = self.queue.front()
            && *index < window.first
        {
            self.queue.pop_front();
        }
        let best = self.queue.front();
        let at = best.map_or(window.end - 1, |(index, _)| *index);
        Ok(window.times_ms.get(at - window.first).copied().map(seconds))
    }
}

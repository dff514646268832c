//! The largest and smallest value of a window and when they were, in constant time per sample.
//!
//! A queue holds the samples that are or can still become the extreme of a window: each is beaten
//! by all before it. NaN never stands in it; a window of nothing but NaN has NaN as its extreme.

use std::collections::VecDeque;

use super::rate::seconds;
use super::{Samples, Window, WindowFunction};
use crate::engine::error::QueryError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    Max,
    Min,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Of equal values the first counts.
    Value,
    /// Of equal values the last counts.
    Time,
}

pub(super) struct Extremes {
    extreme: Extreme,
    want: Want,
    /// Index among the series' samples, and value.
    queue: VecDeque<(usize, f64)>,
    /// Samples before this one have been looked at.
    end: usize,
}

impl Extremes {
    pub(super) fn new(extreme: Extreme, want: Want) -> Self {
        Extremes {
            extreme,
            want,
            queue: VecDeque::new(),
            end: 0,
        }
    }

    fn replaces(&self, new: f64, old: f64) -> bool {
        match (self.extreme, self.want) {
            (Extreme::Max, Want::Value) => new > old,
            (Extreme::Max, Want::Time) => new >= old,
            (Extreme::Min, Want::Value) => new < old,
            (Extreme::Min, Want::Time) => new <= old,
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

impl WindowFunction for Extremes {
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
        Ok(match self.want {
            Want::Value => Some(best.map_or(f64::NAN, |(_, value)| *value)),
            Want::Time => {
                let at = best.map_or(window.end - 1, |(index, _)| *index);
                window.times_ms.get(at - window.first).copied().map(seconds)
            }
        })
    }
}

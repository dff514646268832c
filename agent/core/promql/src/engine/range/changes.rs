//! `changes` and `resets`: how often neighbouring samples differ, from running counts.

use super::rate::count;
use super::{Samples, Window, WindowFunction};
use crate::engine::error::QueryError;

pub(super) struct Events {
    happened: fn(before: f64, after: f64) -> bool,
    /// How often it happened up to and with each sample.
    up_to: Vec<usize>,
}

impl Events {
    pub(super) fn changes() -> Self {
        Self::counting(|before, after| before != after && !(before.is_nan() && after.is_nan()))
    }

    pub(super) fn resets() -> Self {
        Self::counting(|before, after| after < before)
    }

    fn counting(happened: fn(f64, f64) -> bool) -> Self {
        Events {
            happened,
            up_to: Vec::new(),
        }
    }
}

impl WindowFunction for Events {
    fn begin(&mut self, samples: &Samples) {
        self.up_to.clear();
        let mut total = 0;
        let mut before = None;
        for value in &samples.values {
            if before.is_some_and(|before| (self.happened)(before, *value)) {
                total += 1;
            }
            self.up_to.push(total);
            before = Some(*value);
        }
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let last = self.up_to.get(window.end - 1);
        let first = self.up_to.get(window.first);
        Ok(first
            .zip(last)
            .map(|(first, last)| count(last.saturating_sub(*first))))
    }
}

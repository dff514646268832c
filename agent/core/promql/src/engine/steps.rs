//! The times at which an expression is evaluated.
//!
//! Arithmetic saturates: times come from users and may lie anywhere.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Steps {
    pub start_ms: i64,
    /// At least 1.
    pub step_ms: i64,
    pub count: usize,
    /// Start and end are one time, so that the order of a result means something.
    pub instant: bool,
}

impl Steps {
    pub(super) fn instant(time_ms: i64) -> Self {
        Steps {
            start_ms: time_ms,
            step_ms: 1,
            count: 1,
            instant: true,
        }
    }

    /// None at all if the end lies before the start.
    pub(super) fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let count = if end_ms < start_ms {
            0
        } else {
            let steps = end_ms.saturating_sub(start_ms) / step_ms;
            usize::try_from(steps).unwrap_or(usize::MAX - 1) + 1
        };
        Steps {
            start_ms,
            step_ms,
            count,
            instant: start_ms == end_ms,
        }
    }

    pub(super) fn time_ms(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.start_ms
            .saturating_add(self.step_ms.saturating_mul(step))
    }

    pub(super) fn last_ms(&self) -> i64 {
        self.time_ms(self.count.saturating_sub(1))
    }

    /// Only the first step.
    pub(super) fn first(&self) -> Self {
        Steps {
            count: self.count.min(1),
            instant: true,
            ..*self
        }
    }
}

/// Where on the time axis a selector or subquery looks, seen from a step: `@` and `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shift {
    pub at_ms: Option<i64>,
    pub offset_ms: i64,
}

impl Shift {
    pub(super) fn apply(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }

    /// After and until when samples are looked at, if each step looks so far back and ahead.
    pub(super) fn reach(&self, steps: Steps, back_ms: i64, ahead_ms: i64) -> (i64, i64) {
        let after_ms = self.apply(steps.start_ms).saturating_sub(back_ms);
        let last_ms = self.apply(steps.last_ms()).saturating_add(ahead_ms);
        (after_ms, last_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_steps() {
        for (start, end, step, count) in [
            (0, 10, 5, 3),
            (0, 9, 5, 2),
            (5, 5, 5, 1),
            (6, 5, 5, 0),
            (i64::MIN, i64::MAX, i64::MAX, 2),
        ] {
            assert_eq!(Steps::range(start, end, step).count, count);
        }
        assert_eq!(Steps::range(0, 10, 5).last_ms(), 10);
        assert!(Steps::range(i64::MIN, i64::MAX, 1).count > 1 << 60);
    }
}

//! Counts the samples that a query looks at, in all and for each of its steps.
//!
//! Prometheus's way: what is evaluated once for several parts or steps counts for each of them; what
//! a subquery evaluates does not count, but what is looked at of its result. Series that an operator
//! passes over, as they meet nothing, are not looked at here, so they don't count.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often a sample counts that is looked at by one part of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// At the step at which it is looked at.
    pub at_step: u64,
    /// At every step of the query: the part is evaluated once for all of them.
    pub at_every_step: u64,
}

impl Weight {
    pub(super) const NOTHING: Weight = Weight {
        at_step: 0,
        at_every_step: 0,
    };
    pub(super) const AT_STEP: Weight = Weight {
        at_step: 1,
        at_every_step: 0,
    };
    pub(super) const AT_EVERY_STEP: Weight = Weight {
        at_step: 0,
        at_every_step: 1,
    };

    pub(super) fn plus(self, other: Weight) -> Weight {
        Weight {
            at_step: self.at_step + other.at_step,
            at_every_step: self.at_every_step + other.at_every_step,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    steps: u64,
    total: AtomicU64,
    /// Only if somebody wants to know.
    per_step: Option<Vec<AtomicU64>>,
}

impl Tally {
    pub(super) fn new(steps: usize, wants_steps: bool) -> Self {
        let counts = || (0..steps).map(|_| AtomicU64::new(0)).collect();
        Tally {
            steps: steps as u64,
            total: AtomicU64::new(0),
            per_step: wants_steps.then(counts),
        }
    }

    /// `samples` in all; `tell` tells the step of some of them, until all are told.
    pub(super) fn count(
        &self,
        weight: Weight,
        samples: usize,
        tell: impl FnOnce(&mut dyn FnMut(usize, usize)),
    ) {
        let samples = samples as u64;
        let often = self.steps.saturating_mul(weight.at_every_step);
        let often = often.saturating_add(weight.at_step);
        add(&self.total, samples.saturating_mul(often));
        let Some(per_step) = &self.per_step else {
            return;
        };
        if weight.at_every_step > 0 {
            for count in per_step {
                add(count, samples.saturating_mul(weight.at_every_step));
            }
        }
        if weight.at_step > 0 {
            tell(&mut |step, samples| {
                if let Some(count) = per_step.get(step) {
                    add(count, (samples as u64).saturating_mul(weight.at_step));
                }
            });
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn per_step(&self) -> Option<Vec<u64>> {
        let counts = self.per_step.as_ref()?.iter();
        Some(counts.map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

/// Steps and weights come from a query, and their product may be anything.
fn add(count: &AtomicU64, more: u64) {
    let grown = |count: u64| Some(count.saturating_add(more));
    // The closure never refuses.
    let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
}

//! Numbers as runs of neighbours.
//!
//! Keeps true: runs ascend and never touch, two neighbours are in one run.

use crate::tight;

/// The numbers from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run<T> {
    pub(crate) first: T,
    pub(crate) last: T,
}

/// Ids and their places in blocks.
pub(crate) trait Number: Copy + Ord {
    fn follows(self, before: Self) -> bool;
}

impl Number for u32 {
    fn follows(self, before: u32) -> bool {
        before.checked_add(1) == Some(self)
    }
}

impl Number for u16 {
    fn follows(self, before: u16) -> bool {
        before.checked_add(1) == Some(self)
    }
}

/// Adds a number; false if it was there.
pub(crate) fn add<T: Number>(runs: &mut Vec<Run<T>>, number: T) -> bool {
    let single = Run {
        first: number,
        last: number,
    };
    match runs.last_mut() {
        Some(run) if number.follows(run.last) => {
            run.last = number;
            return true;
        }
        Some(run) if number <= run.last => {}
        _ => {
            tight::push(runs, single);
            return true;
        }
    }
    let at = runs.partition_point(|run| run.last < number);
    if runs[at].first <= number {
        return false;
    }
    let joins_before = at > 0 && number.follows(runs[at - 1].last);
    let joins_after = runs[at].first.follows(number);
    match (joins_before, joins_after) {
        (true, true) => {
            runs[at - 1].last = runs[at].last;
            runs.remove(at);
        }
        (true, false) => runs[at - 1].last = number,
        (false, true) => runs[at].first = number,
        (false, false) => {
            tight::reserve_one(runs);
            runs.insert(at, single);
        }
    }
    true
}

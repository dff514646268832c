//! Which ids are free.
//!
//! Whoever makes series takes a run of ids and gives back what is left, so that series made
//! together, of one target say, lie side by side even when several make series at a time.

use std::ops::Range;

/// Ids that a batch takes at once, first and at most: a page.
const FIRST_RUN: u32 = 32;
const LARGEST_RUN: u32 = 256;

#[derive(Debug, Default)]
pub(crate) struct Ids {
    next: u32,
    /// Ascending, none touches another.
    free: Vec<Range<u32>>,
}

impl Ids {
    /// Up to so many ids in a row; none if there are no more.
    pub(crate) fn take(&mut self, count: u32) -> Range<u32> {
        let Some(run) = self.free.last_mut() else {
            let start = self.next;
            // A run ends where a page ends.
            let until_page = LARGEST_RUN - start % LARGEST_RUN;
            self.next = start.saturating_add(count.min(until_page));
            return start..self.next;
        };
        let end = run.end.min(run.start.saturating_add(count));
        let taken = run.start..end;
        run.start = end;
        if run.start == run.end {
            self.free.pop();
        }
        taken
    }

    /// Gives back ids, in ascending order.
    pub(crate) fn give_back(&mut self, ids: impl IntoIterator<Item = Range<u32>>) {
        self.free
            .extend(ids.into_iter().filter(|run| !run.is_empty()));
        self.free.sort_unstable_by_key(|run| run.start);
        self.free.dedup_by(|later, earlier| {
            let joined = later.start <= earlier.end;
            if joined {
                earlier.end = earlier.end.max(later.end);
            }
            joined
        });
        // What reaches to the end was never given.
        if let Some(last) = self.free.pop_if(|run| run.end == self.next) {
            self.next = last.start;
        }
    }

    /// All ids below the limit but these, which ascend, are free.
    pub(crate) fn set_used(&mut self, used: &[u32]) {
        self.next = used.last().map_or(0, |last| last.saturating_add(1));
        self.free.clear();
        let mut from = 0;
        for &id in used {
            if from < id {
                self.free.push(from..id);
            }
            from = id.saturating_add(1);
        }
    }
}

/// The ids that a batch has in reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    pub(crate) left: Range<u32>,
    pub(crate) ask: u32,
}

impl Default for Reserve {
    fn default() -> Self {
        Reserve {
            left: 0..0,
            ask: FIRST_RUN,
        }
    }
}

impl Reserve {
    pub(crate) fn next(&mut self, ids: &mut Ids) -> Option<u32> {
        if self.left.is_empty() {
            self.left = ids.take(self.ask);
            // Who makes many will make more.
            self.ask = (self.ask * 2).min(LARGEST_RUN);
        }
        self.left.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_taken_and_given_back() {
        let mut ids = Ids::default();
        assert_eq!(ids.take(32), 0..32);
        assert_eq!(ids.take(32), 32..64);
        ids.give_back(vec![10..31, 31..32]);
        assert_eq!(ids.take(8), 10..18);
        ids.give_back([2..4, 10..12]);
        assert_eq!(ids.take(99), 18..32);
        assert_eq!(ids.take(99), 10..12);
        assert_eq!(ids.take(99), 2..4);
        assert_eq!(ids.take(300), 64..256);
        ids.give_back(vec![60..70, 70..256]);
        assert_eq!((ids.next, ids.take(1)), (60, 60..61));
        ids.set_used(&[1, 2, 5]);
        assert_eq!(ids.free, [0..1, 3..5]);
        assert_eq!(ids.next, 6);
    }

    #[test]
    fn they_end() {
        let mut ids = Ids::default();
        ids.set_used(&[u32::MAX - 2]);
        ids.free.clear();
        assert_eq!(ids.take(32).len(), 1);
        assert_eq!(ids.take(32).len(), 0);
        assert_eq!(Reserve::default().next(&mut ids), None);
    }
}

//! When the counting of a page's samples began.
//!
//! A start stays the same until a process starts anew, so only its changes are kept, for the few
//! series that have starts at all. From the time of a change on all samples have its start; one
//! that came late has it for itself alone.

use crate::page::PAGE;

/// Stands for a start that is not known.
pub(crate) const UNKNOWN: i64 = 0;

/// The changes of each slot, ascending in time.
#[derive(Debug)]
pub(crate) struct Starts(Box<[Vec<Change>; PAGE]>);

/// What a reader takes along of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartChanges(Vec<Change>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from_ms: i64,
    pub(crate) start_ms: i64,
}

impl Default for Starts {
    fn default() -> Self {
        Starts(Box::new([const { Vec::new() }; PAGE]))
    }
}

impl Starts {
    /// That of the newest samples.
    pub(crate) fn last_ms(&self, slot: u8) -> i64 {
        let last = self.of(slot).last();
        last.map_or(UNKNOWN, |change| change.start_ms)
    }

    pub(crate) fn at_ms(&self, slot: u8, timestamp_ms: i64) -> i64 {
        at_ms(self.of(slot), timestamp_ms)
    }

    /// Samples from this time on have this start, up to where the next change is already.
    pub(crate) fn set_from(&mut self, slot: u8, from_ms: i64, start_ms: i64) {
        let changes = &mut self.0[usize::from(slot)];
        let at = changes.partition_point(|change| change.from_ms < from_ms);
        match changes.get_mut(at) {
            Some(there) if there.from_ms == from_ms => there.start_ms = start_ms,
            _ => insert(changes, at, Change { from_ms, start_ms }),
        }
    }

    /// The sample at this time, which came late, has this start.
    pub(crate) fn set_one(&mut self, slot: u8, timestamp_ms: i64, start_ms: i64) {
        let before_ms = self.at_ms(slot, timestamp_ms);
        if before_ms == start_ms {
            return;
        }
        if let Some(next_ms) = timestamp_ms.checked_add(1) {
            let changes = self.of(slot);
            let next = changes.binary_search_by_key(&next_ms, |change| change.from_ms);
            if next.is_err() {
                self.set_from(slot, next_ms, before_ms);
            }
        }
        self.set_from(slot, timestamp_ms, start_ms);
    }

    /// Forgets what counts for older samples alone.
    pub(crate) fn forget_before(&mut self, slot: u8, border_ms: i64) {
        let changes = &mut self.0[usize::from(slot)];
        let later = changes.partition_point(|change| change.from_ms <= border_ms);
        changes.drain(..later.saturating_sub(1));
        if changes.iter().all(|change| change.start_ms == UNKNOWN) {
            *changes = Vec::new();
        }
    }

    pub(crate) fn clear(&mut self, slot: u8) {
        self.0[usize::from(slot)] = Vec::new();
    }

    pub(crate) fn of(&self, slot: u8) -> &[Change] {
        &self.0[usize::from(slot)]
    }

    pub(crate) fn changes(&self, slot: u8) -> StartChanges {
        StartChanges(self.of(slot).to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let changes: usize = self.0.iter().map(Vec::capacity).sum();
        PAGE * size_of::<Vec<Change>>() + changes * size_of::<Change>()
    }
}

impl StartChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the starts of samples of these times, which ascend, in place of what is there.
    pub(crate) fn fill(&self, timestamps_ms: &[i64], starts_ms: &mut Vec<i64>) {
        starts_ms.clear();
        let mut rest = timestamps_ms;
        let mut start_ms = UNKNOWN;
        for change in &self.0 {
            let count = rest.partition_point(|time| *time < change.from_ms);
            starts_ms.resize(starts_ms.len() + count, start_ms);
            rest = rest.get(count..).unwrap_or_default();
            start_ms = change.start_ms;
        }
        starts_ms.resize(timestamps_ms.len(), start_ms);
    }
}

fn at_ms(changes: &[Change], timestamp_ms: i64) -> i64 {
    let later = changes.partition_point(|change| change.from_ms <= timestamp_ms);
    let last = later.checked_sub(1).and_then(|at| changes.get(at));
    last.map_or(UNKNOWN, |change| change.start_ms)
}

fn insert(changes: &mut Vec<Change>, at: usize, change: Change) {
    if changes.is_empty() {
        // Most series have one for long.
        changes.reserve_exact(1);
    }
    changes.insert(at, change);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes in order or late, each sample has the start it came with, also when all is
        /// told a second time.
        #[test]
        fn each_sample_has_its_start(
            samples in prop::collection::vec((0i64..60, 0i64..3), 1..60),
            border in 0i64..60,
            again: bool,
        ) {
            let mut starts = Starts::default();
            let mut expected: BTreeMap<i64, i64> = BTreeMap::new();
            let mut told: Vec<(bool, i64, i64)> = Vec::new();
            for (time, start) in samples {
                let is_later = expected.last_key_value().is_none_or(|(last, _)| time > *last);
                if !is_later && expected.contains_key(&time) {
                    continue;
                }
                expected.insert(time, start);
                let is_news = match is_later {
                    true => starts.last_ms(7) != start,
                    false => starts.at_ms(7, time) != start,
                };
                if is_news {
                    told.push((is_later, time, start));
                    tell(&mut starts, told.last());
                }
            }
            if again {
                told.iter().for_each(|one| tell(&mut starts, Some(one)));
            }
            starts.forget_before(7, border);
            let kept: BTreeMap<i64, i64> = expected.split_off(&border);
            let times: Vec<i64> = kept.keys().copied().collect();
            let mut read = Vec::new();
            starts.changes(7).fill(&times, &mut read);
            prop_assert_eq!(&read, &kept.values().copied().collect::<Vec<_>>());
            for (time, start) in &kept {
                prop_assert_eq!(starts.at_ms(7, *time), *start);
            }
        }
    }

    fn tell(starts: &mut Starts, one: Option<&(bool, i64, i64)>) {
        match one {
            Some((true, time, start)) => starts.set_from(7, *time, *start),
            Some((false, time, start)) => starts.set_one(7, *time, *start),
            None => {}
        }
    }

    #[test]
    fn what_has_gone_takes_no_room() {
        let mut starts = Starts::default();
        starts.set_from(3, 10, 5);
        starts.set_from(3, 20, UNKNOWN);
        assert!(!starts.is_empty());
        starts.forget_before(3, 15);
        assert_eq!((starts.at_ms(3, 15), starts.at_ms(3, 20)), (5, UNKNOWN));
        starts.forget_before(3, 20);
        assert!(starts.is_empty());
    }
}

//! What commits appended to a page while someone reads, so that readers can leave it out.

/// Notes of one page, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    appended: Vec<Appended>,
    late: Vec<Late>,
}

/// One sample each was appended to these slots.
#[derive(Clone, Copy, Debug)]
struct Appended {
    commit: u64,
    slots: Slots,
}

/// A sample that came late.
#[derive(Clone, Copy, Debug)]
struct Late {
    commit: u64,
    slot: u8,
    timestamp_ms: i64,
}

/// A set of slots of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots([u64; 4]);

impl Slots {
    #[inline]
    pub(crate) fn contains(&self, slot: u8) -> bool {
        self.0[usize::from(slot >> 6)] >> (slot & 63) & 1 != 0
    }

    #[inline]
    pub(crate) fn insert(&mut self, slot: u8) {
        self.0[usize::from(slot >> 6)] |= 1 << (slot & 63);
    }

    pub(crate) fn remove(&mut self, slot: u8) {
        self.0[usize::from(slot >> 6)] &= !(1 << (slot & 63));
    }

    pub(crate) fn words(&self) -> &[u64; 4] {
        &self.0
    }
}

impl History {
    /// Forgets what every reader has seen.
    pub(crate) fn forget(&mut self, oldest_reader: Option<u64>) {
        let Some(seen) = oldest_reader else {
            if !self.appended.is_empty() || !self.late.is_empty() {
                *self = History::default();
            }
            return;
        };
        self.appended.retain(|note| note.commit > seen);
        self.late.retain(|note| note.commit > seen);
    }

    pub(crate) fn note(&mut self, commit: u64, slot: u8) {
        match self.appended.last_mut() {
            Some(last) if last.commit == commit && !last.slots.contains(slot) => {
                last.slots.insert(slot);
            }
            _ => {
                let mut slots = Slots::default();
                slots.insert(slot);
                self.appended.push(Appended { commit, slots });
            }
        }
    }

    pub(crate) fn note_late(&mut self, commit: u64, slot: u8, timestamp_ms: i64) {
        self.late.push(Late {
            commit,
            slot,
            timestamp_ms,
        });
    }

    /// How many of the newest samples of a series a reader leaves out.
    pub(crate) fn hidden(&self, seen: u64, slot: u8) -> usize {
        let later = self.appended.iter().rev();
        let later = later.take_while(|note| note.commit > seen);
        later.filter(|note| note.slots.contains(slot)).count()
    }

    /// Times of late samples that a reader leaves out, ascending; a time may stand there more than
    /// once.
    pub(crate) fn hidden_late(&self, seen: u64, slot: u8) -> Vec<i64> {
        let later = self.late.iter().filter(|note| note.commit > seen);
        let later = later.filter(|note| note.slot == slot);
        let mut times: Vec<i64> = later.map(|note| note.timestamp_ms).collect();
        times.sort_unstable();
        times
    }

    /// Forgets a slot that gets another series.
    pub(crate) fn clear(&mut self, slot: u8) {
        for note in &mut self.appended {
            note.slots.remove(slot);
        }
        self.late.retain(|note| note.slot != slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_leave_out_what_came_after_them() {
        let mut history = History::default();
        for (commit, slot) in [(1, 7), (2, 7), (2, 7), (2, 255), (3, 7)] {
            history.note(commit, slot);
        }
        for (commit, time) in [(2, 9), (3, 5), (3, 9)] {
            history.note_late(commit, 7, time);
        }
        for (seen, hidden, late) in [
            (0, 4, vec![5, 9, 9]),
            (1, 3, vec![5, 9, 9]),
            (2, 1, vec![5, 9]),
            (3, 0, vec![]),
        ] {
            assert_eq!(history.hidden(seen, 7), hidden, "{seen}");
            assert_eq!(history.hidden_late(seen, 7), late, "{seen}");
        }
        assert_eq!(history.hidden(1, 255), 1);
        history.forget(Some(2));
        assert_eq!((history.hidden(2, 7), history.appended.len()), (1, 1));
        history.forget(None);
        assert_eq!(history.hidden(0, 7), 0);
    }
}

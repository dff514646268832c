//! Which labels each series has, as numbers of labels, sorted by name.
//!
//! All sets lie in one vector, each behind its length. The place of a removed set is taken by the
//! next one of its length; when more is dead than alive, the living ones are moved together.

use crate::tight;

/// Marks a series id that has no set, and the end of a list of free places.
const NONE: u32 = u32::MAX;

/// More labels than any series has in earnest; bounds what one set can take.
pub(crate) const MAX_LABELS: usize = u16::MAX as usize;

/// Ids are dense: one this high comes from damage, and would take its table of places with it.
pub(crate) const MAX_ID: u32 = (1 << 28) - 1;

#[derive(Default)]
pub(crate) struct LabelSets {
    /// By series id, where the set's length stands in `words`.
    starts: Vec<u32>,
    words: Vec<u32>,
    /// By length, the first free place of that length; the word behind its length tells the next.
    free: Vec<u32>,
    free_words: usize,
    count: usize,
}

impl LabelSets {
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.starts
            .get(id as usize)
            .is_some_and(|&start| start != NONE)
    }

    /// The labels of a series; none if the id is not in use.
    pub(crate) fn get(&self, id: u32) -> &[u32] {
        match self.starts.get(id as usize) {
            Some(&start) if start != NONE => self.at(start),
            _ => &[],
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One more than the highest id in use.
    pub(crate) fn bound(&self) -> u32 {
        self.starts.len() as u32
    }

    pub(crate) fn has_room_for(&self, labels: usize) -> bool {
        self.words.len() + labels + 1 < NONE as usize
    }

    /// Sets the labels of an id that is not in use.
    pub(crate) fn insert(&mut self, id: u32, labels: impl ExactSizeIterator<Item = u32>) {
        let at = id as usize;
        if self.starts.len() <= at {
            let more = at + 1 - self.starts.len();
            tight::reserve(&mut self.starts, more);
            self.starts.resize(at + 1, NONE);
        }
        let start = self.place_for(labels.len());
        self.starts[at] = start;
        let words = &mut self.words[start as usize + 1..];
        for (word, label) in words.iter_mut().zip(labels) {
            *word = label;
        }
        self.count += 1;
    }

    /// Forgets the labels of an id that is in use.
    pub(crate) fn remove(&mut self, id: u32) {
        let start = std::mem::replace(&mut self.starts[id as usize], NONE);
        let length = self.words[start as usize] as usize;
        if self.free.len() <= length {
            self.free.resize(length + 1, NONE);
        }
        self.words[start as usize + 1] = self.free[length];
        self.free[length] = start;
        self.free_words += length + 1;
        self.count -= 1;
    }

    /// To be called after removals. Moves the sets together if that frees half of the memory.
    pub(crate) fn compact(&mut self) {
        const WORTH_IT: usize = 1024;
        let last = self.starts.iter().rposition(|&start| start != NONE);
        self.starts.truncate(last.map_or(0, |last| last + 1));
        if self.free_words < WORTH_IT || self.free_words * 2 < self.words.len() {
            return;
        }
        let mut words = Vec::with_capacity(self.words.len() - self.free_words);
        for start in self.starts.iter_mut().filter(|start| **start != NONE) {
            let from = *start as usize;
            *start = words.len() as u32;
            let length = self.words[from] as usize;
            words.extend_from_slice(&self.words[from..=from + length]);
        }
        self.words = words;
        self.free.clear();
        self.free_words = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        tight::bytes(&self.starts) + tight::bytes(&self.words) + tight::bytes(&self.free)
    }

    /// Room for so many ids, and for so many labels in all.
    pub(crate) fn reserve(&mut self, ids: usize, labels: usize) {
        self.starts.reserve_exact(ids);
        self.words.reserve_exact(labels + ids);
    }

    fn at(&self, start: u32) -> &[u32] {
        let start = start as usize;
        let length = self.words[start] as usize;
        &self.words[start + 1..start + 1 + length]
    }

    fn place_for(&mut self, length: usize) -> u32 {
        if let Some(first) = self.free.get_mut(length)
            && *first != NONE
        {
            let start = *first;
            *first = self.words[start as usize + 1];
            self.free_words -= length + 1;
            return start;
        }
        let start = self.words.len();
        tight::reserve(&mut self.words, length + 1);
        self.words.push(length as u32);
        self.words.resize(start + 1 + length, 0);
        start as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(sets: &mut LabelSets, id: u32, labels: &[u32]) {
        sets.insert(id, labels.iter().copied());
    }

    #[test]
    fn the_place_of_a_removed_set_is_taken_by_the_next_of_its_length() {
        let mut sets = LabelSets::default();
        insert(&mut sets, 0, &[1, 2]);
        insert(&mut sets, 5, &[3, 4]);
        insert(&mut sets, 2, &[7]);
        let words = sets.words.len();
        for id in [5, 0] {
            sets.remove(id);
        }
        insert(&mut sets, 1, &[8, 9]);
        insert(&mut sets, 0, &[5, 6]);
        assert_eq!(sets.words.len(), words);
        assert_eq!((sets.get(0), sets.get(1)), (&[5, 6][..], &[8, 9][..]));
        assert_eq!((sets.get(2), sets.get(5)), (&[7][..], &[][..]));
        assert_eq!((sets.count(), sets.bound()), (3, 6));
        assert!(!sets.contains(5) && !sets.contains(77));
    }

    #[test]
    fn half_dead_sets_are_moved_together() {
        let mut sets = LabelSets::default();
        for id in 0..1_000 {
            insert(&mut sets, id, &[id, id + 1, id + 2]);
        }
        for id in (0..1_000).filter(|id| id % 10 != 0) {
            sets.remove(id);
        }
        sets.compact();
        assert_eq!(sets.words.len(), 400);
        insert(&mut sets, 1, &[5, 6, 7]);
        for id in (0..1_000).step_by(10) {
            assert_eq!(sets.get(id), [id, id + 1, id + 2]);
        }
        assert_eq!(sets.get(1), [5, 6, 7]);
    }
}

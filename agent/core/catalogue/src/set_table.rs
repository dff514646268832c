//! From the hash of a label set to series ids.
//!
//! A sorted array with gaps. An entry is its hash and its id in one word; its home is the place
//! that its hash has among all hashes, and it lies there or a little behind, in order. So looking
//! for one touches one cache line or two, a hash that is not there is known to be missing at the
//! first greater one, and growing moves all entries in one pass from left to right, by a quarter.
//!
//! Keeps true: entries ascend, and there is no gap between an entry's home and the entry. It does
//! not know what the sets are: whoever asks compares them.

/// A gap. Greater than any entry, as no id is `u32::MAX`.
const GAP: u64 = u64::MAX;

#[derive(Default)]
pub(crate) struct SetTable {
    /// As many as there are homes, and those that entries behind the last home take.
    slots: Vec<u64>,
    homes: usize,
    len: usize,
}

impl SetTable {
    /// The first of the ids with this hash that `is_it` says yes to.
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let least = entry(hash, 0);
        let slots = self.slots.get(self.home(hash)..).unwrap_or(&[]);
        let behind = slots.iter().skip_while(|&&slot| slot < least);
        let same = behind.take_while(|&&slot| slot != GAP && hash_of(slot) == hash);
        same.map(|&slot| slot as u32).find(|&id| is_it(id))
    }

    /// Adds an id, which is none that is here under this hash.
    pub(crate) fn insert(&mut self, hash: u32, id: u32) {
        if self.len * 5 >= self.homes * 4 {
            self.resize((self.homes + self.homes / 4).max(16));
        }
        let mut carried = entry(hash, id);
        let mut at = self.home(hash);
        while carried != GAP {
            match self.slots.get_mut(at) {
                None => {
                    self.add_slot(carried);
                    break;
                }
                Some(slot) if *slot > carried => std::mem::swap(slot, &mut carried),
                Some(_) => {}
            }
            at += 1;
        }
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, hash: u32, id: u32) {
        let wanted = entry(hash, id);
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|&slot| slot < wanted) {
            at += 1;
        }
        if self.slots.get(at) != Some(&wanted) {
            return;
        }
        // Those behind it that are not at home move up.
        while let Some(&next) = self.slots.get(at + 1)
            && next != GAP
            && self.home(hash_of(next)) <= at
        {
            self.slots[at] = next;
            at += 1;
        }
        self.slots[at] = GAP;
        self.len -= 1;
    }

    /// Gives memory back where most of it is gaps.
    pub(crate) fn shrink(&mut self) {
        if self.len * 2 < self.homes {
            self.resize(self.len + self.len / 2);
        }
    }

    /// From entries in any order, each id once.
    pub(crate) fn build(mut entries: Vec<u64>) -> Self {
        entries.sort_unstable();
        let mut table = SetTable::default();
        table.place(&entries, entries.len() + entries.len() / 2);
        table
    }

    /// Calls `visit` for each two ids that have the same hash.
    pub(crate) fn each_pair_of_same_hash(&self, mut visit: impl FnMut(u32, u32)) {
        let all = self.slots.iter().filter(|&&slot| slot != GAP);
        let mut same: Vec<u64> = Vec::new();
        for &slot in all {
            if same
                .first()
                .is_some_and(|&one| hash_of(one) != hash_of(slot))
            {
                same.clear();
            }
            same.iter().for_each(|&one| visit(one as u32, slot as u32));
            same.push(slot);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.homes as u64) >> 32) as usize
    }

    /// Behind the last home, where few entries ever are.
    fn add_slot(&mut self, entry: u64) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(8);
        }
        self.slots.push(entry);
    }

    fn resize(&mut self, homes: usize) {
        let entries = std::mem::take(&mut self.slots);
        self.place(&entries, homes);
    }

    /// Fills the table anew with ascending entries, gaps among them.
    fn place(&mut self, entries: &[u64], homes: usize) {
        self.homes = homes;
        self.len = 0;
        self.slots = Vec::with_capacity(homes + 8);
        self.slots.resize(homes, GAP);
        let mut free = 0;
        for &entry in entries.iter().filter(|&&entry| entry != GAP) {
            let at = self.home(hash_of(entry)).max(free);
            match self.slots.get_mut(at) {
                Some(slot) => *slot = entry,
                None => self.add_slot(entry),
            }
            free = at + 1;
            self.len += 1;
        }
    }
}

/// A hash and an id as an entry of a table.
pub(crate) fn entry(hash: u32, id: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(id)
}

fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(table: &SetTable, expected: &BTreeSet<(u32, u32)>) {
        assert_eq!(table.len, expected.len());
        let entries = table.slots.iter().filter(|&&slot| slot != GAP);
        assert!(
            entries.eq(expected
                .iter()
                .map(|&(hash, id)| entry(hash, id))
                .collect::<Vec<_>>()
                .iter())
        );
        for &(hash, id) in expected {
            assert_eq!(table.find(hash, |other| other == id), Some(id));
        }
        for (at, &slot) in table
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| **slot != GAP)
        {
            let from_home = &table.slots[table.home(hash_of(slot))..=at];
            assert!(from_home.iter().all(|&slot| slot != GAP));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn is_a_set_of_pairs(
            steps in prop::collection::vec(
                (prop_oneof![0u32..4, any::<u32>(), u32::MAX - 3..=u32::MAX], 0u32..8, prop::bool::weighted(0.3)),
                0..300,
            )
        ) {
            let (mut table, mut expected) = (SetTable::default(), BTreeSet::new());
            for (hash, id, removes) in steps {
                if removes {
                    table.remove(hash, id);
                    expected.remove(&(hash, id));
                } else if expected.insert((hash, id)) {
                    table.insert(hash, id);
                }
                prop_assert_eq!(table.find(hash, |_| false), None);
            }
            check(&table, &expected);
            table.shrink();
            check(&table, &expected);
            let entries = expected.iter().rev().map(|&(hash, id)| entry(hash, id));
            check(&SetTable::build(entries.collect()), &expected);
        }
    }

    #[test]
    fn tells_which_ids_share_a_hash() {
        let entries = [(7, 1), (5, 1), (7, 3), (u32::MAX, 2), (7, 2)];
        let table = SetTable::build(entries.map(|(hash, id)| entry(hash, id)).to_vec());
        let mut pairs = Vec::new();
        table.each_pair_of_same_hash(|a, b| pairs.push((a, b)));
        assert_eq!(pairs, [(1, 2), (1, 3), (2, 3)]);
    }

    #[test]
    fn takes_eight_to_thirteen_bytes_an_entry() {
        let mut table = SetTable::default();
        for id in 0..100_000u32 {
            table.insert(id.wrapping_mul(0x9e37_79b9), id);
            let most = table.len * 13 + 200;
            assert!(table.bytes() <= most, "{} for {}", table.bytes(), table.len);
        }
    }
}

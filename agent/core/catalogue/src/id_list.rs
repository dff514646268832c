//! The series that have one label: ascending ids in little memory.
//!
//! Ids are given in order and a target's series are neighbours, so what is common to a target is
//! one run, and one run takes no memory of its own. A few runs are a plain list. From there on ids
//! are cut into blocks of 65 536, each a list of runs or, where that would be larger, a bitmap; so
//! a change in the middle moves 8 KiB at most.

use crate::id_set::{self, Bits, IdSet, block_of, id_in};
use crate::runs::{Number, Run, add};
use crate::tight;

/// A bitmap is as large as this many runs.
const MAX_BLOCK_RUNS: usize = size_of::<Bits>() / size_of::<Run<u16>>();

#[derive(Debug)]
pub(crate) enum IdList {
    One(Run<u32>),
    Few(Vec<Run<u32>>),
    Blocks(Box<Blocks>),
}

#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// How many ids there are.
    len: usize,
    /// By ascending block; none is empty.
    blocks: Vec<(u16, Block)>,
}

#[derive(Debug)]
enum Block {
    Runs(Vec<Run<u16>>),
    Bits(Box<Bits>),
}

impl Default for IdList {
    fn default() -> Self {
        IdList::Few(Vec::new())
    }
}

impl IdList {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, IdList::Few(runs) if runs.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        let count = |run: &Run<u32>| (run.last - run.first) as usize + 1;
        match self {
            IdList::One(run) => count(run),
            IdList::Few(runs) => runs.iter().map(count).sum(),
            IdList::Blocks(blocks) => blocks.len,
        }
    }

    /// Adds an id; one that is there already is passed over.
    pub(crate) fn insert(&mut self, id: u32) {
        match self {
            IdList::One(run) if id.follows(run.last) => run.last = id,
            IdList::One(run) => {
                let mut runs = vec![*run];
                add(&mut runs, id);
                *self = IdList::Few(runs);
            }
            IdList::Few(runs) if runs.is_empty() => {
                *self = IdList::One(Run {
                    first: id,
                    last: id,
                });
            }
            IdList::Few(runs) => {
                add(runs, id);
                if runs.len() > most_few(runs) {
                    *self = IdList::Blocks(Box::new(Blocks::from_runs(runs)));
                }
            }
            IdList::Blocks(blocks) => blocks.insert(id),
        }
    }

    /// Removes the ids that are in `gone`.
    pub(crate) fn remove(&mut self, gone: &IdSet) {
        match self {
            IdList::One(run) => *self = IdList::from_runs(without(&[*run], gone)),
            IdList::Few(runs) => *self = IdList::from_runs(without(runs, gone)),
            IdList::Blocks(blocks) => {
                blocks.remove(gone);
                if blocks.run_count() * 2 <= blocks.most_few() {
                    *self = IdList::from_runs(self.runs());
                }
            }
        }
    }

    /// The blocks that have ids of this list, ascending, appended to `keys`.
    pub(crate) fn append_block_keys(&self, keys: &mut Vec<u16>) {
        let mut runs = |runs: &[Run<u32>]| {
            for run in runs {
                keys.extend(block_of(run.first)..=block_of(run.last));
            }
        };
        match self {
            IdList::One(run) => runs(&[*run]),
            IdList::Few(list) => runs(list),
            IdList::Blocks(blocks) => keys.extend(blocks.blocks.iter().map(|(key, _)| *key)),
        }
        keys.dedup();
    }

    /// Adds the ids that one block has to `bits`.
    pub(crate) fn add_block_to(&self, key: u16, bits: &mut Bits) {
        match self {
            IdList::One(run) => add_part(*run, key, bits),
            IdList::Few(runs) => {
                let from = runs.partition_point(|run| block_of(run.last) < key);
                let runs = runs[from..].iter();
                for run in runs.take_while(|run| block_of(run.first) <= key) {
                    add_part(*run, key, bits);
                }
            }
            IdList::Blocks(blocks) => {
                if let Ok(at) = blocks.blocks.binary_search_by_key(&key, |(key, _)| *key) {
                    blocks.blocks[at].1.add_to(bits);
                }
            }
        }
    }

    /// Adds the ids whose block is wanted to `set`.
    pub(crate) fn add_to(&self, set: &mut IdSet, wanted: &dyn Fn(u16) -> bool) {
        let mut add_runs = |runs: &[Run<u32>]| {
            for run in runs {
                let keys = block_of(run.first)..=block_of(run.last);
                for key in keys.filter(|&key| wanted(key)) {
                    add_part(*run, key, set.block_mut(key));
                }
            }
        };
        match self {
            IdList::One(run) => add_runs(&[*run]),
            IdList::Few(runs) => add_runs(runs),
            IdList::Blocks(blocks) => {
                for (key, block) in blocks.blocks.iter().filter(|(key, _)| wanted(*key)) {
                    block.add_to(set.block_mut(*key));
                }
            }
        }
    }

    /// Appends all ids, ascending.
    pub(crate) fn append_to(&self, ids: &mut Vec<u32>) {
        ids.reserve(self.len());
        self.each_run(|run| ids.extend(run.first..=run.last));
    }

    /// The memory it takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            IdList::One(_) => 0,
            IdList::Few(runs) => tight::bytes(runs),
            IdList::Blocks(blocks) => size_of::<Blocks>() + blocks.heap_bytes(),
        }
    }

    fn from_runs(runs: Vec<Run<u32>>) -> Self {
        match runs.as_slice() {
            [run] => IdList::One(*run),
            _ => IdList::Few(runs),
        }
    }

    fn runs(&self) -> Vec<Run<u32>> {
        let mut runs = Vec::new();
        self.each_run(|run| runs.push(run));
        runs.shrink_to_fit();
        runs
    }

    /// A run that goes over the border of a block may come in two parts.
    fn each_run(&self, mut visit: impl FnMut(Run<u32>)) {
        match self {
            IdList::One(run) => visit(*run),
            IdList::Few(runs) => runs.iter().copied().for_each(visit),
            IdList::Blocks(blocks) => {
                for (key, block) in &blocks.blocks {
                    block.each_run(|run| {
                        visit(Run {
                            first: id_in(*key, run.first),
                            last: id_in(*key, run.last),
                        });
                    });
                }
            }
        }
    }
}

impl Blocks {
    fn from_runs(runs: &[Run<u32>]) -> Self {
        let mut blocks = Blocks::default();
        for id in runs.iter().flat_map(|run| run.first..=run.last) {
            blocks.insert(id);
        }
        blocks
    }

    fn insert(&mut self, id: u32) {
        let key = block_of(id);
        let at = match self.blocks.last() {
            Some((last, _)) if *last == key => self.blocks.len() - 1,
            _ => self.place_for(key),
        };
        self.len += usize::from(self.blocks[at].1.insert(id as u16));
    }

    fn place_for(&mut self, key: u16) -> usize {
        match self.blocks.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => at,
            Err(at) => {
                tight::reserve_one(&mut self.blocks);
                self.blocks.insert(at, (key, Block::Runs(Vec::new())));
                at
            }
        }
    }

    fn remove(&mut self, gone: &IdSet) {
        for (key, block) in &mut self.blocks {
            if let Some(gone) = gone.block(*key) {
                block.remove(gone);
            }
        }
        self.blocks.retain(|(_, block)| !block.is_empty());
        self.len = self.blocks.iter().map(|(_, block)| block.len()).sum();
    }

    fn run_count(&self) -> usize {
        let blocks = self.blocks.iter();
        blocks.map(|(_, block)| block.run_count()).sum()
    }

    fn most_few(&self) -> usize {
        match (self.blocks.first(), self.blocks.last()) {
            (Some((first, _)), Some((last, _))) => most_few_in(*first, *last),
            _ => usize::MAX,
        }
    }

    fn heap_bytes(&self) -> usize {
        let blocks = self.blocks.iter().map(|(_, block)| match block {
            Block::Runs(runs) => tight::bytes(runs),
            Block::Bits(_) => size_of::<Bits>(),
        });
        tight::bytes(&self.blocks) + blocks.sum::<usize>()
    }
}

impl Block {
    fn is_empty(&self) -> bool {
        matches!(self, Block::Runs(runs) if runs.is_empty())
    }

    fn len(&self) -> usize {
        match self {
            Block::Runs(runs) => runs
                .iter()
                .map(|run| usize::from(run.last - run.first) + 1)
                .sum(),
            Block::Bits(bits) => id_set::count(bits),
        }
    }

    fn run_count(&self) -> usize {
        match self {
            Block::Runs(runs) => runs.len(),
            Block::Bits(bits) => id_set::count_runs(bits),
        }
    }

    /// False if the place was taken.
    fn insert(&mut self, place: u16) -> bool {
        match self {
            Block::Bits(bits) => id_set::set(bits, place),
            Block::Runs(runs) => {
                let added = add(runs, place);
                if runs.len() > MAX_BLOCK_RUNS {
                    let mut bits = id_set::no_bits();
                    self.add_to(&mut bits);
                    *self = Block::Bits(bits);
                }
                added
            }
        }
    }

    fn remove(&mut self, gone: &Bits) {
        let mut bits = id_set::no_bits();
        self.add_to(&mut bits);
        id_set::drop_from(&mut bits, gone);
        // Half of the most, so that a block at the border does not change its form at each step.
        let run_count = id_set::count_runs(&bits);
        if run_count > MAX_BLOCK_RUNS / 2 && matches!(self, Block::Bits(_)) {
            *self = Block::Bits(bits);
            return;
        }
        let mut runs = Vec::with_capacity(run_count);
        id_set::each_run(&bits, |first, last| runs.push(Run { first, last }));
        *self = Block::Runs(runs);
    }

    fn add_to(&self, bits: &mut Bits) {
        match self {
            Block::Bits(own) => id_set::unite(bits, own),
            Block::Runs(runs) => {
                for run in runs {
                    id_set::set_range(bits, run.first, run.last);
                }
            }
        }
    }

    fn each_run(&self, mut visit: impl FnMut(Run<u16>)) {
        match self {
            Block::Runs(runs) => runs.iter().copied().for_each(visit),
            Block::Bits(bits) => {
                id_set::each_run(bits, |first, last| visit(Run { first, last }));
            }
        }
    }
}

/// Up to how many runs a plain list takes less memory than blocks.
fn most_few(runs: &[Run<u32>]) -> usize {
    match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => most_few_in(block_of(first.first), block_of(last.last)),
        _ => usize::MAX,
    }
}

fn most_few_in(first: u16, last: u16) -> usize {
    let blocks = usize::from(last - first) + 1;
    16 + 8 * blocks.min(256)
}

/// The runs without the ids in `gone`.
fn without(runs: &[Run<u32>], gone: &IdSet) -> Vec<Run<u32>> {
    let mut left = Vec::new();
    for run in runs {
        let keys = block_of(run.first)..=block_of(run.last);
        if keys.clone().all(|key| gone.block(key).is_none()) {
            left.push(*run);
            continue;
        }
        let mut rest = Vec::new();
        for id in (run.first..=run.last).filter(|&id| !gone.contains(id)) {
            add(&mut rest, id);
        }
        left.append(&mut rest);
    }
    left.shrink_to_fit();
    left
}

/// Adds the part of a run that is in a block.
fn add_part(run: Run<u32>, key: u16, bits: &mut Bits) {
    let first = run.first.max(id_in(key, 0));
    let last = run.last.min(id_in(key, u16::MAX));
    if first <= last {
        id_set::set_range(bits, first as u16, last as u16);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Runs of ids near block borders, so that every form of a list comes up.
    fn steps() -> impl Strategy<Value = Vec<(u32, u32, u32, bool)>> {
        let first = prop_oneof![0u32..300, 65_000u32..66_000, 0u32..400_000];
        let step = (first, 1u32..4, 1u32..3_000, prop::bool::weighted(0.3));
        prop::collection::vec(step, 1..12)
    }

    fn ids_of(list: &IdList) -> Vec<u32> {
        let mut ids = Vec::new();
        list.append_to(&mut ids);
        ids
    }

    fn check(list: &IdList, expected: &BTreeSet<u32>) {
        assert!(ids_of(list).iter().eq(expected));
        assert_eq!(list.len(), expected.len());
        assert_eq!(list.is_empty(), expected.is_empty());
        let mut keys = Vec::new();
        list.append_block_keys(&mut keys);
        let expected_keys: BTreeSet<u16> = expected.iter().map(|&id| block_of(id)).collect();
        assert!(keys.iter().eq(&expected_keys));
        let mut set = IdSet::default();
        list.add_to(&mut set, &|key| key != 1);
        let mut from_set = Vec::new();
        let mut from_blocks = Vec::new();
        for key in keys {
            let mut bits = id_set::no_bits();
            list.add_block_to(key, &mut bits);
            id_set::append_ids(&bits, key, &mut from_blocks);
            if let Some(bits) = set.block(key) {
                id_set::append_ids(bits, key, &mut from_set);
            }
        }
        assert!(from_blocks.iter().eq(expected));
        let wanted = expected.iter().filter(|&&id| block_of(id) != 1);
        assert!(from_set.iter().eq(wanted));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn is_a_set(steps in steps()) {
            let (mut list, mut expected) = (IdList::default(), BTreeSet::new());
            for (first, stride, count, removes) in steps {
                let ids = (0..count).map(|at| first + at * stride);
                if removes {
                    let mut gone = IdSet::default();
                    for id in ids {
                        gone.insert(id);
                        expected.remove(&id);
                    }
                    list.remove(&gone);
                } else {
                    for id in ids {
                        list.insert(id);
                        expected.insert(id);
                    }
                }
                check(&list, &expected);
            }
        }
    }

    #[test]
    fn takes_the_form_that_fits() {
        let mut list = IdList::default();
        (0..100_000).for_each(|id| list.insert(id));
        assert!(matches!(list, IdList::One(_)) && list.heap_bytes() == 0);
        (100_000..100_060).for_each(|at| list.insert(at * 3));
        assert!(matches!(list, IdList::Blocks(_)));
        let mut scattered = IdList::default();
        (0..65_536).step_by(8).for_each(|id| scattered.insert(id));
        assert!(scattered.heap_bytes() < 9_000, "{}", scattered.heap_bytes());
        let mut gone = IdSet::default();
        (8..65_536).for_each(|id| gone.insert(id));
        scattered.remove(&gone);
        assert_eq!((ids_of(&scattered), scattered.heap_bytes()), (vec![0], 0));
    }

    #[test]
    fn the_last_id_of_all_is_one_like_others() {
        let mut list = IdList::default();
        for id in [u32::MAX, 0, u32::MAX - 1] {
            list.insert(id);
        }
        assert_eq!(ids_of(&list), [0, u32::MAX - 1, u32::MAX]);
    }
}

//! Series in the order of their labels.
//!
//! The labels that the series have are ranked once, by text. After that series are compared by
//! numbers: as many ranks as fit into 64 bits make a key, and only series with equal keys look at
//! their further labels.

use std::cmp::Ordering;

use crate::label_index::LabelIndex;
use crate::label_sets::LabelSets;

/// Below this, ranking costs more than it saves.
const FEW: usize = 32;

pub(crate) fn compare(index: &LabelIndex, sets: &LabelSets, a: u32, b: u32) -> Ordering {
    let (a, b) = (sets.get(a), sets.get(b));
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((&a, &b)) => index.compare(a, b),
        None => a.len().cmp(&b.len()),
    }
}

pub(crate) fn sort(index: &LabelIndex, sets: &LabelSets, ids: &mut [u32]) {
    // A rank for every label that there is costs too much for few of many series.
    if ids.len() < FEW || ids.len() < index.label_bound() / 64 {
        ids.sort_by(|&a, &b| compare(index, sets, a, b));
        return;
    }
    let keys = Keys::new(index, sets, ids);
    let mut keyed: Vec<(u64, u32)> = ids.iter().map(|&id| (0, id)).collect();
    // Parts that may be out of order, and how many labels their series are known to share.
    let mut pending = vec![(0..keyed.len(), 0)];
    while let Some((part, shared)) = pending.pop() {
        let start = part.start;
        let entries = &mut keyed[part];
        for (key, id) in &mut *entries {
            *key = keys.key(sets.get(*id), shared);
        }
        entries.sort_unstable();
        let mut at = start;
        for equal in entries.chunk_by(|a, b| a.0 == b.0) {
            if equal.len() > 1 && keys.may_go_on(equal[0].0) {
                pending.push((at..at + equal.len(), shared + keys.columns));
            }
            at += equal.len();
        }
    }
    for (id, (_, sorted)) in ids.iter_mut().zip(keyed) {
        *id = sorted;
    }
}

struct Keys {
    /// By label; from 1 for the labels that count.
    ranks: Vec<u32>,
    /// How many bits a rank takes, and how many ranks a key holds.
    bits: u32,
    columns: usize,
}

impl Keys {
    fn new(index: &LabelIndex, sets: &LabelSets, ids: &[u32]) -> Self {
        let mut ranks = vec![0; index.label_bound()];
        let mut labels = Vec::new();
        for &label in ids.iter().flat_map(|&id| sets.get(id)) {
            let rank = &mut ranks[label as usize];
            if *rank == 0 {
                *rank = 1;
                labels.push(label);
            }
        }
        for (rank, label) in (1..).zip(sorted(index, labels.as_slice())) {
            ranks[label as usize] = rank;
        }
        let bits = (u32::BITS - (labels.len() as u32).leading_zeros()).max(1);
        Keys {
            ranks,
            bits,
            columns: (u64::BITS / bits) as usize,
        }
    }

    /// The ranks of the labels after the first `from`; 0 where there are none left, so that a set
    /// comes before those it is the beginning of.
    fn key(&self, labels: &[u32], from: usize) -> u64 {
        let labels = labels.get(from..).unwrap_or(&[]);
        let ranks = labels.iter().map(|&label| self.ranks[label as usize]);
        let ranks = ranks.chain(std::iter::repeat(0)).take(self.columns);
        ranks.fold(0, |key, rank| key << self.bits | u64::from(rank))
    }

    /// Whether sets with this key may have labels beyond it.
    fn may_go_on(&self, key: u64) -> bool {
        key & ((1 << self.bits) - 1) != 0
    }
}

/// Labels by name and value. The first bytes of a value are at hand while sorting, so that most
/// comparisons need not go to the text.
fn sorted(index: &LabelIndex, labels: &[u32]) -> impl Iterator<Item = u32> {
    let mut names: Vec<u32> = labels.iter().map(|&label| index.name_of(label)).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by(|&a, &b| index.name(a).cmp(index.name(b)));
    let mut name_ranks = vec![0u32; index.name_bound()];
    for (rank, name) in (0..).zip(names) {
        name_ranks[name as usize] = rank;
    }
    let mut entries: Vec<(u32, u64, u32)> = labels
        .iter()
        .map(|&label| {
            let rank = name_ranks[index.name_of(label) as usize];
            (rank, beginning(index.value(label)), label)
        })
        .collect();
    entries.sort_unstable_by(|a, b| {
        let by_beginning = (a.0, a.1).cmp(&(b.0, b.1));
        by_beginning.then_with(|| index.value(a.2).cmp(index.value(b.2)))
    });
    entries.into_iter().map(|(.., label)| label)
}

/// The first eight bytes, in an order that agrees with that of the texts.
fn beginning(text: &str) -> u64 {
    let mut bytes = [0; 8];
    for (byte, of_text) in bytes.iter_mut().zip(text.bytes()) {
        *byte = of_text;
    }
    u64::from_be_bytes(bytes)
}

//! Sets of series ids as bitmaps, for work in passing: the result of a search while it is narrowed,
//! the series that are being removed.
//!
//! Ids are cut into blocks of 65 536, so that a set of neighbours takes one block of 8 KiB.

/// The ids of one block, one bit each.
pub(crate) type Bits = [u64; WORDS];

const WORDS: usize = 1024;

/// Which block an id is in.
pub(crate) fn block_of(id: u32) -> u16 {
    (id >> 16) as u16
}

/// An id from its block and its place there.
pub(crate) fn id_in(block: u16, place: u16) -> u32 {
    u32::from(block) << 16 | u32::from(place)
}

pub(crate) fn no_bits() -> Box<Bits> {
    Box::new([0; WORDS])
}

#[derive(Default)]
pub(crate) struct IdSet {
    /// By block.
    blocks: Vec<Option<Box<Bits>>>,
}

impl IdSet {
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.block(block_of(id))
            .is_some_and(|bits| has(bits, id as u16))
    }

    pub(crate) fn insert(&mut self, id: u32) {
        let place = id as u16;
        self.block_mut(block_of(id))[usize::from(place / 64)] |= 1 << (place % 64);
    }

    pub(crate) fn block(&self, block: u16) -> Option<&Bits> {
        self.blocks.get(usize::from(block))?.as_deref()
    }

    pub(crate) fn block_mut(&mut self, block: u16) -> &mut Bits {
        let at = usize::from(block);
        if self.blocks.len() <= at {
            self.blocks.resize_with(at + 1, || None);
        }
        self.blocks[at].get_or_insert_with(no_bits)
    }
}

pub(crate) fn has(bits: &Bits, place: u16) -> bool {
    bits[usize::from(place / 64)] >> (place % 64) & 1 == 1
}

/// Adds a place; false if it was there.
pub(crate) fn set(bits: &mut Bits, place: u16) -> bool {
    let word = &mut bits[usize::from(place / 64)];
    let before = *word;
    *word |= 1 << (place % 64);
    *word != before
}

/// Adds the places from `first` to `last`.
pub(crate) fn set_range(bits: &mut Bits, first: u16, last: u16) {
    let (low, high) = (usize::from(first / 64), usize::from(last / 64));
    let from = u64::MAX << (first % 64);
    let to = u64::MAX >> (63 - last % 64);
    if low == high {
        bits[low] |= from & to;
        return;
    }
    bits[low] |= from;
    bits[low + 1..high].fill(u64::MAX);
    bits[high] |= to;
}

pub(crate) fn unite(bits: &mut Bits, other: &Bits) {
    for (word, other) in bits.iter_mut().zip(other) {
        *word |= other;
    }
}

pub(crate) fn keep(bits: &mut Bits, other: &Bits) {
    for (word, other) in bits.iter_mut().zip(other) {
        *word &= other;
    }
}

pub(crate) fn drop_from(bits: &mut Bits, other: &Bits) {
    for (word, other) in bits.iter_mut().zip(other) {
        *word &= !other;
    }
}

pub(crate) fn is_empty(bits: &Bits) -> bool {
    bits.iter().all(|&word| word == 0)
}

pub(crate) fn count(bits: &Bits) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}

/// How many runs of neighbours there are.
pub(crate) fn count_runs(bits: &Bits) -> usize {
    let mut before = 0;
    let mut runs = 0;
    for &word in bits {
        runs += (word & !(word << 1 | before)).count_ones() as usize;
        before = word >> 63;
    }
    runs
}

/// Calls `visit` with the first and the last place of each run of neighbours.
pub(crate) fn each_run(bits: &Bits, mut visit: impl FnMut(u16, u16)) {
    let mut open: Option<u16> = None;
    for (at, &word) in (0u16..).zip(bits) {
        let mut done = 0;
        while done < 64 {
            let rest = word >> done;
            let same = match open {
                None => rest.trailing_zeros(),
                Some(_) => rest.trailing_ones(),
            };
            if done + same >= 64 {
                break;
            }
            done += same;
            let place = at * 64 + done as u16;
            match open.take() {
                None => open = Some(place),
                Some(first) => visit(first, place - 1),
            }
        }
    }
    if let Some(first) = open {
        visit(first, u16::MAX);
    }
}

/// Appends the ids of a block, ascending.
pub(crate) fn append_ids(bits: &Bits, block: u16, ids: &mut Vec<u32>) {
    for (at, &word) in (0u16..).zip(bits) {
        let mut rest = word;
        while rest != 0 {
            ids.push(id_in(block, at * 64 + rest.trailing_zeros() as u16));
            rest &= rest - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back_as_runs() {
        let tables: [&[(u16, u16)]; 7] = [
            &[],
            &[(0, 0)],
            &[(0, 63), (65, 65)],
            &[(63, 64), (127, 128), (130, 700)],
            &[(64, 127)],
            &[(5, 9), (65_535, 65_535)],
            &[(0, 65_535)],
        ];
        for runs in tables {
            let mut bits = no_bits();
            for &(first, last) in runs {
                set_range(&mut bits, first, last);
            }
            let mut seen = Vec::new();
            each_run(&bits, |first, last| seen.push((first, last)));
            assert_eq!(seen, runs);
            assert_eq!(count_runs(&bits), runs.len());
            let mut ids = Vec::new();
            append_ids(&bits, 3, &mut ids);
            let expected = runs.iter().flat_map(|&(first, last)| first..=last);
            assert!(
                ids.iter()
                    .copied()
                    .eq(expected.map(|place| id_in(3, place)))
            );
            assert_eq!(count(&bits), ids.len());
        }
    }
}

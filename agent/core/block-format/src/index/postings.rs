//! Lists of series in ascending order, and what sets can be made of them.

/// Series that have some label: a list of ascending references, read where it lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postings<'a> {
    references: &'a [[u8; 4]],
}

impl<'a> Postings<'a> {
    /// From big-endian numbers; none if the last one isn't whole.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (references, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then_some(Postings { references })
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// What [`Iterator::next`] will give.
    pub fn peek(&self) -> Option<u32> {
        self.at(0)
    }

    /// Leaves out all that are less than `at_least`.
    pub fn seek(&mut self, at_least: u32) {
        let skipped = first_at_least(self, 0, at_least);
        self.references = self.references.get(skipped..).unwrap_or_default();
    }

    /// The highest one.
    pub fn highest(&self) -> Option<u32> {
        self.references
            .last()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }
}

impl Iterator for Postings<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (first, rest) = self.references.split_first()?;
        self.references = rest;
        Some(u32::from_be_bytes(*first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Postings<'_> {}

/// The series of any list.
pub fn merge(lists: &[Postings<'_>]) -> Vec<u32> {
    match lists {
        [] => Vec::new(),
        [list] => list.collect(),
        lists => merge_several(lists),
    }
}

/// The series that are in every list; none if there is no list.
pub fn intersect(lists: &[Postings<'_>]) -> Vec<u32> {
    let mut lists = lists.to_vec();
    lists.sort_by_key(Postings::len);
    match lists.as_slice() {
        [] => Vec::new(),
        [list] => list.collect(),
        [first, second, others @ ..] => {
            let found = both(first, second);
            others
                .iter()
                .fold(found, |found, list| both(found.as_slice(), list))
        }
    }
}

/// The series of `from` that aren't in `removed`. Both ascend.
pub fn without(mut from: Vec<u32>, removed: &Postings<'_>) -> Vec<u32> {
    remove(&mut from, removed);
    from
}

/// References in ascending order, by their rank.
pub(super) trait Sorted {
    fn count(&self) -> usize;
    fn at(&self, rank: usize) -> Option<u32>;
}

impl Sorted for Postings<'_> {
    fn count(&self) -> usize {
        self.references.len()
    }

    fn at(&self, rank: usize) -> Option<u32> {
        self.references
            .get(rank)
            .map(|bytes| u32::from_be_bytes(*bytes))
    }
}

impl Sorted for [u32] {
    fn count(&self) -> usize {
        self.len()
    }

    fn at(&self, rank: usize) -> Option<u32> {
        self.get(rank).copied()
    }
}

/// The references in both lists.
pub(super) fn both<A: Sorted + ?Sized, B: Sorted + ?Sized>(a: &A, b: &B) -> Vec<u32> {
    if a.count() > b.count() {
        return both(b, a);
    }
    let mut found = Vec::with_capacity(a.count());
    let mut rank = 0;
    for wanted in (0..a.count()).map_while(|rank| a.at(rank)) {
        rank = first_at_least(b, rank, wanted);
        match b.at(rank) {
            Some(candidate) if candidate == wanted => found.push(wanted),
            Some(_) => {}
            None => break,
        }
    }
    found
}

/// Takes out of `from` what `removed` has.
pub(super) fn remove<S: Sorted + ?Sized>(from: &mut Vec<u32>, removed: &S) {
    let mut rank = 0;
    from.retain(|&kept| {
        rank = first_at_least(removed, rank, kept);
        removed.at(rank) != Some(kept)
    });
}

/// The first rank from `start` on whose reference isn't less than `at_least`, found with steps that
/// double, then by halves: cheap if it is near.
fn first_at_least<S: Sorted + ?Sized>(list: &S, start: usize, at_least: u32) -> usize {
    let below = |rank: usize| list.at(rank).is_some_and(|reference| reference < at_least);
    let mut step = 1;
    let mut low = start;
    while below(low.saturating_add(step - 1)) {
        low += step;
        step *= 2;
    }
    let mut high = low.saturating_add(step - 1).min(list.count());
    while low < high {
        let middle = low.midpoint(high);
        if below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A list per bit is cheaper than sorting from so many bits per reference on.
const BITS_PER_REFERENCE: usize = 64;

fn merge_several(lists: &[Postings<'_>]) -> Vec<u32> {
    let lowest = lists.iter().filter_map(Postings::peek).min();
    let highest = lists.iter().filter_map(Postings::highest).max();
    let (Some(lowest), Some(highest)) = (lowest, highest) else {
        return Vec::new();
    };
    let total = lists
        .iter()
        .fold(0usize, |total, list| total.saturating_add(list.len()));
    let span = highest.saturating_sub(lowest) as usize + 1;
    if total >= span / BITS_PER_REFERENCE {
        return merge_by_bits(lists, lowest, span);
    }
    let mut merged: Vec<u32> = lists.iter().copied().flatten().collect();
    merged.sort_unstable();
    merged.dedup();
    merged
}

fn merge_by_bits(lists: &[Postings<'_>], lowest: u32, span: usize) -> Vec<u32> {
    let mut words = vec![0u64; span.div_ceil(64)];
    for reference in lists.iter().copied().flatten() {
        let bit = reference.wrapping_sub(lowest);
        if let Some(word) = words.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }
    let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
    let mut merged = Vec::with_capacity(count);
    for (at, mut word) in words.into_iter().enumerate() {
        while word != 0 {
            let bit = at as u32 * 64 + word.trailing_zeros();
            merged.push(lowest.wrapping_add(bit));
            word &= word - 1;
        }
    }
    merged
}

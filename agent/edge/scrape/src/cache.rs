//! The series of one target, as its loop remembers them from scrape to scrape.
//!
//! A page lists its series in nearly the same order each time. So they are kept in that order, and
//! the one that probably comes next is known before it is read. Kept of a series is by what it is
//! recognised and where the store has it; not its labels. Where the store has forgotten it, they
//! are read from the page again.
//!
//! Keeps true: every series that the target has given and that has no stale marker yet is live;
//! after a good scrape nothing is kept that the scrape didn't show, and the order is the page's.
//! One series of the store may stand here several times, once for each way in which the page
//! writes it.

mod bits;
mod entries;
mod key;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use narthex_storage::SeriesRef;

use bits::Bits;
use entries::{Entries, Entry};
pub(crate) use key::{Key, Keys};

/// A failing target may not fill the cache: beyond twice the last good scrape's size and this,
/// it is emptied.
const SPARE_ENTRIES: usize = 1000;

/// So many entries from the expected one on are tried before the tables are asked: those between
/// may have vanished.
const NEAR: usize = 8;

#[derive(Default)]
pub(crate) struct SeriesCache {
    pub keys: Keys,
    entries: Entries,
    /// Places of the entries whose series have samples and no stale marker after them.
    live: Bits,
    len_at_last_success: usize,
    pass: Pass,
}

/// What the current scrape has shown. Empty between scrapes.
#[derive(Default)]
struct Pass {
    /// The entry that is expected next.
    cursor: usize,
    /// Entries from here on were learned in this scrape.
    known: usize,
    seen: Bits,
    seen_count: usize,
    /// Those whose vanishing is to be marked.
    tracked: Bits,
    /// The places in the order of the page; None as long as they ascend without a gap.
    order: Option<Vec<u32>>,
    /// Of the entries that share their series with others: the series that were seen, and those
    /// that are tracked.
    shared_seen: HashSet<SeriesRef>,
    shared_tracked: HashSet<SeriesRef>,
}

impl SeriesCache {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A new scrape begins: nothing has been seen in it.
    pub(crate) fn begin(&mut self) {
        let known = self.entries.len();
        self.pass = Pass {
            known,
            seen: Bits::with_room(known),
            tracked: Bits::with_room(known),
            ..Pass::default()
        };
    }

    /// The key of the series that probably comes next.
    #[inline]
    pub(crate) fn expected(&self) -> Key {
        let cursor = self.pass.cursor;
        let expected = self.entries.get(cursor);
        let expected = expected.filter(|_| cursor < self.pass.known);
        expected.map_or(Key::NONE, Entry::key)
    }

    /// The place of the expected series, which came indeed.
    #[inline]
    pub(crate) fn take_expected(&mut self) -> usize {
        self.pass.cursor += 1;
        self.pass.cursor - 1
    }

    /// The place of the series with this key.
    pub(crate) fn find(&mut self, key: Key) -> Option<usize> {
        let from = self.pass.cursor;
        let to = self.pass.known.min(from + NEAR);
        let near = self.entries.find_near(key, from, to);
        let at = near.or_else(|| self.entries.find_key(key))?;
        // One that stands twice on the page says nothing about what follows it.
        if at < self.pass.known && !self.pass.seen.contains(at) {
            self.pass.cursor = at + 1;
        }
        Some(at)
    }

    /// Where the store has the series at a place; None: it is dropped.
    #[inline]
    pub(crate) fn series(&self, at: usize) -> Option<SeriesRef> {
        let entry = self.entries.get(at)?;
        (!entry.dropped).then_some(entry.series)
    }

    /// Marks a place as seen; true if its series was seen before in this scrape.
    #[inline]
    pub(crate) fn see(&mut self, at: usize) -> bool {
        let again = !self.pass.seen.insert(at);
        if !again {
            self.pass.note_order(at);
        }
        match self.entries.get(at) {
            Some(entry) if entry.shared => !self.pass.shared_seen.insert(entry.series) || again,
            _ => again,
        }
    }

    /// The series at this place has a sample now that a stale marker has to follow.
    #[inline]
    pub(crate) fn track(&mut self, at: usize) {
        self.pass.tracked.insert(at);
        if let Some(entry) = self.entries.get(at).filter(|entry| entry.shared) {
            self.pass.shared_tracked.insert(entry.series);
        }
    }

    /// Remembers that what has this key, which was not found, is dropped. Gives its place.
    pub(crate) fn learn_dropped(&mut self, key: Key) -> usize {
        self.entries.push(Entry::dropped(key)).0
    }

    /// Remembers the series of a key that was not found. Gives its place, and whether the series
    /// is new here.
    pub(crate) fn learn(&mut self, key: Key, series: SeriesRef) -> (usize, bool) {
        let known = self.entries.find_series(series);
        let keyless = known.filter(|&at| self.entries.get(at).map(Entry::key) == Some(Key::NONE));
        if let Some(at) = keyless {
            self.entries.set_key(at, key);
            return (at, false);
        }
        let (at, first) = self.entries.push(Entry::new(key, series));
        self.note_shared(at, first);
        (at, first == at)
    }

    /// The store had forgotten the series at this place and has it elsewhere now.
    pub(crate) fn renew(&mut self, at: usize, series: SeriesRef) {
        let first = self.entries.set_series(at, series);
        self.note_shared(at, first);
    }

    /// The live series that this scrape has not shown.
    pub(crate) fn vanished(&self) -> impl Iterator<Item = SeriesRef> {
        let pass = &self.pass;
        self.live.without(&pass.tracked).filter_map(|at| {
            let entry = self.entries.get(at)?;
            let written_otherwise = entry.shared && pass.shared_tracked.contains(&entry.series);
            (!written_otherwise).then_some(entry.series)
        })
    }

    /// Ends a good scrape: what it showed is what is kept.
    pub(crate) fn end_success(&mut self) {
        let pass = std::mem::take(&mut self.pass);
        match pass.order {
            None => {
                self.entries.truncate(pass.seen_count);
                self.live = pass.tracked;
            }
            Some(order) => self.reorder(&order, &pass.tracked),
        }
        self.entries.shrink();
        self.len_at_last_success = self.entries.len();
    }

    /// Ends a scrape that failed, after all series became stale. True if the cache had to be
    /// emptied, as it had grown too large.
    pub(crate) fn end_failure(&mut self) -> bool {
        self.pass = Pass::default();
        self.live = Bits::default();
        let too_large = self.entries.len() > 2 * self.len_at_last_success + SPARE_ENTRIES;
        if too_large {
            self.entries.truncate(0);
        }
        self.entries.shrink();
        too_large
    }

    /// The rules that make labels from raw bytes have changed. The series stay known, and are
    /// recognised when the store says for new labels where it has them.
    pub(crate) fn forget_raw(&mut self) {
        let mut live = Bits::default();
        let mut entries = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.dropped {
                continue;
            }
            if self.live.contains(at) {
                live.insert(entries.len());
            }
            entries.push(entry.with_key(Key::NONE));
        }
        self.entries.set(entries);
        self.live = live;
    }

    fn reorder(&mut self, order: &[u32], tracked: &Bits) {
        let mut live = Bits::with_room(order.len());
        let mut entries = Vec::with_capacity(order.len());
        for at in order.iter().map(|&at| at as usize) {
            let Some(entry) = self.entries.get(at) else {
                continue;
            };
            if tracked.contains(at) {
                live.insert(entries.len());
            }
            entries.push(*entry);
        }
        self.entries.set(entries);
        self.live = live;
    }

    /// `first` is the first entry that has the same series as the one at `at`, perhaps itself.
    fn note_shared(&mut self, at: usize, first: usize) {
        if at == first {
            return;
        }
        for at in [at, first] {
            let Some(entry) = self.entries.get_mut(at) else {
                continue;
            };
            entry.shared = true;
            if self.pass.seen.contains(at) {
                self.pass.shared_seen.insert(entry.series);
            }
            if self.pass.tracked.contains(at) {
                self.pass.shared_tracked.insert(entry.series);
            }
        }
    }
}

impl Pass {
    #[inline]
    fn note_order(&mut self, at: usize) {
        if at != self.seen_count && self.order.is_none() {
            self.order = Some((0..).take(self.seen_count).collect());
        }
        self.seen_count += 1;
        if let Some(order) = &mut self.order {
            // Places are below 2^32: each stands for a line of a body.
            order.push(at as u32);
        }
    }
}

//! The series of a page in its order, 24 bytes each, and ways to find them by key or by series.
//!
//! The ways are two tables of places, made when they are first asked for: a page like the last one
//! needs none.

use hashbrown::HashTable;
use narthex_storage::SeriesRef;

use super::Key;

/// One way in which the page writes a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    hash: u64,
    pub series: SeriesRef,
    length: u32,
    /// Metric relabelling drops it; there is no series.
    pub dropped: bool,
    /// Another entry has the same series.
    pub shared: bool,
}

#[derive(Default)]
pub(super) struct Entries {
    list: Vec<Entry>,
    tables: Option<Tables>,
}

struct Tables {
    by_key: HashTable<u32>,
    /// Of several entries with the same series, the first.
    by_series: HashTable<u32>,
}

impl Entry {
    pub(super) fn new(key: Key, series: SeriesRef) -> Self {
        Entry {
            hash: key.hash,
            series,
            length: key.length,
            dropped: false,
            shared: false,
        }
    }

    /// Of what metric relabelling drops.
    pub(super) fn dropped(key: Key) -> Self {
        Entry {
            dropped: true,
            ..Entry::new(key, SeriesRef(0))
        }
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        Key {
            hash: self.hash,
            length: self.length,
        }
    }

    pub(super) fn with_key(self, key: Key) -> Self {
        Entry {
            hash: key.hash,
            length: key.length,
            ..self
        }
    }
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Entry> {
        self.list.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.list.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.list.iter()
    }

    /// The place of this key among those from `from` up to `to`.
    pub(super) fn find_near(&self, key: Key, from: usize, to: usize) -> Option<usize> {
        let near = self.list.get(from..to)?;
        let ahead = near.iter().position(|entry| entry.key() == key)?;
        Some(from + ahead)
    }

    pub(super) fn find_key(&mut self, key: Key) -> Option<usize> {
        let (tables, list) = self.tables();
        let same = |&at: &u32| key_at(list, at) == key;
        tables
            .by_key
            .find(key.hash, same)
            .map(|&found| found as usize)
    }

    pub(super) fn find_series(&mut self, series: SeriesRef) -> Option<usize> {
        let (tables, list) = self.tables();
        let same = |&at: &u32| series_at(list, at) == Some(series);
        tables
            .by_series
            .find(spread(series), same)
            .map(|&found| found as usize)
    }

    /// Adds an entry. Gives its place, and that of the first with its series.
    pub(super) fn push(&mut self, entry: Entry) -> (usize, usize) {
        // Made before, so that they don't hold it yet.
        self.tables();
        let at = self.list.len();
        self.list.push(entry);
        let (tables, list) = self.tables();
        tables.insert_key(at, list);
        (at, tables.insert_series(at, list))
    }

    /// Gives a key to an entry that had none.
    pub(super) fn set_key(&mut self, at: usize, key: Key) {
        self.tables();
        if let Some(entry) = self.list.get_mut(at) {
            *entry = entry.with_key(key);
        }
        let (tables, list) = self.tables();
        tables.insert_key(at, list);
    }

    /// Gives another series to an entry. Gives the place of the first with that series.
    pub(super) fn set_series(&mut self, at: usize, series: SeriesRef) -> usize {
        let (tables, list) = self.tables();
        tables.remove_series(at, list);
        if let Some(entry) = self.list.get_mut(at) {
            entry.series = series;
        }
        let (tables, list) = self.tables();
        tables.insert_series(at, list)
    }

    pub(super) fn truncate(&mut self, count: usize) {
        self.tables = None;
        self.list.truncate(count);
    }

    /// Replaces all entries.
    pub(super) fn set(&mut self, list: Vec<Entry>) {
        self.tables = None;
        self.list = list;
    }

    /// Frees what is not needed between scrapes.
    pub(super) fn shrink(&mut self) {
        self.tables = None;
        if self.list.capacity() > self.list.len() + self.list.len() / 8 {
            self.list.shrink_to_fit();
        }
    }

    fn tables(&mut self) -> (&mut Tables, &[Entry]) {
        let list = &self.list;
        let tables = self.tables.get_or_insert_with(|| Tables::of(list));
        (tables, list)
    }
}

impl Tables {
    fn of(list: &[Entry]) -> Self {
        let mut tables = Tables {
            by_key: HashTable::with_capacity(list.len()),
            by_series: HashTable::with_capacity(list.len()),
        };
        for at in 0..list.len() {
            tables.insert_key(at, list);
            tables.insert_series(at, list);
        }
        tables
    }

    fn insert_key(&mut self, at: usize, list: &[Entry]) {
        // Places are below 2^32: each stands for a line of a body.
        let at = at as u32;
        let hash = |&at: &u32| key_at(list, at).hash;
        if key_at(list, at) != Key::NONE {
            self.by_key.insert_unique(hash(&at), at, hash);
        }
    }

    fn insert_series(&mut self, at: usize, list: &[Entry]) -> usize {
        let Some(series) = series_at(list, at as u32) else {
            return at;
        };
        let same = |&at: &u32| series_at(list, at) == Some(series);
        let hash = |&at: &u32| series_at(list, at).map_or(0, spread);
        let slot = self.by_series.entry(spread(series), same, hash);
        *slot.or_insert(at as u32).get() as usize
    }

    fn remove_series(&mut self, at: usize, list: &[Entry]) {
        let Some(series) = series_at(list, at as u32) else {
            return;
        };
        let found = self
            .by_series
            .find_entry(spread(series), |&it| it as usize == at);
        if let Ok(found) = found {
            found.remove();
        }
    }
}

fn key_at(list: &[Entry], at: u32) -> Key {
    list.get(at as usize).map_or(Key::NONE, Entry::key)
}

fn series_at(list: &[Entry], at: u32) -> Option<SeriesRef> {
    let entry = list.get(at as usize)?;
    (!entry.dropped).then_some(entry.series)
}

/// References are small numbers; the tables want all bits to differ.
fn spread(series: SeriesRef) -> u64 {
    let mixed = series.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}

//! What a target's loop remembers from scrape to scrape: its series and their metadata.
//!
//! Keeps true: every series the target has given and that has no stale marker yet is known as
//! live; after a good scrape nothing is kept that the scrape didn't show.

use std::collections::{BTreeMap, HashMap};

use narthex_model::family::Metadata;
use narthex_model::{Labels, MetricType};
use narthex_storage::SeriesRef;

/// A failing target may not fill the cache: beyond twice the last good scrape's size and this,
/// it is emptied.
const SPARE_ENTRIES: usize = 1000;

#[derive(Default)]
pub(crate) struct SeriesCache {
    /// Counts scrapes; entries carry the count of when they were last seen.
    scrape: u64,
    by_raw: HashMap<Box<[u8]>, RawEntry>,
    by_labels: HashMap<Labels, usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    len_at_last_success: usize,
}

struct RawEntry {
    /// None: metric relabelling drops it.
    slot: Option<usize>,
    seen: u64,
}

/// One series as it is stored.
#[derive(Default)]
pub(crate) struct Slot {
    pub labels: Labels,
    pub reference: Option<SeriesRef>,
    /// It has samples and no stale marker after them; since this scrape.
    live_since: Option<u64>,
    seen: u64,
}

impl Slot {
    /// A stale marker was written.
    pub(crate) fn end(&mut self) {
        self.live_since = None;
    }
}

/// What is known of the raw bytes of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Dropped,
    Slot(usize),
}

impl SeriesCache {
    /// A new scrape begins: nothing has been seen in it.
    pub(crate) fn begin(&mut self) {
        self.scrape += 1;
    }

    pub(crate) fn find(&mut self, raw: &[u8]) -> Option<Known> {
        let entry = self.by_raw.get_mut(raw)?;
        entry.seen = self.scrape;
        Some(entry.slot.map_or(Known::Dropped, Known::Slot))
    }

    /// Remembers what `raw` stands for; None where it is dropped.
    pub(crate) fn learn(&mut self, raw: &[u8], slot: Option<usize>) {
        let seen = self.scrape;
        self.by_raw.insert(raw.into(), RawEntry { slot, seen });
    }

    /// The slot of a label set, and whether it is new.
    pub(crate) fn slot_of(&mut self, labels: Labels) -> (usize, bool) {
        if let Some(&slot) = self.by_labels.get(&labels) {
            return (slot, false);
        }
        let fresh = Slot {
            labels: labels.clone(),
            ..Slot::default()
        };
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.slots.len(),
        };
        match self.slots.get_mut(at) {
            Some(slot) => *slot = fresh,
            None => self.slots.push(fresh),
        }
        self.by_labels.insert(labels, at);
        (at, true)
    }

    pub(crate) fn slot_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.slots.get_mut(at)
    }

    /// Marks the slot as seen; true if it was already seen in this scrape.
    pub(crate) fn see(&mut self, at: usize) -> bool {
        let scrape = self.scrape;
        match self.slots.get_mut(at) {
            Some(slot) => std::mem::replace(&mut slot.seen, scrape) == scrape,
            None => false,
        }
    }

    /// The live series that this scrape has not shown.
    pub(crate) fn vanished(&mut self) -> impl Iterator<Item = &mut Slot> {
        let scrape = self.scrape;
        self.slots
            .iter_mut()
            .filter(move |slot| slot.live_since.is_some() && slot.seen != scrape)
    }

    /// The slot has a sample now that a stale marker has to follow.
    pub(crate) fn make_live(&mut self, at: usize) {
        let scrape = self.scrape;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.live_since.get_or_insert(scrape);
        }
    }

    /// What this scrape gave was not stored after all: no series has come to life in it, and none
    /// was seen.
    pub(crate) fn undo(&mut self) {
        for slot in &mut self.slots {
            if slot.live_since == Some(self.scrape) {
                slot.live_since = None;
            }
        }
        self.begin();
    }

    /// Ends a good scrape: forgets what it didn't show.
    pub(crate) fn end_success(&mut self) {
        let scrape = self.scrape;
        self.by_raw.retain(|_, entry| entry.seen == scrape);
        let slots = &self.slots;
        let free = &mut self.free;
        let freed_before = free.len();
        self.by_labels.retain(|_, &mut at| {
            let keep = slots.get(at).is_some_and(|slot| slot.seen == scrape);
            if !keep {
                free.push(at);
            }
            keep
        });
        for &at in self.free.iter().skip(freed_before) {
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = Slot::default();
            }
        }
        self.len_at_last_success = self.by_raw.len().max(self.by_labels.len());
    }

    /// Ends a scrape that failed, after its series became stale. True if the cache had to be
    /// emptied, as it had grown too large.
    pub(crate) fn end_failure(&mut self) -> bool {
        let len = self.by_raw.len().max(self.by_labels.len());
        let too_large = len > 2 * self.len_at_last_success + SPARE_ENTRIES;
        if too_large {
            *self = SeriesCache {
                scrape: self.scrape,
                len_at_last_success: self.len_at_last_success,
                ..SeriesCache::default()
            };
        }
        too_large
    }

    /// The rules that make labels from raw bytes have changed. Series stay known as live.
    pub(crate) fn forget_raw(&mut self) {
        self.by_raw.clear();
    }
}

/// Type, help and unit of a target's metrics, kept until unseen for ten scrapes.
#[derive(Default)]
pub(crate) struct MetadataCache {
    scrape: u64,
    entries: BTreeMap<String, MetadataEntry>,
}

struct MetadataEntry {
    metadata: Metadata,
    seen: u64,
}

const METADATA_KEPT_SCRAPES: u64 = 10;
/// A target may give as many names as it likes; beyond this they are not kept.
const METADATA_LIMIT: usize = 100_000;

impl MetadataCache {
    pub(crate) fn begin(&mut self) {
        self.scrape += 1;
    }

    pub(crate) fn set_kind(&mut self, name: &str, kind: MetricType) {
        self.change(name, |metadata| metadata.kind = kind);
    }

    pub(crate) fn set_help(&mut self, name: &str, help: &str) {
        self.change(name, |metadata| replace(&mut metadata.help, help));
    }

    pub(crate) fn set_unit(&mut self, name: &str, unit: &str) {
        self.change(name, |metadata| replace(&mut metadata.unit, unit));
    }

    pub(crate) fn end_success(&mut self) {
        let scrape = self.scrape;
        self.entries
            .retain(|_, entry| scrape - entry.seen <= METADATA_KEPT_SCRAPES);
    }

    pub(crate) fn list(&self) -> Vec<(String, Metadata)> {
        let entries = self.entries.iter();
        entries
            .map(|(name, entry)| (name.clone(), entry.metadata.clone()))
            .collect()
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Metadata)) {
        let seen = self.scrape;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.seen = seen;
            change(&mut entry.metadata);
        } else if self.entries.len() < METADATA_LIMIT {
            let mut metadata = Metadata::default();
            change(&mut metadata);
            self.entries
                .insert(name.to_owned(), MetadataEntry { metadata, seen });
        }
    }
}

fn replace(old: &mut String, new: &str) {
    if old != new {
        new.clone_into(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    fn scrape(cache: &mut SeriesCache, names: &[&str]) -> Vec<String> {
        cache.begin();
        for name in names {
            let at = match cache.find(name.as_bytes()) {
                Some(Known::Slot(at)) => at,
                Some(Known::Dropped) => continue,
                None => {
                    let (at, _) = cache.slot_of(labels(name));
                    cache.learn(name.as_bytes(), Some(at));
                    at
                }
            };
            cache.see(at);
            cache.make_live(at);
        }
        let gone = cache.vanished().map(|slot| {
            slot.end();
            slot.labels.metric_name().unwrap_or_default().to_owned()
        });
        let mut gone: Vec<String> = gone.collect();
        gone.sort();
        gone
    }

    #[test]
    fn tells_what_vanished_and_reuses_slots() {
        let mut cache = SeriesCache::default();
        assert!(scrape(&mut cache, &["a", "b"]).is_empty());
        cache.end_success();
        assert_eq!(scrape(&mut cache, &["b", "c"]), ["a"]);
        cache.end_success();
        assert_eq!(cache.find(b"a"), None);
        assert!(scrape(&mut cache, &["a", "b", "c"]).is_empty());
        cache.end_success();
        assert_eq!(cache.slots.len(), 3);
        assert_eq!(scrape(&mut cache, &[]), ["a", "b", "c"]);
        cache.end_success();
        assert!(cache.by_raw.is_empty() && cache.by_labels.is_empty());
        assert!(scrape(&mut cache, &[]).is_empty());
    }

    #[test]
    fn two_spellings_are_one_series() {
        let mut cache = SeriesCache::default();
        cache.begin();
        let (a, new) = cache.slot_of(labels("a"));
        assert!(new && !cache.see(a));
        assert_eq!(cache.slot_of(labels("a")), (a, false));
        assert!(cache.see(a));
    }

    #[test]
    fn a_failing_target_keeps_the_cache_but_does_not_grow_it() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &["a"]);
        cache.end_success();
        assert_eq!(scrape(&mut cache, &[]), ["a"]);
        assert!(!cache.end_failure());
        assert!(matches!(cache.find(b"a"), Some(Known::Slot(_))));
        for i in 0..=SPARE_ENTRIES + 2 {
            cache.learn(i.to_string().as_bytes(), None);
        }
        assert!(cache.end_failure());
        assert_eq!(cache.find(b"a"), None);
    }

    #[test]
    fn metadata_is_forgotten_late() {
        let mut cache = MetadataCache::default();
        cache.begin();
        cache.set_kind("a", MetricType::Counter);
        cache.set_help("a", "text");
        cache.set_unit("a", "seconds");
        for _ in 0..METADATA_KEPT_SCRAPES {
            cache.begin();
            cache.end_success();
            assert_eq!(cache.list().len(), 1);
        }
        cache.begin();
        cache.end_success();
        assert!(cache.list().is_empty());
    }
}

//! All series in memory, found by id, by labels and by matchers.
//!
//! Ids are dense and used again; what callers hold, a [`SeriesRef`], is an id with the generation
//! of its slot, so that a reference to a series that is gone is known as such. Every label string
//! is held once. Knows no lock, no log and no clock.

use std::collections::HashMap;
use std::ops::Range;

use narthex_model::{Label, Labels};
use narthex_storage::{AppendError, SeriesRef};

use crate::chunk::ChunkError;
use crate::postings::Postings;
use crate::series::{Appended, Dropped, MemSeries};
use crate::symbols::Symbols;

#[derive(Default)]
pub(crate) struct Head {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    symbols: Symbols,
    postings: Postings,
    times_ms: Option<(i64, i64)>,
    chunk_count: usize,
    appended_since_pass: bool,
    oldest_since_pass_ms: i64,
}

/// What a pass over all series for old chunks has found so far.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    pub(crate) dropped: Dropped,
    empty: Vec<u32>,
    oldest_ms: Option<i64>,
}

impl Pass {
    fn stretch_to(&mut self, first_ms: i64) {
        self.oldest_ms = Some(
            self.oldest_ms
                .map_or(first_ms, |oldest| oldest.min(first_ms)),
        );
    }
}

impl Head {
    pub(crate) fn series_count(&self) -> usize {
        self.by_labels.len()
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunk_count
    }

    /// Times of the oldest and the newest sample.
    pub(crate) fn times_ms(&self) -> Option<(i64, i64)> {
        self.times_ms
    }

    pub(crate) fn symbols_size_bytes(&self) -> usize {
        self.symbols.size_bytes()
    }

    pub(crate) fn postings(&self) -> &Postings {
        &self.postings
    }

    /// One more than the highest id.
    pub(crate) fn id_limit(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn get(&self, id: u32) -> Option<&MemSeries> {
        self.slots.get(id as usize)?.series.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut MemSeries> {
        self.slots.get_mut(id as usize)?.series.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &MemSeries)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(id, slot)| Some((id, slot.series.as_ref()?)))
    }

    /// What callers may hold for this series.
    pub(crate) fn reference(&self, id: u32) -> SeriesRef {
        let generation = self
            .slots
            .get(id as usize)
            .map_or(0, |slot| slot.generation);
        SeriesRef(u64::from(generation) << 32 | u64::from(id))
    }

    /// The series of a reference if that is still good, else of the labels.
    pub(crate) fn find(&self, known: Option<SeriesRef>, labels: &Labels) -> Option<u32> {
        known
            .and_then(|reference| self.resolve(reference))
            .or_else(|| self.by_labels.get(labels).copied())
    }

    /// The id of this label set, a new one if need be; true if it is new.
    pub(crate) fn find_or_create(&mut self, labels: &Labels) -> (u32, bool) {
        if let Some(id) = self.by_labels.get(labels) {
            return (*id, false);
        }
        let labels = labels.iter().map(|label| Label {
            name: self.symbols.intern(&label.name),
            value: self.symbols.intern(&label.value),
        });
        let labels = Labels::from_sorted(labels.collect());
        (self.create(labels), true)
    }

    /// As `find_or_create`, from strings sorted by name.
    pub(crate) fn find_or_create_text(&mut self, labels: &[(&str, &str)]) -> (u32, bool) {
        let labels = labels.iter().map(|(name, value)| Label {
            name: self.symbols.intern_text(name),
            value: self.symbols.intern_text(value),
        });
        let labels = Labels::from_sorted(labels.collect());
        match self.by_labels.get(&labels) {
            Some(id) => (*id, false),
            None => (self.create(labels), true),
        }
    }

    pub(crate) fn append(
        &mut self,
        id: u32,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<Appended, AppendError> {
        let Some(series) = self.get_mut(id) else {
            // Series with waiting samples are not removed, so this does not come to pass.
            return Err(AppendError::NoLabels);
        };
        let appended = series.append(timestamp_ms, value)?;
        if let Appended::Added { chunk_begun } = appended {
            self.chunk_count += usize::from(chunk_begun);
            self.stretch_to(timestamp_ms, timestamp_ms);
        }
        Ok(appended)
    }

    /// Gives the number of chunks added, 0 or 1.
    pub(crate) fn append_chunk(&mut self, id: u32, bytes: &[u8]) -> Result<usize, ChunkError> {
        let Some(series) = self.get_mut(id) else {
            return Ok(0);
        };
        let added = series.append_chunk(bytes)?;
        let times_ms = series.open_times_ms();
        self.chunk_count += added;
        self.stretch_to(times_ms.0, times_ms.1);
        Ok(added)
    }

    /// Empties a series but keeps it, as if it were new.
    pub(crate) fn reset(&mut self, id: u32) {
        if let Some(series) = self.get_mut(id) {
            let labels = series.labels.clone();
            let chunks = series.chunk_count();
            *series = MemSeries::new(labels);
            self.chunk_count -= chunks;
        }
    }

    /// Drops the chunks of these series that end before the limit, and notes what is left.
    pub(crate) fn drop_before(&mut self, ids: Range<u32>, limit_ms: i64, pass: &mut Pass) {
        let before = pass.dropped.chunks;
        for id in ids {
            let Some(series) = self.get_mut(id) else {
                continue;
            };
            let dropped = series.drop_before(limit_ms);
            pass.dropped.chunks += dropped.chunks;
            pass.dropped.size_bytes += dropped.size_bytes;
            match series.first_ms() {
                Some(first_ms) => pass.stretch_to(first_ms),
                None => pass.empty.push(id),
            }
        }
        self.chunk_count -= pass.dropped.chunks - before;
    }

    /// Begins a pass of `drop_before` over all ids, which may be interrupted by appends.
    pub(crate) fn begin_pass(&mut self) -> Pass {
        self.appended_since_pass = false;
        self.oldest_since_pass_ms = i64::MAX;
        Pass::default()
    }

    /// Ends the pass: series that it found empty are removed if they still are and no batch holds
    /// them. Gives their number.
    pub(crate) fn end_pass(&mut self, mut pass: Pass) -> usize {
        if self.appended_since_pass {
            pass.stretch_to(self.oldest_since_pass_ms);
        }
        self.times_ms = match (pass.oldest_ms, self.times_ms) {
            (Some(oldest_ms), Some((_, newest_ms))) => Some((oldest_ms, newest_ms)),
            _ => None,
        };
        self.remove_empty(&pass.empty)
    }

    fn remove_empty(&mut self, ids: &[u32]) -> usize {
        let empty = |id: &u32| {
            let series = self.get(*id)?;
            let gone = series.is_empty() && !series.is_held();
            gone.then(|| (*id, series.labels.clone()))
        };
        let gone: Vec<(u32, Labels)> = ids.iter().filter_map(empty).collect();
        if gone.is_empty() {
            return 0;
        }
        for (id, labels) in &gone {
            self.by_labels.remove(labels);
            if let Some(slot) = self.slots.get_mut(*id as usize) {
                slot.series = None;
                slot.generation = slot.generation.wrapping_add(1);
            }
            self.free.push(*id);
        }
        self.postings.remove(&gone);
        let count = gone.len();
        drop(gone);
        self.symbols.drop_unused();
        count
    }

    pub(crate) fn resolve(&self, reference: SeriesRef) -> Option<u32> {
        let id = reference.0 as u32;
        let slot = self.slots.get(id as usize)?;
        let good = slot.series.is_some() && u64::from(slot.generation) == reference.0 >> 32;
        good.then_some(id)
    }

    fn create(&mut self, labels: Labels) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| self.new_slot());
        self.postings.insert(id, &labels);
        self.by_labels.insert(labels.clone(), id);
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.series = Some(MemSeries::new(labels));
        }
        id
    }

    #[expect(
        clippy::expect_used,
        reason = "memory ends long before four billion series"
    )]
    fn new_slot(&mut self) -> u32 {
        let id = u32::try_from(self.slots.len()).expect("fewer than 2^32 series");
        self.slots.push(Slot::default());
        id
    }

    fn stretch_to(&mut self, start_ms: i64, end_ms: i64) {
        self.appended_since_pass = true;
        self.oldest_since_pass_ms = self.oldest_since_pass_ms.min(start_ms);
        self.times_ms = Some(match self.times_ms {
            Some((oldest_ms, newest_ms)) => (oldest_ms.min(start_ms), newest_ms.max(end_ms)),
            None => (start_ms, end_ms),
        });
    }
}

#[derive(Default)]
struct Slot {
    /// Counts the series that this slot has had.
    generation: u32,
    series: Option<MemSeries>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn labels(value: &str) -> Labels {
        Labels::from_pairs([("__name__", "up"), ("instance", value)])
    }

    fn drop_before(head: &mut Head, limit_ms: i64) -> (usize, usize) {
        let mut pass = head.begin_pass();
        head.drop_before(0..head.id_limit(), limit_ms, &mut pass);
        let chunks = pass.dropped.chunks;
        (chunks, head.end_pass(pass))
    }

    #[test]
    fn a_reference_to_a_removed_series_is_known_as_stale() {
        let mut head = Head::default();
        let (a, _) = head.find_or_create(&labels("a"));
        let reference = head.reference(a);
        head.append(a, 1, 1.0).unwrap();
        assert_eq!(drop_before(&mut head, 1), (0, 0));
        assert_eq!(drop_before(&mut head, 2), (1, 1));
        assert_eq!(head.find(Some(reference), &labels("a")), None);

        let (b, created) = head.find_or_create(&labels("b"));
        assert_eq!((b, created), (a, true));
        assert_eq!(head.find(Some(reference), &labels("b")), Some(b));
        assert_eq!(head.find(Some(reference), &labels("a")), None);
        assert_ne!(head.reference(b), reference);
        assert_eq!((head.series_count(), head.chunk_count()), (1, 0));
    }

    #[test]
    fn a_held_series_stays() {
        let mut head = Head::default();
        let (id, _) = head.find_or_create(&labels("a"));
        head.get(id).unwrap().hold();
        assert_eq!(drop_before(&mut head, 0), (0, 0));
        head.get(id).unwrap().release();
        assert_eq!(drop_before(&mut head, 0), (0, 1));
        assert_eq!(head.symbols_size_bytes(), 0);
    }

    #[test]
    fn strings_are_shared_between_series() {
        let mut head = Head::default();
        let (a, _) = head.find_or_create(&labels("a"));
        let (b, _) = head.find_or_create_text(&[("__name__", "up"), ("instance", "b")]);
        let name = |id| head.get(id).unwrap().labels.get_shared("__name__").unwrap();
        assert!(Arc::ptr_eq(name(a), name(b)));
    }

    #[test]
    fn times_follow_the_samples() {
        let mut head = Head::default();
        let (id, _) = head.find_or_create(&labels("a"));
        assert_eq!(head.times_ms(), None);
        for i in 0..=130 {
            head.append(id, i, 0.0).unwrap();
        }
        assert_eq!(head.times_ms(), Some((0, 130)));
        assert_eq!(drop_before(&mut head, 125), (1, 0));
        assert_eq!(head.times_ms(), Some((120, 130)));
        assert_eq!(drop_before(&mut head, 131), (1, 1));
        assert_eq!(head.times_ms(), None);
    }

    #[test]
    fn what_is_appended_during_a_pass_counts() {
        let mut head = Head::default();
        let (a, _) = head.find_or_create(&labels("a"));
        let (b, _) = head.find_or_create(&labels("b"));
        head.append(b, 100, 0.0).unwrap();
        let mut pass = head.begin_pass();
        head.drop_before(0..2, 50, &mut pass);
        head.append(a, 70, 0.0).unwrap();
        assert_eq!(head.end_pass(pass), 0);
        assert_eq!(head.times_ms(), Some((70, 100)));
    }
}

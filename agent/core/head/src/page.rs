//! 256 series side by side, and what may be done to one of them.
//!
//! Keeps true: the samples in a series' open chunk and its list of full ones rise strictly in time,
//! and the line knows the last of them. A series has one open chunk at most, of floats or of
//! histograms; what came late lies apart.

mod raw;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_chunk::Encoding;
use narthex_model::histogram::CounterReset;
use narthex_model::sample::STALE_NAN_BITS;
use narthex_model::{Histogram, SampleValue};

use crate::counters::Tally;
use crate::fragments::Fragments;
use crate::history::{History, Slots};
use crate::hot::Hot;
use crate::sealed::{END_OF_LIST, Place, SealedChunks, SealedEntry};
use crate::side::{LateChunk, LateFit, OpenHistograms, Side, is_stale, stale_histogram};
use crate::starts::{StartChanges, Starts, UNKNOWN};

pub(crate) use raw::Raw;

/// Series of a page.
pub(crate) const PAGE: usize = 256;

pub(crate) fn page_of(id: u32) -> usize {
    (id >> 8) as usize
}

#[inline]
pub(crate) fn slot_of(id: u32) -> u8 {
    id as u8
}

pub(crate) struct Page {
    /// Counts what a slot's references have outlived.
    generations: [AtomicU32; PAGE],
    /// Series whose definition is in the log.
    pub(crate) defined: SharedSlots,
    /// Series that were found empty and will be removed, unless they are asked for before.
    pub(crate) marked: SharedSlots,
    inner: Mutex<PageInner>,
}

pub(crate) struct PageInner {
    pub(crate) hot: [Hot; PAGE],
    /// What the log's next values are written against.
    pub(crate) keys: [u64; PAGE],
    /// Slots that have a key in this epoch.
    pub(crate) keyed: Slots,
    pub(crate) epoch: u32,
    /// Runs of this epoch in which a key was written.
    pub(crate) key_runs: u32,
    /// How often each slot got a series, as far as a byte counts. The log has it, so that what was
    /// written for one series is never taken for another.
    pub(crate) births: [u8; PAGE],
    pub(crate) fragments: Fragments,
    pub(crate) sealed: SealedChunks,
    /// Empty, or one for each slot.
    sides: Vec<Option<Box<Side>>>,
    pub(crate) history: History,
    /// When counters started, if that is known of any.
    pub(crate) starts: Option<Starts>,
}

/// A set of slots that is read without a lock.
#[derive(Debug, Default)]
pub(crate) struct SharedSlots([AtomicU64; 4]);

impl SharedSlots {
    #[inline]
    pub(crate) fn contains(&self, slot: u8) -> bool {
        self.word(slot).load(Ordering::Acquire) >> (slot & 63) & 1 != 0
    }

    pub(crate) fn contains_all(&self, slots: &Slots) -> bool {
        let mut both = self.0.iter().zip(slots.words());
        both.all(|(there, asked)| asked & !there.load(Ordering::Acquire) == 0)
    }

    pub(crate) fn insert(&self, slot: u8) {
        self.word(slot).fetch_or(1 << (slot & 63), Ordering::AcqRel);
    }

    pub(crate) fn remove(&self, slot: u8) {
        self.word(slot)
            .fetch_and(!(1 << (slot & 63)), Ordering::AcqRel);
    }

    #[inline]
    fn word(&self, slot: u8) -> &AtomicU64 {
        &self.0[usize::from(slot >> 6)]
    }
}

impl Page {
    pub(crate) fn lock(&self) -> MutexGuard<'_, PageInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn generation(&self, slot: u8) -> u32 {
        self.generations[usize::from(slot)].load(Ordering::Acquire)
    }

    /// Makes the references given out so far unknown.
    pub(crate) fn raise_generation(&self, slot: u8) {
        self.generations[usize::from(slot)].fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Page {
    fn default() -> Self {
        Page {
            generations: [const { AtomicU32::new(0) }; PAGE],
            defined: SharedSlots::default(),
            marked: SharedSlots::default(),
            inner: Mutex::new(PageInner {
                hot: [Hot::default(); PAGE],
                keys: [0; PAGE],
                keyed: Slots::default(),
                epoch: 0,
                key_runs: 0,
                births: [0; PAGE],
                fragments: Fragments::default(),
                sealed: SealedChunks::default(),
                sides: Vec::new(),
                history: History::default(),
                starts: None,
            }),
        }
    }
}

impl PageInner {
    pub(crate) fn side(&self, slot: u8) -> Option<&Side> {
        self.sides.get(usize::from(slot))?.as_deref()
    }

    fn side_mut(&mut self, slot: u8) -> Option<&mut Side> {
        self.sides.get_mut(usize::from(slot))?.as_deref_mut()
    }

    pub(crate) fn side_or_new(&mut self, slot: u8) -> &mut Side {
        if self.sides.is_empty() {
            self.sides.resize_with(PAGE, || None);
        }
        self.sides[usize::from(slot)].get_or_insert_default()
    }

    /// Adds a float that is later than the last sample.
    #[inline]
    pub(crate) fn append_float(
        &mut self,
        slot: u8,
        timestamp_ms: i64,
        bits: u64,
        chunk_range_ms: i64,
        tally: &mut Tally,
    ) {
        if self.hot[usize::from(slot)].is_histogram() {
            if bits == STALE_NAN_BITS {
                let stale = stale_histogram();
                return self.append_histogram(slot, timestamp_ms, &stale, chunk_range_ms, tally);
            }
            self.leave_histograms(slot, tally);
        }
        let hot = &mut self.hot[usize::from(slot)];
        if hot.count() > 0 && hot.must_cut_before(timestamp_ms) {
            self.seal_floats(slot, tally);
        }
        let hot = &mut self.hot[usize::from(slot)];
        let was_stale = hot.is_stale();
        if hot.append(timestamp_ms, bits, chunk_range_ms, &mut self.fragments) {
            tally.chunks_created += 1;
        }
        tally.stale_series += i64::from(bits == STALE_NAN_BITS) - i64::from(was_stale);
        tally.floats += 1;
        tally.stretch_to(timestamp_ms);
    }

    /// Adds a histogram that is later than the last sample. One that contradicts itself is passed
    /// over.
    pub(crate) fn append_histogram(
        &mut self,
        slot: u8,
        timestamp_ms: i64,
        histogram: &Arc<Histogram>,
        chunk_range_ms: i64,
        tally: &mut Tally,
    ) {
        if self.hot[usize::from(slot)].count() > 0 {
            self.seal_floats(slot, tally);
        }
        let side = self.side_or_new(slot);
        let appended = side
            .open
            .as_mut()
            .map(|open| open.append(timestamp_ms, histogram));
        let reset = match appended {
            Some(Some(Ok(()))) => None,
            Some(Some(Err(reset))) => Some(reset),
            Some(None) => return,
            None => Some(CounterReset::Unknown),
        };
        if let Some(reset) = reset {
            let begun = OpenHistograms::begin(timestamp_ms, histogram, reset, chunk_range_ms);
            let Some(begun) = begun else { return };
            let full = side.open.replace(begun);
            tally.chunks_created += 1;
            if let Some(full) = full {
                self.push_sealed(slot, full.seal(), tally);
            }
        }
        self.side_or_new(slot).last_histogram = Some(histogram.clone());
        let hot = &mut self.hot[usize::from(slot)];
        tally.stale_series -= i64::from(hot.is_stale());
        hot.note_histogram(timestamp_ms, histogram.sum);
        tally.stale_series += i64::from(hot.is_stale());
        tally.histograms += 1;
        tally.stretch_to(timestamp_ms);
    }

    /// Adds a sample that came late.
    pub(crate) fn insert_late(
        &mut self,
        slot: u8,
        timestamp_ms: i64,
        value: SampleValue,
        commit: u64,
        tally: &mut Tally,
    ) -> LateFit {
        let late = &mut self.side_or_new(slot).late;
        let fit = late.fit(timestamp_ms, &value);
        let LateFit::At(at) = fit else { return fit };
        match value {
            SampleValue::Float(_) => tally.floats += 1,
            SampleValue::Histogram(_) => tally.histograms += 1,
        }
        let full = late.insert(at, timestamp_ms, value, commit);
        self.push_late(slot, full, commit, tally);
        tally.late += 1;
        tally.stretch_to(timestamp_ms);
        fit
    }

    /// Puts full chunks behind the late ones of a series.
    pub(crate) fn push_late(
        &mut self,
        slot: u8,
        entries: Vec<SealedEntry>,
        newest_commit: u64,
        tally: &mut Tally,
    ) {
        for entry in entries {
            let mut list = END_OF_LIST;
            self.sealed.push(&mut list, entry);
            self.side_or_new(slot).late.chunks.push(LateChunk {
                list,
                newest_commit,
                from_ms: i64::MIN,
            });
            tally.chunks_created += 1;
            tally.chunks_sealed += 1;
        }
    }

    /// Adds a full chunk that is later than the last sample.
    pub(crate) fn push_chunk(&mut self, slot: u8, entry: SealedEntry, tally: &mut Tally) {
        self.seal_open(slot, tally);
        tally.chunks_created += 1;
        self.push_sealed(slot, entry, tally);
    }

    /// Remembers the last sample of a chunk that was pushed.
    pub(crate) fn note_last(
        &mut self,
        slot: u8,
        timestamp_ms: i64,
        value: &SampleValue,
        tally: &mut Tally,
    ) {
        let hot = &mut self.hot[usize::from(slot)];
        tally.stale_series += i64::from(is_stale(value)) - i64::from(hot.is_stale());
        match value {
            SampleValue::Float(value) => {
                hot.note_float(timestamp_ms, value.to_bits());
                if let Some(side) = self.side_mut(slot) {
                    side.last_histogram = None;
                    self.drop_empty_side(slot);
                }
            }
            SampleValue::Histogram(histogram) => {
                hot.note_histogram(timestamp_ms, histogram.sum);
                self.side_or_new(slot).last_histogram = Some(histogram.clone());
            }
        }
    }

    /// Ends the open chunk, if there is one.
    pub(crate) fn seal_open(&mut self, slot: u8, tally: &mut Tally) {
        if self.hot[usize::from(slot)].count() > 0 {
            self.seal_floats(slot, tally);
        }
        let open = self.side_mut(slot).and_then(|side| side.open.take());
        if let Some(open) = open {
            self.push_sealed(slot, open.seal(), tally);
        }
    }

    fn seal_floats(&mut self, slot: u8, tally: &mut Tally) {
        let entry = self.open_floats(slot);
        self.hot[usize::from(slot)].clear_open(&mut self.fragments);
        if let Some(entry) = entry {
            self.push_sealed(slot, entry, tally);
        }
    }

    fn push_sealed(&mut self, slot: u8, entry: SealedEntry, tally: &mut Tally) {
        let list = &mut self.hot[usize::from(slot)].sealed;
        self.sealed.push(list, entry);
        tally.chunks_sealed += 1;
    }

    fn leave_histograms(&mut self, slot: u8, tally: &mut Tally) {
        let Some(side) = self.side_mut(slot) else {
            return;
        };
        side.last_histogram = None;
        let open = side.open.take();
        self.drop_empty_side(slot);
        if let Some(open) = open {
            self.push_sealed(slot, open.seal(), tally);
        }
    }

    pub(crate) fn drop_empty_side(&mut self, slot: u8) {
        if let Some(side) = self.sides.get_mut(usize::from(slot))
            && side.as_ref().is_some_and(|side| side.is_empty())
        {
            *side = None;
        }
    }

    /// The open chunk of floats as it is now.
    fn open_floats(&self, slot: u8) -> Option<SealedEntry> {
        let hot = &self.hot[usize::from(slot)];
        (hot.count() > 0).then(|| SealedEntry {
            start_ms: hot.start_ms(),
            end_ms: hot.last_ms(),
            encoding: Encoding::Xor.code(),
            place: Place::Memory(hot.bytes(&self.fragments)),
        })
    }

    fn open_histograms(&self, slot: u8) -> Option<SealedEntry> {
        let open = self.side(slot)?.open.as_ref()?;
        let (start_ms, end_ms) = open.times_ms();
        Some(SealedEntry {
            start_ms,
            end_ms,
            encoding: open.encoder.encoding().code(),
            place: Place::Memory(open.encoder.snapshot().into()),
        })
    }

    /// The newest sample, where it is a float that can be told without a look at chunks.
    pub(crate) fn newest_float(&self, slot: u8, seen: u64) -> Option<(i64, f64)> {
        let hot = &self.hot[usize::from(slot)];
        let is_plain =
            hot.count() > 0 && self.side(slot).is_none() && self.history.hidden(seen, slot) == 0;
        is_plain.then(|| (hot.last_ms(), f64::from_bits(hot.last_bits())))
    }

    /// First and last time of the open chunk.
    fn open_times_ms(&self, slot: u8) -> Option<(i64, i64)> {
        let hot = &self.hot[usize::from(slot)];
        if hot.count() > 0 {
            return Some((hot.start_ms(), hot.last_ms()));
        }
        if !hot.is_histogram() {
            return None;
        }
        self.side(slot)?.open.as_ref().map(OpenHistograms::times_ms)
    }

    /// Times between which the series' samples lie, late ones too.
    pub(crate) fn times_ms(&self, slot: u8) -> Option<(i64, i64)> {
        let hot = &self.hot[usize::from(slot)];
        let sealed = self.sealed.times(hot.sealed);
        let mut times = join(self.open_times_ms(slot), sealed.reduce(cover));
        if let Some(side) = self.side(slot) {
            times = join(times, self.late_times_ms(side));
        }
        times
    }

    fn late_times_ms(&self, side: &Side) -> Option<(i64, i64)> {
        let buffer = &side.late.buffer;
        let ends = buffer.first().zip(buffer.last());
        let buffer = ends.map(|(first, last)| (first.0, last.0));
        let chunks = side.late.chunks.iter();
        let chunks = chunks.flat_map(|chunk| {
            let times = self.sealed.times(chunk.list);
            times.map(|(start_ms, end_ms)| (start_ms.max(chunk.from_ms), end_ms))
        });
        join(buffer, chunks.reduce(cover))
    }

    /// The oldest of the samples that came late.
    pub(crate) fn late_start_ms(&self, slot: u8) -> Option<i64> {
        let side = self.side(slot)?;
        self.late_times_ms(side).map(|(start_ms, _)| start_ms)
    }

    pub(crate) fn is_empty(&self, slot: u8) -> bool {
        let hot = &self.hot[usize::from(slot)];
        hot.sealed == END_OF_LIST
            && self.open_times_ms(slot).is_none()
            && self.side(slot).is_none_or(|side| side.late.is_empty())
    }

    /// Chunks of a series, the open one and the late ones too.
    pub(crate) fn chunk_count(&self, slot: u8) -> u64 {
        let hot = &self.hot[usize::from(slot)];
        let late = self.side(slot).map_or(0, |side| side.late.chunks.len());
        let open = usize::from(self.open_times_ms(slot).is_some());
        (self.sealed.times(hot.sealed).count() + late + open) as u64
    }

    /// Makes a slot as if it had never had a series.
    pub(crate) fn clear(&mut self, slot: u8, tally: &mut Tally) {
        tally.chunks_removed += self.chunk_count(slot);
        let late = self
            .side_mut(slot)
            .map(|side| std::mem::take(&mut side.late));
        for mut chunk in late.into_iter().flat_map(|late| late.chunks) {
            self.sealed.remove(&mut chunk.list, |_, _| true);
        }
        if let Some(side) = self.sides.get_mut(usize::from(slot)) {
            *side = None;
        }
        let hot = &mut self.hot[usize::from(slot)];
        tally.stale_series -= i64::from(hot.is_stale());
        self.sealed.remove(&mut hot.sealed, |_, _| true);
        hot.clear_open(&mut self.fragments);
        *hot = Hot::default();
        self.keyed.remove(slot);
        self.history.clear(slot);
        if let Some(starts) = &mut self.starts {
            starts.clear(slot);
        }
    }

    /// Notes when the counter began whose sample is at this time, and is the series' last unless
    /// it came late.
    pub(crate) fn note_start(&mut self, slot: u8, timestamp_ms: i64, start_ms: i64, late: bool) {
        if self.starts.is_none() && start_ms == UNKNOWN {
            return;
        }
        let starts = self.starts.get_or_insert_default();
        if late {
            starts.set_one(slot, timestamp_ms, start_ms);
        } else if starts.last_ms(slot) != start_ms {
            starts.set_from(slot, timestamp_ms, start_ms);
        }
    }

    /// The starts of a series' samples, if any is known.
    pub(crate) fn start_changes(&self, slot: u8) -> StartChanges {
        let starts = self.starts.as_ref();
        starts.map_or_else(StartChanges::default, |starts| starts.changes(slot))
    }

    /// Whether the slot has something of a series, be it that there was one.
    pub(crate) fn was_used(&self, slot: u8) -> bool {
        self.hot[usize::from(slot)].has_seen() || self.side(slot).is_some()
    }

    /// Ends the life of a slot's series.
    pub(crate) fn bury(&mut self, slot: u8, tally: &mut Tally) {
        self.clear(slot, tally);
        let birth = &mut self.births[usize::from(slot)];
        *birth = birth.wrapping_add(1);
    }

    /// Hides the samples of an interval, both ends inclusive, from readers.
    pub(crate) fn add_deletion(&mut self, slot: u8, interval: (i64, i64)) {
        let deleted = &mut self.side_or_new(slot).deleted;
        deleted.push(interval);
        deleted.sort_unstable();
        deleted.dedup_by(|later, earlier| {
            let joined = later.0 <= earlier.1.saturating_add(1);
            if joined {
                earlier.1 = earlier.1.max(later.1);
            }
            joined
        });
    }

    /// Drops the chunks of a series that end before the border. Late ones go only if the commit
    /// has been seen that gave the last of their samples.
    pub(crate) fn truncate(&mut self, slot: u8, border_ms: i64, seen: u64, tally: &mut Tally) {
        let open = self.open_times_ms(slot);
        if open.is_some_and(|(_, end_ms)| end_ms < border_ms) {
            self.hot[usize::from(slot)].clear_open(&mut self.fragments);
            if let Some(side) = self.side_mut(slot) {
                side.open = None;
            }
            tally.chunks_removed += 1;
        }
        let list = &mut self.hot[usize::from(slot)].sealed;
        tally.chunks_removed += self.sealed.remove(list, |_, end_ms| end_ms < border_ms);
        self.truncate_side(slot, border_ms, seen, tally);
        if self.starts.is_some() {
            // Late samples may stay.
            let late_ms = self.late_start_ms(slot).unwrap_or(border_ms);
            if let Some(starts) = &mut self.starts {
                starts.forget_before(slot, border_ms.min(late_ms));
            }
        }
    }

    /// Series whose last sample is a histogram, and the buckets of those.
    pub(crate) fn histogram_figures(&self) -> (u64, u64) {
        let sides = self.sides.iter().flatten();
        let last = sides.filter_map(|side| side.last_histogram.as_deref());
        let buckets = last.map(|h| (h.positive_buckets.len() + h.negative_buckets.len()) as u64);
        buckets.fold((0, 0), |(series, sum), buckets| (series + 1, sum + buckets))
    }

    /// Frees what no series has any more.
    pub(crate) fn shrink(&mut self) {
        if self.starts.as_ref().is_some_and(Starts::is_empty) {
            self.starts = None;
        }
    }

    fn truncate_side(&mut self, slot: u8, border_ms: i64, seen: u64, tally: &mut Tally) {
        let Some(side) = self.sides.get_mut(usize::from(slot)) else {
            return;
        };
        let Some(side) = side.as_deref_mut() else {
            return;
        };
        if side.late.newest_commit <= seen {
            let buffer = &mut side.late.buffer;
            let old = buffer.partition_point(|(time, _)| *time < border_ms);
            buffer.drain(..old);
        }
        for chunk in &mut side.late.chunks {
            if chunk.newest_commit <= seen {
                let removed = self
                    .sealed
                    .remove(&mut chunk.list, |_, end_ms| end_ms < border_ms);
                tally.chunks_removed += removed;
                chunk.from_ms = chunk.from_ms.max(border_ms);
            }
        }
        side.late.chunks.retain(|chunk| chunk.list != END_OF_LIST);
        // Late samples that stay may have been deleted.
        let from_ms = self
            .late_start_ms(slot)
            .map_or(border_ms, |late_ms| late_ms.min(border_ms));
        if let Some(side) = self.side_mut(slot) {
            side.deleted.retain(|(_, end_ms)| *end_ms >= from_ms);
        }
        self.drop_empty_side(slot);
    }
}

/// The interval that holds both.
pub(crate) fn cover(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.min(b.0), a.1.max(b.1))
}

pub(crate) fn join(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(cover(a, b)),
        (a, b) => a.or(b),
    }
}

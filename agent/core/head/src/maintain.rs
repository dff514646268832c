//! Upkeep: full chunks go out of memory, old samples and empty series go.
//!
//! A series is removed in two steps, so that batches need no lock for the series they hold. First
//! it is marked, and its references made unknown; who asks for it by labels afterwards takes the
//! mark back. It is removed, if it still is marked and empty, once every batch is closed that may
//! have got hold of it before.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use narthex_model::{CancelToken, SampleValue};
use narthex_storage::CommitError;

use crate::bytes::{put_signed, put_varint};
use crate::counters::Tally;
use crate::page::{PageInner, page_of, slot_of};
use crate::read::read_chunk;
use crate::record::others::{
    LateEntry, StartEntry, encode_histogram, put_histogram, put_late, put_start,
};
use crate::record::{self, put_section};
use crate::sealed::{InMemory, is_valid};
use crate::{ChunkRef, Head, Log, LogError, SealedChunk};

/// Series that are removed while the catalogue is held once.
const REMOVED_AT_ONCE: usize = 1 << 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    pub chunks: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    pub chunks: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Series that were found empty; a later pass removes them.
    pub marked: u64,
    pub removed: u64,
}

/// What the last look for empty series found.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    marked: Vec<u32>,
    /// Batches of this round and before may hold marked series.
    round: u64,
}

impl Head {
    /// Gives each full chunk in memory to `sink` and keeps only the place that it answers. An
    /// error ends the pass; what was moved stays moved.
    pub fn flush_sealed(
        &self,
        sink: &mut dyn FnMut(SealedChunk<'_>) -> io::Result<ChunkRef>,
    ) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        for (number, page) in self.pages().iter().enumerate() {
            // The sink may take its time, so the page is not held meanwhile.
            let chunks = chunks_in_memory(&page.lock());
            let mut moved = Vec::with_capacity(chunks.len());
            let mut result = Ok(());
            for (slot, out_of_order, chunk) in chunks {
                let series = (number as u32) << 8 | u32::from(slot);
                match sink(sealed_chunk(series, out_of_order, &chunk)).and_then(checked) {
                    Ok(at) => moved.push((chunk, at)),
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            let mut page = page.lock();
            for (chunk, at) in moved {
                if page.sealed.move_out(&chunk, at) {
                    flushed.chunks += 1;
                    flushed.bytes += chunk.bytes.len() as u64;
                }
            }
            drop(page);
            result?;
        }
        Ok(flushed)
    }

    /// Numbers of the files that hold chunks of the head.
    pub fn chunk_files(&self) -> BTreeSet<u32> {
        let mut files = BTreeSet::new();
        for page in self.pages().iter() {
            let page = page.lock();
            for slot in 0..=u8::MAX {
                each_list(&page, slot, |list, _| files.extend(page.sealed.files(list)));
            }
        }
        files
    }

    /// Drops the chunks that end before this time, and takes no older sample any more, but as a
    /// late one. A chunk that reaches over the border stays whole; readers get nothing of it from
    /// before the border. Of late samples those stay that came after the first call of
    /// [`Head::series_sorted`] since the last truncation: the blocks written from it lack them. The
    /// caller waits until [`Head::readers_below`] says no.
    pub fn truncate(&self, border_ms: i64, log: &dyn Log) -> Result<Truncated, CommitError> {
        write_plain(log, &truncation(border_ms, None))?;
        let seen = self.isolation.take_written();
        self.raise_min_valid(border_ms);
        self.begin_oldest();
        let mut tally = Tally::default();
        let pages = self.pages();
        let result = pages.iter().enumerate().try_for_each(|(number, page)| {
            let mut page = page.lock();
            if !(0..=u8::MAX).any(|slot| page.was_used(slot)) {
                return Ok(());
            }
            // While the page is held, so that what comes late now stands behind it in the log.
            let mut record = truncation(border_ms, Some(number));
            self.put_survivors(&page, number, border_ms, seen, &mut record);
            write_plain(log, &record)?;
            truncate_page(&mut page, border_ms, seen, &mut tally);
            Ok(())
        });
        self.counters.add(&tally);
        result?;
        self.end_oldest(tally.oldest_ms);
        Ok(Truncated {
            chunks: tally.chunks_removed,
        })
    }

    /// Writes the late samples of a page that a truncation leaves though they are older.
    fn put_survivors(
        &self,
        page: &PageInner,
        number: usize,
        border_ms: i64,
        seen: u64,
        record: &mut Vec<u8>,
    ) {
        let mut late = LateSections::default();
        for slot in 0..=u8::MAX {
            let Some(side) = page.side(slot) else {
                continue;
            };
            let series = (
                (number as u32) << 8 | u32::from(slot),
                page.births[usize::from(slot)],
            );
            let chunks = side.late.chunks.iter();
            for chunk in chunks.filter(|chunk| chunk.newest_commit > seen) {
                for entry in page.sealed.iter(chunk.list) {
                    // One that can't be read now can't be read after a replay either.
                    let samples = read_chunk(self, &entry).unwrap_or_default();
                    let samples = samples.iter().filter(|(time, _)| *time >= chunk.from_ms);
                    late.put_older(page, series, samples, border_ms);
                }
            }
            if side.late.newest_commit > seen {
                late.put_older(page, series, side.late.buffer.iter(), border_ms);
            }
        }
        put_section(record, record::LATE_FLOATS, &mut late.floats);
        put_section(record, record::HISTOGRAMS, &mut late.histograms);
        put_section(record, record::STARTS, &mut late.starts);
    }

    /// Whether someone reads who asked for samples before this time.
    pub fn readers_below(&self, border_ms: i64) -> bool {
        self.isolation.reads_below(border_ms)
    }

    /// Removes series that the pass before found empty and that still are, and looks for others.
    pub fn collect_garbage(&self) -> Collected {
        let mut garbage = self.garbage();
        let mut collected = Collected::default();
        if !garbage.marked.is_empty() {
            if !self.open_batches.are_closed(garbage.round) {
                return collected;
            }
            let marked = std::mem::take(&mut garbage.marked);
            for ids in marked.chunks(REMOVED_AT_ONCE) {
                collected.removed += self.remove_marked(ids);
            }
            self.counters.series_removed.add(collected.removed);
        }
        garbage.marked = self.mark_empty();
        garbage.round = self.open_batches.end_round();
        collected.marked = garbage.marked.len() as u64;
        collected
    }

    /// Marks all series without samples; gives them in ascending order.
    fn mark_empty(&self) -> Vec<u32> {
        let all = self.catalogue().matching(&[], &CancelToken::default());
        let ids = all.unwrap_or_default();
        let pages = self.pages();
        let mut marked = Vec::new();
        for of_page in ids.chunk_by(|a, b| page_of(*a) == page_of(*b)) {
            let first = of_page.first().copied().unwrap_or_default();
            let Some(page) = pages.get(page_of(first)) else {
                continue;
            };
            let inner = page.lock();
            for &id in of_page {
                if inner.is_empty(slot_of(id)) {
                    page.raise_generation(slot_of(id));
                    page.marked.insert(slot_of(id));
                    marked.push(id);
                }
            }
        }
        marked
    }

    /// Removes those of the series that are marked and empty; gives their number.
    fn remove_marked(&self, ids: &[u32]) -> u64 {
        let mut catalogue = self.catalogue_mut();
        let pages = self.pages();
        let mut tally = Tally::default();
        let mut removed = Vec::with_capacity(ids.len());
        for of_page in ids.chunk_by(|a, b| page_of(*a) == page_of(*b)) {
            let first = of_page.first().copied().unwrap_or_default();
            let Some(page) = pages.get(page_of(first)) else {
                continue;
            };
            let mut inner = page.lock();
            for &id in of_page {
                let slot = slot_of(id);
                if page.marked.contains(slot) && inner.is_empty(slot) {
                    inner.bury(slot, &mut tally);
                    page.defined.remove(slot);
                    removed.push(id);
                }
                page.marked.remove(slot);
            }
        }
        catalogue.remove(&removed);
        drop(catalogue);
        self.counters.add(&tally);
        self.ids().give_back(runs(&removed));
        removed.len() as u64
    }
}

/// A note that all pages' border has risen, or that a page was truncated.
fn truncation(border_ms: i64, page: Option<usize>) -> Vec<u8> {
    let (mut body, mut record) = (Vec::new(), Vec::new());
    put_signed(&mut body, border_ms);
    put_varint(&mut body, page.map_or(0, |number| number as u64 + 1));
    put_section(&mut record, record::TRUNCATION, &mut body);
    record
}

fn truncate_page(page: &mut PageInner, border_ms: i64, seen: u64, tally: &mut Tally) {
    for slot in 0..=u8::MAX {
        page.truncate(slot, border_ms, seen, tally);
        if let Some((oldest_ms, _)) = page.times_ms(slot) {
            // What is left of an older chunk is not to be seen.
            let late_ms = page.late_start_ms(slot).unwrap_or(i64::MAX);
            tally.stretch_to(oldest_ms.max(border_ms).min(late_ms));
        }
    }
    page.shrink();
}

/// Late samples for a record.
#[derive(Default)]
struct LateSections {
    floats: Vec<u8>,
    last_float_id: u32,
    histograms: Vec<u8>,
    last_histogram_id: u32,
    starts: Vec<u8>,
    last_start_id: u32,
}

impl LateSections {
    fn put_older<'a>(
        &mut self,
        page: &PageInner,
        (id, birth): (u32, u8),
        samples: impl Iterator<Item = &'a (i64, SampleValue)>,
        border_ms: i64,
    ) {
        for (timestamp_ms, value) in samples.filter(|(time, _)| *time < border_ms) {
            let starts = page.starts.as_ref();
            let start_ms = starts.map_or(0, |starts| starts.at_ms(slot_of(id), *timestamp_ms));
            if start_ms != 0 {
                let entry = StartEntry {
                    id,
                    birth,
                    late: true,
                    timestamp_ms: *timestamp_ms,
                    start_ms,
                };
                put_start(&mut self.starts, &mut self.last_start_id, &entry);
            }
            match value {
                SampleValue::Float(value) => {
                    let entry = LateEntry {
                        id,
                        birth,
                        timestamp_ms: *timestamp_ms,
                        bits: value.to_bits(),
                    };
                    put_late(&mut self.floats, &mut self.last_float_id, &entry);
                }
                SampleValue::Histogram(histogram) => {
                    if let Some((encoding, bytes)) = encode_histogram(*timestamp_ms, histogram) {
                        let (body, last) = (&mut self.histograms, &mut self.last_histogram_id);
                        put_histogram(body, last, (id, birth), true, (encoding, &bytes));
                    }
                }
            }
        }
    }
}

/// Writes a record that needs no keys, whichever epoch it lands in.
pub(crate) fn write_plain(log: &dyn Log, record: &[u8]) -> Result<(), CommitError> {
    let mut epoch = log.epoch();
    loop {
        match log.write(epoch, record) {
            Ok(()) => return Ok(()),
            Err(LogError::Stale(next)) if next != epoch => epoch = next,
            Err(error) => return Err(CommitError::Log(error.to_string())),
        }
    }
}

/// Calls `each` with the lists of a slot, and whether they are of late samples.
fn each_list(page: &PageInner, slot: u8, mut each: impl FnMut(u32, bool)) {
    each(page.hot[usize::from(slot)].sealed, false);
    if let Some(side) = page.side(slot) {
        for chunk in &side.late.chunks {
            each(chunk.list, true);
        }
    }
}

fn chunks_in_memory(page: &PageInner) -> Vec<(u8, bool, InMemory)> {
    let mut chunks = Vec::new();
    if !page.sealed.any_in_memory() {
        return chunks;
    }
    for slot in 0..=u8::MAX {
        each_list(page, slot, |list, late| {
            let from = chunks.len();
            let found = page.sealed.in_memory(list);
            chunks.extend(found.map(|chunk| (slot, late, chunk)));
            // Oldest first, as they are read.
            if let Some(found) = chunks.get_mut(from..) {
                found.reverse();
            }
        });
    }
    chunks
}

fn sealed_chunk(series: u32, out_of_order: bool, chunk: &InMemory) -> SealedChunk<'_> {
    SealedChunk {
        series,
        start_ms: chunk.entry.start_ms,
        end_ms: chunk.entry.end_ms,
        encoding: chunk.entry.encoding,
        out_of_order,
        bytes: &chunk.bytes,
    }
}

fn checked(at: ChunkRef) -> io::Result<ChunkRef> {
    if is_valid(at) {
        return Ok(at);
    }
    let message = format!("the number of head chunk file {} is too large", at.file);
    Err(io::Error::other(message))
}

/// Ascending ids as runs.
fn runs(ids: &[u32]) -> impl Iterator<Item = Range<u32>> {
    let runs = ids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    runs.filter_map(|run| Some(*run.first()?..run.last()?.saturating_add(1)))
}

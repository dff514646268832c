//! Reading one series: its chunks are taken along under the page's lock and decoded without it.

use std::cell::Cell;
use std::sync::Arc;

use narthex_chunk::{ChunkError, Encoding, decode_floats_until, decode_histograms};
use narthex_model::{Histogram, Labels, SampleValue};
use narthex_storage::{Column, Series, StorageError};

use crate::Head;
use crate::isolation::Ticket;
use crate::page::{Page, PageInner, Raw, slot_of};
use crate::sealed::{Place, SealedEntry};
use crate::starts::StartChanges;

/// Someone who reads: while it lives, it sees the head as it was, and what it reads stays.
pub(crate) struct Reader {
    pub(crate) head: Arc<Head>,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// Samples before this lie in blocks; chunks that reach over it still have them.
    border_ms: i64,
    ticket: Ticket,
}

impl Reader {
    pub(crate) fn new(head: &Arc<Head>, start_ms: i64, end_ms: i64) -> Self {
        let ticket = head.isolation.begin_read(start_ms);
        Reader {
            border_ms: head.min_valid_ms(),
            head: head.clone(),
            start_ms,
            end_ms,
            ticket,
        }
    }

    fn shows(&self, time_ms: i64) -> bool {
        (self.start_ms.max(self.border_ms)..=self.end_ms).contains(&time_ms)
    }

    /// Notes that blocks are written from what it sees.
    pub(crate) fn note_written(&self) {
        self.head.isolation.note_written(self.ticket);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.head.isolation.end_read(self.ticket);
    }
}

/// One series of a selection.
pub(crate) struct HeadSeries {
    pub(crate) labels: Labels,
    pub(crate) id: u32,
    pub(crate) generation: u32,
    pub(crate) page: Arc<Page>,
    pub(crate) reader: Arc<Reader>,
    /// Where all samples of the series lie.
    pub(crate) times_ms: (i64, i64),
    /// Many series of the page follow in the order of their places.
    pub(crate) leads_many: bool,
}

impl Series for HeadSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.read(|_, _| (), |read, ()| read.run(visit))
    }

    fn visit_newest(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let slot = slot_of(self.id);
        let page = self.page.lock();
        if self.page.generation(slot) != self.generation {
            return Ok(());
        }
        let newest = page.newest_float(slot, self.reader.ticket.seen);
        drop(page);
        match newest {
            Some((time_ms, value)) if self.reader.shows(time_ms) => visit(Column::Floats {
                timestamps_ms: &[time_ms],
                values: &[value],
            }),
            _ => return self.visit(visit),
        }
        Ok(())
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.read(PageInner::start_changes, |read, changes| {
            if changes.is_empty() {
                return read.run(&mut |column| visit(column, &[]));
            }
            read.run(&mut starting(&changes, visit))
        })
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        let (start_ms, end_ms) = self.times_ms;
        Some((
            start_ms.max(self.reader.start_ms),
            end_ms.min(self.reader.end_ms),
        ))
    }

    fn place(&self) -> u64 {
        u64::from(self.id)
    }
}

impl HeadSeries {
    /// Takes along what is to be read without the page, and `more` of it, for `read`.
    fn read<T>(
        &self,
        more: impl FnOnce(&PageInner, u8) -> T,
        read: impl FnOnce(&mut Visit<'_>, T) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let reader = &*self.reader;
        let slot = slot_of(self.id);
        let page = self.page.lock();
        if self.page.generation(slot) != self.generation {
            // It was empty, and has gone.
            return Ok(());
        }
        if self.leads_many {
            page.fragments.bring_near();
        }
        let mut kept = KEPT.take();
        let Kept { raw, decoded } = &mut kept;
        let range_ms = (reader.start_ms, reader.end_ms);
        page.take_raw(slot, reader.ticket.seen, range_ms, raw);
        let more = more(&page, slot);
        drop(page);
        let mut visit = Visit {
            reader,
            raw,
            decoded,
        };
        let result = read(&mut visit, more);
        kept.raw.clear();
        kept.decoded.clear();
        KEPT.set(kept);
        result
    }
}

/// Hands on each run with its starts.
fn starting(
    changes: &StartChanges,
    visit: &mut dyn FnMut(Column<'_>, &[i64]),
) -> impl FnMut(Column<'_>) {
    let mut starts_ms = Vec::new();
    move |column| {
        let (Column::Floats { timestamps_ms, .. } | Column::Histograms { timestamps_ms, .. }) =
            column;
        changes.fill(timestamps_ms, &mut starts_ms);
        visit(column, &starts_ms);
    }
}

thread_local! {
    static KEPT: Cell<Kept> = Cell::default();
}

/// Memory that is kept from one series to the next; empty while nobody reads.
#[derive(Default)]
struct Kept {
    raw: Raw,
    decoded: Decoded,
}

/// Columns that a chunk is decoded into.
#[derive(Default)]
struct Decoded {
    timestamps_ms: Vec<i64>,
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
}

struct Visit<'a> {
    reader: &'a Reader,
    raw: &'a Raw,
    /// Empty, with memory of the series before.
    decoded: &'a mut Decoded,
}

impl Visit<'_> {
    fn run(&mut self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let raw = self.raw;
        let plain = raw.late_chunks.is_empty() && raw.late_samples.is_empty();
        if !plain || !raw.deleted.is_empty() {
            return self.run_merged(visit);
        }
        let mut decoded = std::mem::take(self.decoded);
        let result = self.each_chunk(&mut decoded, |decoded, from, to| {
            decoded.show(from, to, visit);
        });
        *self.decoded = decoded;
        result
    }

    /// Decodes each chunk, oldest first, and calls `take` with the part that is to be seen.
    fn each_chunk(
        &self,
        decoded: &mut Decoded,
        mut take: impl FnMut(&Decoded, usize, usize),
    ) -> Result<(), StorageError> {
        let start_ms = self.reader.start_ms.max(self.reader.border_ms);
        let visible = self.visible_counts()?;
        for (at, entry) in self.raw.chunks.iter().enumerate().rev() {
            let visible = visible.get(at).copied();
            if visible == Some(0) || entry.end_ms < start_ms || entry.start_ms > self.reader.end_ms
            {
                continue;
            }
            decode(&self.reader.head, entry, self.reader.end_ms, decoded)?;
            let times = decoded.timestamps_ms.as_slice();
            let times = times.get(..visible.unwrap_or(usize::MAX)).unwrap_or(times);
            let from = times.partition_point(|time| *time < start_ms);
            let to = times.partition_point(|time| *time <= self.reader.end_ms);
            if from < to {
                take(decoded, from, to);
            }
        }
        Ok(())
    }

    /// How many samples of the newest chunks are to be seen; of the others all are.
    fn visible_counts(&self) -> Result<Vec<usize>, StorageError> {
        let mut hidden = self.raw.hidden;
        let mut counts = Vec::new();
        let mut decoded = Decoded::default();
        for entry in &self.raw.chunks {
            if hidden == 0 {
                break;
            }
            self.decode(entry, &mut decoded)?;
            let count = decoded.timestamps_ms.len();
            counts.push(count.saturating_sub(hidden));
            hidden = hidden.saturating_sub(count);
        }
        Ok(counts)
    }

    fn decode(&self, entry: &SealedEntry, decoded: &mut Decoded) -> Result<(), StorageError> {
        decode(&self.reader.head, entry, i64::MAX, decoded)
    }

    /// With late samples or deletions: all samples are put together first.
    fn run_merged(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let mut samples = Vec::new();
        self.each_chunk(&mut Decoded::default(), |decoded, from, to| {
            decoded.add_to(from, to, &mut samples);
        })?;
        let late = self.late()?;
        if !late.is_empty() {
            samples.extend(late);
            // Stable: of one time, the sample in order comes first and stays.
            samples.sort_by_key(|(time, _)| *time);
            samples.dedup_by_key(|(time, _)| *time);
        }
        let deleted = &self.raw.deleted;
        samples.retain(|(time, _)| {
            !deleted
                .iter()
                .any(|(start_ms, end_ms)| (start_ms..=end_ms).contains(&time))
        });
        let is_float = |sample: &(i64, SampleValue)| sample.1.as_float().is_some();
        let mut decoded = Decoded::default();
        for run in samples.chunk_by(|a, b| is_float(a) == is_float(b)) {
            decoded.clear();
            for (time, value) in run {
                decoded.timestamps_ms.push(*time);
                match value {
                    SampleValue::Float(value) => decoded.floats.push(*value),
                    SampleValue::Histogram(value) => decoded.histograms.push(value.clone()),
                }
            }
            decoded.show(0, run.len(), visit);
        }
        Ok(())
    }

    /// The late samples that are to be seen, by time; of one time the first that came.
    fn late(&self) -> Result<Vec<(i64, SampleValue)>, StorageError> {
        let mut all = Vec::new();
        let mut decoded = Decoded::default();
        for (entry, from_ms) in &self.raw.late_chunks {
            self.decode(entry, &mut decoded)?;
            let before = all.len();
            decoded.add_to(0, decoded.timestamps_ms.len(), &mut all);
            let mut index = 0;
            all.retain(|(time, _)| {
                index += 1;
                index <= before || *time >= *from_ms
            });
        }
        all.extend(self.raw.late_samples.iter().cloned());
        let range = self.reader.start_ms..=self.reader.end_ms;
        all.retain(|(time, _)| range.contains(time));
        all.sort_by_key(|(time, _)| *time);
        let mut visible = Vec::with_capacity(all.len());
        for same_time in all.chunk_by(|a, b| a.0 == b.0) {
            let Some(first) = same_time.first() else {
                continue;
            };
            let hidden = self.raw.hidden_late.iter();
            let hidden = hidden.filter(|time| **time == first.0).count();
            if hidden < same_time.len() {
                visible.push(first.clone());
            }
        }
        Ok(visible)
    }
}

/// The samples of a chunk.
pub(crate) fn read_chunk(
    head: &Head,
    entry: &SealedEntry,
) -> Result<Vec<(i64, SampleValue)>, StorageError> {
    let (mut decoded, mut samples) = (Decoded::default(), Vec::new());
    decode(head, entry, i64::MAX, &mut decoded)?;
    decoded.add_to(0, decoded.timestamps_ms.len(), &mut samples);
    Ok(samples)
}

/// All samples of a chunk up to a time, and maybe later ones; none if the chunk is lost.
fn decode(
    head: &Head,
    entry: &SealedEntry,
    until_ms: i64,
    decoded: &mut Decoded,
) -> Result<(), StorageError> {
    decoded.clear();
    let result = match &entry.place {
        Place::Memory(bytes) => decoded.read(entry.encoding, bytes, until_ms),
        Place::File(at) => {
            let mut result = Ok(());
            head.source.read(*at, &mut |bytes| {
                result = decoded.read(entry.encoding, bytes, until_ms);
            })?;
            result
        }
    };
    result.map_err(|error| {
        let place = match &entry.place {
            Place::Memory(_) => "memory".to_owned(),
            Place::File(at) => format!("head chunk file {} at {}", at.file, at.offset),
        };
        let start_ms = entry.start_ms;
        let message = format!("the chunk that begins at {start_ms} ms, in {place}: {error}");
        StorageError::Internal(message)
    })
}

impl Decoded {
    fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.floats.clear();
        self.histograms.clear();
    }

    fn read(&mut self, encoding: u8, bytes: &[u8], until_ms: i64) -> Result<(), ChunkError> {
        let encoding = Encoding::from_code(encoding)?;
        let times = &mut self.timestamps_ms;
        match encoding.is_floats() {
            true => decode_floats_until(encoding, bytes, until_ms, times, &mut self.floats),
            false => decode_histograms(encoding, bytes, times, &mut self.histograms),
        }
    }

    fn show(&self, from: usize, to: usize, visit: &mut dyn FnMut(Column<'_>)) {
        let timestamps_ms = self.timestamps_ms.get(from..to).unwrap_or_default();
        match (self.floats.get(from..to), self.histograms.get(from..to)) {
            (Some(values), _) => visit(Column::Floats {
                timestamps_ms,
                values,
            }),
            (None, Some(values)) => visit(Column::Histograms {
                timestamps_ms,
                values,
            }),
            (None, None) => {}
        }
    }

    fn add_to(&self, from: usize, to: usize, samples: &mut Vec<(i64, SampleValue)>) {
        self.show(from, to, &mut |column| match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => {
                let values = values.iter().map(|value| SampleValue::Float(*value));
                samples.extend(timestamps_ms.iter().copied().zip(values));
            }
            Column::Histograms {
                timestamps_ms,
                values,
            } => {
                let values = values.iter().cloned().map(SampleValue::Histogram);
                samples.extend(timestamps_ms.iter().copied().zip(values));
            }
        });
    }
}

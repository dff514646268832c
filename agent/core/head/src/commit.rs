//! Committing a batch: judge each sample, write the record, then change the series.
//!
//! The pages of the batch are locked for all of it, so records of a series stand in the log in the
//! order in which they took effect. Until the log has the record nothing is changed; afterwards
//! nothing can fail.

mod judge;

use std::hint::black_box;
use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};

use narthex_catalogue::Catalogue;
use narthex_model::sample::STALE_NAN_BITS;
use narthex_model::{SampleValue, is_stale_nan};
use narthex_storage::{AppendError, CommitError, CommitReport, Refused};

use crate::counters::Tally;
use crate::exemplars::ExemplarFit;
use crate::history::Slots;
use crate::isolation::Commit;
use crate::page::{Page, PageInner, page_of, slot_of};
use crate::record::others::{put_exemplar, put_metadata};
use crate::record::{self, put_section};
use crate::side::LateFit;
use crate::starts::UNKNOWN;
use crate::{Batch, Head, Log, LogError, StartTimes};

pub(crate) use judge::Scratch;
use judge::{Bounds, Decision, View, zero_histogram};

/// How often a record is encoded anew because the log went on to another epoch.
const ATTEMPTS: usize = 8;

/// A sample of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    timestamp_ms: i64,
    /// The bits of a float, or the place of a histogram among the batch's.
    bits: u64,
    id: u32,
    is_histogram: bool,
}

impl Entry {
    #[inline]
    pub(crate) fn float(id: u32, timestamp_ms: i64, value: f64) -> Self {
        Entry {
            timestamp_ms,
            bits: value.to_bits(),
            id,
            is_histogram: false,
        }
    }

    pub(crate) fn histogram(id: u32, timestamp_ms: i64, index: usize) -> Self {
        Entry {
            timestamp_ms,
            bits: index as u64,
            id,
            is_histogram: true,
        }
    }
}

/// A page of the batch, and which part of the samples in order belongs to it.
struct Touched<'a> {
    page: &'a Page,
    range: Range<usize>,
    /// The log has the definitions of all its series.
    all_defined: bool,
    key_runs: u32,
}

struct Committing<'a> {
    batch: &'a Batch<'a>,
    bounds: Bounds,
    catalogue: Option<&'a Catalogue>,
    touched: Vec<Touched<'a>>,
    locked: Vec<MutexGuard<'a, PageInner>>,
    scratch: Box<Scratch>,
    in_order: bool,
    start_times: StartTimes,
}

pub(crate) fn commit(batch: &Batch<'_>, log: &dyn Log) -> Result<CommitReport, CommitError> {
    let head = batch.head;
    let mut scratch = head.take_scratch();
    let in_order = batch.entries.is_sorted_by_key(|entry| entry.id);
    scratch.order.clear();
    if !in_order {
        scratch.order.extend(0..batch.entries.len() as u32);
        let id = |index: &u32| batch.entries.get(*index as usize).map(|entry| entry.id);
        scratch.order.sort_by_key(id);
    }
    let gate = head.isolation.begin_commit();
    let touched = touched_pages(batch, (!in_order).then_some(&scratch.order));
    let all_defined = touched.iter().all(|touched| touched.all_defined);
    let needs_catalogue = !all_defined || !batch.exemplars.is_empty();
    let catalogue = needs_catalogue.then(|| head.catalogue());
    let locked = touched.iter().map(|touched| touched.page.lock()).collect();
    let mut committing = Committing {
        batch,
        bounds: Bounds::of(head),
        catalogue: catalogue.as_deref(),
        touched,
        locked,
        scratch,
        in_order,
        start_times: head.start_times(),
    };
    let written = committing.write(log);
    let report = written.map(|epoch| committing.apply(epoch, &gate));
    let Committing {
        scratch, locked, ..
    } = committing;
    drop(locked);
    if report.is_ok() {
        apply_aside(batch, catalogue.as_deref());
    }
    head.put_scratch(scratch);
    report
}

impl<'a> Committing<'a> {
    /// Encodes the record and gives it to the log; gives the epoch it landed in.
    fn write(&mut self, log: &dyn Log) -> Result<u32, CommitError> {
        let mut epoch = log.epoch();
        for _ in 0..ATTEMPTS {
            self.encode(epoch);
            if self.scratch.record.is_empty() {
                return Ok(epoch);
            }
            match log.write(epoch, &self.scratch.record) {
                Ok(()) => return Ok(epoch),
                Err(LogError::Stale(next)) => epoch = next,
                Err(LogError::Io(error)) => return Err(CommitError::Log(error.to_string())),
            }
        }
        let message = "it went on to another file again and again";
        Err(CommitError::Log(message.to_owned()))
    }

    /// Judges all samples and puts the record together.
    fn encode(&mut self, epoch: u32) {
        self.scratch.begin(self.batch.entries.len(), epoch);
        if self.start_times.as_zeros && !self.batch.starts_ms.is_empty() {
            self.scratch.begin_zeros(self.batch.entries.len());
        }
        for number in 0..self.touched.len() {
            self.encode_page(number, epoch);
        }
        self.scratch.flush();
        // After the definitions, which tell what the exemplars are of.
        self.encode_aside();
    }

    fn encode_page(&mut self, number: usize, epoch: u32) {
        let Self {
            batch,
            bounds,
            catalogue,
            touched,
            locked,
            scratch,
            in_order,
            start_times,
        } = self;
        let (Some(touched), Some(page)) = (touched.get_mut(number), locked.get(number)) else {
            return;
        };
        let tracks_starts = tracks_starts(batch, *start_times, page);
        let entries = batch.entries.as_slice();
        let place = |position: usize, scratch: &Scratch| match in_order {
            true => position,
            false => scratch.order[position] as usize,
        };
        warm(
            page,
            touched
                .range
                .clone()
                .map(|at| entries[place(at, scratch)].id),
        );
        let same_epoch = page.epoch == epoch;
        scratch.floats.begin_page(match same_epoch {
            true => page.key_runs,
            false => 0,
        });
        let mut view: Option<View> = None;
        for position in touched.range.clone() {
            let index = place(position, scratch);
            let entry = &entries[index];
            if view.as_ref().is_none_or(|view| view.id != entry.id) {
                let defined =
                    touched.all_defined || touched.page.defined.contains(slot_of(entry.id));
                view = Some(View::of(page, entry.id, same_epoch, defined));
            }
            let Some(view) = &mut view else { continue };
            let zero = match scratch.zeros.is_empty() {
                true => Decision::Known,
                false => scratch.judge_zero(index, entry, view, bounds, batch),
            };
            let decision = match entry.is_histogram {
                false => scratch.judge_float(entry, view, bounds, page),
                true => {
                    let all = batch.histograms.as_slice();
                    scratch.judge_histogram(entry, view, bounds, page, all)
                }
            };
            if tracks_starts {
                if zero.stores() {
                    scratch.put_start(view, batch.start_ms(index), false, UNKNOWN);
                }
                if decision.stores() && !batch.is_stale(entry) {
                    let (late, start_ms) = (decision == Decision::Late, batch.start_ms(index));
                    let start_ms = if start_times.keep { start_ms } else { UNKNOWN };
                    scratch.put_start(view, entry.timestamp_ms, late, start_ms);
                }
            }
            if (decision.stores() || zero.stores()) && !view.defined {
                view.defined = true;
                if let Some(catalogue) = catalogue {
                    scratch.definitions.add(entry.id, view.birth, catalogue);
                }
            }
            scratch.decisions[index] = decision;
        }
        touched.key_runs = scratch.floats.end_page();
    }

    /// Exemplars and metadata.
    fn encode_aside(&mut self) {
        let batch = self.batch;
        let mut body = std::mem::take(&mut self.scratch.body);
        if let Some(catalogue) = self.catalogue.filter(|_| !batch.exemplars.is_empty()) {
            let exemplars = batch.head.exemplar_ring();
            for (id, exemplar) in &batch.exemplars {
                let labels = catalogue.labels(*id);
                let newer = labels
                    .is_some_and(|labels| exemplars.fit(&labels, exemplar) == ExemplarFit::Newer);
                if newer {
                    put_exemplar(&mut body, *id, exemplar);
                }
            }
            put_section(&mut self.scratch.record, record::EXEMPLARS, &mut body);
        }
        for (family, metadata) in &batch.metadata {
            put_metadata(&mut body, family, metadata);
        }
        put_section(&mut self.scratch.record, record::METADATA, &mut body);
        self.scratch.body = body;
        self.scratch.flush_starts();
    }

    fn apply(&mut self, epoch: u32, gate: &Commit<'_>) -> CommitReport {
        let mut report = CommitReport::default();
        let mut tally = Tally::default();
        for number in 0..self.touched.len() {
            self.apply_page(number, epoch, gate, &mut tally, &mut report.refused);
        }
        for refused in &report.refused {
            self.batch.head.counters.refused(refused.error);
        }
        report.refused.sort_unstable_by_key(|refused| refused.index);
        report.stored = tally.stored();
        self.batch.head.add(&tally);
        report
    }

    fn apply_page(
        &mut self,
        number: usize,
        epoch: u32,
        gate: &Commit<'_>,
        tally: &mut Tally,
        refused: &mut Vec<Refused>,
    ) {
        let (Some(touched), Some(page)) = (self.touched.get(number), self.locked.get_mut(number))
        else {
            return;
        };
        let (entries, scratch) = (self.batch.entries.as_slice(), &self.scratch);
        if page.epoch != epoch {
            page.epoch = epoch;
            page.keyed = Slots::default();
        }
        page.key_runs = touched.key_runs;
        page.history.forget(gate.oldest_reader);
        let range_ms = self.batch.head.chunk_range_ms;
        let tracks_starts = tracks_starts(self.batch, self.start_times, page);
        for position in touched.range.clone() {
            let index = match self.in_order {
                true => position,
                false => scratch.order[position] as usize,
            };
            let (entry, decision) = (&entries[index], scratch.decisions[index]);
            let slot = slot_of(entry.id);
            if let Some(zero @ (Decision::Store | Decision::StoreKey)) = scratch.zeros.get(index) {
                let start_ms = self.batch.starts_ms[index];
                page.append_zero(slot, start_ms, self.batch, entry, *zero, tally);
                if !touched.all_defined {
                    touched.page.defined.insert(slot);
                }
                if gate.oldest_reader.is_some() {
                    page.history.note(gate.number, slot);
                }
            }
            if tracks_starts && decision.stores() && !self.batch.is_stale(entry) {
                let (late, start_ms) = (decision == Decision::Late, self.batch.start_ms(index));
                let start_ms = if self.start_times.keep {
                    start_ms
                } else {
                    UNKNOWN
                };
                page.note_start(slot, entry.timestamp_ms, start_ms, late);
            }
            match decision {
                Decision::Store | Decision::StoreKey if !entry.is_histogram => {
                    page.note_key(slot, entry.bits, decision == Decision::StoreKey);
                    page.append_float(slot, entry.timestamp_ms, entry.bits, range_ms, tally);
                }
                Decision::Store | Decision::StoreKey => {
                    let histogram = &self.batch.histograms[entry.bits as usize];
                    page.append_histogram(slot, entry.timestamp_ms, histogram, range_ms, tally);
                }
                Decision::Late => {
                    let value = self.batch.value(entry);
                    let time = entry.timestamp_ms;
                    self.bounds.note_delay(self.batch.head, time);
                    match page.insert_late(slot, time, value, gate.number, tally) {
                        LateFit::At(_) if gate.oldest_reader.is_some() => {
                            page.history.note_late(gate.number, slot, time);
                        }
                        LateFit::At(_) | LateFit::Known => {}
                        LateFit::Duplicate => refused.push(Refused {
                            index: index as u32,
                            error: AppendError::DuplicateTimestamp,
                        }),
                    }
                }
                Decision::Known => continue,
                Decision::Refuse(error) => {
                    if matches!(error, AppendError::OutOfOrder | AppendError::TooOld) {
                        self.bounds.note_delay(self.batch.head, entry.timestamp_ms);
                    }
                    let index = index as u32;
                    refused.push(Refused { index, error });
                    continue;
                }
            }
            if !touched.all_defined {
                touched.page.defined.insert(slot);
            }
            if gate.oldest_reader.is_some() && decision != Decision::Late {
                page.history.note(gate.number, slot);
            }
        }
    }
}

/// Whether the starts of a page's samples are looked at: some come, or some are there.
fn tracks_starts(batch: &Batch<'_>, start_times: StartTimes, page: &PageInner) -> bool {
    page.starts.is_some() || (start_times.keep && !batch.starts_ms.is_empty())
}

impl Batch<'_> {
    /// When the counter of an entry started.
    fn start_ms(&self, index: usize) -> i64 {
        self.starts_ms.get(index).copied().unwrap_or(UNKNOWN)
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        match self.histograms.get(entry.bits as usize) {
            Some(histogram) if entry.is_histogram => is_stale_nan(histogram.sum),
            _ => entry.bits == STALE_NAN_BITS,
        }
    }

    fn value(&self, entry: &Entry) -> SampleValue {
        match self.histograms.get(entry.bits as usize) {
            Some(histogram) if entry.is_histogram => SampleValue::Histogram(histogram.clone()),
            _ => SampleValue::Float(f64::from_bits(entry.bits)),
        }
    }
}

impl PageInner {
    /// Adds a sample of nothing where the counter of an entry started.
    fn append_zero(
        &mut self,
        slot: u8,
        start_ms: i64,
        batch: &Batch<'_>,
        entry: &Entry,
        decision: Decision,
        tally: &mut Tally,
    ) {
        let range_ms = batch.head.chunk_range_ms;
        match batch.histograms.get(entry.bits as usize) {
            Some(histogram) if entry.is_histogram => {
                let zero = Arc::new(zero_histogram(histogram));
                self.append_histogram(slot, start_ms, &zero, range_ms, tally);
            }
            _ => {
                let bits = 0f64.to_bits();
                self.note_key(slot, bits, decision == Decision::StoreKey);
                self.append_float(slot, start_ms, bits, range_ms, tally);
            }
        }
        self.note_start(slot, start_ms, UNKNOWN, false);
    }

    #[inline]
    fn note_key(&mut self, slot: u8, bits: u64, is_key: bool) {
        let hot = &mut self.hot[usize::from(slot)];
        if is_key {
            self.keys[usize::from(slot)] = bits;
            self.keyed.insert(slot);
            hot.key_age = 0;
        } else {
            hot.key_age = hot.key_age.saturating_add(1);
        }
    }
}

/// Which pages the batch's samples, in order, belong to.
fn touched_pages<'a>(batch: &'a Batch<'_>, order: Option<&Vec<u32>>) -> Vec<Touched<'a>> {
    let entries = batch.entries.as_slice();
    let id = |position: usize| match order {
        Some(order) => entries[order[position] as usize].id,
        None => entries[position].id,
    };
    let mut touched = Vec::new();
    let mut from = 0;
    while from < entries.len() {
        let number = page_of(id(from));
        let mut slots = Slots::default();
        let mut to = from;
        while to < entries.len() && page_of(id(to)) == number {
            slots.insert(slot_of(id(to)));
            to += 1;
        }
        // Batches hold the pages of all ids they have taken.
        if let Some(page) = batch.pages.get(number) {
            touched.push(Touched {
                page,
                range: from..to,
                all_defined: page.defined.contains_all(&slots),
                key_runs: 0,
            });
        }
        from = to;
    }
    touched
}

/// Looks at the lines of these series, which lie cold in memory, so that they come all together.
fn warm(page: &PageInner, ids: impl Iterator<Item = u32>) {
    let lines = ids.map(|id| page.hot[usize::from(slot_of(id))].last_ms());
    black_box(lines.fold(0, |sum, time| sum ^ time));
}

/// What belongs to no page.
fn apply_aside(batch: &Batch<'_>, catalogue: Option<&Catalogue>) {
    let head = batch.head;
    for (family, metadata) in &batch.metadata {
        head.keep_metadata(family, metadata.clone());
    }
    let Some(catalogue) = catalogue.filter(|_| !batch.exemplars.is_empty()) else {
        return;
    };
    let mut exemplars = head.exemplar_ring();
    for (id, exemplar) in &batch.exemplars {
        let Some(labels) = catalogue.labels(*id) else {
            continue;
        };
        match exemplars.add(&labels, exemplar) {
            ExemplarFit::Newer => head.counters.exemplars_stored.add(1),
            ExemplarFit::OutOfOrder => head.counters.exemplars_out_of_order.add(1),
            ExemplarFit::Known | ExemplarFit::Off => {}
        }
    }
}

impl Head {
    fn take_scratch(&self) -> Box<Scratch> {
        let mut kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn put_scratch(&self, scratch: Box<Scratch>) {
        let mut kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // One for each that commits at a time; those of huge batches are not kept.
        if kept.len() < 16 && scratch.record.capacity() < 1 << 22 {
            kept.push(scratch);
        }
    }
}

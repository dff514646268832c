//! Bringing the head back from the records of its commits.
//!
//! Labels go to the catalogue, which one thread fills. All else belongs to pages: who replays the
//! samples also follows which ids are given to new series, so it needs nothing of the catalogue
//! and needn't keep step with the thread that fills it.

use narthex_catalogue::{Catalogue, InsertError, LabelTable};
use narthex_model::{CancelToken, SampleValue};

use crate::Head;
use crate::bytes::Reader;
use crate::counters::Tally;
use crate::head::Pages;
use crate::history::Slots;
use crate::page::{PAGE, PageInner, page_of, slot_of};
use crate::record::floats::{Births, RunReader};
use crate::record::{self, definitions, each_section, others};
use crate::side::LateFit;
use crate::value::Value;

/// A record that is not what a commit wrote. What stood before the damage was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged record at byte {offset}: {reason}")]
pub struct DamagedRecord {
    pub offset: usize,
    pub reason: &'static str,
}

/// What one worker took from one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Samples that were added.
    pub stored: u64,
    /// Samples that were there already, or that are older than the head's border.
    pub passed_over: u64,
    /// Samples that cannot be told because a record before this one is missing.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayEnd {
    pub series: u64,
    /// Places with samples whose labels are not known; the samples were dropped.
    pub without_labels: u64,
}

/// How far an id may lie beyond those there are: a record that is damaged in spite of its checksum
/// shall not take all memory.
const MOST_PAGES_AHEAD: usize = 1 << 14;

impl Head {
    /// Takes what belongs to no page: labels, exemplars, metadata. One thread gives every record,
    /// in order.
    pub fn replay_definitions(&self, record: &[u8]) -> Result<(), DamagedRecord> {
        each_section(record, |kind, body| match kind {
            record::DEFINITIONS => define(&mut self.catalogue_mut(), body),
            record::EXEMPLARS => others::each_exemplar(body, |id, exemplar| {
                if let Some(labels) = self.catalogue().labels(id) {
                    self.exemplar_ring().add(&labels, exemplar);
                }
            }),
            record::METADATA => others::each_metadata(body, |family, metadata| {
                self.keep_metadata(family, metadata);
            }),
            _ => Ok(()),
        })
    }

    /// Takes the samples, histograms, deletions and truncations of every `parts`-th page, beginning
    /// with number `part`. For each part one thread gives every record, in order.
    pub fn replay_samples(
        &self,
        record: &[u8],
        part: usize,
        parts: usize,
    ) -> Result<Replayed, DamagedRecord> {
        let mut worker = Worker {
            head: self,
            pages: self.pages(),
            part,
            parts: parts.max(1),
            tally: Tally::default(),
            replayed: Replayed::default(),
        };
        let result = each_section(record, |kind, body| worker.section(kind, body));
        worker.replayed.stored = worker.tally.stored();
        self.add(&worker.tally);
        result.map(|()| worker.replayed)
    }

    /// To be called once, after the last record and before the first batch.
    pub fn finish_replay(&self) -> ReplayEnd {
        self.raise_to_replayed_border();
        let catalogue = self.catalogue();
        let all = catalogue.matching(&[], &CancelToken::default());
        let ids = all.unwrap_or_default();
        self.ids().set_used(&ids);
        let last = ids.last().map_or(0, |id| page_of(*id) + 1);
        let pages = self.pages_up_to(last);
        let mut tally = Tally::default();
        let mut end = ReplayEnd {
            series: ids.len() as u64,
            without_labels: 0,
        };
        let mut known = ids.into_iter().peekable();
        for (number, page) in pages.iter().enumerate() {
            let mut inner = page.lock();
            for slot in 0..=u8::MAX {
                let id = (number as u32) << 8 | u32::from(slot);
                if known.next_if_eq(&id).is_some() {
                    page.defined.insert(slot);
                    if let Some((oldest_ms, newest_ms)) = inner.times_ms(slot) {
                        tally.stretch_to(oldest_ms);
                        tally.stretch_to(newest_ms);
                    }
                } else {
                    end.without_labels += u64::from(!inner.is_empty(slot));
                    if page.defined.contains(slot) || inner.was_used(slot) {
                        // The next series here is not to be taken for the one that was.
                        inner.bury(slot, &mut tally);
                    }
                    page.defined.remove(slot);
                }
            }
        }
        drop(catalogue);
        self.begin_oldest();
        self.add(&tally);
        self.end_oldest(tally.oldest_ms);
        end
    }
}

/// Gives ids to series. Whoever has an id or the labels so far has gone, as else the writer would
/// not have given them.
fn define(catalogue: &mut Catalogue, body: Reader<'_>) -> Result<(), DamagedRecord> {
    let defined = definitions::read(body)?;
    let other_labels = |id: &u32, places: &[u32]| {
        catalogue.contains(*id) && !has_labels(catalogue, *id, &defined.pairs, places)
    };
    let former = defined
        .iter()
        .filter(|(id, places)| other_labels(id, places));
    let former: Vec<u32> = former.map(|(id, _)| id).collect();
    if !former.is_empty() {
        catalogue.remove(&former);
    }
    let mut table = LabelTable::new(defined.pairs.clone());
    let mut waiting = Vec::new();
    let mut holders = Vec::new();
    for (id, places) in defined.iter() {
        // Other refusals: it is there already, or it is no label set, and then its samples will be
        // found to be without.
        let inserted = catalogue.insert_indexed(id, &mut table, places);
        if let Err(InsertError::LabelsInUse(holder)) = inserted {
            holders.push(holder);
            waiting.push((id, places));
        }
    }
    if !holders.is_empty() {
        catalogue.remove(&holders);
        for (id, places) in waiting {
            let _ = catalogue.insert_indexed(id, &mut table, places);
        }
    }
    Ok(())
}

fn has_labels(catalogue: &Catalogue, id: u32, pairs: &[(&str, &str)], places: &[u32]) -> bool {
    let Some(labels) = catalogue.each_label(id) else {
        return false;
    };
    let there = labels.map(|(name, value)| (&**name, &**value));
    let asked = places.iter().filter_map(|place| pairs.get(*place as usize));
    there.eq(asked.copied())
}

struct Worker<'a> {
    head: &'a Head,
    pages: Pages,
    part: usize,
    parts: usize,
    tally: Tally,
    replayed: Replayed,
}

impl Worker<'_> {
    fn section(&mut self, kind: u8, body: Reader<'_>) -> Result<(), DamagedRecord> {
        match kind {
            record::DEFINITIONS => self.definitions(body),
            record::FLOATS => self.floats(body),
            record::HISTOGRAMS => self.histograms(body),
            record::LATE_FLOATS => self.late(body),
            record::DELETIONS => self.deletions(body),
            record::TRUNCATION => self.truncation(body),
            record::STARTS => self.starts(body),
            _ => Ok(()),
        }
    }

    fn is_mine(&self, id: u32) -> bool {
        page_of(id) % self.parts == self.part
    }

    /// Makes sure that there is a page for the id.
    fn reach(&mut self, id: u32, body: &Reader<'_>) -> Result<(), DamagedRecord> {
        let number = page_of(id);
        if number >= self.pages.len() {
            if number > self.pages.len() + MOST_PAGES_AHEAD {
                return Err(body.damaged("an id lies far beyond all others"));
            }
            self.pages = self.head.pages_up_to(number + 1);
        }
        Ok(())
    }

    fn definitions(&mut self, mut body: Reader<'_>) -> Result<(), DamagedRecord> {
        let mut births = Vec::new();
        definitions::each_id(&mut body, |id, birth| {
            births.push((id, birth));
            Ok(())
        })?;
        births.retain(|(id, _)| self.is_mine(*id));
        for (id, birth) in births {
            self.reach(id, &body)?;
            let Some(page) = self.pages.get(page_of(id)) else {
                continue;
            };
            let mut page = page.lock();
            if page.births[usize::from(slot_of(id))] != birth {
                page.clear(slot_of(id), &mut self.tally);
                page.births[usize::from(slot_of(id))] = birth;
            }
        }
        Ok(())
    }

    fn floats(&mut self, mut body: Reader<'_>) -> Result<(), DamagedRecord> {
        let epoch = body.u32()?;
        let base_ms = body.signed()?;
        let mut previous = 0;
        while !body.is_empty() {
            let run = RunReader::next(&mut body, previous)?;
            previous = run.first;
            if !self.is_mine(run.first) {
                continue;
            }
            self.reach(run.first, &body)?;
            if let Some(page) = self.pages.get(page_of(run.first)) {
                let mut replay = RunReplay {
                    page: &mut page.lock(),
                    min_valid_ms: self.head.min_valid_ms(),
                    range_ms: self.head.chunk_range_ms,
                    tally: &mut self.tally,
                    replayed: &mut self.replayed,
                };
                replay.run(run, epoch, base_ms)?;
            }
        }
        Ok(())
    }

    fn histograms(&mut self, body: Reader<'_>) -> Result<(), DamagedRecord> {
        let (part, parts) = (self.part, self.parts);
        let origin = Reader::new(body.rest());
        let wanted = |id| page_of(id) % parts == part;
        others::each_histogram(body, wanted, |entry| {
            self.reach(entry.id, &origin)?;
            let (slot, time) = (slot_of(entry.id), entry.timestamp_ms);
            let Some(page) = self.pages.get(page_of(entry.id)) else {
                return Ok(());
            };
            let mut page = page.lock();
            if page.births[usize::from(slot)] != entry.birth {
                self.replayed.lost += 1;
                return Ok(());
            }
            if entry.late {
                let value = SampleValue::Histogram(entry.histogram);
                let fit = page.insert_late(slot, time, value, 0, &mut self.tally);
                self.replayed.passed_over += u64::from(!matches!(fit, LateFit::At(_)));
                return Ok(());
            }
            let hot = &page.hot[usize::from(slot)];
            if time < self.head.min_valid_ms() || hot.has_seen() && time <= hot.last_ms() {
                self.replayed.passed_over += 1;
                return Ok(());
            }
            let range_ms = self.head.chunk_range_ms;
            page.append_histogram(slot, time, &entry.histogram, range_ms, &mut self.tally);
            Ok(())
        })
    }

    fn late(&mut self, body: Reader<'_>) -> Result<(), DamagedRecord> {
        let origin = Reader::new(body.rest());
        others::each_late(body, |entry| {
            if !self.is_mine(entry.id) {
                return Ok(());
            }
            self.reach(entry.id, &origin)?;
            let slot = slot_of(entry.id);
            let Some(page) = self.pages.get(page_of(entry.id)) else {
                return Ok(());
            };
            let mut page = page.lock();
            if page.births[usize::from(slot)] != entry.birth {
                self.replayed.lost += 1;
                return Ok(());
            }
            let value = SampleValue::Float(f64::from_bits(entry.bits));
            let fit = page.insert_late(slot, entry.timestamp_ms, value, 0, &mut self.tally);
            self.replayed.passed_over += u64::from(!matches!(fit, LateFit::At(_)));
            Ok(())
        })
    }

    fn deletions(&mut self, body: Reader<'_>) -> Result<(), DamagedRecord> {
        others::each_deletion(body, |deletion| {
            let page = self.pages.get(page_of(deletion.id));
            if let Some(page) = page.filter(|_| self.is_mine(deletion.id)) {
                let mut page = page.lock();
                if page.births[usize::from(slot_of(deletion.id))] == deletion.birth {
                    let interval = (deletion.start_ms, deletion.end_ms);
                    page.add_deletion(slot_of(deletion.id), interval);
                }
            }
            Ok(())
        })
    }

    /// Also those of samples that are passed over: later ones may have the same.
    fn starts(&mut self, body: Reader<'_>) -> Result<(), DamagedRecord> {
        let origin = Reader::new(body.rest());
        others::each_start(body, |entry| {
            if !self.is_mine(entry.id) {
                return Ok(());
            }
            self.reach(entry.id, &origin)?;
            let slot = slot_of(entry.id);
            let Some(page) = self.pages.get(page_of(entry.id)) else {
                return Ok(());
            };
            let mut page = page.lock();
            if page.births[usize::from(slot)] != entry.birth {
                return Ok(());
            }
            let starts = page.starts.get_or_insert_default();
            match entry.late {
                true => starts.set_one(slot, entry.timestamp_ms, entry.start_ms),
                false => starts.set_from(slot, entry.timestamp_ms, entry.start_ms),
            }
            Ok(())
        })
    }

    fn truncation(&mut self, mut body: Reader<'_>) -> Result<(), DamagedRecord> {
        let border_ms = body.signed()?;
        // It counts from the end of the replay: other workers may be behind, and are to find what
        // was there before.
        self.head.note_replayed_border(border_ms);
        let Some(number) = body.varint()?.checked_sub(1) else {
            return Ok(());
        };
        let page = usize::try_from(number).ok();
        let page = page.filter(|number| number % self.parts == self.part);
        if let Some(page) = page.and_then(|number| self.pages.get(number)) {
            let mut page = page.lock();
            for slot in 0..=u8::MAX {
                // Late samples that were to stay come again behind this.
                page.truncate(slot, border_ms, u64::MAX, &mut self.tally);
            }
        }
        Ok(())
    }
}

/// The samples of one run put into their page.
struct RunReplay<'a> {
    page: &'a mut PageInner,
    min_valid_ms: i64,
    range_ms: i64,
    tally: &'a mut Tally,
    replayed: &'a mut Replayed,
}

impl RunReplay<'_> {
    fn run(
        &mut self,
        mut run: RunReader<'_>,
        epoch: u32,
        base_ms: i64,
    ) -> Result<(), DamagedRecord> {
        let mut times_ms = [0; PAGE];
        let head = run.head(base_ms, &mut times_ms)?;
        self.follow_keys(epoch, head.key_runs);
        let first = slot_of(run.first);
        let slots = (first..=u8::MAX).take(run.count);
        let mut births = Births::default();
        for slot in slots.clone() {
            births.add(self.page.births[usize::from(slot)]);
        }
        let known = head.fits(births);
        let mut any_key = false;
        for (at, slot) in slots.enumerate() {
            let key = self.page.keyed.contains(slot);
            let key = key.then(|| self.page.keys[usize::from(slot)]);
            let bits = match head.is_key(at) {
                true => key,
                false => match run.value(key)? {
                    Value::Known { bits, is_key } => {
                        if is_key {
                            self.page.keys[usize::from(slot)] = bits;
                            self.page.keyed.insert(slot);
                            self.page.hot[usize::from(slot)].key_age = 0;
                            any_key = true;
                        }
                        Some(bits)
                    }
                    Value::Unknown => None,
                },
            };
            match bits.filter(|_| known) {
                Some(bits) => self.sample(slot, times_ms[at], bits),
                None => self.replayed.lost += 1,
            }
        }
        self.page.key_runs += u32::from(any_key);
        Ok(())
    }

    /// Forgets the keys in a new epoch, and when a run that wrote some is missing.
    fn follow_keys(&mut self, epoch: u32, key_runs: u32) {
        if self.page.epoch != epoch || self.page.key_runs != key_runs {
            self.page.keyed = Slots::default();
            self.page.epoch = epoch;
            self.page.key_runs = key_runs;
        }
    }

    #[inline]
    fn sample(&mut self, slot: u8, timestamp_ms: i64, bits: u64) {
        let hot = &mut self.page.hot[usize::from(slot)];
        hot.key_age = hot.key_age.saturating_add(1);
        if timestamp_ms < self.min_valid_ms || hot.has_seen() && timestamp_ms <= hot.last_ms() {
            self.replayed.passed_over += 1;
            return;
        }
        self.page
            .append_float(slot, timestamp_ms, bits, self.range_ms, self.tally);
    }
}

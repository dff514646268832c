//! A batch of samples until it is committed: which series they belong to is found out at once,
//! whether they fit is judged at the commit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_catalogue::{Catalogue, InsertError};
use narthex_model::{Exemplar, Histogram, Labels, Metadata};
use narthex_storage::{AppendError, CommitError, CommitReport, SeriesRef};

use crate::commit::{Entry, commit};
use crate::head::Pages;
use crate::ids::Reserve;
use crate::page::{page_of, slot_of};
use crate::starts::UNKNOWN;
use crate::{Head, Log};

/// Characters that the labels of an exemplar may have in all.
const EXEMPLAR_CHARACTERS: usize = 128;

/// Samples that will be seen all at once. Dropping it discards them.
pub struct Batch<'a> {
    pub(crate) head: &'a Head,
    pub(crate) pages: Pages,
    pub(crate) entries: Vec<Entry>,
    pub(crate) histograms: Vec<Arc<Histogram>>,
    /// When the counters of the first so many entries started, 0 if that is not known.
    pub(crate) starts_ms: Vec<i64>,
    pub(crate) exemplars: Vec<(u32, Exemplar)>,
    pub(crate) metadata: BTreeMap<String, Metadata>,
    reserve: Reserve,
    round: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        head.counters.batches_opened.add(1);
        let size = head.batch_size.load(Ordering::Relaxed);
        Batch {
            head,
            round: head.open_batches.open(),
            pages: head.pages(),
            entries: Vec::with_capacity(size),
            histograms: Vec::new(),
            starts_ms: Vec::new(),
            exemplars: Vec::new(),
            metadata: BTreeMap::new(),
            reserve: Reserve::default(),
        }
    }

    pub fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let series = self.find_or_create(labels)?;
        self.entries
            .push(Entry::float(id_of(series), timestamp_ms, value));
        Ok(series)
    }

    #[inline]
    pub fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let id = self.known(series)?;
        self.entries.push(Entry::float(id, timestamp_ms, value));
        Ok(())
    }

    pub fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        histogram.check().map_err(AppendError::InvalidHistogram)?;
        let series = self.find_or_create(labels)?;
        self.push_histogram(id_of(series), timestamp_ms, histogram);
        Ok(series)
    }

    pub fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        histogram.check().map_err(AppendError::InvalidHistogram)?;
        let id = self.known(series)?;
        self.push_histogram(id, timestamp_ms, histogram);
        Ok(())
    }

    /// Says when the counter started of a sample of this batch. Samples are counted from 0.
    pub fn set_start(&mut self, sample: u32, start_ms: i64) {
        let at = sample as usize;
        if start_ms == UNKNOWN || at >= self.entries.len() {
            return;
        }
        if self.starts_ms.len() <= at {
            self.starts_ms.resize(at + 1, UNKNOWN);
        }
        self.starts_ms[at] = start_ms;
    }

    pub fn append_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &Exemplar,
    ) -> Result<(), AppendError> {
        let characters = exemplar.labels.iter().map(|label| {
            let (name, value) = (label.name.chars(), label.value.chars());
            name.count() + value.count()
        });
        if characters.sum::<usize>() > EXEMPLAR_CHARACTERS {
            let reason = "its labels have more than 128 characters";
            return Err(AppendError::InvalidExemplar(reason));
        }
        let id = self.known(series)?;
        self.exemplars.push((id, exemplar.clone()));
        Ok(())
    }

    pub fn set_metadata(&mut self, family: &str, metadata: &Metadata) {
        if !self.head.knows_metadata(family, metadata) {
            self.metadata.insert(family.to_owned(), metadata.clone());
        }
    }

    /// When this returns, the record is with the log and readers see the samples.
    pub fn commit(self, log: &dyn Log) -> Result<CommitReport, CommitError> {
        let size = &self.head.batch_size;
        // Most batches are of scrapes, which repeat; one that is far larger sets no measure.
        size.store(self.entries.len().min(4096), Ordering::Relaxed);
        commit(&self, log)
    }

    #[inline]
    fn known(&mut self, series: SeriesRef) -> Result<u32, AppendError> {
        let id = id_of(series);
        let number = page_of(id);
        if number >= self.pages.len() {
            self.pages = self.head.pages();
        }
        let page = self.pages.get(number);
        let generation = page.map(|page| page.generation(slot_of(id)));
        if generation == Some((series.0 >> 32) as u32) {
            return Ok(id);
        }
        self.head.counters.series_not_found.add(1);
        Err(AppendError::UnknownSeries)
    }

    fn push_histogram(&mut self, id: u32, timestamp_ms: i64, histogram: Arc<Histogram>) {
        let index = self.histograms.len();
        self.histograms.push(histogram);
        self.entries.push(Entry::histogram(id, timestamp_ms, index));
    }

    pub(crate) fn find_or_create(&mut self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        if labels.is_empty() {
            return Err(AppendError::NoLabels);
        }
        let catalogue = self.head.catalogue();
        if let Some(id) = catalogue.find(labels) {
            return Ok(self.keep(id, &catalogue));
        }
        drop(catalogue);
        self.create(labels)
    }

    fn create(&mut self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        let mut catalogue = self.head.catalogue_mut();
        if let Some(id) = catalogue.find(labels) {
            return Ok(self.keep(id, &catalogue));
        }
        // No more than four billion series; memory ends long before.
        let id = self.reserve.next(&mut self.head.ids());
        let id = id.ok_or(AppendError::UnknownSeries)?;
        match catalogue.insert(id, labels) {
            Ok(()) => {}
            Err(InsertError::NoLabels) => return Err(AppendError::NoLabels),
            Err(_) => return Err(AppendError::UnknownSeries),
        }
        self.head.counters.series_created.add(1);
        Ok(self.keep(id, &catalogue))
    }

    /// The reference of a series that must not be removed now: the catalogue is held, and a mark
    /// for removal is taken back.
    fn keep(&mut self, id: u32, _: &Catalogue) -> SeriesRef {
        let number = page_of(id);
        if number >= self.pages.len() {
            self.pages = self.head.pages_up_to(number + 1);
        }
        let slot = slot_of(id);
        let generation = self.pages.get(number).map_or(0, |page| {
            if page.marked.contains(slot) {
                page.marked.remove(slot);
            }
            page.generation(slot)
        });
        SeriesRef(u64::from(generation) << 32 | u64::from(id))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut self.reserve.left, 0..0);
        if !left.is_empty() {
            self.head.ids().give_back([left]);
        }
        self.head.open_batches.close(self.round);
    }
}

#[inline]
fn id_of(series: SeriesRef) -> u32 {
    series.0 as u32
}

/// Which batches are open, by the round in which they were opened. A round ends when garbage has
/// been looked for.
#[derive(Debug, Default)]
pub(crate) struct OpenBatches(Mutex<Rounds>);

#[derive(Debug, Default)]
struct Rounds {
    current: u64,
    open: BTreeMap<u64, u64>,
}

impl OpenBatches {
    pub(crate) fn count(&self) -> u64 {
        self.lock().open.values().sum()
    }

    /// Ends the round; gives its number.
    pub(crate) fn end_round(&self) -> u64 {
        let mut rounds = self.lock();
        rounds.current += 1;
        rounds.current - 1
    }

    /// Whether all batches of this round and those before are closed.
    pub(crate) fn are_closed(&self, round: u64) -> bool {
        let rounds = self.lock();
        rounds.open.range(..=round).next().is_none()
    }

    fn open(&self) -> u64 {
        let mut rounds = self.lock();
        let current = rounds.current;
        *rounds.open.entry(current).or_default() += 1;
        current
    }

    fn close(&self, round: u64) {
        let mut rounds = self.lock();
        if let Some(count) = rounds.open.get_mut(&round) {
            *count -= 1;
            if *count == 0 {
                rounds.open.remove(&round);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

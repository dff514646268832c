//! All series in memory: what the parts of the head share.
//!
//! Locks are taken in this order, and each may be left out: the gate (see `isolation`), the
//! catalogue, pages in ascending order, then the small ones (ids, exemplars, metadata), of which
//! nobody holds two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use narthex_catalogue::{Catalogue, Figure};
use narthex_model::Metadata;
use narthex_storage::{CardinalityStat, HeadStats, TsdbStats};

use crate::batch::OpenBatches;
use crate::commit::Scratch;
use crate::counters::Tally;
use crate::exemplars::Exemplars;
use crate::ids::Ids;
use crate::isolation::Isolation;
use crate::maintain::Garbage;
use crate::page::Page;
use crate::starts::Starts;
use crate::{Batch, ChunkSource, Counters, Import};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The range of the smallest blocks; no chunk crosses its borders.
    pub chunk_range_ms: i64,
    /// How far behind the newest sample late ones are taken; 0 takes none.
    pub out_of_order_window_ms: i64,
    /// How many exemplars are kept in all; 0 keeps none.
    pub exemplar_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            chunk_range_ms: 2 * 60 * 60 * 1000,
            out_of_order_window_ms: 0,
            exemplar_limit: 0,
        }
    }
}

/// What becomes of the times at which counters started, where samples come with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTimes {
    /// They are stored.
    pub keep: bool,
    /// A sample of nothing is stored at the start, if it is newer than the series' last sample.
    pub as_zeros: bool,
}

impl Default for StartTimes {
    fn default() -> Self {
        StartTimes {
            keep: true,
            as_zeros: false,
        }
    }
}

/// Pages, shared so that a batch can keep them at hand.
pub(crate) type Pages = Arc<Vec<Arc<Page>>>;

/// See the crate's page.
pub struct Head {
    pub(crate) chunk_range_ms: i64,
    pub(crate) source: Arc<dyn ChunkSource>,
    pub(crate) isolation: Isolation,
    catalogue: RwLock<Catalogue>,
    pages: RwLock<Pages>,
    ids: Mutex<Ids>,
    pub(crate) open_batches: OpenBatches,
    garbage: Mutex<Garbage>,
    window_ms: AtomicI64,
    keeps_starts: AtomicBool,
    starts_as_zeros: AtomicBool,
    min_valid_ms: AtomicI64,
    /// What `min_valid_ms` will be at the end of a replay.
    replayed_border_ms: AtomicI64,
    oldest_ms: AtomicI64,
    /// Of the samples that came since the last look at all series.
    oldest_since_ms: AtomicI64,
    newest_ms: AtomicI64,
    exemplars: Mutex<Exemplars>,
    metadata: RwLock<BTreeMap<Arc<str>, Metadata>>,
    pub(crate) counters: Counters,
    /// What commits write with, kept from one to the next.
    #[expect(clippy::vec_box, reason = "they are large, and go from hand to hand")]
    pub(crate) scratch: Mutex<Vec<Box<Scratch>>>,
    pub(crate) batch_size: AtomicUsize,
}

impl Head {
    pub fn new(options: Options, source: Arc<dyn ChunkSource>) -> Self {
        let mut exemplars = Exemplars::default();
        exemplars.set_limit(options.exemplar_limit);
        Head {
            chunk_range_ms: options.chunk_range_ms.max(1),
            source,
            isolation: Isolation::default(),
            catalogue: RwLock::default(),
            pages: RwLock::default(),
            ids: Mutex::default(),
            open_batches: OpenBatches::default(),
            garbage: Mutex::default(),
            window_ms: AtomicI64::new(options.out_of_order_window_ms),
            keeps_starts: AtomicBool::new(true),
            starts_as_zeros: AtomicBool::new(false),
            min_valid_ms: AtomicI64::new(i64::MIN),
            replayed_border_ms: AtomicI64::new(i64::MIN),
            oldest_ms: AtomicI64::new(i64::MAX),
            oldest_since_ms: AtomicI64::new(i64::MAX),
            newest_ms: AtomicI64::new(i64::MIN),
            exemplars: Mutex::new(exemplars),
            metadata: RwLock::default(),
            counters: Counters::default(),
            scratch: Mutex::default(),
            batch_size: AtomicUsize::new(0),
        }
    }

    pub fn set_out_of_order_window_ms(&self, window_ms: i64) {
        self.window_ms.store(window_ms, Ordering::Relaxed);
    }

    /// For batches that are committed from now on.
    pub fn set_start_times(&self, what: StartTimes) {
        self.keeps_starts.store(what.keep, Ordering::Relaxed);
        self.starts_as_zeros.store(what.as_zeros, Ordering::Relaxed);
    }

    /// Exemplars that are too many go, oldest first.
    pub fn set_exemplar_limit(&self, limit: usize) {
        self.exemplar_ring().set_limit(limit);
    }

    /// A new batch; it has the calls of [`narthex_storage::Appender`].
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Takes samples from elsewhere, without a log and without bounds.
    pub fn import(&self) -> Import<'_> {
        Import::new(self)
    }

    /// What is known of metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(Arc<str>, Metadata)> {
        let all = self.families();
        all.iter()
            .map(|(name, metadata)| (name.clone(), metadata.clone()))
            .collect()
    }

    pub fn stats(&self) -> HeadStats {
        let (min_time_ms, max_time_ms) = self.times_ms().unwrap_or((i64::MAX, i64::MIN));
        let created = self.counters.chunks_created.get();
        let catalogue = self.catalogue();
        HeadStats {
            series: catalogue.series_count() as u64,
            label_pairs: catalogue.sizes().label_pairs as u64,
            chunks: created.saturating_sub(self.counters.chunks_removed.get()),
            min_time_ms,
            max_time_ms,
        }
    }

    /// [`Head::stats`] and the `limit` largest entries of each kind of cardinality.
    pub fn cardinality(&self, limit: usize) -> TsdbStats {
        let figures = self.catalogue().cardinality(limit);
        TsdbStats {
            head: self.stats(),
            series_count_by_metric_name: stats_of(figures.series_by_metric_name),
            label_value_count_by_label_name: stats_of(figures.values_by_label_name),
            memory_bytes_by_label_name: stats_of(figures.value_bytes_by_label_name),
            series_count_by_label_pair: stats_of(figures.series_by_label_pair),
        }
    }

    /// Times of the oldest and the newest sample, late ones too.
    pub fn times_ms(&self) -> Option<(i64, i64)> {
        let oldest_ms = self.oldest_ms.load(Ordering::Acquire);
        let newest_ms = self.newest_ms.load(Ordering::Acquire);
        (oldest_ms <= newest_ms).then_some((oldest_ms, newest_ms))
    }

    /// Samples older than this are taken as late ones only, if at all.
    pub fn min_valid_ms(&self) -> i64 {
        self.min_valid_ms.load(Ordering::Acquire)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Batches that are open now.
    pub fn open_batches(&self) -> u64 {
        self.open_batches.count()
    }

    /// The commit up to which all who read now have seen everything, and the last commit. Commits
    /// are counted from the start.
    pub fn watermarks(&self) -> (u64, u64) {
        self.isolation.watermarks()
    }

    /// Series whose last sample is a histogram, and the buckets of those samples.
    pub fn histogram_figures(&self) -> (u64, u64) {
        let pages = self.pages();
        let figures = pages.iter().map(|page| page.lock().histogram_figures());
        figures.fold((0, 0), |sum, page| (sum.0 + page.0, sum.1 + page.1))
    }

    /// Exemplars kept now, series that have some, and the time of the one that came last.
    pub fn exemplar_figures(&self) -> (u64, u64, Option<i64>) {
        let exemplars = self.exemplar_ring();
        let last = exemplars.iter().last();
        (
            exemplars.len() as u64,
            exemplars.series_count() as u64,
            last.map(|(_, exemplar)| exemplar.timestamp_ms),
        )
    }

    /// Bytes of label strings.
    pub fn symbols_bytes(&self) -> u64 {
        self.catalogue().sizes().symbol_bytes as u64
    }

    pub(crate) fn window_ms(&self) -> i64 {
        self.window_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn start_times(&self) -> StartTimes {
        StartTimes {
            keep: self.keeps_starts.load(Ordering::Relaxed),
            as_zeros: self.starts_as_zeros.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn raise_min_valid(&self, border_ms: i64) {
        self.min_valid_ms.fetch_max(border_ms, Ordering::AcqRel);
    }

    pub(crate) fn note_replayed_border(&self, border_ms: i64) {
        self.replayed_border_ms
            .fetch_max(border_ms, Ordering::AcqRel);
    }

    pub(crate) fn raise_to_replayed_border(&self) {
        self.raise_min_valid(self.replayed_border_ms.load(Ordering::Acquire));
    }

    pub(crate) fn raise_newest(&self, newest_ms: i64) {
        self.newest_ms.fetch_max(newest_ms, Ordering::AcqRel);
    }

    /// The newest time of all; the least there is if there is none.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Acquire)
    }

    /// Adds to the counters and stretches the times. Whoever doesn't hold the gate is alone.
    pub(crate) fn add(&self, tally: &Tally) {
        self.counters.add(tally);
        for oldest in [&self.oldest_ms, &self.oldest_since_ms] {
            if tally.oldest_ms < oldest.load(Ordering::Relaxed) {
                oldest.fetch_min(tally.oldest_ms, Ordering::AcqRel);
            }
        }
        if tally.newest_ms > self.newest_ms.load(Ordering::Relaxed) {
            self.newest_ms.fetch_max(tally.newest_ms, Ordering::AcqRel);
        }
    }

    /// To be called before a look at all series for the oldest sample.
    pub(crate) fn begin_oldest(&self) {
        self.oldest_since_ms.store(i64::MAX, Ordering::Release);
    }

    /// Takes what was found, and what has come meanwhile, as the oldest sample.
    pub(crate) fn end_oldest(&self, found_ms: i64) {
        self.isolation.alone(|| {
            let since_ms = self.oldest_since_ms.load(Ordering::Acquire);
            self.oldest_ms
                .store(found_ms.min(since_ms), Ordering::Release);
        });
    }

    pub(crate) fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalogue_mut(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exemplar_ring(&self) -> MutexGuard<'_, Exemplars> {
        self.exemplars
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn garbage(&self) -> MutexGuard<'_, Garbage> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn families(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Metadata>> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn knows_metadata(&self, family: &str, metadata: &Metadata) -> bool {
        self.families().get(family) == Some(metadata)
    }

    pub(crate) fn keep_metadata(&self, family: &str, metadata: Metadata) {
        let families = self.metadata.write();
        let mut families = families.unwrap_or_else(PoisonError::into_inner);
        families.insert(family.into(), metadata);
    }

    pub(crate) fn pages(&self) -> Pages {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        pages.clone()
    }

    /// The pages, of which there are so many now at least.
    pub(crate) fn pages_up_to(&self, count: usize) -> Pages {
        let pages = self.pages();
        if pages.len() >= count {
            return pages;
        }
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        if pages.len() < count {
            // Some more at a time in a large head, as the list is copied.
            let wanted = count.max(pages.len() + (pages.len() / 64).min(16));
            let mut more = Vec::with_capacity(wanted);
            more.extend(pages.iter().cloned());
            more.resize_with(wanted, Arc::default);
            *pages = Arc::new(more);
        }
        pages.clone()
    }
}

fn stats_of(figures: Vec<Figure>) -> Vec<CardinalityStat> {
    let stat = |figure: Figure| CardinalityStat {
        name: figure.name,
        value: figure.value,
    };
    figures.into_iter().map(stat).collect()
}

/// Bytes of memory by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Lines, keys, generations.
    pub pages: usize,
    /// The bytes of open chunks.
    pub open_chunks: usize,
    /// Full chunks in memory, and the lists of all.
    pub full_chunks: usize,
    pub labels: usize,
}

impl Head {
    /// What the head takes, as far as it can be told without counting every allocation.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory {
            labels: self.catalogue().sizes().total_bytes(),
            ..Memory::default()
        };
        for page in self.pages().iter() {
            let page = page.lock();
            memory.pages += size_of::<Page>();
            memory.pages += page.starts.as_ref().map_or(0, Starts::memory_bytes);
            memory.open_chunks += page.fragments.memory_bytes();
            memory.full_chunks += page.sealed.memory_bytes();
        }
        memory
    }
}

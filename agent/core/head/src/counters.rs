//! What has happened so far, for metrics. Each count only rises.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use narthex_storage::AppendError;

#[derive(Debug, Default)]
pub struct Counters {
    pub floats_stored: Count,
    pub histograms_stored: Count,
    /// Of those stored, the ones that came late.
    pub out_of_order_stored: Count,
    pub refused_out_of_order: Count,
    pub refused_duplicate: Count,
    pub refused_out_of_bounds: Count,
    pub refused_too_old: Count,
    pub series_created: Count,
    pub series_removed: Count,
    /// Appends by a reference that was no longer good.
    pub series_not_found: Count,
    pub chunks_created: Count,
    pub chunks_removed: Count,
    pub chunks_sealed: Count,
    pub batches_opened: Count,
    pub exemplars_stored: Count,
    pub exemplars_out_of_order: Count,
    pub delays: Delays,
    /// Series whose last sample is a stale marker, now.
    stale_series: AtomicI64,
}

/// A figure that only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// How far behind the newest sample of all those were that came late, taken or not.
#[derive(Debug, Default)]
pub struct Delays {
    /// By the bound that they don't exceed.
    counts: [Count; Delays::BOUNDS_SECONDS.len()],
    longer: Count,
    sum_ms: Count,
}

impl Delays {
    pub const BOUNDS_SECONDS: [u32; 7] = [600, 1800, 3600, 7200, 10_800, 21_600, 43_200];

    pub(crate) fn observe(&self, delay_ms: i64) {
        let Ok(delay_ms) = u64::try_from(delay_ms) else {
            return;
        };
        let fits = |bound: &u32| delay_ms <= u64::from(*bound) * 1000;
        let bucket = Self::BOUNDS_SECONDS.iter().position(fits);
        let bucket = bucket.and_then(|at| self.counts.get(at));
        bucket.unwrap_or(&self.longer).add(1);
        self.sum_ms.add(delay_ms);
    }

    /// How many there were up to each bound, in all, and their sum in seconds.
    pub fn get(&self) -> ([u64; Delays::BOUNDS_SECONDS.len()], u64, f64) {
        let mut sum = 0;
        let up_to = self.counts.each_ref().map(|count| {
            sum += count.get();
            sum
        });
        let seconds = self.sum_ms.get() as f64 / 1000.0;
        (up_to, sum + self.longer.get(), seconds)
    }
}

/// What one pass over samples did, to be added to the counters at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) floats: u64,
    pub(crate) histograms: u64,
    pub(crate) late: u64,
    pub(crate) chunks_created: u64,
    pub(crate) chunks_sealed: u64,
    pub(crate) chunks_removed: u64,
    /// How many more series end in a stale marker.
    pub(crate) stale_series: i64,
    pub(crate) oldest_ms: i64,
    pub(crate) newest_ms: i64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            floats: 0,
            histograms: 0,
            late: 0,
            chunks_created: 0,
            chunks_sealed: 0,
            chunks_removed: 0,
            stale_series: 0,
            oldest_ms: i64::MAX,
            newest_ms: i64::MIN,
        }
    }
}

impl Tally {
    pub(crate) fn stored(&self) -> u64 {
        self.floats + self.histograms
    }

    #[inline]
    pub(crate) fn stretch_to(&mut self, timestamp_ms: i64) {
        self.oldest_ms = self.oldest_ms.min(timestamp_ms);
        self.newest_ms = self.newest_ms.max(timestamp_ms);
    }
}

impl Counters {
    pub(crate) fn add(&self, tally: &Tally) {
        self.floats_stored.add(tally.floats);
        self.histograms_stored.add(tally.histograms);
        self.out_of_order_stored.add(tally.late);
        self.chunks_created.add(tally.chunks_created);
        self.chunks_sealed.add(tally.chunks_sealed);
        self.chunks_removed.add(tally.chunks_removed);
        if tally.stale_series != 0 {
            let change = tally.stale_series;
            self.stale_series.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Series whose last sample is a stale marker.
    pub fn stale_series(&self) -> u64 {
        let stale = self.stale_series.load(Ordering::Relaxed);
        u64::try_from(stale).unwrap_or(0)
    }

    pub(crate) fn refused(&self, error: AppendError) {
        match error {
            AppendError::OutOfOrder => self.refused_out_of_order.add(1),
            AppendError::DuplicateTimestamp => self.refused_duplicate.add(1),
            AppendError::OutOfBounds => self.refused_out_of_bounds.add(1),
            AppendError::TooOld => self.refused_too_old.add(1),
            AppendError::UnknownSeries
            | AppendError::NoLabels
            | AppendError::InvalidHistogram(_)
            | AppendError::InvalidExemplar(_) => {}
        }
    }
}

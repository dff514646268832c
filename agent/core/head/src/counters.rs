//! What has happened so far, for metrics. Each figure only rises.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// What one pass over samples did, to be added to the counters at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) floats: u64,
    pub(crate) histograms: u64,
    pub(crate) late: u64,
    pub(crate) chunks_created: u64,
    pub(crate) chunks_sealed: u64,
    pub(crate) chunks_removed: u64,
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

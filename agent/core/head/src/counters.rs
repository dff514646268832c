//! What has happened so far, for metrics. Each figure only rises.

use std::sync::atomic::{AtomicU64, Ordering};

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

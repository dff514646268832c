//! What a query may hold in memory, and the counts it tells about itself.
//!
//! Whoever holds samples holds a [`Charge`] for them; dropping it gives them back. Counting is
//! atomic, so that parts of a query may one day run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::QueryError;
use super::memory::{Holder, QueryMemory, SAMPLE_BYTES, SERIES_BYTES};
use super::output::QueryStats;

#[derive(Debug)]
pub(super) struct Budget {
    max_samples: u64,
    held: AtomicU64,
    peak: AtomicU64,
    read: AtomicU64,
    queryable: AtomicU64,
    memory: Arc<QueryMemory>,
    holder: Holder,
    held_bytes: AtomicU64,
}

impl Budget {
    /// With as many bytes as there are.
    #[cfg(test)]
    pub(super) fn new(max_samples: u64) -> Arc<Self> {
        Budget::within(
            max_samples,
            Arc::new(QueryMemory::unlimited()),
            Holder::Query,
        )
    }

    pub(super) fn within(max_samples: u64, memory: Arc<QueryMemory>, holder: Holder) -> Arc<Self> {
        Arc::new(Budget {
            memory,
            holder,
            held_bytes: AtomicU64::new(0),
            max_samples,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            read: AtomicU64::new(0),
            queryable: AtomicU64::new(0),
        })
    }

    pub(super) fn max_samples(&self) -> u64 {
        self.max_samples
    }

    /// Room for so many samples, or the error that the query is too large.
    pub(super) fn charge(self: &Arc<Self>, samples: usize) -> Result<Charge, QueryError> {
        let mut charge = Charge {
            budget: self.clone(),
            samples: 0,
        };
        charge.resize(samples)?;
        Ok(charge)
    }

    /// Room for so many series, which count as no samples.
    pub(super) fn charge_series(
        self: &Arc<Self>,
        series: usize,
    ) -> Result<SeriesCharge, QueryError> {
        let bytes = SERIES_BYTES.saturating_mul(series as u64);
        self.memory.take(self.holder, &self.held_bytes, bytes)?;
        Ok(SeriesCharge {
            budget: self.clone(),
            bytes,
        })
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.memory.give_back(self.holder, &self.held_bytes, bytes);
        }
    }

    /// The error if nothing of that size could ever be held.
    pub(super) fn check_size(&self, samples: usize) -> Result<(), QueryError> {
        if samples as u64 > self.max_samples {
            return Err(QueryError::TooManySamples);
        }
        Ok(())
    }

    pub(super) fn count_read(&self, samples: usize) {
        self.read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    pub(super) fn count_queryable(&self, samples: usize) {
        self.queryable.fetch_add(samples as u64, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> QueryStats {
        QueryStats {
            samples_read: self.read.load(Ordering::Relaxed),
            total_queryable_samples: self.queryable.load(Ordering::Relaxed),
            peak_samples: self.peak.load(Ordering::Relaxed),
        }
    }
}

/// Samples that are accounted for as long as this lives.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    samples: u64,
}

impl Charge {
    /// Room for so many samples more.
    pub(super) fn grow(&mut self, samples: usize) -> Result<(), QueryError> {
        let held = usize::try_from(self.samples).unwrap_or(usize::MAX);
        self.resize(held.saturating_add(samples))
    }

    pub(super) fn resize(&mut self, samples: usize) -> Result<(), QueryError> {
        let samples = samples as u64;
        if samples <= self.samples {
            let less = self.samples - samples;
            self.budget.held.fetch_sub(less, Ordering::Relaxed);
            self.budget.give_back(less * SAMPLE_BYTES);
            self.samples = samples;
            return Ok(());
        }
        let more = samples - self.samples;
        // A single request beyond the limit is never added, so the sum can't overflow.
        if more > self.budget.max_samples {
            return Err(QueryError::TooManySamples);
        }
        let bytes = more
            .checked_mul(SAMPLE_BYTES)
            .ok_or(QueryError::TooManySamples)?;
        let budget = &self.budget;
        budget
            .memory
            .take(budget.holder, &budget.held_bytes, bytes)?;
        let held = self.budget.held.fetch_add(more, Ordering::Relaxed) + more;
        self.samples = samples;
        if held > self.budget.max_samples {
            return Err(QueryError::TooManySamples);
        }
        self.budget.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.samples, Ordering::Relaxed);
        self.budget.give_back(self.samples * SAMPLE_BYTES);
    }
}

/// Series that are accounted for as long as this lives.
#[derive(Debug)]
pub(super) struct SeriesCharge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for SeriesCharge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_given_back() {
        let budget = Budget::new(10);
        let first = budget.charge(6).unwrap();
        assert_eq!(budget.charge(5).err(), Some(QueryError::TooManySamples));
        drop(first);
        let mut second = budget.charge(10).unwrap();
        second.resize(3).unwrap();
        let _third = budget.charge(7).unwrap();
        assert_eq!(budget.stats().peak_samples, 10);
        assert_eq!(
            budget.charge(usize::MAX).err(),
            Some(QueryError::TooManySamples)
        );
    }
}

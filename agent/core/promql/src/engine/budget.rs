//! What a query may hold in memory, and the counts it tells about itself.
//!
//! Whoever holds samples holds a [`Charge`] for them; dropping it gives them back. Counting is
//! atomic, so that parts of a query may run side by side. Before a query is refused, what it holds
//! only to save work is given up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::error::QueryError;
use super::memory::{Holder, QueryMemory, SAMPLE_BYTES, SERIES_BYTES};

/// What is held only to save work.
pub(super) trait Spare: Send + Sync {
    /// Gives it back, for good. Whether there was anything.
    fn give_up(&self) -> bool;
}

#[derive(Debug)]
pub(super) struct Budget {
    max_samples: u64,
    held: AtomicU64,
    peak: AtomicU64,
    read: AtomicU64,
    memory: Arc<QueryMemory>,
    holder: Holder,
    held_bytes: AtomicU64,
    spares: Spares,
}

/// Those that still live.
#[derive(Default)]
struct Spares(Mutex<Vec<Weak<dyn Spare>>>);

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spares")
    }
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Spare>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            spares: Spares::default(),
            max_samples,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            read: AtomicU64::new(0),
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
        self.or_without_spares(|| self.take_bytes(bytes))?;
        Ok(SeriesCharge {
            budget: self.clone(),
            bytes,
        })
    }

    /// Will be given up before the query is refused.
    pub(super) fn add_spare(&self, spare: &Arc<dyn Spare>) {
        self.spares.lock().push(Arc::downgrade(spare));
    }

    /// Once more if it fails, when all that can be given up was given up.
    fn or_without_spares(
        &self,
        mut take: impl FnMut() -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        take().or_else(|error| match self.give_up_spares() {
            true => take(),
            false => Err(error),
        })
    }

    fn give_up_spares(&self) -> bool {
        let spares: Vec<_> = self
            .spares
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut any = false;
        for spare in spares {
            any |= spare.give_up();
        }
        any
    }

    fn take_bytes(&self, bytes: u64) -> Result<(), QueryError> {
        self.memory.take(self.holder, &self.held_bytes, bytes)
    }

    /// Samples and series.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn take_samples(&self, more: u64) -> Result<(), QueryError> {
        let all = || self.held.load(Ordering::Relaxed).saturating_add(more);
        // A single request beyond the limit is never added, so the sum can't overflow.
        if more > self.max_samples {
            return Err(self.too_many(all()));
        }
        let bytes = more
            .checked_mul(SAMPLE_BYTES)
            .ok_or_else(|| self.too_many(all()))?;
        self.take_bytes(bytes)?;
        let held = self.held.fetch_add(more, Ordering::Relaxed) + more;
        if held > self.max_samples {
            self.give_back_samples(more);
            return Err(self.too_many(held));
        }
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    fn give_back_samples(&self, samples: u64) {
        self.held.fetch_sub(samples, Ordering::Relaxed);
        self.give_back(samples * SAMPLE_BYTES);
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.memory.give_back(self.holder, &self.held_bytes, bytes);
        }
    }

    /// The error if nothing of that size could ever be held.
    pub(super) fn check_size(&self, samples: usize) -> Result<(), QueryError> {
        let samples = samples as u64;
        if samples > self.max_samples {
            return Err(self.too_many(samples));
        }
        Ok(())
    }

    fn too_many(&self, samples: u64) -> QueryError {
        let limit = self.max_samples;
        QueryError::TooManySamples { samples, limit }
    }

    pub(super) fn count_read(&self, samples: usize) {
        self.read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    pub(super) fn samples_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn peak_samples(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
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

    /// So many samples of these, or as many as there are, on their own.
    pub(super) fn split(&mut self, samples: usize) -> Charge {
        let samples = self.samples.min(samples as u64);
        self.samples -= samples;
        Charge {
            budget: self.budget.clone(),
            samples,
        }
    }

    /// Room for so many samples at least.
    pub(super) fn reach(&mut self, samples: usize) -> Result<(), QueryError> {
        match samples as u64 > self.samples {
            true => self.resize(samples),
            false => Ok(()),
        }
    }

    pub(super) fn resize(&mut self, samples: usize) -> Result<(), QueryError> {
        let samples = samples as u64;
        if samples <= self.samples {
            self.budget.give_back_samples(self.samples - samples);
        } else {
            let more = samples - self.samples;
            let budget = &self.budget;
            budget.or_without_spares(|| budget.take_samples(more))?;
        }
        self.samples = samples;
        Ok(())
    }

    /// As much once more, if there is room without giving anything up.
    pub(super) fn spare_copy(&self) -> Option<Charge> {
        self.budget.take_samples(self.samples).ok()?;
        Some(Charge {
            budget: self.budget.clone(),
            samples: self.samples,
        })
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    pub(super) fn bytes(&self) -> u64 {
        self.samples.saturating_mul(SAMPLE_BYTES)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back_samples(self.samples);
    }
}

/// Series that are accounted for as long as this lives.
#[derive(Debug)]
pub(super) struct SeriesCharge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl SeriesCharge {
    /// Room for so many bytes more of labels.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), QueryError> {
        let bytes = bytes as u64;
        let budget = &self.budget;
        budget.or_without_spares(|| budget.take_bytes(bytes))?;
        self.bytes += bytes;
        Ok(())
    }
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
        let too_many = |samples| Some(budget.too_many(samples));
        assert_eq!(budget.charge(5).err(), too_many(11));
        drop(first);
        let mut second = budget.charge(10).unwrap();
        second.resize(3).unwrap();
        let _third = budget.charge(7).unwrap();
        assert_eq!(budget.peak_samples(), 10);
        assert_eq!(budget.charge(usize::MAX).err(), too_many(u64::MAX));
    }
}

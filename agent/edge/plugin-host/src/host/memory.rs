//! How much memory instances take: each one's share, and all of them together.
//!
//! Keeps true: what an instance has taken is counted in the pool until the instance is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{State, Stop};

/// Of a table's entry, on the host's side.
const TABLE_ENTRY_BYTES: u64 = 16;

/// A component may consist of so many modules; those made from Python have some thirty.
const INSTANCES: usize = 200;

/// The memory of all instances.
#[derive(Default)]
pub(crate) struct Pool {
    used_bytes: AtomicU64,
}

impl Pool {
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64, limit_bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit_bytes);
        let order = Ordering::Relaxed;
        self.used_bytes.fetch_update(order, order, more).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one instance has taken of the pool.
#[derive(Default)]
pub(super) struct Held {
    bytes: u64,
    pool: Option<Arc<Pool>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give_back(self.bytes);
        }
    }
}

impl State {
    fn take_memory(&mut self, bytes: u64) -> Result<(), Stop> {
        let limits = self.shared.limits.load();
        let wanted = self.memory.bytes.saturating_add(bytes);
        if wanted > limits.memory_bytes {
            // An allocation that merely fails would end in an abort that explains nothing.
            return Err(Stop::Memory {
                wanted,
                limit: limits.memory_bytes,
            });
        }
        let limit = limits.total_memory_bytes;
        let pool = &self.shared.services.pool;
        if !pool.take(bytes, limit) {
            return Err(Stop::TotalMemory {
                wanted: bytes,
                limit,
            });
        }
        self.memory.pool.get_or_insert_with(|| pool.clone());
        self.memory.bytes = wanted;
        self.shared.metrics.note_memory(wanted);
        Ok(())
    }
}

impl wasmtime::ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take_memory(desired.saturating_sub(current) as u64)?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let entries = desired.saturating_sub(current) as u64;
        self.take_memory(entries.saturating_mul(TABLE_ENTRY_BYTES))?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }
}

//! The store: head, log, head chunks and blocks held together.
//!
//! Keeps true: what a reader sees of the head is in the log, in the same order; what leaves the
//! head is in a block that readers see, and nothing that replaces something is used before it is on
//! the disk. A reader asks the head first and the blocks then, while upkeep publishes a block first
//! and truncates the head then, so no sample is missed in between.

mod admin;
mod append;
mod read;
mod start;
#[cfg(test)]
mod tests;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_blocks::{Blocks, Limits};
use narthex_head::{Head, StartTimes};
use narthex_model::Metadata;
use narthex_storage::ReplayProgress;
use prometheus::Registry;

use crate::commit_log::CommitLog;
use crate::config::{Config, OpenError};
use crate::disk::{Disk, RealDisk};
use crate::head_chunks::HeadChunks;
use crate::lock::FolderLock;
use crate::log;
use crate::metrics::Metrics;
use crate::sync_thread::SyncThread;
use upkeep::Upkeep;

pub use admin::SealError;

/// The store. Share it as `Arc<Db>`.
pub struct Db {
    head: Arc<Head>,
    log: CommitLog,
    chunks: Arc<HeadChunks>,
    blocks: Blocks,
    block_metrics: narthex_blocks::Metrics,
    metrics: Arc<Metrics>,
    config: Config,
    disk: Arc<dyn Disk>,
    limits: Mutex<Limits>,
    /// Held by whoever changes more than single series: upkeep, deletions, snapshots.
    upkeep: Mutex<Upkeep>,
    /// While the head is about to drop what is older, readers take that from the blocks.
    head_floor_ms: AtomicI64,
    sync_thread: SyncThread,
    lock: FolderLock,
    closed: AtomicBool,
}

impl Db {
    /// Locks the folder, brings back the head and is ready. Call [`Db::maintain`] next.
    pub fn open(config: Config, registry: &Registry) -> Result<Self, OpenError> {
        Db::open_showing(config, registry, &ReplayProgress::default())
    }

    /// As [`Db::open`], for someone who wants to see how far it is.
    pub fn open_showing(
        config: Config,
        registry: &Registry,
        progress: &ReplayProgress,
    ) -> Result<Self, OpenError> {
        start::open(config, registry, progress, Arc::new(RealDisk))
    }

    /// Takes effect at the next [`Db::maintain`]. 0 of a kind is no limit.
    pub fn set_retention(&self, time_ms: u64, size_bytes: u64, disk_percent: f64) {
        self.metrics.retention_seconds.set((time_ms / 1000) as i64);
        self.metrics.retention_bytes.set(size_bytes as i64);
        self.metrics.retention_percent.set(disk_percent);
        *self.limits() = Limits {
            time_ms: i64::try_from(time_ms).ok().filter(|time_ms| *time_ms > 0),
            size_bytes: Some(size_bytes).filter(|size| *size > 0),
            disk_percent: Some(disk_percent).filter(|percent| *percent > 0.0),
        };
    }

    /// As [`Db::set_retention`], with the other limits as they are.
    pub fn set_retention_ms(&self, time_ms: u64) {
        let limits = *self.limits();
        let (size_bytes, percent) = (limits.size_bytes, limits.disk_percent);
        self.set_retention(time_ms, size_bytes.unwrap_or(0), percent.unwrap_or(0.0));
    }

    /// How far behind the newest sample late ones are taken from now on. 0 takes none.
    pub fn set_out_of_order_window_ms(&self, window_ms: i64) {
        self.head.set_out_of_order_window_ms(window_ms);
    }

    /// What becomes of the times at which counters started, where samples come with them. They are
    /// stored if nothing is said.
    pub fn set_start_times(&self, what: StartTimes) {
        self.head.set_start_times(what);
    }

    /// How many exemplars are kept in all from now on.
    pub fn set_exemplar_limit(&self, limit: usize) {
        self.metrics.max_exemplars.set(limit as i64);
        self.head.set_exemplar_limit(limit);
    }

    /// Time of the oldest sample.
    pub fn min_time_ms(&self) -> Option<i64> {
        let head = self.head.times_ms().map(|(oldest_ms, _)| oldest_ms);
        [head, self.blocks.min_ms()].into_iter().flatten().min()
    }

    /// Time of the newest sample.
    pub fn max_time_ms(&self) -> Option<i64> {
        let head = self.head.times_ms().map(|(_, newest_ms)| newest_ms);
        // The end of a block is the first time that is not in it.
        let blocks = self.blocks.max_ms().map(|end_ms| end_ms.saturating_sub(1));
        head.max(blocks)
    }

    /// Type, help and unit of metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(Arc<str>, Metadata)> {
        self.head.metadata()
    }

    /// The blocks.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Places in the log that could not be read at start.
    pub fn corruption_count(&self) -> u64 {
        self.metrics.wal_corruptions.get()
    }

    /// Syncs the log and releases the folder. Commits fail from now on; reading still works.
    pub fn close(&self) -> io::Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.sync_thread.stop();
        // A commit that is under way is waited for.
        let synced = self.log.log.close();
        // Upkeep that is under way sees that it is to end.
        drop(self.upkeep());
        synced.and(self.lock.release())
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn log_folder(&self) -> PathBuf {
        log_folder(&self.config.path)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store failed");
        }
    }
}

fn log_folder(data: &Path) -> PathBuf {
    data.join(log::FOLDER)
}

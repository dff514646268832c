//! Work on the store that an operator asks for.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use narthex_blocks::{Error, NewBlock, WriteOptions, steady, write_block};
use narthex_model::Matcher;
use narthex_storage::{StorageError, StoreAdmin};

use super::Db;
use super::upkeep::Upkeep;
use crate::disk::with_path;
use crate::log::files;
use crate::nowhere::Nowhere;
use crate::set_aside::time_stamp;

/// The folder of snapshots below the data folder, as in Prometheus.
const SNAPSHOTS_FOLDER: &str = "snapshots";

/// How long work that is asked for waits for upkeep, after how long that is told, and how often
/// it is looked at.
const UPKEEP_WAIT: Duration = Duration::from_secs(10 * 60);
const UPKEEP_WAIT_TOLD: Duration = Duration::from_secs(5);
const UPKEEP_POLL: Duration = Duration::from_millis(5);

/// Why the store could not be sealed. Nothing is lost: what is not in blocks is in the log.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Blocks(#[from] Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the head: {0}")]
    Head(String),
}

impl StoreAdmin for Db {
    fn delete_series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(), StorageError> {
        // A block that is written of the head meanwhile would have the samples still.
        let _upkeep = self.upkeep_for("the deletion")?;
        let deleted = self.head.delete(matcher_sets, start_ms, end_ms, &self.log);
        deleted.map_err(internal)?;
        let deleted = self.blocks.delete(matcher_sets, start_ms, end_ms);
        deleted.map_err(internal)?;
        self.sync().map_err(internal)
    }

    fn clean_tombstones(&self) -> Result<(), StorageError> {
        let _upkeep = self.upkeep_for("the cleaning")?;
        let cleaned = self.blocks.clean_tombstones(&|| self.pace());
        cleaned.map(|_| ()).map_err(internal)
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, StorageError> {
        let _upkeep = self.upkeep_for("the snapshot")?;
        let name = snapshot_name(SystemTime::now());
        let target = self.config.path.join(SNAPSHOTS_FOLDER).join(&name);
        fs::create_dir_all(&target).map_err(|e| internal(with_path(&e, &target)))?;
        self.blocks.snapshot(&target).map_err(internal)?;
        if !skip_head {
            self.head_block_in(&target).map_err(internal)?;
        }
        Ok(name)
    }

    fn block_metas(&self) -> Vec<String> {
        let loaded = self.blocks.loaded();
        let metas = loaded.iter().filter_map(|block| {
            let json = block.meta().to_json().ok()?;
            String::from_utf8(json).ok()
        });
        metas.collect()
    }
}

impl Db {
    /// Waits until nothing else changes the store at large, as Prometheus does, but not for ever.
    fn upkeep_for(&self, what: &str) -> Result<MutexGuard<'_, Upkeep>, StorageError> {
        self.upkeep_within(what, UPKEEP_WAIT)
    }

    pub(super) fn upkeep_within(
        &self,
        what: &str,
        wait: Duration,
    ) -> Result<MutexGuard<'_, Upkeep>, StorageError> {
        let start = Instant::now();
        let mut told = false;
        loop {
            match self.upkeep.try_lock() {
                Ok(upkeep) => return Ok(upkeep),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            let waited = start.elapsed();
            if self.is_closed() {
                return Err(internal("the store is being closed"));
            }
            if waited >= wait {
                return Err(internal(format!(
                    "{what} waited {} s for upkeep of the store that is under way, and nothing was \
                     done: try again later",
                    waited.as_secs()
                )));
            }
            if waited >= UPKEEP_WAIT_TOLD && !told {
                told = true;
                tracing::info!("{what} that was asked for waits for upkeep of the store to end");
            }
            std::thread::sleep(UPKEEP_POLL);
        }
    }

    /// Writes the whole head into blocks and removes log and head files, so that Prometheus can be
    /// started on the folder. The store takes no samples from the call on, and is closed then.
    pub fn seal(&self) -> Result<(), SealError> {
        let mut upkeep = self.upkeep();
        // A commit that is under way is waited for.
        self.log.log.refuse();
        if let Some((_, newest_ms)) = self.head.times_ms() {
            let end_ms = newest_ms.saturating_add(1);
            self.write_blocks_before(end_ms, end_ms)?;
            // Readers take everything from the blocks now.
            self.head_floor_ms.store(end_ms, Ordering::Release);
            let truncated = self.head.truncate(end_ms, &Nowhere);
            truncated.map_err(|error| SealError::Head(error.to_string()))?;
        }
        self.sync_thread.stop();
        let folder = self.log_folder();
        for number in files::list(&folder, &*self.disk)?.snapshots {
            self.disk.remove(&files::snapshot_path(&folder, number))?;
        }
        self.log.log.remove_all()?;
        self.chunks.remove_all()?;
        *upkeep = Default::default();
        drop(upkeep);
        self.close()?;
        tracing::info!(
            folder = %self.config.path.display(),
            "sealed: all samples are in blocks, and Prometheus can be started on the folder"
        );
        Ok(())
    }

    /// Writes what the head has as one block below a folder.
    fn head_block_in(&self, target: &Path) -> Result<(), Error> {
        let Some((oldest_ms, newest_ms)) = self.head.times_ms() else {
            return Ok(());
        };
        let new = NewBlock::first_level(oldest_ms, newest_ms.saturating_add(1), &[]);
        let series = self.head.series_sorted(oldest_ms, newest_ms);
        write_block(
            target,
            &new,
            series,
            &WriteOptions::default(),
            None,
            &steady,
        )?;
        Ok(())
    }
}

/// The time and 16 random digits.
fn snapshot_name(now: SystemTime) -> String {
    // The standard library's hasher is keyed by the system's random numbers.
    let random = RandomState::new().hash_one(now);
    format!("{}-{random:016x}", time_stamp(now))
}

fn internal(error: impl std::fmt::Display) -> StorageError {
    StorageError::Internal(error.to_string())
}

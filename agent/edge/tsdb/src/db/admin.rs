//! Work on the store that an operator asks for.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use narthex_blocks::{Error, NewBlock, WriteOptions, steady, write_block};
use narthex_model::Matcher;
use narthex_storage::{StorageError, StoreAdmin};

use super::Db;
use crate::disk::with_path;
use crate::log::files;
use crate::nowhere::Nowhere;
use crate::set_aside::time_stamp;

/// The folder of snapshots below the data folder, as in Prometheus.
const SNAPSHOTS_FOLDER: &str = "snapshots";

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
        let _upkeep = self.upkeep();
        let deleted = self.head.delete(matcher_sets, start_ms, end_ms, &self.log);
        deleted.map_err(internal)?;
        let deleted = self.blocks.delete(matcher_sets, start_ms, end_ms);
        deleted.map_err(internal)?;
        self.sync().map_err(internal)
    }

    fn clean_tombstones(&self) -> Result<(), StorageError> {
        let _upkeep = self.upkeep();
        let cleaned = self.blocks.clean_tombstones(&|| self.pace());
        cleaned.map(|_| ()).map_err(internal)
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, StorageError> {
        let _upkeep = self.upkeep();
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

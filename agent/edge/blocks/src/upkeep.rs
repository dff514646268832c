//! What changes the blocks of a data folder: writing, compaction, deletion, retention, snapshots.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use narthex_block_format::BlockMeta;
use narthex_model::Matcher;
use narthex_storage::{Series, StorageError};

use crate::compact::{Compacted, compact};
use crate::plan::{BlockFacts, Class, Plan, Reason, plan};
use crate::retention::{self, BlockSize, Expired, Limits, Usage};
use crate::write::{NewBlock, Pace, go_on, write_block};
use crate::{Block, Blocks, Error, Ulid, delete, folder};

impl Blocks {
    /// Writes a block, usually of the head, and takes it in. None if there are no samples.
    pub fn write(
        &self,
        new: &NewBlock,
        series: impl IntoIterator<Item = Result<Box<dyn Series>, StorageError>>,
        pace: Pace<'_>,
    ) -> Result<Option<BlockMeta>, Error> {
        let _changing = self.lock();
        let (data, options) = (&self.data, &self.options.write);
        let metrics = Some(&self.metrics);
        let written = self.timed(|| write_block(data, new, series, options, metrics, pace))?;
        if let Some(meta) = &written {
            self.exchange(&[], Some(meta.ulid))?;
        }
        Ok(written)
    }

    /// Compacts as long as there is something to compact. `ranges_ms` are the lengths that blocks
    /// are to have, see [`crate::plan::block_ranges_ms`].
    pub fn compact(&self, ranges_ms: &[i64], pace: Pace<'_>) -> Result<Vec<Compacted>, Error> {
        let mut done = Vec::new();
        while let Some(compacted) = self.compact_once(ranges_ms, pace)? {
            done.push(compacted);
        }
        Ok(done)
    }

    /// Carries out the next compaction that is due. None if none is.
    pub fn compact_once(
        &self,
        ranges_ms: &[i64],
        pace: Pace<'_>,
    ) -> Result<Option<Compacted>, Error> {
        let _changing = self.lock();
        let Some(plan) = self.plan(ranges_ms) else {
            return Ok(None);
        };
        go_on(pace)?;
        if plan.reason == Reason::Overlap {
            self.metrics.vertical_compactions.inc();
        }
        self.merge_blocks(&plan.blocks, pace).map(Some)
    }

    /// What would be compacted next.
    pub fn plan(&self, ranges_ms: &[i64]) -> Option<Plan> {
        let facts: Vec<BlockFacts> = self.loaded().iter().map(facts).collect();
        plan(&facts, ranges_ms, self.options.merge_overlaps)
    }

    /// Marks samples as deleted: those of the series that meet any of the sets, between two times,
    /// both inclusive. Readers no longer see them.
    pub fn delete(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(), Error> {
        let _changing = self.lock();
        for block in self.loaded().iter() {
            if block.overlaps(start_ms, end_ms) {
                delete::delete(block, matcher_sets, start_ms, end_ms)?;
            }
        }
        Ok(())
    }

    /// Writes each block anew from which something was deleted, without what was deleted. Gives how
    /// many.
    pub fn clean_tombstones(&self, pace: Pace<'_>) -> Result<usize, Error> {
        let _changing = self.lock();
        let timer = self.metrics.tombstone_cleanup_seconds.start_timer();
        let mut cleaned = 0;
        for block in self.loaded().iter() {
            if block.tombstones().is_empty() {
                continue;
            }
            go_on(pace)?;
            self.merge_blocks(&[block.ulid()], pace)?;
            cleaned += 1;
        }
        timer.observe_duration();
        Ok(cleaned)
    }

    /// The blocks that are to go; [`Blocks::remove_expired`] deletes them.
    pub fn expired(&self, limits: &Limits, usage: &Usage) -> Expired {
        let size = |block: &Arc<Block>| BlockSize {
            ulid: block.ulid(),
            max_ms: block.max_ms(),
            size_bytes: block.size_bytes(),
        };
        let sizes: Vec<BlockSize> = self.loaded().iter().map(size).collect();
        retention::expired(&sizes, limits, usage)
    }

    /// Deletes blocks. Who reads them goes on reading; the room is free once they are done.
    pub fn remove_expired(&self, expired: &Expired) -> Result<(), Error> {
        if !expired.by_time.is_empty() {
            self.metrics.time_retentions.inc();
        }
        if !expired.by_size.is_empty() {
            self.metrics.size_retentions.inc();
        }
        self.remove(&expired.all().collect::<Vec<Ulid>>())
    }

    /// Deletes blocks.
    pub fn remove(&self, ulids: &[Ulid]) -> Result<(), Error> {
        let _changing = self.lock();
        self.exchange(ulids, None)?;
        for ulid in ulids {
            if folder::block_path(&self.data, *ulid).exists() {
                folder::delete_block(&self.data, *ulid)?;
            }
        }
        Ok(())
    }

    /// Makes the same blocks in another folder, with links to the same files.
    pub fn snapshot(&self, target: &Path) -> Result<(), Error> {
        let _changing = self.lock();
        for block in self.loaded().iter() {
            snapshot_block(block, target)?;
        }
        folder::sync_folder(target)
    }

    /// Makes one block of some; the caller holds the folder.
    fn merge_blocks(&self, ulids: &[Ulid], pace: Pace<'_>) -> Result<Compacted, Error> {
        let loaded = self.loaded();
        let is_parent = |block: &&Arc<Block>| ulids.contains(&block.ulid());
        let parents: Vec<Arc<Block>> = loaded.iter().filter(is_parent).cloned().collect();
        let (data, options) = (&self.data, &self.options.write);
        let metrics = Some(&self.metrics);
        let compacted = self
            .timed(|| compact(data, &parents, options, metrics, pace))
            .inspect_err(|error| mark_failed(&parents, error))?;
        match &compacted.block {
            Some(meta) => self.exchange(&compacted.parents, Some(meta.ulid))?,
            None => {
                // After a crash they are not there again.
                for parent in &parents {
                    parent.change_meta(|meta| meta.compaction.deletable = true)?;
                }
                self.exchange(&compacted.parents, None)?;
            }
        }
        for parent in &parents {
            folder::retire_block(&self.data, parent.ulid(), parent.has_damage())?;
        }
        Ok(compacted)
    }

    /// Counts and times a compaction.
    fn timed<T>(&self, task: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.metrics.populating_block.set(1);
        let started = Instant::now();
        let result = task();
        self.metrics.populating_block.set(0);
        match &result {
            Ok(_) => {
                self.metrics.compactions.inc();
                let elapsed = started.elapsed().as_secs_f64();
                self.metrics.compaction_seconds.observe(elapsed);
            }
            Err(Error::Stopped) => {}
            Err(_) => self.metrics.compactions_failed.inc(),
        }
        result
    }
}

fn facts(block: &Arc<Block>) -> BlockFacts {
    let meta = block.meta();
    let has_hint = |hint: &str| meta.compaction.hints.iter().any(|known| known == hint);
    BlockFacts {
        ulid: block.ulid(),
        min_ms: block.min_ms(),
        max_ms: block.max_ms(),
        series: meta.stats.num_series,
        tombstones: meta.stats.num_tombstones,
        failed: meta.compaction.failed,
        class: match () {
            () if has_hint("from-stale-series") => Class::Stale,
            () if has_hint("from-selected-series") => Class::Selected,
            () => Class::Regular,
        },
    }
}

/// Notes that these blocks are not to be compacted again, unless it may work next time.
fn mark_failed(parents: &[Arc<Block>], error: &Error) {
    if error.is_passing() {
        return;
    }
    for parent in parents {
        if let Err(error) = parent.change_meta(|meta| meta.compaction.failed = true) {
            tracing::warn!(%error, "a failed compaction could not be noted");
        }
    }
}

fn snapshot_block(block: &Block, target: &Path) -> Result<(), Error> {
    let (from, to) = (block.path(), folder::block_path(target, block.ulid()));
    folder::create_folder(&to.join(folder::CHUNKS))?;
    for file in [folder::INDEX, folder::META, folder::TOMBSTONES] {
        if from.join(file).exists() {
            folder::hard_link(&from.join(file), &to.join(file))?;
        }
    }
    for number in 0..block.segments().len() as u32 {
        let segment = folder::segment_path(from, number);
        if segment.exists() {
            folder::hard_link(&segment, &folder::segment_path(&to, number))?;
        }
    }
    folder::sync_folder(&to)
}

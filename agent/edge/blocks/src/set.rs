//! The blocks of a data folder, all together.
//!
//! Keeps true: readers see each sample once, before, while and after blocks replace others: the
//! list they take is exchanged as a whole, and what they took stays readable when its folder is
//! gone. One task at a time changes the folder. A block that cannot be read concerns nobody else:
//! it is reported, left out and left where it is. Folders that are no blocks are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use narthex_block_format::{BlockMeta, ChunkRef};
use narthex_model::{Labels, Matcher};
use narthex_storage::{LabelQuery, Queryable, SelectQuery, Series, StorageError};

use crate::compact::{Compacted, compact};
use crate::plan::{BlockFacts, Class, Plan, Reason, plan};
use crate::retention::{self, BlockSize, Expired, Limits, Usage};
use crate::write::{NewBlock, Pace, go_on, write_block};
use crate::{Block, Error, Metrics, Ulid, WriteOptions, block, delete, folder, merge, repair};

/// How blocks are compacted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether blocks that overlap in time are merged.
    pub merge_overlaps: bool,
    pub write: WriteOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            merge_overlaps: true,
            write: WriteOptions::default(),
        }
    }
}

/// A block that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub ulid: Ulid,
    /// Names the file and what is wrong.
    pub error: String,
}

pub struct Blocks {
    data: PathBuf,
    options: Options,
    metrics: Metrics,
    loaded: RwLock<Loaded>,
    /// Held by the one who changes what is in the folder.
    changing: Mutex<()>,
    is_read_only: bool,
}

#[derive(Clone, Default)]
struct Loaded {
    /// Ascending in time.
    blocks: Arc<[Arc<Block>]>,
    unreadable: Arc<[Unreadable]>,
}

impl Blocks {
    /// Opens the blocks of a data folder, which nobody else may have open. Removes what
    /// interrupted tasks left and repairs what is known to be wrong in old blocks.
    pub fn open(data: &Path, options: Options, metrics: Metrics) -> Result<Self, Error> {
        folder::remove_leftovers(data)?;
        for (_, path) in folder::blocks(data)? {
            if let Err(error) = repair::repair(&path) {
                tracing::warn!(%error, "a block could not be repaired");
            }
        }
        Self::load(data, options, metrics, false)
    }

    /// Opens the blocks of a data folder that someone else may have open. Changes nothing.
    pub fn open_read_only(data: &Path, metrics: Metrics) -> Result<Self, Error> {
        Self::load(data, Options::default(), metrics, true)
    }

    fn load(
        data: &Path,
        options: Options,
        metrics: Metrics,
        is_read_only: bool,
    ) -> Result<Self, Error> {
        let blocks = Blocks {
            data: data.to_owned(),
            options,
            metrics,
            loaded: RwLock::default(),
            changing: Mutex::new(()),
            is_read_only,
        };
        blocks.reload()?;
        Ok(blocks)
    }

    /// The open blocks, ascending in time. What is taken stays readable.
    pub fn loaded(&self) -> Arc<[Arc<Block>]> {
        self.state().blocks
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The blocks that are left out.
    pub fn unreadable(&self) -> Arc<[Unreadable]> {
        self.state().unreadable
    }

    /// Room that the open blocks take on disk.
    pub fn size_bytes(&self) -> u64 {
        let loaded = self.loaded();
        let sizes = loaded.iter().map(|block| block.size_bytes());
        sizes.fold(0, u64::saturating_add)
    }

    /// The end of the newest block: its samples are older.
    pub fn max_ms(&self) -> Option<i64> {
        self.loaded().iter().map(|block| block.max_ms()).max()
    }

    /// The beginning of the oldest block.
    pub fn min_ms(&self) -> Option<i64> {
        self.loaded().first().map(|block| block.min_ms())
    }

    /// Looks through the folder: opens new blocks, forgets those that are gone, deletes those that
    /// another block replaces.
    pub fn reload(&self) -> Result<(), Error> {
        let _changing = self.lock();
        self.metrics.reloads.inc();
        let result = self.reload_locked();
        let unreadable = self.unreadable().len();
        if result.is_err() || unreadable > 0 {
            self.metrics.reloads_failed.inc();
        }
        result
    }

    fn reload_locked(&self) -> Result<(), Error> {
        let before: BTreeMap<Ulid, Arc<Block>> = self
            .loaded()
            .iter()
            .map(|block| (block.ulid(), block.clone()))
            .collect();
        let mut blocks = Vec::new();
        let mut unreadable = Vec::new();
        for (ulid, path) in folder::blocks(&self.data)? {
            match before
                .get(&ulid)
                .cloned()
                .map_or_else(|| self.open_block(ulid, &path), Ok)
            {
                Ok(block) => blocks.push(block),
                Err(error) => unreadable.push(Unreadable {
                    ulid,
                    error: error.to_string(),
                }),
            }
        }
        self.retire_replaced(&mut blocks, &mut unreadable)?;
        for left_out in &unreadable {
            if !self.unreadable().contains(left_out) {
                tracing::warn!(
                    error = left_out.error,
                    "a block cannot be read and is left out"
                );
            }
        }
        self.publish(blocks, Some(unreadable));
        Ok(())
    }

    fn open_block(&self, ulid: Ulid, path: &Path) -> Result<Arc<Block>, Error> {
        let damaged = self.metrics.damaged_chunks.clone();
        let block = Block::open_counting(path, Some(damaged))?;
        if block.ulid() != ulid {
            return Err(Error::block(path)(crate::Problem::OtherBlock(block.ulid())));
        }
        Ok(Arc::new(block))
    }

    /// Takes out the blocks that one of the others was made of, and those of which nothing is left.
    fn retire_replaced(
        &self,
        blocks: &mut Vec<Arc<Block>>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), Error> {
        let mut replaced = BTreeSet::new();
        for block in blocks.iter() {
            let meta = block.meta();
            let parents = meta.compaction.parents.iter().map(|parent| parent.ulid);
            replaced.extend(parents.filter(|parent| *parent != meta.ulid));
            if meta.compaction.deletable {
                replaced.insert(meta.ulid);
            }
        }
        let gone = |ulid: &Ulid| replaced.contains(ulid);
        let doomed: Vec<(Ulid, bool)> = blocks
            .iter()
            .map(|block| (block.ulid(), block.meta().compaction.failed))
            .chain(unreadable.iter().map(|left_out| (left_out.ulid, true)))
            .filter(|(ulid, _)| gone(ulid))
            .collect();
        blocks.retain(|block| !gone(&block.ulid()));
        unreadable.retain(|left_out| !gone(&left_out.ulid));
        if self.is_read_only {
            return Ok(());
        }
        for (ulid, is_damaged) in doomed {
            folder::retire_block(&self.data, ulid, is_damaged)?;
        }
        Ok(())
    }

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
        let facts: Vec<BlockFacts> = self.loaded().iter().map(|block| facts(block)).collect();
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

    /// Puts a block of the folder in the place of others, for readers at once.
    fn exchange(&self, out: &[Ulid], new: Option<Ulid>) -> Result<(), Error> {
        let mut blocks = self.loaded().to_vec();
        blocks.retain(|block| !out.contains(&block.ulid()));
        if let Some(ulid) = new {
            blocks.push(self.open_block(ulid, &folder::block_path(&self.data, ulid))?);
        }
        self.publish(blocks, None);
        Ok(())
    }

    fn publish(&self, mut blocks: Vec<Arc<Block>>, unreadable: Option<Vec<Unreadable>>) {
        blocks.sort_by_key(|block| (block.min_ms(), block.max_ms(), block.ulid()));
        let total = |of: fn(&Block) -> u64| {
            let sizes = blocks.iter().map(|block| of(block));
            i64::try_from(sizes.fold(0, u64::saturating_add)).unwrap_or(i64::MAX)
        };
        self.metrics.blocks_loaded.set(blocks.len() as i64);
        self.metrics.blocks_size_bytes.set(total(Block::size_bytes));
        self.metrics
            .symbols_size_bytes
            .set(total(Block::symbols_size_bytes));
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.blocks = blocks.into();
        if let Some(unreadable) = unreadable {
            self.metrics.blocks_unreadable.set(unreadable.len() as i64);
            loaded.unreadable = unreadable.into();
        }
    }

    fn state(&self) -> Loaded {
        let loaded = self.loaded.read();
        loaded.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks each block that overlaps a range. One whose index cannot be read is reported and left
    /// out.
    fn ask<T>(
        &self,
        range_ms: (i64, i64),
        mut ask: impl FnMut(&Arc<Block>) -> Result<T, Error>,
    ) -> Result<Vec<T>, StorageError> {
        let mut answers = Vec::new();
        for block in self.loaded().iter() {
            if !block.overlaps(range_ms.0, range_ms.1) {
                continue;
            }
            match ask(block) {
                Ok(answer) => answers.push(answer),
                Err(Error::Source(StorageError::Canceled)) => return Err(StorageError::Canceled),
                Err(error) => block.report_damage(None, ChunkRef::default(), &error),
            }
        }
        Ok(answers)
    }
}

impl Queryable for Blocks {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let range = (query.start_ms, query.end_ms);
        Ok(merge(self.ask(range, |block| block.select(query))?))
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let range = (query.start_ms, query.end_ms);
        Ok(united(self.ask(range, |block| block.label_names(query))?))
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let range = (query.start_ms, query.end_ms);
        Ok(united(
            self.ask(range, |block| block.label_values(name, query))?,
        ))
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        let range = (query.start_ms, query.end_ms);
        Ok(united(self.ask(range, |block| block.series(query))?))
    }
}

/// All of several sorted lists, each once, sorted.
fn united<T: Ord>(mut lists: Vec<Vec<T>>) -> Vec<T> {
    if lists.len() < 2 {
        return lists.pop().unwrap_or_default();
    }
    let all: BTreeSet<T> = lists.into_iter().flatten().collect();
    all.into_iter().collect()
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

/// The meta.json of each block of a folder, or what is wrong with it; opens no index.
pub fn list(data: &Path) -> Result<Vec<(Ulid, Result<BlockMeta, Error>)>, Error> {
    let blocks = folder::blocks(data)?.into_iter();
    Ok(blocks
        .map(|(ulid, path)| (ulid, block::read_meta(&path)))
        .collect())
}

//! The blocks of a data folder, all together.
//!
//! Keeps true: readers see each sample once, before, while and after blocks replace others: the
//! list they take is exchanged as a whole, and what they took stays readable when its folder is
//! gone. One task at a time changes the folder. A block that cannot be read concerns nobody else:
//! it is reported, left out and left where it is. Folders that are no blocks are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::texts::Texts;
use crate::{Block, Error, Metrics, Ulid, WriteOptions, folder, repair};

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
    pub(crate) data: PathBuf,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    loaded: RwLock<Loaded>,
    /// Of labels that were asked for; lent to one query at a time.
    pub(crate) texts: Mutex<Texts>,
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
            texts: Mutex::default(),
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

    /// Puts a block of the folder in the place of others, for readers at once.
    pub(crate) fn exchange(&self, out: &[Ulid], new: Option<Ulid>) -> Result<(), Error> {
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

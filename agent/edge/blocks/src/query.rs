//! Reading all blocks of a data folder together.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use narthex_block_format::ChunkRef;
use narthex_model::Labels;
use narthex_storage::{LabelQuery, Queryable, SelectQuery, Series, StorageError};

use crate::texts::Texts;
use crate::{Block, Blocks, Error, merge};

/// Texts of labels that are kept for the next query, at most.
const KEPT_TEXTS: usize = 100_000;

impl Blocks {
    /// Whether any block may have samples of the range, both ends of which are inclusive.
    pub fn overlap(&self, start_ms: i64, end_ms: i64) -> bool {
        let loaded = self.loaded();
        loaded.iter().any(|block| block.overlaps(start_ms, end_ms))
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Blocks {
    fn select_shown(
        &self,
        query: &SelectQuery<'_>,
        names: Option<&[Arc<str>]>,
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let range = (query.start_ms, query.end_ms);
        let texts = std::mem::take(&mut *self.texts()).shared();
        let lists = self.ask(range, |block| block.select_sharing(query, names, &texts));
        if texts.borrow().len() <= KEPT_TEXTS {
            *self.texts() = texts.take();
        }
        Ok(merge(lists?))
    }
}

impl Queryable for Blocks {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.select_shown(query, None)
    }

    /// Series of several blocks are told to be the same by all their labels.
    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let loaded = self.loaded();
        let overlapping = loaded
            .iter()
            .filter(|block| block.overlaps(query.start_ms, query.end_ms));
        let is_alone = overlapping.count() < 2;
        self.select_shown(query, is_alone.then_some(names))
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

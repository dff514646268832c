//! Reading from the store: what the head has, joined with what the blocks have.
//!
//! The head is asked first: what it gives away meanwhile is in a block that is asked then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use narthex_blocks::merge;
use narthex_model::{Labels, Matcher};
use narthex_storage::{
    ExemplarQueryable, LabelQuery, Queryable, SelectQuery, Series, SeriesExemplars, StorageError,
    StoreStatus, TsdbStats,
};

use super::Db;

impl Queryable for Db {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let of_head = SelectQuery {
            start_ms: self.head_start_ms(query.start_ms),
            ..query.clone()
        };
        let head = self.head.select(&of_head)?;
        let blocks = self.blocks.select(query)?;
        Ok(merge(vec![blocks, head]))
    }

    /// Where head and blocks both have series, these are told to be the same by all their labels.
    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let of_head = SelectQuery {
            start_ms: self.head_start_ms(query.start_ms),
            ..query.clone()
        };
        let (start_ms, end_ms) = (query.start_ms, query.end_ms);
        let in_head = |(first_ms, last_ms)| first_ms <= end_ms && start_ms <= last_ms;
        let in_both =
            self.head.times_ms().is_some_and(in_head) && self.blocks.overlap(start_ms, end_ms);
        if !in_both {
            let head = self.head.select_labels(&of_head, names)?;
            if head.is_empty() {
                return self.blocks.select_labels(query, names);
            }
            // What left the head meanwhile is in a block that is there now.
            if !self.blocks.overlap(start_ms, end_ms) {
                return Ok(head);
            }
        }
        self.select(query)
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let head = self.head.label_names(&self.of_head(query))?;
        Ok(united(head, self.blocks.label_names(query)?))
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let head = self.head.label_values(name, &self.of_head(query))?;
        Ok(united(head, self.blocks.label_values(name, query)?))
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        let head = self.head.series(&self.of_head(query))?;
        Ok(united(head, self.blocks.series(query)?))
    }
}

impl ExemplarQueryable for Db {
    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<SeriesExemplars>, StorageError> {
        self.head.exemplars(matcher_sets, start_ms, end_ms)
    }
}

impl StoreStatus for Db {
    fn stats(&self, limit: usize) -> TsdbStats {
        self.head.cardinality(limit)
    }
}

impl Db {
    /// What is older than this is not taken from the head.
    fn head_start_ms(&self, start_ms: i64) -> i64 {
        start_ms.max(self.head_floor_ms.load(Ordering::Acquire))
    }

    fn of_head<'a>(&self, query: &LabelQuery<'a>) -> LabelQuery<'a> {
        LabelQuery {
            start_ms: self.head_start_ms(query.start_ms),
            ..query.clone()
        }
    }
}

/// Both sorted lists in one, each entry once.
fn united<T: Ord>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    if b.is_empty() {
        return a;
    }
    if a.is_empty() {
        return b;
    }
    let all: BTreeSet<T> = a.into_iter().chain(b).collect();
    all.into_iter().collect()
}

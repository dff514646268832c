//! What a store tells of itself, and what may be done to it by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use narthex_model::Matcher;

use crate::StorageError;

/// For `/api/v1/status/tsdb`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TsdbStats {
    pub head: HeadStats,
    pub series_count_by_metric_name: Vec<CardinalityStat>,
    pub label_value_count_by_label_name: Vec<CardinalityStat>,
    pub memory_bytes_by_label_name: Vec<CardinalityStat>,
    pub series_count_by_label_pair: Vec<CardinalityStat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    pub series: u64,
    pub label_pairs: u64,
    pub chunks: u64,
    /// `i64::MAX` while the head is empty.
    pub min_time_ms: i64,
    /// `i64::MIN` while the head is empty.
    pub max_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardinalityStat {
    pub name: String,
    pub value: u64,
}

pub trait StoreStatus: Send + Sync {
    /// The `limit` largest entries of each list, largest first.
    fn stats(&self, limit: usize) -> TsdbStats;
}

/// Work on the store that an operator asks for. Each call blocks until it is done.
pub trait StoreAdmin: Send + Sync {
    /// Deletes the samples of the range from the series that meet any of the matcher sets. Both ends
    /// are inclusive.
    fn delete_series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(), StorageError>;

    /// Gives back the room of what was deleted.
    fn clean_tombstones(&self) -> Result<(), StorageError>;

    /// Writes everything, or all but the newest samples, into a folder of its own; gives its name.
    fn snapshot(&self, skip_head: bool) -> Result<String, StorageError>;

    /// The `meta.json` of each block, oldest first.
    fn block_metas(&self) -> Vec<String>;
}

/// How far the start has come with the log, in segments: set by the store, read by whoever waits.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    first: AtomicU64,
    last: AtomicU64,
    current: AtomicU64,
}

impl ReplayProgress {
    /// Numbers of the first and the last segment that are to be read.
    pub fn begin(&self, first: u64, last: u64) {
        self.first.store(first, Ordering::Relaxed);
        self.current.store(first, Ordering::Relaxed);
        self.last.store(last, Ordering::Relaxed);
    }

    pub fn advance(&self, current: u64) {
        self.current.store(current, Ordering::Relaxed);
    }

    /// First, last and current segment.
    pub fn get(&self) -> (u64, u64, u64) {
        let value = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (value(&self.first), value(&self.last), value(&self.current))
    }
}

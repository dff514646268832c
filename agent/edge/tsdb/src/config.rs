//! How the store is set up, and why it cannot be opened.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::log::SEGMENT_BYTES;

/// The range of the smallest blocks where nothing else is said, as in Prometheus.
const BLOCK_RANGE_MS: i64 = 2 * 3_600_000;
/// Below this the head would do little else than write blocks.
const BLOCK_RANGE_MS_MIN: i64 = 60_000;

/// How the store is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The data folder; it is created if need be.
    pub path: PathBuf,
    /// Blocks whose newest sample is this much older than the newest block's go. 0 keeps all.
    pub retention_ms: u64,
    /// The oldest blocks go when all takes more than this. 0 keeps all.
    pub retention_bytes: u64,
    /// The oldest blocks go when all takes more than this share of the disk. 0 keeps all.
    pub retention_percent: f64,
    /// The range of the smallest blocks. Existing blocks of other ranges are no problem.
    pub block_range_ms: i64,
    /// The longest block that compaction makes; a tenth of the retention time if it is not said.
    /// Where it is the smallest range, blocks are left as they are, as shippers want it.
    pub longest_block_ms: Option<i64>,
    /// How far behind the newest sample late ones are taken. 0 takes none.
    pub out_of_order_window_ms: i64,
    /// Exemplars that are kept in all.
    pub exemplar_limit: usize,
    /// Size at which a new file of the log is begun. The head is written as a snapshot when the log
    /// behind the former one has grown by that much, or by half of that snapshot.
    pub wal_segment_bytes: u64,
    /// How often the log is synced: what power loss may cost. A kill costs nothing.
    pub sync_interval: Duration,
}

impl Config {
    /// The usual settings: 15 days, no late samples, 100,000 exemplars, a sync each second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Config {
            path: path.into(),
            retention_ms: 15 * 24 * 3_600_000,
            retention_bytes: 0,
            retention_percent: 0.0,
            block_range_ms: BLOCK_RANGE_MS,
            longest_block_ms: None,
            out_of_order_window_ms: 0,
            exemplar_limit: 100_000,
            wal_segment_bytes: SEGMENT_BYTES,
            sync_interval: Duration::from_secs(1),
        }
    }
}

impl Config {
    pub(crate) fn range_ms(&self) -> i64 {
        self.block_range_ms.max(BLOCK_RANGE_MS_MIN)
    }
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data folder {folder} cannot be used: {reason}", folder = folder.display())]
    Folder { folder: PathBuf, reason: io::Error },
    #[error(
        "the data folder {folder} is in use by another process{process}: stop it, or choose another \
         folder", folder = folder.display(), process = in_parentheses(*pid)
    )]
    Locked { folder: PathBuf, pid: Option<u32> },
    #[error(
        "{file}: written by a newer version (format {found}, this one reads up to {supported}): \
         start the version that wrote it, or move the file away", file = file.display()
    )]
    NewerFormat {
        file: PathBuf,
        found: u32,
        supported: u32,
    },
    #[error("the log cannot be opened: {0}")]
    Log(io::Error),
    #[error("the blocks cannot be opened: {0}")]
    Blocks(#[from] narthex_blocks::Error),
    #[error("the store's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn in_parentheses(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

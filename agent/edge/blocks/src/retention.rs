//! Which blocks are to go, by age and by the room that is taken.
//!
//! As Prometheus: a block goes once the newest data is younger than its own by the retention time
//! or more; where there is too much, the oldest blocks go. Decides only; deleting is another step.

use crate::Ulid;

/// What may be kept. None of a kind: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    pub time_ms: Option<i64>,
    pub size_bytes: Option<u64>,
    /// Of the disk that holds the data folder, 0 to 100. The stricter of this and `size_bytes` counts.
    pub disk_percent: Option<f64>,
}

/// What is taken beside the blocks, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Head chunks, snapshots and the log.
    pub other_bytes: u64,
    /// The whole disk; see [`disk_size_bytes`].
    pub disk_bytes: u64,
}

/// What retention looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    pub ulid: Ulid,
    /// Exclusive.
    pub max_ms: i64,
    pub size_bytes: u64,
}

/// The blocks that are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub by_time: Vec<Ulid>,
    /// Without those of `by_time`.
    pub by_size: Vec<Ulid>,
}

impl Expired {
    pub fn all(&self) -> impl Iterator<Item = Ulid> {
        self.by_time.iter().chain(&self.by_size).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty() && self.by_size.is_empty()
    }
}

/// Which of the blocks are to go.
pub fn expired(blocks: &[BlockSize], limits: &Limits, usage: &Usage) -> Expired {
    let mut blocks = blocks.to_vec();
    blocks.sort_by_key(|block| (std::cmp::Reverse(block.max_ms), block.ulid));
    let young = within_time(&blocks, limits.time_ms);
    let (young, too_old) = blocks.split_at(young);
    let fits = within_size(young, limit_bytes(limits, usage), usage.other_bytes);
    let (_, too_much) = young.split_at(fits);
    let ulids = |blocks: &[BlockSize]| blocks.iter().map(|block| block.ulid).collect();
    Expired {
        by_time: ulids(too_old),
        by_size: ulids(too_much),
    }
}

/// Size of the disk that holds `folder`.
pub fn disk_size_bytes(folder: &std::path::Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// How many of the blocks, newest first, are young enough.
fn within_time(blocks: &[BlockSize], time_ms: Option<i64>) -> usize {
    let (Some(newest), Some(time_ms)) = (blocks.first(), time_ms.filter(|time_ms| *time_ms > 0))
    else {
        return blocks.len();
    };
    let young = |block: &BlockSize| newest.max_ms.saturating_sub(block.max_ms) < time_ms;
    blocks.iter().take_while(|block| young(block)).count()
}

/// How many of the blocks, newest first, have room.
fn within_size(blocks: &[BlockSize], limit_bytes: Option<u64>, other_bytes: u64) -> usize {
    let Some(limit_bytes) = limit_bytes else {
        return blocks.len();
    };
    let mut total_bytes = other_bytes;
    let fits = |block: &&BlockSize| {
        total_bytes = total_bytes.saturating_add(block.size_bytes);
        total_bytes <= limit_bytes
    };
    blocks.iter().take_while(fits).count()
}

fn limit_bytes(limits: &Limits, usage: &Usage) -> Option<u64> {
    let share = limits
        .disk_percent
        .filter(|percent| *percent > 0.0 && usage.disk_bytes > 0)
        .map(|percent| (usage.disk_bytes as f64 * percent / 100.0) as u64);
    let size = limits.size_bytes.filter(|size| *size > 0);
    match (share, size) {
        (Some(share), Some(size)) => Some(share.min(size)),
        (share, size) => share.or(size),
    }
}

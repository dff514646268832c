//! Which blocks to compact next, decided from what their meta.json says.
//!
//! As Prometheus decides: blocks that overlap first; then the smallest range that is complete, or
//! past; then blocks of which much was deleted. The newest block is left alone, so that it can be
//! copied as it is for a while. Blocks of stale or selected series are never mixed with others.
//!
//! Knows no files.

use crate::Ulid;

/// Each range is this many times as long as the one before.
const RANGE_FACTOR: i64 = 3;
/// Ranges that are looked at, at most.
const RANGES_MAX: usize = 10;
/// Share of a block's series with a deletion above which it is written anew.
const DELETED_SHARE: f64 = 0.05;
/// The longest block there is.
const BLOCK_MAX_MS: i64 = 31 * 24 * 3600 * 1000;

/// Lengths of blocks, ascending: `min_ms` and its multiples up to `max_ms`.
pub fn block_ranges_ms(min_ms: i64, max_ms: i64) -> Vec<i64> {
    let mut ranges = vec![min_ms];
    let mut range_ms = min_ms;
    while ranges.len() < RANGES_MAX {
        match range_ms.checked_mul(RANGE_FACTOR) {
            Some(next_ms) if next_ms <= max_ms => range_ms = next_ms,
            _ => break,
        }
        ranges.push(range_ms);
    }
    ranges
}

/// How long a block may become: a tenth of the retention time, so that not much more than that is
/// kept, 31 days at most, `min_ms` at least.
pub fn max_block_ms(min_ms: i64, retention_ms: Option<i64>) -> i64 {
    let tenth = retention_ms
        .filter(|retention_ms| *retention_ms > 0)
        .map_or(BLOCK_MAX_MS, |retention_ms| retention_ms / 10);
    tenth.min(BLOCK_MAX_MS).max(min_ms)
}

/// What planning looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    pub ulid: Ulid,
    pub min_ms: i64,
    /// Exclusive.
    pub max_ms: i64,
    pub series: u64,
    pub tombstones: u64,
    /// A compaction of it failed before.
    pub failed: bool,
    pub class: Class,
}

/// Blocks of different classes are never put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    #[default]
    Regular,
    Stale,
    Selected,
}

/// Why these blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Overlap,
    Level,
    Deletions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub reason: Reason,
    /// Ascending in time.
    pub blocks: Vec<Ulid>,
}

/// The next compaction, if one is due. `overlaps` tells whether blocks that overlap are merged.
pub fn plan(blocks: &[BlockFacts], ranges_ms: &[i64], overlaps: bool) -> Option<Plan> {
    let mut blocks: Vec<&BlockFacts> = blocks.iter().collect();
    blocks.sort_by_key(|block| (block.class, block.min_ms, block.max_ms, block.ulid));
    blocks
        .chunk_by(|a, b| a.class == b.class)
        .find_map(|class| plan_class(class, ranges_ms, overlaps))
}

fn plan_class(blocks: &[&BlockFacts], ranges_ms: &[i64], overlaps: bool) -> Option<Plan> {
    if let Some(group) = overlaps.then(|| overlapping(blocks)).flatten() {
        return Some(planned(Reason::Overlap, group));
    }
    let (_, older) = blocks.split_last()?;
    if let Some(group) = level(older, ranges_ms) {
        return Some(planned(Reason::Level, group));
    }
    deleted_from(older, ranges_ms).map(|block| planned(Reason::Deletions, &[block]))
}

fn planned(reason: Reason, blocks: &[&BlockFacts]) -> Plan {
    Plan {
        reason,
        blocks: blocks.iter().map(|block| block.ulid).collect(),
    }
}

/// The first run of blocks of which each overlaps with one before it. One that failed before is
/// left alone, and so are those that overlap with it.
fn overlapping<'a, 'b>(blocks: &'a [&'b BlockFacts]) -> Option<&'a [&'b BlockFacts]> {
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let mut end_ms = first.max_ms;
        let mut count = 1;
        for block in rest.iter().skip(1) {
            if block.min_ms >= end_ms {
                break;
            }
            end_ms = end_ms.max(block.max_ms);
            count += 1;
        }
        let (run, after) = rest.split_at_checked(count)?;
        if run.len() > 1 && run.iter().all(|block| !block.failed) {
            return Some(run);
        }
        rest = after;
    }
    None
}

/// The first group of several blocks that fills one of the longer ranges, or one that is past.
fn level<'a, 'b>(blocks: &'a [&'b BlockFacts], ranges_ms: &[i64]) -> Option<&'a [&'b BlockFacts]> {
    let newest_ms = blocks.last()?.min_ms;
    let longer = ranges_ms.iter().skip(1);
    longer
        .flat_map(|range_ms| {
            groups(blocks, *range_ms)
                .into_iter()
                .map(move |group| (*range_ms, group))
        })
        .filter(|(_, group)| group.len() > 1 && group.iter().all(|block| !block.failed))
        .find(|(range_ms, group)| {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                return false;
            };
            last.max_ms.saturating_sub(first.min_ms) == *range_ms || last.max_ms <= newest_ms
        })
        .map(|(_, group)| group)
}

/// The blocks by the aligned range in which they lie; those that lie in none are left out.
fn groups<'a, 'b>(blocks: &'a [&'b BlockFacts], range_ms: i64) -> Vec<&'a [&'b BlockFacts]> {
    if range_ms <= 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let start_ms = first.min_ms.div_euclid(range_ms).saturating_mul(range_ms);
        let end_ms = start_ms.saturating_add(range_ms);
        let inside = rest
            .iter()
            .take_while(|block| block.max_ms <= end_ms)
            .count();
        let Some((group, after)) = rest.split_at_checked(inside.max(1)) else {
            break;
        };
        if inside > 0 {
            found.push(group);
        }
        rest = after;
    }
    found
}

/// The newest block that is worth writing anew for what was deleted from it. Short blocks will be
/// merged soon anyway, unless nothing is left of them.
fn deleted_from<'a>(blocks: &[&'a BlockFacts], ranges_ms: &[i64]) -> Option<&'a BlockFacts> {
    let long_ms = ranges_ms.get(ranges_ms.len() / 2).copied().unwrap_or(0);
    for block in blocks.iter().rev().filter(|block| !block.failed) {
        if block.max_ms.saturating_sub(block.min_ms) < long_ms {
            let all = block.tombstones > 0 && block.tombstones >= block.series;
            return all.then_some(*block);
        }
        if block.tombstones as f64 / (block.series as f64 + 1.0) > DELETED_SHARE {
            return Some(block);
        }
    }
    None
}

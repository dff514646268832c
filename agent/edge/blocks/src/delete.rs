//! Deleting samples: they are marked, and no longer there for readers; the bytes go when the block
//! is compacted or cleaned.

use narthex_block_format::{ChunkRef, Interval, SeriesEntry};
use narthex_model::Matcher;

use crate::{Block, Error};

/// Marks the samples of matching series between two times, both inclusive.
pub(crate) fn delete(
    block: &Block,
    matcher_sets: &[Vec<Matcher>],
    start_ms: i64,
    end_ms: i64,
) -> Result<(), Error> {
    let index = block.index();
    let mut entry = SeriesEntry::default();
    let mut marked: Vec<(u32, Interval)> = Vec::new();
    for series in block.matching_any(matcher_sets)? {
        if let Err(error) = index.series(series, &mut entry) {
            // Readers do not see it either.
            let error = Error::block(&block.index_path())(error);
            block.report_damage(Some(series), ChunkRef::default(), &error);
            continue;
        }
        marked.extend(span(&entry, start_ms, end_ms).map(|span| (series, span)));
    }
    if marked.is_empty() {
        return Ok(());
    }
    block.change_tombstones(|tombstones| {
        for (series, span) in marked {
            tombstones.add(series, span);
        }
    })
}

/// What to mark of a series, no more than it has; none if no chunk of it is in the range.
fn span(entry: &SeriesEntry, start_ms: i64, end_ms: i64) -> Option<Interval> {
    let hit = |chunk: &&narthex_block_format::ChunkMeta| {
        chunk.min_ms <= end_ms && start_ms <= chunk.max_ms
    };
    entry.chunks.iter().find(hit)?;
    let first_ms = entry.chunks.iter().map(|chunk| chunk.min_ms).min()?;
    let last_ms = entry.chunks.iter().map(|chunk| chunk.max_ms).max()?;
    Some(Interval {
        min_ms: start_ms.max(first_ms),
        max_ms: end_ms.min(last_ms),
    })
}

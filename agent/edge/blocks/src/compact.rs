//! Making one block of several, or of one what is left of it.
//!
//! Keeps true: parents go only once the new block is there, whole and with its parents' names in
//! its meta.json; whoever finds both, deletes the parents ([`crate::Blocks`] does when it opens a
//! folder). A parent of which something could not be read is set aside instead of deleted.

use std::path::Path;
use std::sync::Arc;

use narthex_block_format::{BlockMeta, ChunkMeta, Compaction, ParentBlock};
use narthex_chunk::{Encoding, sample_count};
use narthex_storage::{Column, Series};

use crate::merge::{self, Grouped, Labelled};
use crate::series::{BlockSeries, Buffers};
use crate::texts::Texts;
use crate::write::{BlockWriter, NewBlock, Pace, go_on, write_with};
use crate::{Block, Error, Metrics, Ulid, WriteOptions, new_ulid};

/// What became of a compaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compacted {
    /// None if nothing was left.
    pub block: Option<BlockMeta>,
    pub parents: Vec<Ulid>,
}

/// Writes one block of all samples of others, deletions applied. The parents stay.
pub fn compact(
    data: &Path,
    parents: &[Arc<Block>],
    options: &WriteOptions,
    metrics: Option<&Metrics>,
    pace: Pace<'_>,
) -> Result<Compacted, Error> {
    let new = merged_block(parents);
    let texts = Texts::default().shared();
    let mut streams = Vec::with_capacity(parents.len());
    for parent in parents {
        streams.push(parent.stream((i64::MIN, i64::MAX), &texts)?);
    }
    let block = write_with(data, &new, options, metrics, |writer| {
        let mut buffers = Buffers::default();
        for parts in Grouped::new(streams) {
            go_on(pace)?;
            add_series(writer, parts?, &mut buffers)?;
        }
        mark_damaged(parents)
    })?;
    Ok(Compacted {
        block,
        parents: parents.iter().map(|parent| parent.ulid()).collect(),
    })
}

/// Notes in the meta.json of parents of which not all could be read that they must not be deleted,
/// before there is a block that replaces them.
fn mark_damaged(parents: &[Arc<Block>]) -> Result<(), Error> {
    for parent in parents.iter().filter(|parent| parent.has_damage()) {
        parent.change_meta(|meta| meta.compaction.failed = true)?;
    }
    Ok(())
}

/// What the meta.json of a block made of others says.
fn merged_block(parents: &[Arc<Block>]) -> NewBlock {
    let metas: Vec<Arc<BlockMeta>> = parents.iter().map(|parent| parent.meta()).collect();
    let level = metas.iter().map(|meta| meta.compaction.level).max();
    let all_sources = metas
        .iter()
        .flat_map(|meta| meta.compaction.sources.clone());
    let mut sources: Vec<Ulid> = all_sources.collect();
    sources.sort_unstable();
    sources.dedup();
    // A hint holds only if it holds for all.
    let hints = metas.first().map(|meta| meta.compaction.hints.clone());
    let hints = hints
        .filter(|hints| metas.iter().all(|meta| meta.compaction.hints == *hints))
        .unwrap_or_default();
    NewBlock {
        ulid: new_ulid(),
        min_ms: parents
            .iter()
            .map(|parent| parent.min_ms())
            .min()
            .unwrap_or(0),
        max_ms: parents
            .iter()
            .map(|parent| parent.max_ms())
            .max()
            .unwrap_or(0),
        compaction: Compaction {
            level: level.unwrap_or(0).saturating_add(1),
            sources,
            parents: metas.iter().map(|meta| parent(meta)).collect(),
            hints,
            ..Compaction::default()
        },
    }
}

fn parent(meta: &BlockMeta) -> ParentBlock {
    ParentBlock {
        ulid: meta.ulid,
        min_time_ms: meta.min_time_ms,
        max_time_ms: meta.max_time_ms,
    }
}

/// Adds one series of parts, each of one block.
fn add_series(
    writer: &mut BlockWriter,
    parts: Vec<BlockSeries>,
    buffers: &mut Buffers,
) -> Result<(), Error> {
    let Some(labels) = parts.first().map(|part| part.label_set().clone()) else {
        return Ok(());
    };
    for mut cluster in merge::clusters(parts, BlockSeries::time_range_ms) {
        match (cluster.pop(), cluster.is_empty()) {
            (Some(only), true) => add_part(writer, &only, buffers)?,
            (Some(last), false) => {
                cluster.push(last);
                let boxed = |part| Box::new(part) as Box<dyn Series>;
                let merged = merge::join(cluster.into_iter().map(boxed).collect());
                writer.take(merged.as_ref())?;
            }
            (None, _) => {}
        }
    }
    writer.end_series(&labels)
}

/// Adds samples that overlap with no other part's: chunks that would not get better are copied.
fn add_part(
    writer: &mut BlockWriter,
    part: &BlockSeries,
    buffers: &mut Buffers,
) -> Result<(), Error> {
    let mut continues = true;
    for chunk in part.chunks() {
        if part.wants_all_of(chunk) && copy_chunk(writer, part, chunk)? {
            continues = true;
            continue;
        }
        let mut failure = None;
        let mut push = |column: Column<'_>, starts_ms: &[i64]| {
            if failure.is_none() {
                failure = writer.chunks.push(column, starts_ms).err();
            }
        };
        part.visit_chunk(chunk, &mut continues, buffers, true, &mut push);
        failure.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Copies a chunk byte for byte if it is long enough; tells whether it did.
fn copy_chunk(
    writer: &mut BlockWriter,
    part: &BlockSeries,
    meta: &ChunkMeta,
) -> Result<bool, Error> {
    let Ok(chunk) = part.block().chunk(meta.chunk_ref) else {
        return Ok(false);
    };
    let Ok(encoding) = Encoding::from_code(chunk.encoding) else {
        return Ok(false);
    };
    let Ok(samples) = sample_count(encoding, chunk.data) else {
        return Ok(false);
    };
    let options = writer.chunks.options();
    let is_long = match encoding {
        Encoding::Xor => {
            !writer.chunks.is_pending()
                && (samples >= options.chunk_samples / 2 + options.chunk_samples / 4
                    || chunk.data.len() >= options.chunk_bytes / 2)
        }
        // What they are made of is costly to take apart.
        Encoding::Histogram | Encoding::FloatHistogram => true,
        // Only new versions of Prometheus read these: they stay only where there are starts.
        Encoding::Xor2 | Encoding::HistogramStart | Encoding::FloatHistogramStart => false,
    };
    let is_copied = is_long && writer.chunks.has_place_for(meta);
    if is_copied {
        writer
            .chunks
            .copy(&chunk, meta, samples, encoding.is_floats())?;
    }
    Ok(is_copied)
}

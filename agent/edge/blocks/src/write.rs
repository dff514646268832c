//! Writing a block from series that come sorted by labels.
//!
//! One series is in memory at a time, and the strings of all labels. The block is made in a folder
//! of its own and gets its name when all of it is on disk: it is there whole or not at all.

use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use narthex_block_format::{BlockMeta, BlockStats, Compaction, IndexWriter, Tombstones};
use narthex_model::Labels;
use narthex_storage::{Series, StorageError};
use serde_json::Map;

use crate::chunks::{ChunkMaker, WriteOptions, Written};
use crate::metrics::Metrics;
use crate::segments::{self, Segments};
use crate::spool::{Spool, SpoolReader, Spooled};
use crate::{Error, Ulid, block, folder, new_ulid};

/// Asked between two series of a long task: it may wait, so that others have the machine, and it
/// ends the task with `Break`.
pub type Pace<'a> = &'a dyn Fn() -> ControlFlow<()>;

/// The pace of what nothing hurries and nothing stops.
pub fn steady() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a new block is to be.
#[derive(Clone, Debug)]
pub struct NewBlock {
    pub ulid: Ulid,
    pub min_ms: i64,
    /// Exclusive.
    pub max_ms: i64,
    pub compaction: Compaction,
}

impl NewBlock {
    /// A block that is made of no other block. `hints` say where its samples are from, as
    /// `from-out-of-order`.
    pub fn first_level(min_ms: i64, max_ms: i64, hints: &[&str]) -> Self {
        let ulid = new_ulid();
        NewBlock {
            ulid,
            min_ms,
            max_ms,
            compaction: Compaction {
                level: 1,
                sources: vec![ulid],
                hints: hints.iter().map(|&hint| hint.to_owned()).collect(),
                ..Compaction::default()
            },
        }
    }
}

/// Writes a block below `data`; none if there are no samples in its range.
pub fn write_block(
    data: &Path,
    new: &NewBlock,
    series: impl IntoIterator<Item = Result<Box<dyn Series>, StorageError>>,
    options: &WriteOptions,
    metrics: Option<&Metrics>,
    pace: Pace<'_>,
) -> Result<Option<BlockMeta>, Error> {
    write_with(data, new, options, metrics, |writer| {
        for series in series {
            go_on(pace)?;
            writer.add(series?.as_ref())?;
        }
        Ok(())
    })
}

/// Writes a block with what `fill` adds; leaves nothing behind if that fails.
pub(crate) fn write_with(
    data: &Path,
    new: &NewBlock,
    options: &WriteOptions,
    metrics: Option<&Metrics>,
    fill: impl FnOnce(&mut BlockWriter) -> Result<(), Error>,
) -> Result<Option<BlockMeta>, Error> {
    let path = folder::creation_path(data, new.ulid);
    let written = BlockWriter::create(&path, new, options, metrics).and_then(|mut writer| {
        fill(&mut writer)?;
        writer.finish(new)
    });
    let published = written.and_then(|meta| match meta {
        Some(meta) => publish(data, &path, new.ulid).map(|()| Some(meta)),
        None => Ok(None),
    });
    if !matches!(published, Ok(Some(_))) && path.exists() {
        // What cannot be removed now is removed at the next start.
        if let Err(error) = folder::remove_folder(&path) {
            tracing::warn!(%error, "an unfinished block could not be removed");
        }
    }
    published
}

/// Gives a block that is whole its name.
fn publish(data: &Path, path: &Path, ulid: Ulid) -> Result<(), Error> {
    folder::rename(path, &folder::block_path(data, ulid))?;
    folder::sync_folder(data).inspect_err(|_| {
        // It is written again, and must not be there twice then.
        if let Err(error) = folder::delete_block(data, ulid) {
            tracing::warn!(%error, "a block that may not last could not be removed");
        }
    })
}

pub(crate) fn go_on(pace: Pace<'_>) -> Result<(), Error> {
    match pace() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

pub(crate) struct BlockWriter {
    path: PathBuf,
    pub(crate) chunks: ChunkMaker,
    spool: Spool,
}

impl BlockWriter {
    fn create(
        path: &Path,
        new: &NewBlock,
        options: &WriteOptions,
        metrics: Option<&Metrics>,
    ) -> Result<Self, Error> {
        if path.exists() {
            folder::remove_folder(path)?;
        }
        folder::create_folder(path)?;
        // Chunks of chunks say nothing of what is scraped.
        let metrics = metrics.filter(|_| new.compaction.level <= 1).cloned();
        let range_ms = (new.min_ms, new.max_ms);
        let segments = Segments::create(path, options.segment_bytes)?;
        Ok(BlockWriter {
            path: path.to_owned(),
            chunks: ChunkMaker::new(segments, range_ms, *options, metrics),
            spool: Spool::create(path)?,
        })
    }

    pub(crate) fn add(&mut self, series: &dyn Series) -> Result<(), Error> {
        self.take(series)?;
        self.end_series(series.labels())
    }

    /// Takes the samples of a series, or of a part of it.
    pub(crate) fn take(&mut self, series: &dyn Series) -> Result<(), Error> {
        let mut failure = None;
        series.visit_with_starts(&mut |column, starts_ms| {
            if failure.is_none() {
                failure = self.chunks.push(column, starts_ms).err();
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// The samples taken so far were of these labels.
    pub(crate) fn end_series(&mut self, labels: &Labels) -> Result<(), Error> {
        let chunks = self.chunks.end_series()?;
        if chunks.is_empty() {
            return Ok(());
        }
        self.spool.push(labels, &chunks)
    }

    fn finish(self, new: &NewBlock) -> Result<Option<BlockMeta>, Error> {
        let series = self.spool.series();
        let written = self.chunks.finish()?;
        if series == 0 {
            return Ok(None);
        }
        let (symbols, mut spool) = self.spool.finish()?;
        write_index(&self.path.join(folder::INDEX), &symbols, &mut spool)?;
        spool.remove()?;
        let tombstones = Tombstones::default().to_bytes();
        folder::write_new(&self.path.join(folder::TOMBSTONES), &tombstones)?;
        let meta = meta(new, series, written);
        // It makes the names of all these files stay, too.
        block::write_meta(&self.path, &meta)?;
        Ok(Some(meta))
    }
}

fn meta(new: &NewBlock, series: u64, written: Written) -> BlockMeta {
    BlockMeta {
        ulid: new.ulid,
        min_time_ms: new.min_ms,
        max_time_ms: new.max_ms,
        stats: BlockStats {
            num_samples: written.floats + written.histograms,
            num_float_samples: written.floats,
            num_histogram_samples: written.histograms,
            num_series: series,
            num_chunks: written.chunks,
            ..BlockStats::default()
        },
        compaction: new.compaction.clone(),
        version: 1,
        other: Map::new(),
    }
}

fn write_index(
    path: &Path,
    symbols: &[std::sync::Arc<str>],
    spool: &mut SpoolReader,
) -> Result<(), Error> {
    let file = BufWriter::with_capacity(256 << 10, folder::create(path)?);
    let mut index = IndexWriter::new(file, symbols).map_err(Error::write(path))?;
    let mut series = Spooled::default();
    while spool.read(&mut series)? {
        index
            .add_series(&series.labels, &series.chunks)
            .map_err(Error::write(path))?;
    }
    let (file, _) = index.finish().map_err(Error::write(path))?;
    segments::sync(file, path)
}

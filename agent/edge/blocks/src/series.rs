//! One series of a block: its samples, chunk by chunk.

use std::cell::Cell;
use std::sync::Arc;

use narthex_block_format::{ChunkMeta, Interval};
use narthex_chunk::{
    ChunkError, Encoding, decode_floats_until, decode_floats_with_starts, decode_histograms,
    decode_histograms_with_starts,
};
use narthex_model::{Histogram, Labels};
use narthex_storage::{Column, Series, StorageError};

use crate::merge::{Labelled, without_hint};
use crate::{Block, Error, folder};

/// A series of a block, or a part of it. Its chunks do not overlap.
pub(crate) struct BlockSeries {
    pub(crate) block: Arc<Block>,
    pub(crate) labels: Labels,
    pub(crate) chunks: Chunks,
    /// Both inclusive.
    pub(crate) range_ms: (i64, i64),
    /// Ascending; none if nothing of the series is deleted.
    pub(crate) deleted: Option<Box<[Interval]>>,
}

/// Most queries need one chunk of a series, for which nothing is allocated.
pub(crate) enum Chunks {
    One(ChunkMeta),
    Several(Box<[ChunkMeta]>),
}

impl From<&[ChunkMeta]> for Chunks {
    fn from(chunks: &[ChunkMeta]) -> Self {
        match chunks {
            [chunk] => Chunks::One(*chunk),
            chunks => Chunks::Several(chunks.into()),
        }
    }
}

impl Labelled for BlockSeries {
    fn label_set(&self) -> &Labels {
        &self.labels
    }
}

impl Series for BlockSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.visit_chunks(false, &mut |column, _| visit(column));
        Ok(())
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.visit_chunks(true, visit);
        Ok(())
    }

    /// Of floats the last chunk has the newest; a histogram tells of the one before it, too.
    fn visit_newest(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let mut found = false;
        if let Some(last) = self.chunks().last() {
            let mut buffers = BUFFERS.take();
            self.visit_chunk(last, &mut true, &mut buffers, false, &mut |column, _| {
                if let Column::Floats { .. } = column {
                    found = true;
                    visit(column);
                }
            });
            buffers.clear();
            BUFFERS.set(buffers);
        }
        if found { Ok(()) } else { self.visit(visit) }
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        let first_ms = self.chunks().first()?.min_ms.max(self.range_ms.0);
        Some((first_ms, self.chunks().last()?.max_ms.min(self.range_ms.1)))
    }
}

impl BlockSeries {
    pub(crate) fn block(&self) -> &Arc<Block> {
        &self.block
    }

    pub(crate) fn chunks(&self) -> &[ChunkMeta] {
        match &self.chunks {
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Several(chunks) => chunks,
        }
    }

    /// Whether all samples of a chunk are wanted, as far as is known without reading it.
    pub(crate) fn wants_all_of(&self, chunk: &ChunkMeta) -> bool {
        let inside = self.range_ms.0 <= chunk.min_ms && chunk.max_ms <= self.range_ms.1;
        let is_hit = |gap: &Interval| gap.min_ms <= chunk.max_ms && chunk.min_ms <= gap.max_ms;
        inside && !self.deleted.iter().flatten().any(is_hit)
    }

    fn visit_chunks(&self, with_starts: bool, visit: &mut dyn FnMut(Column<'_>, &[i64])) {
        let mut buffers = BUFFERS.take();
        let mut continues = true;
        for chunk in self.chunks() {
            self.visit_chunk(chunk, &mut continues, &mut buffers, with_starts, visit);
        }
        buffers.clear();
        BUFFERS.set(buffers);
    }

    /// Visits the wanted samples of one chunk. One that cannot be read is reported and passed over.
    /// `continues` tells whether the sample visited last is the one before the chunk's first.
    pub(crate) fn visit_chunk(
        &self,
        chunk: &ChunkMeta,
        continues: &mut bool,
        buffers: &mut Buffers,
        with_starts: bool,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) {
        if self.is_deleted(chunk) {
            *continues = false;
            return;
        }
        if let Err(error) = self.decode(chunk, buffers, with_starts) {
            self.block.report_damage(None, chunk.chunk_ref, &error);
            *continues = false;
            return;
        }
        if self.wants_all_of(chunk) {
            buffers.visit(0..buffers.times_ms.len(), *continues, visit);
            *continues = true;
            return;
        }
        let mut seen = 0;
        for wanted in self.wanted_spans() {
            let times = &buffers.times_ms;
            let start = times.partition_point(|time_ms| *time_ms < wanted.min_ms);
            let end = times.partition_point(|time_ms| *time_ms <= wanted.max_ms);
            if start < end {
                buffers.visit(start..end, *continues && start == seen, visit);
                *continues = true;
                seen = end;
            }
        }
        *continues &= seen == buffers.times_ms.len();
    }

    fn decode(
        &self,
        chunk: &ChunkMeta,
        buffers: &mut Buffers,
        with_starts: bool,
    ) -> Result<(), Error> {
        let raw = self.block.chunk(chunk.chunk_ref)?;
        let decoded = buffers.decode(raw.encoding, raw.data, self.range_ms.1, with_starts);
        decoded.map_err(|problem| {
            let path = folder::segment_path(self.block.path(), chunk.chunk_ref.segment());
            Error::block(&path)(problem)
        })
    }

    fn is_deleted(&self, chunk: &ChunkMeta) -> bool {
        let covers = |gap: &Interval| gap.min_ms <= chunk.min_ms && chunk.max_ms <= gap.max_ms;
        self.deleted.iter().flatten().any(covers)
    }

    /// The range without what is deleted, ascending.
    fn wanted_spans(&self) -> impl Iterator<Item = Interval> {
        let (start_ms, end_ms) = self.range_ms;
        let gaps = self.deleted.iter().flatten().copied();
        // A last gap without end closes the last span.
        let end = Interval {
            min_ms: end_ms.saturating_add(1),
            max_ms: i64::MAX,
        };
        let mut from = Some(start_ms);
        gaps.chain([end]).filter_map(move |gap| {
            let first_ms = from?;
            let max_ms = if gap.min_ms > end_ms {
                end_ms
            } else {
                gap.min_ms.checked_sub(1)?
            };
            from = gap.max_ms.checked_add(1).map(|next| next.max(first_ms));
            (first_ms <= max_ms).then_some(Interval {
                min_ms: first_ms,
                max_ms,
            })
        })
    }
}

thread_local! {
    /// Taken by the one who reads; a visit within a visit gets new ones.
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers::new()) };
}

/// Columns of one chunk, used again for the next one.
#[derive(Default)]
pub(crate) struct Buffers {
    times_ms: Vec<i64>,
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
    /// Empty if no start is known, or none is asked for.
    starts_ms: Vec<i64>,
}

impl Buffers {
    const fn new() -> Self {
        Buffers {
            times_ms: Vec::new(),
            floats: Vec::new(),
            histograms: Vec::new(),
            starts_ms: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.times_ms.clear();
        self.floats.clear();
        self.histograms.clear();
        self.starts_ms.clear();
    }

    /// All samples up to a time, and maybe later ones.
    fn decode(
        &mut self,
        code: u8,
        data: &[u8],
        until_ms: i64,
        with_starts: bool,
    ) -> Result<(), ChunkError> {
        self.clear();
        let encoding = Encoding::from_code(code)?;
        let times = &mut self.times_ms;
        let has_starts = with_starts && encoding.has_starts();
        match (encoding.is_floats(), has_starts) {
            (true, false) => decode_floats_until(encoding, data, until_ms, times, &mut self.floats),
            (false, false) => decode_histograms(encoding, data, times, &mut self.histograms),
            (true, true) => {
                let (values, starts) = (&mut self.floats, &mut self.starts_ms);
                decode_floats_with_starts(encoding, data, times, values, starts)
            }
            (false, true) => {
                let (values, starts) = (&mut self.histograms, &mut self.starts_ms);
                decode_histograms_with_starts(encoding, data, times, values, starts)
            }
        }
    }

    /// `continues`: the first sample's predecessor is the one that it was written after.
    fn visit(
        &mut self,
        range: std::ops::Range<usize>,
        continues: bool,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) {
        if range.is_empty() {
            return;
        }
        let starts_ms = self.starts_ms.get(range.clone()).unwrap_or_default();
        let timestamps_ms = self.times_ms.get(range.clone()).unwrap_or_default();
        if let Some(values) = self
            .floats
            .get(range.clone())
            .filter(|floats| !floats.is_empty())
        {
            let column = Column::Floats {
                timestamps_ms,
                values,
            };
            return visit(column, starts_ms);
        }
        if let Some(values) = self.histograms.get_mut(range) {
            if let (false, Some(first)) = (continues, values.first_mut()) {
                *first = without_hint(first);
            }
            let column = Column::Histograms {
                timestamps_ms,
                values,
            };
            visit(column, starts_ms);
        }
    }
}

//! Cuts samples into chunks and writes them.
//!
//! Floats are collected and cut into chunks of about 480 samples (a 2 h block at 15 s has one chunk
//! a series), less where they compress badly: long chunks take less room and are read faster as a
//! whole, while short ones are read faster in part. Chunks that are long enough already are copied
//! as they are. Where counters' starts are known, chunks have Prometheus's encodings with start
//! timestamps, and a start that stays for a while has chunks of its own, as it costs nothing there.
//!
//! Keeps true: the chunks of a series ascend and do not overlap; samples outside the block's range,
//! and those not newer than the one before, are left out.

use std::sync::Arc;

use narthex_block_format::{Chunk, ChunkMeta};
use narthex_chunk::{
    ChunkError, ChunkLimits, EncodedChunk, Encoding, XorEncoder, encode_histograms,
    encode_histograms_with_starts, encode_xor2,
};
use narthex_model::Histogram;
use narthex_storage::Column;

use crate::metrics::Metrics;
use crate::segments::Segments;
use crate::{Error, Problem};

/// How blocks are written.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Floats of a chunk, roughly.
    pub chunk_samples: usize,
    /// A chunk of more floats than one gets no larger.
    pub chunk_bytes: usize,
    /// No chunk segment gets larger.
    pub segment_bytes: u64,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions {
            chunk_samples: 480,
            chunk_bytes: 2048,
            segment_bytes: narthex_block_format::segment::MAX_SEGMENT_BYTES,
        }
    }
}

/// Samples with one start that are worth a chunk of their own.
const ONE_START_SAMPLES: usize = 30;

/// Histograms that are collected before they are written, at most.
const HISTOGRAMS_MAX: usize = 480;

/// What was written so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) floats: u64,
    pub(crate) histograms: u64,
    pub(crate) chunks: u64,
}

pub(crate) struct ChunkMaker {
    options: WriteOptions,
    segments: Segments,
    /// The second is exclusive.
    range_ms: (i64, i64),
    metrics: Option<Metrics>,
    /// Samples that are not written yet, of one kind.
    times_ms: Vec<i64>,
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
    /// When the counters of the first so many samples started, 0 if that is not known.
    starts_ms: Vec<i64>,
    /// Time of the newest sample of the series.
    last_ms: Option<i64>,
    made: Vec<ChunkMeta>,
    encoder: XorEncoder,
    bytes: Vec<u8>,
    written: Written,
}

impl ChunkMaker {
    pub(crate) fn new(
        segments: Segments,
        range_ms: (i64, i64),
        options: WriteOptions,
        metrics: Option<Metrics>,
    ) -> Self {
        ChunkMaker {
            options: WriteOptions {
                chunk_samples: options
                    .chunk_samples
                    .clamp(1, narthex_chunk::MAX_SAMPLES / 2),
                ..options
            },
            segments,
            range_ms,
            metrics,
            times_ms: Vec::new(),
            floats: Vec::new(),
            histograms: Vec::new(),
            starts_ms: Vec::new(),
            last_ms: None,
            made: Vec::new(),
            encoder: XorEncoder::default(),
            bytes: Vec::new(),
            written: Written::default(),
        }
    }

    /// Takes samples of the series, with the starts of their counters if any is known.
    pub(crate) fn push(&mut self, column: Column<'_>, starts_ms: &[i64]) -> Result<(), Error> {
        let (Column::Floats { timestamps_ms, .. } | Column::Histograms { timestamps_ms, .. }) =
            column;
        let inside = self.inside(timestamps_ms);
        let rises = timestamps_ms.is_sorted_by(|a, b| a < b);
        let follows = timestamps_ms
            .get(inside.start)
            .is_none_or(|first| self.last_ms.is_none_or(|last| last < *first));
        if rises && follows {
            return self.push_run(column, starts_ms, inside);
        }
        for at in 0..timestamps_ms.len() {
            let wanted = timestamps_ms.get(at).is_some_and(|time_ms| {
                let newer = self.last_ms.is_none_or(|last| last < *time_ms);
                newer && self.range_ms.0 <= *time_ms && *time_ms < self.range_ms.1
            });
            if wanted {
                self.push_run(column, starts_ms, at..at + 1)?;
            }
        }
        Ok(())
    }

    /// Takes a whole chunk of another block as it is, if [`ChunkMaker::has_place_for`] it.
    pub(crate) fn copy(
        &mut self,
        chunk: &Chunk<'_>,
        meta: &ChunkMeta,
        samples: usize,
        is_floats: bool,
    ) -> Result<(), Error> {
        self.flush_all()?;
        let chunk_ref = self.segments.copy(chunk)?;
        self.note(ChunkMeta { chunk_ref, ..*meta }, samples, chunk.data.len());
        self.count(samples, is_floats);
        self.last_ms = Some(meta.max_ms);
        Ok(())
    }

    /// Whether a chunk may be copied: it must come after all samples so far and lie in the range.
    pub(crate) fn has_place_for(&self, meta: &ChunkMeta) -> bool {
        let follows = self.last_ms.is_none_or(|last_ms| last_ms < meta.min_ms);
        follows && self.range_ms.0 <= meta.min_ms && meta.max_ms < self.range_ms.1
    }

    /// Whether samples wait to be put into a chunk with those that come.
    pub(crate) fn is_pending(&self) -> bool {
        !self.times_ms.is_empty()
    }

    pub(crate) fn options(&self) -> &WriteOptions {
        &self.options
    }

    /// The chunks of the series whose samples were taken; the next samples are another's.
    pub(crate) fn end_series(&mut self) -> Result<Vec<ChunkMeta>, Error> {
        self.flush_all()?;
        self.last_ms = None;
        Ok(std::mem::take(&mut self.made))
    }

    /// Makes sure that all is on disk.
    pub(crate) fn finish(self) -> Result<Written, Error> {
        self.segments.finish()?;
        Ok(self.written)
    }

    /// The part of ascending times that is in the block's range.
    fn inside(&self, times_ms: &[i64]) -> std::ops::Range<usize> {
        let start = times_ms.partition_point(|time_ms| *time_ms < self.range_ms.0);
        let end = times_ms.partition_point(|time_ms| *time_ms < self.range_ms.1);
        start..end.max(start)
    }

    fn push_run(
        &mut self,
        column: Column<'_>,
        starts_ms: &[i64],
        run: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        let starts_ms = starts_ms.get(run.clone()).unwrap_or_default();
        match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => {
                let times = timestamps_ms.get(run.clone()).unwrap_or_default();
                self.push_floats(times, values.get(run).unwrap_or_default(), starts_ms)
            }
            Column::Histograms {
                timestamps_ms,
                values,
            } => {
                let times = timestamps_ms.get(run.clone()).unwrap_or_default();
                self.push_histograms(times, values.get(run).unwrap_or_default(), starts_ms)
            }
        }
    }

    fn push_floats(
        &mut self,
        times_ms: &[i64],
        values: &[f64],
        starts_ms: &[i64],
    ) -> Result<(), Error> {
        if !self.histograms.is_empty() {
            self.flush_histograms()?;
        }
        self.push_starts(starts_ms);
        self.times_ms.extend_from_slice(times_ms);
        self.floats.extend_from_slice(values);
        self.last_ms = times_ms.last().copied().or(self.last_ms);
        // What is left must be worth a chunk of its own.
        let most = self.options.chunk_samples + self.most_samples();
        while self.floats.len() >= most {
            self.cut_floats(self.options.chunk_samples)?;
        }
        Ok(())
    }

    fn push_histograms(
        &mut self,
        times_ms: &[i64],
        values: &[Arc<Histogram>],
        starts_ms: &[i64],
    ) -> Result<(), Error> {
        if !self.floats.is_empty() {
            self.flush_floats()?;
        }
        self.last_ms = times_ms.last().copied().or(self.last_ms);
        let mut starts = starts_ms.chunks(HISTOGRAMS_MAX);
        for (times_ms, values) in times_ms
            .chunks(HISTOGRAMS_MAX)
            .zip(values.chunks(HISTOGRAMS_MAX))
        {
            if self.histograms.len() + values.len() > HISTOGRAMS_MAX {
                self.flush_histograms()?;
            }
            self.push_starts(starts.next().unwrap_or_default());
            self.times_ms.extend_from_slice(times_ms);
            self.histograms.extend_from_slice(values);
        }
        Ok(())
    }

    /// Takes the starts of samples that are about to be taken.
    fn push_starts(&mut self, starts_ms: &[i64]) {
        if starts_ms.iter().any(|start_ms| *start_ms != 0) {
            self.starts_ms.resize(self.times_ms.len(), 0);
            self.starts_ms.extend_from_slice(starts_ms);
        }
    }

    /// A few more than wanted are better than a short chunk behind.
    fn most_samples(&self) -> usize {
        self.options.chunk_samples + self.options.chunk_samples / 4
    }

    fn flush_all(&mut self) -> Result<(), Error> {
        if self.histograms.is_empty() {
            self.flush_floats()
        } else {
            self.flush_histograms()
        }
    }

    /// Writes the floats that wait as chunks of about the same length.
    fn flush_floats(&mut self) -> Result<(), Error> {
        while !self.floats.is_empty() {
            let chunks = self.floats.len().div_ceil(self.most_samples().max(1));
            self.cut_floats(self.floats.len().div_ceil(chunks))?;
        }
        Ok(())
    }

    /// Writes a chunk of the first `count` floats that wait, or of fewer if it gets too large.
    fn cut_floats(&mut self, mut count: usize) -> Result<(), Error> {
        let mut encoding;
        loop {
            count = count
                .clamp(1, narthex_chunk::MAX_SAMPLES)
                .min(self.floats.len());
            count = self.samples_of_one_start(count);
            encoding = self.encode_floats(count)?;
            let limit = self.options.chunk_bytes;
            if self.bytes.len() <= limit || count < 2 {
                break;
            }
            // As many chunks of one size as there must be.
            count = count.div_ceil(self.bytes.len().div_ceil(limit.max(1)).max(2));
        }
        let (Some(min_ms), Some(max_ms)) = (
            self.times_ms.first().copied(),
            self.times_ms.get(count.saturating_sub(1)).copied(),
        ) else {
            return Ok(());
        };
        let chunk_ref = self.segments.write(encoding.code(), &self.bytes)?;
        let meta = ChunkMeta {
            min_ms,
            max_ms,
            chunk_ref,
        };
        self.note(meta, count, self.bytes.len());
        self.count(count, true);
        self.times_ms.drain(..count);
        self.floats.drain(..count);
        self.starts_ms.drain(..count.min(self.starts_ms.len()));
        Ok(())
    }

    /// Encodes the first `count` floats that wait.
    fn encode_floats(&mut self, count: usize) -> Result<Encoding, Error> {
        self.bytes.clear();
        let times = self.times_ms.get(..count).unwrap_or_default();
        let values = self.floats.get(..count).unwrap_or_default();
        if self
            .starts_ms
            .iter()
            .take(count)
            .all(|start_ms| *start_ms == 0)
        {
            let encoded = self.encoder.encode(times, values, &mut self.bytes);
            encoded.map_err(not_encoded)?;
            return Ok(Encoding::Xor);
        }
        let missing = count.saturating_sub(self.starts_ms.len());
        self.starts_ms.resize(self.starts_ms.len() + missing, 0);
        let encoded = encode_xor2(times, values, &self.starts_ms, &mut self.bytes);
        encoded.map_err(not_encoded)?;
        Ok(Encoding::Xor2)
    }

    /// As many of the first `count` floats as have one start, if those are many, or all.
    fn samples_of_one_start(&self, count: usize) -> usize {
        let starts = self.starts_ms.get(..count.min(self.starts_ms.len()));
        let starts = starts.unwrap_or_default();
        let Some(first) = starts.first() else {
            return count;
        };
        // Behind those that are noted, none is known.
        let same = starts.iter().take_while(|start_ms| *start_ms == first);
        match same.count() {
            same if same >= ONE_START_SAMPLES => same,
            _ => count,
        }
    }

    fn flush_histograms(&mut self) -> Result<(), Error> {
        let times_ms = std::mem::take(&mut self.times_ms);
        let values = std::mem::take(&mut self.histograms);
        let mut starts_ms = std::mem::take(&mut self.starts_ms);
        starts_ms.resize(times_ms.len(), 0);
        let limits = ChunkLimits {
            samples: u16::try_from(self.options.chunk_samples).unwrap_or(u16::MAX),
            // Histograms are decoded together anyway, and each chunk repeats their layout.
            bytes: self.options.chunk_bytes.saturating_mul(2),
        };
        for chunk in encoded(&times_ms, &values, &starts_ms, limits)? {
            let chunk_ref = self.segments.write(chunk.encoding.code(), &chunk.bytes)?;
            let meta = ChunkMeta {
                min_ms: chunk.start_ms,
                max_ms: chunk.end_ms,
                chunk_ref,
            };
            let samples = usize::from(chunk.samples);
            self.note(meta, samples, chunk.bytes.len());
            self.count(samples, false);
        }
        // Their memory is used again.
        self.times_ms = times_ms;
        self.times_ms.clear();
        self.histograms = values;
        self.histograms.clear();
        self.starts_ms = starts_ms;
        self.starts_ms.clear();
        Ok(())
    }

    fn note(&mut self, meta: ChunkMeta, samples: usize, size_bytes: usize) {
        if let Some(metrics) = &self.metrics {
            let range_ms = meta.max_ms.saturating_sub(meta.min_ms);
            metrics
                .chunk_range_seconds
                .observe(range_ms as f64 / 1000.0);
            metrics.chunk_samples.observe(samples as f64);
            metrics.chunk_size_bytes.observe(size_bytes as f64);
        }
        self.made.push(meta);
    }

    fn count(&mut self, samples: usize, is_floats: bool) {
        self.written.chunks += 1;
        match is_floats {
            true => self.written.floats += samples as u64,
            false => self.written.histograms += samples as u64,
        }
    }
}

/// Encodes histograms. One that contradicts itself costs no more than itself.
fn encoded(
    times_ms: &[i64],
    values: &[Arc<Histogram>],
    starts_ms: &[i64],
    limits: ChunkLimits,
) -> Result<Vec<EncodedChunk>, Error> {
    let error = match encode_histograms_with_starts(times_ms, values, starts_ms, limits) {
        Ok(chunks) => return Ok(chunks),
        Err(error) => error,
    };
    let (mut times, mut starts, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for ((time_ms, start_ms), histogram) in times_ms.iter().zip(starts_ms).zip(values) {
        let one = std::slice::from_ref(histogram);
        if encode_histograms(std::slice::from_ref(time_ms), one, limits).is_ok() {
            times.push(*time_ms);
            starts.push(*start_ms);
            good.push(histogram.clone());
        }
    }
    let lost = values.len() - good.len();
    tracing::warn!(%error, lost, "histograms that contradict themselves are left out of a block");
    encode_histograms_with_starts(&times, &good, &starts, limits).map_err(not_encoded)
}

fn not_encoded(error: ChunkError) -> Error {
    Error::Block {
        path: "chunk".into(),
        problem: Problem::Chunk(error),
    }
}

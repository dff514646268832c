//! One series of the head: its labels, its chunks, and what may be appended to it.
//!
//! Keeps true: samples rise strictly in time; every sealed chunk is older than the open one. What
//! was last appended is remembered even when its chunk is gone.

use std::sync::atomic::{AtomicU32, Ordering};

use narthex_model::Labels;
use narthex_storage::AppendError;

use crate::chunk::{ChunkError, OpenChunk, SealedChunk};

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It lies in the open chunk.
    Added { chunk_begun: bool },
    /// The series has this very sample already.
    Known,
}

#[derive(Debug)]
pub(crate) struct MemSeries {
    pub(crate) labels: Labels,
    /// The name of the series in the log; 0 while its definition is not in the log.
    pub(crate) log_id: u64,
    /// Samples in batches that are neither committed nor dropped; such a series is not removed.
    waiting: AtomicU32,
    last: Option<(i64, u64)>,
    sealed: Vec<SealedChunk>,
    open: OpenChunk,
}

impl MemSeries {
    pub(crate) fn new(labels: Labels) -> Self {
        MemSeries {
            labels,
            log_id: 0,
            waiting: AtomicU32::new(0),
            last: None,
            sealed: Vec::new(),
            open: OpenChunk::default(),
        }
    }

    /// Whether the sample can be appended to what is there now.
    pub(crate) fn check(&self, timestamp_ms: i64, value: f64) -> Result<Fit, AppendError> {
        match self.last {
            Some((last_ms, _)) if timestamp_ms < last_ms => Err(AppendError::OutOfOrder),
            Some((last_ms, bits)) if timestamp_ms == last_ms => {
                if bits == value.to_bits() {
                    Ok(Fit::Known)
                } else {
                    Err(AppendError::DuplicateTimestamp)
                }
            }
            _ => Ok(Fit::Later),
        }
    }

    pub(crate) fn append(
        &mut self,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<Appended, AppendError> {
        if self.check(timestamp_ms, value)? == Fit::Known {
            return Ok(Appended::Known);
        }
        if self.open.must_cut_before(timestamp_ms) {
            self.sealed.push(self.open.seal());
        }
        let chunk_begun = self.open.is_empty();
        self.open.push(timestamp_ms, value);
        self.last = Some((timestamp_ms, value.to_bits()));
        Ok(Appended::Added { chunk_begun })
    }

    /// Adds a whole chunk from its bytes; gives the number of chunks added, 0 if the series has
    /// samples as late already.
    pub(crate) fn append_chunk(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        let chunk = OpenChunk::reopen(bytes)?;
        if self
            .last
            .is_some_and(|(last_ms, _)| chunk.start_ms() <= last_ms)
        {
            return Ok(0);
        }
        if !self.open.is_empty() {
            self.sealed.push(self.open.snapshot());
        }
        self.last = Some(chunk.last());
        self.open = chunk;
        Ok(1)
    }

    pub(crate) fn first_ms(&self) -> Option<i64> {
        match self.sealed.first() {
            Some(chunk) => Some(chunk.start_ms),
            None => (!self.open.is_empty()).then(|| self.open.start_ms()),
        }
    }

    /// Times of the first and the last sample of the open chunk, which must not be empty.
    pub(crate) fn open_times_ms(&self) -> (i64, i64) {
        (self.open.start_ms(), self.open.end_ms())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_empty()
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.sealed.len() + usize::from(!self.open.is_empty())
    }

    /// Whether a chunk reaches into the range.
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        if self.open.overlaps(start_ms, end_ms) {
            return true;
        }
        let from = self.sealed.partition_point(|chunk| chunk.end_ms < start_ms);
        self.sealed
            .get(from)
            .is_some_and(|chunk| chunk.overlaps(start_ms, end_ms))
    }

    /// The chunks that reach into the range, oldest first.
    pub(crate) fn chunks_in(&self, start_ms: i64, end_ms: i64) -> Vec<SealedChunk> {
        let from = self.sealed.partition_point(|chunk| chunk.end_ms < start_ms);
        let later = self.sealed.get(from..).unwrap_or_default();
        let count = later.partition_point(|chunk| chunk.start_ms <= end_ms);
        let open = self.open.overlaps(start_ms, end_ms);
        let mut chunks = Vec::with_capacity(count + usize::from(open));
        chunks.extend_from_slice(&later[..count]);
        if open {
            chunks.push(self.open.snapshot());
        }
        chunks
    }

    /// Drops the chunks that end before the limit.
    pub(crate) fn drop_before(&mut self, limit_ms: i64) -> Dropped {
        let mut dropped = Dropped::default();
        let old = self.sealed.partition_point(|chunk| chunk.end_ms < limit_ms);
        for chunk in self.sealed.drain(..old) {
            dropped.add(chunk.bytes.len());
        }
        if !self.open.is_empty() && self.open.end_ms() < limit_ms {
            dropped.add(self.open.seal().bytes.len());
        }
        dropped
    }

    /// One more batch holds a sample for this series.
    pub(crate) fn hold(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn release(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// How a sample that may be appended fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Later,
    /// It is the last sample, to the bit.
    Known,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) chunks: usize,
    pub(crate) size_bytes: usize,
}

impl Dropped {
    fn add(&mut self, size_bytes: usize) {
        self.chunks += 1;
        self.size_bytes += size_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(times: impl IntoIterator<Item = i64>) -> MemSeries {
        let mut series = MemSeries::new(Labels::from_pairs([("a", "b")]));
        for time in times {
            series.append(time, 1.0).unwrap();
        }
        series
    }

    #[test]
    fn what_may_be_appended() {
        let mut series = series([10, 20]);
        let nan = f64::from_bits(0x7ff8_0000_0000_0001);
        for (timestamp_ms, value, expected) in [
            (5, 1.0, Err(AppendError::OutOfOrder)),
            (20, 2.0, Err(AppendError::DuplicateTimestamp)),
            (20, 1.0, Ok(Appended::Known)),
            (30, nan, Ok(Appended::Added { chunk_begun: false })),
            (30, nan, Ok(Appended::Known)),
            (
                30,
                f64::from_bits(0x7ff8_0000_0000_0002),
                Err(AppendError::DuplicateTimestamp),
            ),
            (40, 0.0, Ok(Appended::Added { chunk_begun: false })),
            (40, -0.0, Err(AppendError::DuplicateTimestamp)),
            (i64::MAX, 0.0, Ok(Appended::Added { chunk_begun: true })),
        ] {
            assert_eq!(
                series.append(timestamp_ms, value),
                expected,
                "{timestamp_ms} {value}"
            );
        }
    }

    #[test]
    fn chunks_of_a_range() {
        // Three chunks: 0..=119, 120..=239, 240..=250.
        let series = series(0..=250);
        for (start_ms, end_ms, expected) in [
            (0, 250, 3),
            (i64::MIN, i64::MAX, 3),
            (119, 119, 1),
            (119, 120, 2),
            (120, 239, 1),
            (240, 240, 1),
            (251, 900, 0),
            (-9, -1, 0),
        ] {
            assert_eq!(
                series.chunks_in(start_ms, end_ms).len(),
                expected,
                "{start_ms} {end_ms}"
            );
            assert_eq!(
                series.overlaps(start_ms, end_ms),
                expected > 0,
                "{start_ms} {end_ms}"
            );
        }
    }

    #[test]
    fn old_chunks_go_and_the_last_sample_is_remembered() {
        let mut series = series(0..=250);
        assert_eq!(series.drop_before(119).chunks, 0);
        assert_eq!(series.drop_before(121).chunks, 1);
        assert_eq!(series.first_ms(), Some(120));
        assert_eq!(series.drop_before(251).chunks, 2);
        assert!(series.is_empty());
        assert_eq!(
            series.append(250, 2.0),
            Err(AppendError::DuplicateTimestamp)
        );
    }

    #[test]
    fn chunks_are_taken_over() {
        let source = series(0..=250);
        let mut copy = MemSeries::new(source.labels.clone());
        for chunk in source.chunks_in(i64::MIN, i64::MAX) {
            assert_eq!(copy.append_chunk(&chunk.bytes), Ok(1));
            assert_eq!(copy.append_chunk(&chunk.bytes), Ok(0));
        }
        copy.append(251, 1.0).unwrap();
        assert_eq!(copy.chunk_count(), 3);
        assert_eq!(
            copy.chunks_in(i64::MIN, 239),
            source.chunks_in(i64::MIN, 239)
        );
    }
}

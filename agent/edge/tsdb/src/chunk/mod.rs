//! Runs of samples of one series, compressed.
//!
//! A chunk is a run of at most [`SAMPLES_PER_CHUNK`] samples within one [`CHUNK_RANGE_MS`], in
//! Prometheus's XOR encoding, so that it can become part of a block as it is. The last chunk of a
//! series is open and grows; a sealed one never changes and is shared with readers.
//!
//! Keeps true: timestamps rise strictly within a chunk; the bytes of a [`SealedChunk`] decode.

mod bits;
mod xor;

use std::sync::Arc;

pub(crate) use xor::{ChunkError, decode};

/// How many samples a chunk takes before the next one is begun.
pub(crate) const SAMPLES_PER_CHUNK: u16 = 120;

/// No chunk crosses a multiple of this: blocks begin there, and no chunk is to be divided then.
pub(crate) const CHUNK_RANGE_MS: i64 = 2 * 3_600_000;

/// A finished chunk; cloning it copies no samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedChunk {
    pub(crate) start_ms: i64,
    /// Of the last sample, so inclusive.
    pub(crate) end_ms: i64,
    pub(crate) bytes: Arc<[u8]>,
}

impl SealedChunk {
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.start_ms <= end_ms && start_ms <= self.end_ms
    }
}

/// The chunk that a series appends to. Without samples it stands for no chunk.
#[derive(Debug, Default)]
pub(crate) struct OpenChunk {
    encoder: xor::Encoder,
    start_ms: i64,
}

impl OpenChunk {
    /// Continues a chunk from its bytes. Fails if they are no valid chunk.
    pub(crate) fn reopen(bytes: &[u8]) -> Result<Self, ChunkError> {
        let (encoder, start_ms) = xor::Encoder::reopen(bytes)?;
        Ok(OpenChunk { encoder, start_ms })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.encoder.count() == 0
    }

    pub(crate) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    pub(crate) fn end_ms(&self) -> i64 {
        self.encoder.last_ms()
    }

    /// The last sample, as its time and the bits of its value.
    pub(crate) fn last(&self) -> (i64, u64) {
        (self.encoder.last_ms(), self.encoder.last_bits())
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        !self.is_empty() && self.start_ms <= end_ms && start_ms <= self.end_ms()
    }

    /// Whether a sample at this time belongs into the next chunk.
    pub(crate) fn must_cut_before(&self, timestamp_ms: i64) -> bool {
        let range = |ms: i64| ms.div_euclid(CHUNK_RANGE_MS);
        !self.is_empty()
            && (self.encoder.count() >= SAMPLES_PER_CHUNK
                || range(timestamp_ms) != range(self.start_ms))
    }

    /// Adds a sample, which must be later than the last one.
    pub(crate) fn push(&mut self, timestamp_ms: i64, value: f64) {
        if self.is_empty() {
            self.start_ms = timestamp_ms;
        }
        self.encoder.push(timestamp_ms, value.to_bits());
    }

    /// What the chunk holds now, to be read while this one grows.
    pub(crate) fn snapshot(&self) -> SealedChunk {
        SealedChunk {
            start_ms: self.start_ms,
            end_ms: self.end_ms(),
            bytes: self.encoder.bytes(),
        }
    }

    /// Takes the chunk out and leaves an empty one, whose memory is used again.
    pub(crate) fn seal(&mut self) -> SealedChunk {
        let sealed = self.snapshot();
        self.clear();
        sealed
    }

    pub(crate) fn clear(&mut self) {
        self.encoder.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_after_120_samples_and_at_the_range() {
        let mut chunk = OpenChunk::default();
        assert!(!chunk.must_cut_before(0));
        for i in 0..i64::from(SAMPLES_PER_CHUNK) {
            assert!(!chunk.must_cut_before(i), "{i}");
            chunk.push(i, 1.0);
        }
        assert!(chunk.must_cut_before(200));

        let mut chunk = OpenChunk::default();
        chunk.push(-5, 1.0);
        assert!(!chunk.must_cut_before(-1));
        assert!(chunk.must_cut_before(0));
        assert!(chunk.must_cut_before(i64::MAX));
    }

    #[test]
    fn sealing_leaves_an_empty_chunk() {
        let mut chunk = OpenChunk::default();
        chunk.push(10, 1.0);
        chunk.push(20, 2.0);
        let sealed = chunk.seal();
        assert_eq!((sealed.start_ms, sealed.end_ms), (10, 20));
        assert!(chunk.is_empty());
        chunk.push(30, 3.0);
        assert_eq!(chunk.snapshot().start_ms, 30);
    }
}

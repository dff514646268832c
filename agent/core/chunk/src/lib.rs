//! The encodings of Prometheus's chunks: runs of one series' samples, compressed, as bytes.
//!
//! | code | encoding | read | written |
//! |---|---|---|---|
//! | 1 | floats, XOR | [`decode_floats`] | [`XorState`] sample by sample, [`XorEncoder`] a column at once |
//! | 2, 3 | histograms of whole numbers, of floats | [`decode_histograms`] | [`HistogramEncoder`], [`encode_histograms`] |
//! | 4 | floats, XOR2 | [`decode_floats_with_starts`] | [`encode_xor2`] |
//! | 5, 6 | as 2 and 3, with start timestamps | [`decode_histograms_with_starts`] | [`encode_histograms_with_starts`] |
//!
//! Keeps true: what is written, Prometheus reads, and floats come back to the bit; any bytes at
//! all are decoded or refused, with memory bounded by their length. Doesn't know files, checksums
//! or when a chunk is to be cut. Timestamps are taken as they are: that those of a chunk rise is
//! not checked, except where a chunk is continued.

mod bits;
mod error;
mod histogram;
mod start_times;
mod varbit;
mod window;
mod xor;
mod xor2;

pub use error::ChunkError;
pub use histogram::{
    Appended, ChunkLimits, EncodedChunk, HistogramEncoder, counter_reset, decode_histograms,
    decode_histograms_with_starts, encode_histograms, encode_histograms_with_starts,
};
pub use xor::{Reopened, XOR_STATE_BYTES, XorEncoder, XorState, encode_xor};
pub use xor2::encode_xor2;

/// The most samples that a chunk of any written encoding can count.
pub const MAX_SAMPLES: usize = u16::MAX as usize;

/// How a chunk's bytes are to be read. The codes are those of Prometheus's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    Xor = 1,
    Histogram = 2,
    FloatHistogram = 3,
    Xor2 = 4,
    /// Histograms with start timestamps.
    HistogramStart = 5,
    /// Float histograms with start timestamps.
    FloatHistogramStart = 6,
}

impl Encoding {
    pub fn from_code(code: u8) -> Result<Self, ChunkError> {
        Ok(match code {
            1 => Encoding::Xor,
            2 => Encoding::Histogram,
            3 => Encoding::FloatHistogram,
            4 => Encoding::Xor2,
            5 => Encoding::HistogramStart,
            6 => Encoding::FloatHistogramStart,
            _ => return Err(ChunkError::UnknownEncoding(code)),
        })
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether start timestamps can stand in it.
    pub fn has_starts(self) -> bool {
        matches!(
            self,
            Encoding::Xor2 | Encoding::HistogramStart | Encoding::FloatHistogramStart
        )
    }

    /// Whether the samples are floats; they are histograms else.
    pub fn is_floats(self) -> bool {
        matches!(self, Encoding::Xor | Encoding::Xor2)
    }
}

/// How many samples the chunk says it has.
pub fn sample_count(encoding: Encoding, chunk: &[u8]) -> Result<usize, ChunkError> {
    let count = chunk.first_chunk().ok_or(ChunkError::TooShort)?;
    let count = u16::from_be_bytes(*count);
    Ok(usize::from(match encoding {
        // The two bits above say whether counters were reset.
        Encoding::HistogramStart | Encoding::FloatHistogramStart => count & 0x3fff,
        _ => count,
    }))
}

/// Appends a chunk's samples to the two columns. After an error these are as they were.
pub fn decode_floats(
    encoding: Encoding,
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    match encoding {
        Encoding::Xor => xor::decode(chunk, i64::MAX, timestamps_ms, values),
        Encoding::Xor2 => xor2::decode(chunk, timestamps_ms, values, None),
        _ => Err(ChunkError::NotFloats(encoding)),
    }
}

/// As [`decode_floats`]; samples later than `until_ms` may be left out.
pub fn decode_floats_until(
    encoding: Encoding,
    chunk: &[u8],
    until_ms: i64,
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    match encoding {
        Encoding::Xor => xor::decode(chunk, until_ms, timestamps_ms, values),
        _ => decode_floats(encoding, chunk, timestamps_ms, values),
    }
}

/// As [`decode_floats`], with the time each sample's counting began. 0 stands for not known, as
/// for all samples of the encodings without start timestamps.
pub fn decode_floats_with_starts(
    encoding: Encoding,
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
    starts_ms: &mut Vec<i64>,
) -> Result<(), ChunkError> {
    match encoding {
        Encoding::Xor => {
            let before = timestamps_ms.len();
            xor::decode(chunk, i64::MAX, timestamps_ms, values)?;
            starts_ms.resize(starts_ms.len() + timestamps_ms.len() - before, 0);
            Ok(())
        }
        Encoding::Xor2 => xor2::decode(chunk, timestamps_ms, values, Some(starts_ms)),
        _ => Err(ChunkError::NotFloats(encoding)),
    }
}

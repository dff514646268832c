//! Writing a whole column of histograms as so many chunks as they need.

use std::sync::Arc;

use narthex_model::Histogram;
use narthex_model::histogram::CounterReset;

use super::MOST_SAMPLES_WITH_STARTS;
use super::encoder::{Appended, HistogramEncoder, is_whole, with_starts};
use crate::{ChunkError, Encoding};

/// When a chunk is long enough. One histogram may take it beyond `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    pub samples: u16,
    pub bytes: usize,
}

/// A finished chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChunk {
    pub encoding: Encoding,
    /// The time of the first sample.
    pub start_ms: i64,
    /// The time of the last sample.
    pub end_ms: i64,
    pub samples: u16,
    pub bytes: Vec<u8>,
}

/// Encodes a column. Fails if a histogram contradicts itself. The columns should have one length;
/// what one has more is left out.
pub fn encode_histograms(
    timestamps_ms: &[i64],
    values: &[Arc<Histogram>],
    limits: ChunkLimits,
) -> Result<Vec<EncodedChunk>, ChunkError> {
    // One kind for all, so that floats that happen to be whole don't begin chunks.
    let whole = values.iter().all(|histogram| is_whole(histogram));
    let mut chunks = Vec::new();
    let mut open: Option<HistogramEncoder> = None;
    for (timestamp_ms, histogram) in timestamps_ms.iter().zip(values) {
        let mut reset = CounterReset::Unknown;
        if let Some(mut encoder) = open.take() {
            let is_long = encoder.count() >= limits.samples || encoder.len_bytes() >= limits.bytes;
            let appended = match is_long {
                true => Appended::NewChunk(encoder.reset_before(histogram)),
                false => encoder.append(*timestamp_ms, histogram)?,
            };
            match appended {
                Appended::NewChunk(known) => {
                    reset = known;
                    chunks.push(finished(encoder));
                }
                Appended::Done | Appended::Recoded => {
                    open = Some(encoder);
                    continue;
                }
            }
        }
        let encoder = HistogramEncoder::begin_with(*timestamp_ms, histogram, reset, whole)?;
        open = Some(encoder);
    }
    chunks.extend(open.map(finished));
    Ok(chunks)
}

/// As [`encode_histograms`], with the time each sample's counting began, 0 if that is not known.
/// Chunks of which no start is known are without starts.
pub fn encode_histograms_with_starts(
    timestamps_ms: &[i64],
    values: &[Arc<Histogram>],
    starts_ms: &[i64],
    limits: ChunkLimits,
) -> Result<Vec<EncodedChunk>, ChunkError> {
    let limits = ChunkLimits {
        samples: limits.samples.min(MOST_SAMPLES_WITH_STARTS),
        ..limits
    };
    let mut chunks = encode_histograms(timestamps_ms, values, limits)?;
    let mut rest = starts_ms;
    for chunk in &mut chunks {
        let (own, behind) = rest
            .split_at_checked(usize::from(chunk.samples))
            .unwrap_or((rest, &[]));
        rest = behind;
        if own.iter().any(|start_ms| *start_ms != 0) {
            let (encoding, bytes) = with_starts(chunk.encoding, &chunk.bytes, own)?;
            (chunk.encoding, chunk.bytes) = (encoding, bytes);
        }
    }
    Ok(chunks)
}

fn finished(encoder: HistogramEncoder) -> EncodedChunk {
    let (start_ms, end_ms, samples) = (encoder.start_ms(), encoder.last_ms(), encoder.count());
    let (encoding, bytes) = encoder.finish();
    EncodedChunk {
        encoding,
        start_ms,
        end_ms,
        samples,
        bytes,
    }
}

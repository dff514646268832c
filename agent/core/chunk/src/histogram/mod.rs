//! Prometheus's encodings of native histograms.
//!
//! A chunk is its sample count in two bytes, a byte whose two top bits say whether counters were
//! reset, the layout that all its histograms share, then the samples. In the variants with start
//! timestamps those two bits are the top ones of the count, and the third byte is about the starts.
//!
//! Two ways to write numbers: histograms whose counts are whole numbers as varbit numbers, each the
//! change of the change of the last (buckets as the difference to the bucket before them); others
//! as floats, each the XOR of the last with windows of its own. Time is a varbit number and the sum
//! a float in both. A stale marker is a sum alone: behind it no buckets are written.

mod decode;
mod encode;
mod encoder;
mod layout;
mod numbers;
mod spans;

use narthex_model::histogram::CounterReset;

use crate::{ChunkError, Encoding};

pub use decode::{counter_reset, decode_histograms, decode_histograms_with_starts};
pub use encode::{ChunkLimits, EncodedChunk, encode_histograms, encode_histograms_with_starts};
pub use encoder::{Appended, HistogramEncoder};

const HEADER_BYTES: usize = 3;

/// What 14 bits can count.
const MOST_SAMPLES_WITH_STARTS: u16 = 0x3fff;

fn reset_from_bits(byte: u8) -> CounterReset {
    match byte >> 6 {
        0b00 => CounterReset::Unknown,
        0b01 => CounterReset::NotReset,
        0b10 => CounterReset::Reset,
        _ => CounterReset::Gauge,
    }
}

fn reset_to_bits(reset: CounterReset) -> u8 {
    let bits = match reset {
        CounterReset::Unknown => 0b00,
        CounterReset::NotReset => 0b01,
        CounterReset::Reset => 0b10,
        CounterReset::Gauge => 0b11,
    };
    bits << 6
}

/// Whether counts are written as whole numbers. `None` for encodings of floats.
fn is_whole(encoding: Encoding) -> Result<bool, ChunkError> {
    match encoding {
        Encoding::Histogram | Encoding::HistogramStart => Ok(true),
        Encoding::FloatHistogram | Encoding::FloatHistogramStart => Ok(false),
        Encoding::Xor | Encoding::Xor2 => Err(ChunkError::NotHistograms(encoding)),
    }
}

fn has_starts(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::HistogramStart | Encoding::FloatHistogramStart
    )
}

//! Why bytes are no chunk, or samples can't become one.

use crate::{Encoding, MAX_SAMPLES};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("the chunk ends inside a sample")]
    TooShort,
    #[error("the chunk has no samples")]
    Empty,
    #[error("the code {0} stands for no known chunk encoding")]
    UnknownEncoding(u8),
    #[error("the chunk holds histograms, not floats ({0:?})")]
    NotFloats(Encoding),
    #[error("the chunk holds floats, not histograms ({0:?})")]
    NotHistograms(Encoding),
    #[error("the chunk's value window is wider than a value")]
    Window,
    #[error("the chunk's timestamps do not rise")]
    NotRising,
    #[error("the histograms' schema {0} is not known")]
    Schema(i64),
    #[error("a span of the histograms has a negative gap before it or lies out of all bounds")]
    Spans,
    #[error("the histograms' spans ask for {asked} buckets where {there} can be")]
    Buckets { asked: u64, there: u64 },
    #[error("the histograms have {bounds} custom bounds, too few for their buckets")]
    Bounds { bounds: usize },
    #[error("the chunk's histograms would take up more than {limit} numbers")]
    TooLarge { limit: usize },
    #[error("a chunk can't have more than {MAX_SAMPLES} samples")]
    TooManySamples,
}

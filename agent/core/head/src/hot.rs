//! The line of one series: all that an append of a float looks at.
//!
//! It holds the open chunk but for the bytes already full, which lie in the page's fragments. The
//! last sample stays known when its chunk is gone. When a chunk is full is decided here, as
//! Prometheus does it: so many samples, evenly spread over the range of a block.

use std::sync::Arc;

use narthex_chunk::XorState;
use narthex_model::sample::STALE_NAN_BITS;

use crate::fragments::{Chain, Fragments, NO_FRAGMENT};
use crate::sealed::END_OF_LIST;

/// Samples that a chunk should have.
const TARGET_SAMPLES: u16 = 120;

/// Samples after which the end of a chunk is foretold.
const FORETELL_AT: u16 = TARGET_SAMPLES / 4;

/// More samples than this a chunk does not get, whatever was foretold.
const MOST_SAMPLES: u16 = TARGET_SAMPLES * 2;

/// A chunk with more bytes is full, so that with one more sample it stays within 1 KiB.
const MOST_BYTES: usize = 1024 - 19;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Hot {
    xor: XorState,
    /// The first sample of the open chunk.
    start_ms: i64,
    /// From there to where the chunk ends at the latest.
    cut_after_ms: u32,
    /// The list of full chunks.
    pub(crate) sealed: u32,
    chain: Chain,
    flags: u8,
    /// Samples written to the log since the key.
    pub(crate) key_age: u8,
}

const _: () = assert!(size_of::<Hot>() == 64);

/// There was a sample.
const SEEN: u8 = 1;
/// The last sample was a histogram.
const HISTOGRAM: u8 = 2;

impl Default for Hot {
    fn default() -> Self {
        Hot {
            xor: XorState::default(),
            start_ms: 0,
            cut_after_ms: 0,
            sealed: END_OF_LIST,
            chain: Chain {
                first: NO_FRAGMENT,
                last: NO_FRAGMENT,
                length_bytes: 0,
            },
            flags: 0,
            key_age: 0,
        }
    }
}

impl Hot {
    #[inline]
    pub(crate) fn has_seen(&self) -> bool {
        self.flags & SEEN != 0
    }

    #[inline]
    pub(crate) fn is_histogram(&self) -> bool {
        self.flags & HISTOGRAM != 0
    }

    /// The last sample's time; of meaning only if there was one.
    #[inline]
    pub(crate) fn last_ms(&self) -> i64 {
        self.xor.last_ms()
    }

    /// The last float, or the sum of the last histogram.
    #[inline]
    pub(crate) fn last_bits(&self) -> u64 {
        self.xor.last_bits()
    }

    /// Whether the last sample is a stale marker.
    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.last_bits() == STALE_NAN_BITS && self.has_seen()
    }

    /// Samples in the open chunk of floats.
    #[inline]
    pub(crate) fn count(&self) -> u16 {
        self.xor.count()
    }

    pub(crate) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// Whether a sample later than the last does not belong in the open chunk of floats.
    #[inline]
    pub(crate) fn must_cut_before(&mut self, timestamp_ms: i64) -> bool {
        let count = self.xor.count();
        if usize::from(self.chain.length_bytes) > MOST_BYTES - 10
            && self.length_bytes() > MOST_BYTES
        {
            return true;
        }
        if count == FORETELL_AT {
            self.cut_after_ms = foretell(self.start_ms, self.last_ms(), self.cut_after_ms);
        }
        let age_ms = timestamp_ms.wrapping_sub(self.start_ms) as u64;
        age_ms >= u64::from(self.cut_after_ms) || count >= MOST_SAMPLES
    }

    /// Adds a float that is later than the last sample; true if it begins a chunk.
    #[inline]
    pub(crate) fn append(
        &mut self,
        timestamp_ms: i64,
        bits: u64,
        chunk_range_ms: i64,
        fragments: &mut Fragments,
    ) -> bool {
        let begins = self.xor.count() == 0;
        if begins {
            self.start_ms = timestamp_ms;
            self.cut_after_ms = until_border(timestamp_ms, chunk_range_ms);
        }
        let chain = &mut self.chain;
        // It is never full: a chunk is cut long before.
        let _ = self
            .xor
            .append(timestamp_ms, f64::from_bits(bits), &mut |word| {
                fragments.append(chain, word);
            });
        self.flags = SEEN;
        begins
    }

    /// Remembers a float that lies elsewhere as the last sample.
    pub(crate) fn note_float(&mut self, timestamp_ms: i64, bits: u64) {
        self.xor = XorState::after(timestamp_ms, bits);
        self.flags = SEEN;
    }

    /// Remembers a histogram that lies elsewhere as the last sample.
    pub(crate) fn note_histogram(&mut self, timestamp_ms: i64, sum: f64) {
        self.xor = XorState::after(timestamp_ms, sum.to_bits());
        self.flags = SEEN | HISTOGRAM;
    }

    /// The open chunk's bytes.
    pub(crate) fn bytes(&self, fragments: &Fragments) -> Arc<[u8]> {
        let (tail, used) = self.xor.tail();
        let tail = tail.get(..used).unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.length_bytes());
        bytes.extend(self.xor.header());
        for piece in fragments.bytes(self.chain) {
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(tail);
        bytes.into()
    }

    /// Leaves the open chunk; the last sample stays known.
    pub(crate) fn clear_open(&mut self, fragments: &mut Fragments) {
        fragments.release(&mut self.chain);
        self.xor = XorState::after(self.xor.last_ms(), self.xor.last_bits());
    }

    fn length_bytes(&self) -> usize {
        2 + usize::from(self.chain.length_bytes) + self.xor.tail().1
    }

    pub(crate) fn parts(&self) -> HotParts {
        HotParts {
            xor: self.xor,
            start_ms: self.start_ms,
            cut_after_ms: self.cut_after_ms,
            flags: self.flags,
        }
    }

    /// A line with these parts and these bytes already full.
    pub(crate) fn from_parts(
        parts: HotParts,
        full: impl Iterator<Item = [u8; 8]>,
        fragments: &mut Fragments,
    ) -> Self {
        let mut hot = Hot {
            xor: parts.xor,
            start_ms: parts.start_ms,
            cut_after_ms: parts.cut_after_ms,
            flags: parts.flags & (SEEN | HISTOGRAM),
            ..Hot::default()
        };
        for word in full {
            fragments.append(&mut hot.chain, word);
        }
        hot
    }

    pub(crate) fn chain(&self) -> Chain {
        self.chain
    }
}

/// What of a line is put in a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct HotParts {
    pub(crate) xor: XorState,
    pub(crate) start_ms: i64,
    pub(crate) cut_after_ms: u32,
    pub(crate) flags: u8,
}

/// From a chunk's first sample to the next border between blocks.
pub(crate) fn until_border(start_ms: i64, chunk_range_ms: i64) -> u32 {
    let range_ms = chunk_range_ms.max(1);
    let left_ms = range_ms - start_ms.rem_euclid(range_ms);
    u32::try_from(left_ms).unwrap_or(u32::MAX)
}

/// Where to cut so that the chunks up to the end get samples evenly, given that a quarter of them
/// is there.
pub(crate) fn foretell(start_ms: i64, last_ms: i64, cut_after_ms: u32) -> u32 {
    let quarter_ms = last_ms.wrapping_sub(start_ms) as u64 as f64 + 1.0;
    let chunks = f64::from(cut_after_ms) / (quarter_ms * 4.0);
    if chunks <= 1.0 {
        return cut_after_ms;
    }
    (f64::from(cut_after_ms) / chunks.floor()) as u32
}

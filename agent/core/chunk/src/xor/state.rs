//! Writing a chunk sample by sample, with a state small enough to lie beside a series' last sample.

use super::decode::Decoder;
use super::{COUNT_BYTES, distance_change_bits};
use crate::ChunkError;
use crate::bits::{push_bits, unsigned_varint_bytes, varint_bytes};
use crate::window::Window;

/// A chunk that grows. The bytes already full are with whoever appends; here is the rest: up to 63
/// bits that wait for their word, the count (which stands at the chunk's beginning and is known
/// last), and what the next sample is written relative to.
///
/// `count ++ words spilled ++ tail` is the chunk, at any time; [`XorState::assemble`] puts it together.
#[derive(Clone, Copy, Debug)]
pub struct XorState {
    last_ms: i64,
    last_bits: u64,
    distance: u64,
    pending: u64,
    count: u16,
    pending_bits: u8,
    window: Window,
}

const _: () = assert!(size_of::<XorState>() <= 40);

/// The length of what [`XorState::to_bytes`] gives.
pub const STATE_BYTES: usize = 37;

impl Default for XorState {
    /// A chunk without samples.
    fn default() -> Self {
        XorState {
            last_ms: 0,
            last_bits: 0,
            distance: 0,
            pending: 0,
            count: 0,
            pending_bits: 0,
            window: Window::NONE,
        }
    }
}

/// A finished chunk taken apart again, to be continued.
#[derive(Clone, Copy, Debug)]
pub struct Reopened<'a> {
    pub state: XorState,
    /// The full words; a multiple of eight bytes.
    pub spilled: &'a [u8],
    /// The time of the first sample.
    pub start_ms: i64,
}

impl XorState {
    /// A chunk without samples that remembers one of elsewhere as the last.
    pub fn after(last_ms: i64, last_bits: u64) -> Self {
        XorState {
            last_ms,
            last_bits,
            ..XorState::default()
        }
    }

    /// The state as it can be kept, without a look at the chunk.
    pub fn to_bytes(&self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        let words = [
            self.last_ms as u64,
            self.last_bits,
            self.distance,
            self.pending,
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let [low, high] = self.count.to_le_bytes();
        let Window { leading, trailing } = self.window;
        bytes[32..].copy_from_slice(&[low, high, self.pending_bits, leading, trailing]);
        bytes
    }

    /// From what [`XorState::to_bytes`] gave; `None` for bytes that are no state.
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().copied();
        let [low, high, pending_bits, leading, trailing] = *bytes.last_chunk()?;
        let window = Window { leading, trailing };
        let fits = u32::from(leading) + u32::from(trailing) < 64 && leading < 32;
        if pending_bits > 63 || !(fits || window == Window::NONE) {
            return None;
        }
        let pending = u64::from_le_bytes(word(24)?);
        Some(XorState {
            last_ms: i64::from_le_bytes(word(0)?),
            last_bits: u64::from_le_bytes(word(8)?),
            distance: u64::from_le_bytes(word(16)?),
            // Bits that are not written yet are zero.
            pending: pending & !(u64::MAX >> pending_bits),
            count: u16::from_le_bytes([low, high]),
            pending_bits,
            window,
        })
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// The time of the last sample, also if it is elsewhere; 0 if there is none.
    pub fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// The bits of the last sample's value, also if it is elsewhere; 0 if there is none.
    pub fn last_bits(&self) -> u64 {
        self.last_bits
    }

    /// Adds a sample, and calls `spill` with each word that is full now: none for most samples,
    /// three at most. False if the chunk is full; nothing happened then.
    #[inline]
    #[must_use]
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        value: f64,
        spill: &mut impl FnMut([u8; 8]),
    ) -> bool {
        let bits = value.to_bits();
        let distance = timestamp_ms.wrapping_sub(self.last_ms) as u64;
        match self.count {
            0 => {
                varint_bytes(timestamp_ms, |byte| self.write(u64::from(byte), 8, spill));
                self.write(bits, 64, spill);
            }
            1 => {
                unsigned_varint_bytes(distance, |byte| self.write(u64::from(byte), 8, spill));
                self.write_change(bits ^ self.last_bits, spill);
                self.distance = distance;
            }
            u16::MAX => return false,
            _ if distance == self.distance && bits == self.last_bits => self.write(0, 2, spill),
            _ => {
                let change = distance.wrapping_sub(self.distance) as i64;
                distance_change_bits(change, |bits, count| self.write(bits, count, spill));
                self.write_change(bits ^ self.last_bits, spill);
                self.distance = distance;
            }
        }
        self.last_ms = timestamp_ms;
        self.last_bits = bits;
        self.count += 1;
        true
    }

    /// The chunk, given the words that were spilled, in pieces of any length.
    pub fn assemble<'b>(&self, spilled: impl IntoIterator<Item = &'b [u8]>) -> Vec<u8> {
        let mut chunk = self.count.to_be_bytes().to_vec();
        for bytes in spilled {
            chunk.extend_from_slice(bytes);
        }
        let (tail, used) = self.tail();
        chunk.extend(tail.iter().take(used));
        chunk
    }

    /// What a chunk begins with.
    pub fn header(&self) -> [u8; COUNT_BYTES] {
        self.count.to_be_bytes()
    }

    /// What a chunk ends with: so many of the bytes.
    pub fn tail(&self) -> ([u8; 8], usize) {
        let used = usize::from(self.pending_bits.div_ceil(8));
        (self.pending.to_be_bytes(), used)
    }

    /// Takes a chunk apart, to go on with it. Refuses one whose times don't rise, as nothing could
    /// be found in what would come of it.
    pub fn reopen(chunk: &[u8]) -> Result<Reopened<'_>, ChunkError> {
        let mut decoder = Decoder::new(chunk)?;
        if decoder.count > decoder.reader.remaining_bits() / 2 {
            return Err(ChunkError::TooShort);
        }
        let mut times = vec![0; decoder.count];
        let mut values = vec![0.0; decoder.count];
        decoder.read_all(times.iter_mut().zip(&mut values))?;
        let start_ms = *times.first().ok_or(ChunkError::Empty)?;
        if !times.is_sorted_by(|earlier, later| earlier < later) {
            return Err(ChunkError::NotRising);
        }
        let stream = chunk.get(COUNT_BYTES..).unwrap_or_default();
        let end_bits = decoder.reader.position_bits();
        let words = end_bits / 64 * 8;
        let (spilled, rest) = stream.split_at_checked(words).unwrap_or((stream, &[]));
        let mut state = XorState {
            last_ms: decoder.last_ms,
            last_bits: decoder.last_bits,
            distance: decoder.distance,
            count: times.len() as u16,
            window: decoder.window(),
            ..XorState::default()
        };
        for byte in rest.iter().take(8) {
            let bits = (end_bits % 64 - usize::from(state.pending_bits)).min(8) as u32;
            let value = u64::from(*byte).checked_shr(8 - bits).unwrap_or(0);
            state.write(value, bits, &mut |_| {});
        }
        Ok(Reopened {
            state,
            spilled,
            start_ms,
        })
    }

    #[inline]
    fn write(&mut self, value: u64, count: u32, spill: &mut impl FnMut([u8; 8])) {
        let mut pending_bits = u32::from(self.pending_bits);
        push_bits(&mut self.pending, &mut pending_bits, value, count, spill);
        self.pending_bits = pending_bits as u8;
    }

    #[inline]
    fn write_change(&mut self, change: u64, spill: &mut impl FnMut([u8; 8])) {
        if change == 0 {
            return self.write(0, 1, spill);
        }
        match self.window.next(Window::of(change)) {
            None => self.write(0b10, 2, spill),
            Some(window) => {
                self.window = window;
                self.write(window.head(), Window::NEW_BITS, spill);
            }
        }
        let window = self.window;
        self.write(change >> window.trailing, window.length(), spill);
    }
}

//! Reading a whole chunk into two columns.
//!
//! Written for speed: one load gives what most samples need, and a run of samples that change
//! nothing is taken at once.

use super::{COUNT_BYTES, DISTANCE_BITS};
use crate::bits::BitReader;
use crate::window::Window;
use crate::{ChunkError, Encoding, sample_count};

/// Appends a chunk's samples to the two columns, but for some that are later than `until_ms`. After
/// an error these are as they were.
pub(crate) fn decode(
    chunk: &[u8],
    until_ms: i64,
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let mut decoder = Decoder::new(chunk)?;
    // Two bits are the least a sample takes, so a count that lies takes no memory.
    if decoder.count > decoder.reader.remaining_bits() / 2 {
        return Err(ChunkError::TooShort);
    }
    let (times_before, values_before) = (timestamps_ms.len(), values.len());
    timestamps_ms.resize(times_before + decoder.count, 0);
    values.resize(values_before + decoder.count, 0.0);
    let times = timestamps_ms.iter_mut().skip(times_before);
    let samples = times.zip(values.iter_mut().skip(values_before));
    let result = decoder.read_until(until_ms, samples);
    let read = *result.as_ref().unwrap_or(&0);
    timestamps_ms.truncate(times_before + read);
    values.truncate(values_before + read);
    result.map(|_| ())
}

/// What the next sample is read relative to.
pub(super) struct Decoder<'a> {
    pub(super) reader: BitReader<'a>,
    pub(super) count: usize,
    pub(super) last_ms: i64,
    pub(super) last_bits: u64,
    pub(super) distance: u64,
    /// Of the window.
    length: u32,
    trailing: u32,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(chunk: &'a [u8]) -> Result<Self, ChunkError> {
        let count = sample_count(Encoding::Xor, chunk)?;
        Ok(Decoder {
            reader: BitReader::new(chunk.get(COUNT_BYTES..).unwrap_or_default()),
            count,
            last_ms: 0,
            last_bits: 0,
            distance: 0,
            length: 64,
            trailing: 0,
        })
    }

    pub(super) fn window(&self) -> Window {
        match self.length {
            // As if there were none, so that what is appended gets a narrower one.
            64 => Window::NONE,
            length => Window {
                leading: (64 - length - self.trailing) as u8,
                trailing: self.trailing as u8,
            },
        }
    }

    /// Reads as many samples as `out` has places for.
    pub(super) fn read_all<'o>(
        &mut self,
        out: impl ExactSizeIterator<Item = (&'o mut i64, &'o mut f64)>,
    ) -> Result<(), ChunkError> {
        self.read_until(i64::MAX, out).map(|_| ())
    }

    /// The same up to the first sample after a time, or a few more. Gives how many were read.
    fn read_until<'o>(
        &mut self,
        until_ms: i64,
        mut out: impl ExactSizeIterator<Item = (&'o mut i64, &'o mut f64)>,
    ) -> Result<usize, ChunkError> {
        let places = out.len();
        if let Some((time, value)) = out.next() {
            self.last_ms = self.reader.read_varint();
            self.last_bits = self.reader.read(64);
            (*time, *value) = (self.last_ms, f64::from_bits(self.last_bits));
        }
        if let Some((time, value)) = out.next() {
            self.distance = self.reader.read_unsigned_varint();
            self.step();
            self.read_change(self.reader.peek())?;
            (*time, *value) = (self.last_ms, f64::from_bits(self.last_bits));
        }
        self.read_rest(until_ms, &mut out)?;
        // Zeros follow the end, so nothing that was read there did harm.
        if self.reader.overran() {
            return Err(ChunkError::TooShort);
        }
        Ok(places - out.len())
    }

    /// Reads the third sample and those after it.
    fn read_rest<'o>(
        &mut self,
        until_ms: i64,
        out: &mut impl Iterator<Item = (&'o mut i64, &'o mut f64)>,
    ) -> Result<(), ChunkError> {
        while self.last_ms <= until_ms
            && let Some((time, value)) = out.next()
        {
            let mut next = self.reader.peek();
            if next >> 62 == 0 {
                self.step();
                (*time, *value) = (self.last_ms, f64::from_bits(self.last_bits));
                let more = next.leading_zeros().min(56) / 2 - 1;
                self.repeat(more, out);
                continue;
            }
            if next >> 63 == 0 {
                self.reader.skip(1);
                next <<= 1;
            } else {
                let change = self.read_distance_change(next);
                self.distance = self.distance.wrapping_add(change as u64);
                next = self.reader.peek();
            }
            self.step();
            self.read_change(next)?;
            (*time, *value) = (self.last_ms, f64::from_bits(self.last_bits));
        }
        Ok(())
    }

    /// Takes up to `more` samples that change nothing, behind one that changed nothing.
    #[inline]
    fn repeat<'o>(
        &mut self,
        more: u32,
        out: &mut impl Iterator<Item = (&'o mut i64, &'o mut f64)>,
    ) {
        self.reader.skip(2);
        let mut taken = 0;
        while taken < more {
            let Some((time, value)) = out.next() else {
                break;
            };
            self.step();
            (*time, *value) = (self.last_ms, f64::from_bits(self.last_bits));
            taken += 1;
        }
        self.reader.skip(2 * taken);
    }

    #[inline]
    fn step(&mut self) {
        self.last_ms = self.last_ms.wrapping_add(self.distance as i64);
    }

    /// `next` is what the reader peeks at, and does not begin with zero.
    #[inline]
    fn read_distance_change(&mut self, next: u64) -> i64 {
        let ones = next.leading_ones();
        let Some((_, bits)) = DISTANCE_BITS.iter().find(|(prefix, _)| *prefix == ones) else {
            self.reader.skip(4);
            return self.reader.read(64) as i64;
        };
        self.reader.skip(ones + 1 + bits);
        let number = (next << (ones + 1) >> (64 - bits)) as i64;
        let highest = 1i64 << (bits - 1);
        if number > highest {
            number - 2 * highest
        } else {
            number
        }
    }

    /// `next` is what the reader peeks at; 56 bits of it are valid.
    #[inline]
    fn read_change(&mut self, next: u64) -> Result<(), ChunkError> {
        if next >> 63 == 0 {
            self.reader.skip(1);
            return Ok(());
        }
        let mut mark_bits = 2;
        if next >> 62 == 0b11 {
            let window = Window::parse(next >> 51)?;
            self.length = window.length();
            self.trailing = u32::from(window.trailing);
            mark_bits = Window::NEW_BITS;
        }
        let change = if mark_bits + self.length <= 56 {
            self.reader.skip(mark_bits + self.length);
            next << mark_bits >> (64 - self.length)
        } else {
            self.reader.skip(mark_bits);
            self.reader.read(self.length)
        };
        self.last_bits ^= change << self.trailing;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_lies_takes_no_memory() {
        let (mut times, mut values) = (vec![7], vec![7.0]);
        let result = decode(&[0xff, 0xff, 0, 0, 0], i64::MAX, &mut times, &mut values);
        assert_eq!(result, Err(ChunkError::TooShort));
        assert_eq!((times.capacity(), values.as_slice()), (1, [7.0].as_slice()));
    }

    #[test]
    fn a_window_wider_than_a_value_is_refused() {
        // 0 ms, 0.0; 1 ms and `11`, 31 leading zeros, 34 bits.
        let mut chunk = vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        chunk.extend([0b1111_1111, 0b0001_0111, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let (mut times, mut values) = (vec![7], Vec::new());
        assert_eq!(
            decode(&chunk, i64::MAX, &mut times, &mut values),
            Err(ChunkError::Window)
        );
        assert_eq!((times, values), (vec![7], vec![]));
    }

    #[test]
    fn before_the_first_window_it_is_the_whole_value() {
        // Prometheus writes this when it goes on with a chunk whose value never changed.
        let mut chunk = vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let bits = 1.5f64.to_bits();
        let change = u128::from(0b10u8) << 126 | u128::from(bits) << 62;
        chunk.extend(change.to_be_bytes().iter().take(9));
        let (mut times, mut values) = (Vec::new(), Vec::new());
        decode(&chunk, i64::MAX, &mut times, &mut values).unwrap();
        assert_eq!((times, values), (vec![0, 1], vec![0.0, 1.5]));
    }
}

//! Prometheus's XOR2 encoding of float samples, read only.
//!
//! A chunk is its sample count in two bytes, a byte about start timestamps, then a stream of bits.
//! First sample: time as a zigzag varint, value as 64 bits. Second: its time less the first as an
//! unsigned varint, then its value. Others begin with a mark:
//!
//! - `0`: distance in time and value as before;
//! - `10`: the distance as before; `0` and the bits of the window before, or `1` and a new window;
//! - `110` and 13 bits, `1110` and 20 bits, `11110` and 64 bits: how much the distance changed
//!   (two's complement), then the value;
//! - `11111`: the distance as before; the stale marker.
//!
//! A value is `0` for the same, `10` and the bits of the window before, `110` and a new window, or
//! `111` for the stale marker. Stale markers don't count as the value before. Windows are those of
//! XOR. Start timestamps, if the header says so, follow each sample.

use narthex_model::STALE_NAN;

use crate::bits::BitReader;
use crate::start_times::StartTimes;
use crate::window::Window;
use crate::{ChunkError, Encoding, sample_count};

const HEADER_BYTES: usize = 3;

/// Appends a chunk's samples to the columns. After an error these are as they were.
pub(crate) fn decode(
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
    mut starts_ms: Option<&mut Vec<i64>>,
) -> Result<(), ChunkError> {
    let (times_before, values_before) = (timestamps_ms.len(), values.len());
    let starts_before = starts_ms.as_ref().map_or(0, |starts| starts.len());
    let result = append(chunk, timestamps_ms, values, starts_ms.as_deref_mut());
    if result.is_err() {
        timestamps_ms.truncate(times_before);
        values.truncate(values_before);
        if let Some(starts_ms) = starts_ms {
            starts_ms.truncate(starts_before);
        }
    }
    result
}

fn append(
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
    mut starts_ms: Option<&mut Vec<i64>>,
) -> Result<(), ChunkError> {
    let count = sample_count(Encoding::Xor2, chunk)?;
    let (header, stream) = chunk
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(ChunkError::TooShort)?;
    let [_, _, start_header] = *header;
    let mut decoder = Decoder::new(stream);
    let mut starts = StartTimes::new(start_header);
    // One bit is the least a sample takes, so a count that lies takes no memory.
    if count > decoder.reader.remaining_bits() {
        return Err(ChunkError::TooShort);
    }
    timestamps_ms.reserve(count);
    values.reserve(count);
    for index in 0..count {
        let before_ms = decoder.last_ms;
        let value = decoder.read_sample(index)?;
        starts.read(&mut decoder.reader, index, before_ms, decoder.last_ms);
        timestamps_ms.push(decoder.last_ms);
        values.push(value);
        if let Some(starts_ms) = starts_ms.as_deref_mut() {
            starts_ms.push(starts.start_ms);
        }
    }
    if decoder.reader.overran() {
        return Err(ChunkError::TooShort);
    }
    Ok(())
}

struct Decoder<'a> {
    reader: BitReader<'a>,
    last_ms: i64,
    distance: u64,
    /// Of the last value that is no stale marker.
    last_bits: u64,
    window: Window,
}

impl<'a> Decoder<'a> {
    fn new(stream: &'a [u8]) -> Self {
        Decoder {
            reader: BitReader::new(stream),
            last_ms: 0,
            distance: 0,
            last_bits: 0,
            window: Window::NONE,
        }
    }

    /// Reads a sample; its time is `last_ms` then.
    #[inline]
    fn read_sample(&mut self, index: usize) -> Result<f64, ChunkError> {
        match index {
            0 => {
                self.last_ms = self.reader.read_varint();
                let value = f64::from_bits(self.reader.read(64));
                if !narthex_model::is_stale_nan(value) {
                    self.last_bits = value.to_bits();
                }
                Ok(value)
            }
            1 => {
                self.distance = self.reader.read_unsigned_varint();
                self.step();
                self.read_value()
            }
            _ => self.read_marked(),
        }
    }

    #[inline]
    fn read_marked(&mut self) -> Result<f64, ChunkError> {
        let ones = self.reader.peek().leading_ones().min(5);
        self.reader.skip((ones + 1).min(5));
        match ones {
            0 => {
                self.step();
                Ok(f64::from_bits(self.last_bits))
            }
            1 => {
                self.step();
                let is_new = self.reader.read(1) == 1;
                self.read_change(is_new)
            }
            2 => self.read_moved(13),
            3 => self.read_moved(20),
            4 => self.read_moved(64),
            _ => {
                self.step();
                Ok(STALE_NAN)
            }
        }
    }

    fn step(&mut self) {
        self.last_ms = self.last_ms.wrapping_add(self.distance as i64);
    }

    /// Reads how much the distance changed, in so many bits, then the value.
    fn read_moved(&mut self, bits: u32) -> Result<f64, ChunkError> {
        let number = self.reader.read(bits) << (64 - bits);
        let change = number as i64 >> (64 - bits);
        self.distance = self.distance.wrapping_add(change as u64);
        self.step();
        self.read_value()
    }

    fn read_value(&mut self) -> Result<f64, ChunkError> {
        let ones = self.reader.peek().leading_ones().min(3);
        self.reader.skip((ones + 1).min(3));
        match ones {
            0 => Ok(f64::from_bits(self.last_bits)),
            1 => self.read_change(false),
            2 => self.read_change(true),
            _ => Ok(STALE_NAN),
        }
    }

    fn read_change(&mut self, is_new: bool) -> Result<f64, ChunkError> {
        if is_new {
            self.window = Window::parse(self.reader.read(11))?;
        }
        let change = self.reader.read(self.window.length()) << self.window.trailing;
        self.last_bits ^= change;
        Ok(f64::from_bits(self.last_bits))
    }
}

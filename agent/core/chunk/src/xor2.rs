//! Prometheus's XOR2 encoding of float samples.
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

use narthex_model::{STALE_NAN, is_stale_nan};

use crate::bits::{BitReader, BitWriter, unsigned_varint_bytes, varint_bytes};
use crate::start_times::{StartTimes, StartWriter};
use crate::window::Window;
use crate::{ChunkError, Encoding, sample_count};

const HEADER_BYTES: usize = 3;

/// Ones in the mark (a zero follows them) and bits of the number after it.
const MOVE_BITS: [(u32, u32); 2] = [(2, 13), (3, 20)];

/// Appends one chunk of a whole column to `out`, with the time each sample's counting began, 0 if
/// that is not known. The columns should have one length; what one has more is left out.
pub fn encode_xor2(
    timestamps_ms: &[i64],
    values: &[f64],
    starts_ms: &[i64],
    out: &mut Vec<u8>,
) -> Result<(), ChunkError> {
    let count = timestamps_ms.len().min(values.len()).min(starts_ms.len());
    let short = u16::try_from(count).map_err(|_| ChunkError::TooManySamples)?;
    let mut starts = StartWriter::new(starts_ms.get(..count).unwrap_or_default());
    out.extend(short.to_be_bytes());
    out.push(starts.header());
    let mut encoder = Encoder {
        writer: BitWriter::behind(std::mem::take(out)),
        last_ms: 0,
        distance: 0,
        last_bits: 0,
        window: Window::NONE,
    };
    let samples = timestamps_ms.iter().zip(values).zip(starts_ms);
    for (index, ((timestamp_ms, value), start_ms)) in samples.enumerate() {
        let before_ms = encoder.last_ms;
        encoder.write_sample(index, *timestamp_ms, *value);
        let writer = &mut encoder.writer;
        starts.write(writer, index, before_ms, *timestamp_ms, *start_ms);
    }
    *out = encoder.writer.finish();
    Ok(())
}

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
                if !is_stale_nan(value) {
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

struct Encoder {
    writer: BitWriter,
    last_ms: i64,
    distance: u64,
    /// Of the last value that is no stale marker.
    last_bits: u64,
    window: Window,
}

impl Encoder {
    fn write_sample(&mut self, index: usize, timestamp_ms: i64, value: f64) {
        let distance = timestamp_ms.wrapping_sub(self.last_ms) as u64;
        let change = distance.wrapping_sub(self.distance) as i64;
        self.last_ms = timestamp_ms;
        match index {
            0 => {
                varint_bytes(timestamp_ms, |byte| self.writer.write_byte(byte));
                self.writer.write(value.to_bits(), 64);
                if !is_stale_nan(value) {
                    self.last_bits = value.to_bits();
                }
                return;
            }
            1 => {
                unsigned_varint_bytes(distance, |byte| self.writer.write_byte(byte));
                self.write_value(value);
            }
            _ if change == 0 => self.write_steady(value),
            _ => {
                self.write_move(change);
                self.write_value(value);
            }
        }
        self.distance = distance;
    }

    /// Writes a sample as far from the one before as that was.
    fn write_steady(&mut self, value: f64) {
        if is_stale_nan(value) {
            return self.writer.write(0b11111, 5);
        }
        let change = value.to_bits() ^ self.last_bits;
        if change == 0 {
            return self.writer.write(0, 1);
        }
        self.writer.write(0b10, 2);
        self.write_change(change, (0, 1), (1, 1));
    }

    fn write_move(&mut self, change: i64) {
        for (ones, bits) in MOVE_BITS {
            let beyond = 1i64 << (bits - 1);
            if (-beyond..beyond).contains(&change) {
                let mark = ((1u64 << ones) - 1) << 1;
                let low = change as u64 & ((1 << bits) - 1);
                return self.writer.write(mark << bits | low, ones + 1 + bits);
            }
        }
        self.writer.write(0b11110, 5);
        self.writer.write(change as u64, 64);
    }

    fn write_value(&mut self, value: f64) {
        if is_stale_nan(value) {
            return self.writer.write(0b111, 3);
        }
        match value.to_bits() ^ self.last_bits {
            0 => self.writer.write(0, 1),
            change => self.write_change(change, (0b10, 2), (0b110, 3)),
        }
    }

    /// Writes a change behind the mark of the window before or that of a new one: bits and their
    /// number.
    fn write_change(&mut self, change: u64, same: (u64, u32), new: (u64, u32)) {
        self.last_bits ^= change;
        match self.window.next(Window::of(change)) {
            None => self.writer.write(same.0, same.1),
            Some(window) => {
                self.window = window;
                self.writer.write(new.0, new.1);
                self.writer
                    .write(window.description(), Window::DESCRIPTION_BITS);
            }
        }
        let window = self.window;
        self.writer
            .write(change >> window.trailing, window.length());
    }
}

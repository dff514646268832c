//! Prometheus's XOR encoding of float samples.
//!
//! A chunk is its sample count in two bytes, most significant first, then a stream of bits:
//!
//! - first sample: time as a zigzag varint, value as 64 bits;
//! - second: its time less the first as an unsigned varint, then the value's change;
//! - others: how much the distance in time changed, as `0` for not at all, `10` and 14 bits, `110`
//!   and 17 bits, `1110` and 20 bits, or `1111` and 64 bits, then the value's change.
//!
//! A value's change is its bits XOR those before: `0` for none; `10` and the bits of the window
//! that the change before lay in; `11`, five bits of leading zeros, six bits of length (0 stands for
//! 64) and that many bits, which are the new window.
//!
//! Times and distances wrap around, so that every pair of timestamps can be written.

use std::sync::Arc;

use super::bits::{BitReader, BitWriter};

/// Why bytes are no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("the chunk ends inside a sample")]
    TooShort,
    #[error("the chunk has no samples")]
    Empty,
    #[error("the chunk's value window is impossible")]
    Window,
    #[error("the chunk's timestamps do not rise")]
    NotRising,
}

/// Decodes a whole chunk into the two columns, whose former content is dropped.
pub(crate) fn decode(
    chunk: &[u8],
    timestamps_ms: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    timestamps_ms.clear();
    values.clear();
    let mut decoder = Decoder::new(chunk)?;
    timestamps_ms.reserve(usize::from(decoder.count));
    values.reserve(usize::from(decoder.count));
    while decoder.advance()? {
        timestamps_ms.push(decoder.state.last_ms);
        values.push(f64::from_bits(decoder.state.last_bits));
    }
    Ok(())
}

/// Writes one chunk, sample by sample.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Without the count, which is put before it where the chunk is taken out.
    writer: BitWriter,
    count: u16,
    state: State,
}

impl Encoder {
    /// Continues a chunk from its bytes; also gives the time of its first sample.
    pub(crate) fn reopen(chunk: &[u8]) -> Result<(Self, i64), ChunkError> {
        let mut decoder = Decoder::new(chunk)?;
        let mut start_ms = None;
        while decoder.advance_rising()? {
            start_ms.get_or_insert(decoder.state.last_ms);
        }
        let start_ms = start_ms.ok_or(ChunkError::Empty)?;
        let stream = chunk.get(COUNT_BYTES..).unwrap_or_default();
        let encoder = Encoder {
            writer: BitWriter::resume(stream, decoder.reader.position_bits()),
            count: decoder.count,
            state: decoder.state,
        };
        Ok((encoder, start_ms))
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.state.last_ms
    }

    pub(crate) fn last_bits(&self) -> u64 {
        self.state.last_bits
    }

    /// Forgets the samples and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.writer.clear();
        self.count = 0;
        self.state = State::default();
    }

    pub(crate) fn bytes(&self) -> Arc<[u8]> {
        let count = self.count.to_be_bytes().into_iter();
        count.chain(self.writer.bytes()).collect()
    }

    pub(crate) fn push(&mut self, timestamp_ms: i64, value_bits: u64) {
        let distance = timestamp_ms.wrapping_sub(self.state.last_ms) as u64;
        match self.count {
            0 => {
                self.writer.write_varint(timestamp_ms);
                self.writer.write(value_bits, 64);
            }
            1 => {
                self.writer.write_unsigned_varint(distance);
                self.write_change(value_bits ^ self.state.last_bits);
                self.state.distance = distance;
            }
            _ => {
                self.write_distance_change(distance.wrapping_sub(self.state.distance) as i64);
                self.write_change(value_bits ^ self.state.last_bits);
                self.state.distance = distance;
            }
        }
        self.state.last_ms = timestamp_ms;
        self.state.last_bits = value_bits;
        self.count += 1;
    }

    fn write_distance_change(&mut self, change: i64) {
        if change == 0 {
            return self.writer.write(0, 1);
        }
        for (ones, bits) in DISTANCE_BITS {
            let highest = 1i64 << (bits - 1);
            if (1 - highest..=highest).contains(&change) {
                let prefix = (1u64 << ones) - 1;
                let low = change as u64 & ((1 << bits) - 1);
                return self
                    .writer
                    .write(prefix << 1 << bits | low, ones + 1 + bits);
            }
        }
        self.writer.write(0b1111, 4);
        self.writer.write(change as u64, 64);
    }

    fn write_change(&mut self, change: u64) {
        if change == 0 {
            return self.writer.write(0, 1);
        }
        let leading = change.leading_zeros().min(MAX_LEADING);
        let trailing = change.trailing_zeros();
        if let Some(window) = self.state.window
            && leading >= window.leading
            && trailing >= window.trailing
        {
            self.writer.write(0b10, 2);
            self.writer
                .write(change >> window.trailing, window.length());
            return;
        }
        let window = Window { leading, trailing };
        self.state.window = Some(window);
        self.writer.write(
            0b11 << 11 | u64::from(leading) << 6 | u64::from(window.length() & 63),
            13,
        );
        self.writer.write(change >> trailing, window.length());
    }
}

const COUNT_BYTES: usize = 2;

/// What five bits can say.
const MAX_LEADING: u32 = 31;

/// Ones in the prefix (a zero follows them) and bits of the number after it.
const DISTANCE_BITS: [(u32, u32); 3] = [(1, 14), (2, 17), (3, 20)];

/// What the next sample is written relative to.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    last_ms: i64,
    last_bits: u64,
    distance: u64,
    window: Option<Window>,
}

/// Where in the 64 bits the last written change lay.
#[derive(Clone, Copy, Debug)]
struct Window {
    leading: u32,
    trailing: u32,
}

impl Window {
    fn length(self) -> u32 {
        64 - self.leading - self.trailing
    }
}

struct Decoder<'a> {
    reader: BitReader<'a>,
    count: u16,
    read: u16,
    state: State,
}

impl<'a> Decoder<'a> {
    fn new(chunk: &'a [u8]) -> Result<Self, ChunkError> {
        let (count, stream) = chunk.split_first_chunk().ok_or(ChunkError::TooShort)?;
        Ok(Decoder {
            reader: BitReader::new(stream),
            count: u16::from_be_bytes(*count),
            read: 0,
            state: State::default(),
        })
    }

    /// Reads the next sample into `state`; false after the last.
    #[inline]
    fn advance(&mut self) -> Result<bool, ChunkError> {
        if self.read == self.count {
            return Ok(false);
        }
        match self.read {
            0 => self.read_first()?,
            1 => {
                let distance = self.reader.read_unsigned_varint();
                self.state.distance = distance.ok_or(ChunkError::TooShort)?;
                self.step()?;
            }
            _ => {
                let change = self.read_distance_change().ok_or(ChunkError::TooShort)?;
                self.state.distance = self.state.distance.wrapping_add(change as u64);
                self.step()?;
            }
        }
        self.read += 1;
        Ok(true)
    }

    /// As `advance`, for bytes that come from outside.
    fn advance_rising(&mut self) -> Result<bool, ChunkError> {
        let (before_ms, is_first) = (self.state.last_ms, self.read == 0);
        let more = self.advance()?;
        if more && !is_first && self.state.last_ms <= before_ms {
            return Err(ChunkError::NotRising);
        }
        Ok(more)
    }

    fn read_first(&mut self) -> Result<(), ChunkError> {
        let time = self.reader.read_varint();
        self.state.last_ms = time.ok_or(ChunkError::TooShort)?;
        self.state.last_bits = self.reader.read(64).ok_or(ChunkError::TooShort)?;
        Ok(())
    }

    #[inline]
    fn step(&mut self) -> Result<(), ChunkError> {
        let distance = self.state.distance as i64;
        self.state.last_ms = self.state.last_ms.wrapping_add(distance);
        self.state.last_bits ^= self.read_change()?;
        Ok(())
    }

    #[inline]
    fn read_distance_change(&mut self) -> Option<i64> {
        let ones = self.reader.peek().leading_ones();
        if ones == 0 {
            self.reader.skip(1)?;
            return Some(0);
        }
        let Some((_, bits)) = DISTANCE_BITS.iter().find(|(prefix, _)| *prefix == ones) else {
            self.reader.skip(4)?;
            return Some(self.reader.read(64)? as i64);
        };
        self.reader.skip(ones + 1)?;
        let number = self.reader.read(*bits)? as i64;
        let highest = 1i64 << (bits - 1);
        Some(if number > highest {
            number - 2 * highest
        } else {
            number
        })
    }

    #[inline]
    fn read_change(&mut self) -> Result<u64, ChunkError> {
        let next = self.reader.peek();
        if next >> 63 == 0 {
            self.reader.skip(1).ok_or(ChunkError::TooShort)?;
            return Ok(0);
        }
        let window = if next >> 62 == 0b10 {
            self.reader.skip(2).ok_or(ChunkError::TooShort)?;
            self.state.window.ok_or(ChunkError::Window)?
        } else {
            self.reader.skip(13).ok_or(ChunkError::TooShort)?;
            let leading = (next >> 57) as u32 & 31;
            let length = match (next >> 51) as u32 & 63 {
                0 => 64,
                length => length,
            };
            let trailing = 64u32.checked_sub(leading + length);
            let trailing = trailing.ok_or(ChunkError::Window)?;
            Window { leading, trailing }
        };
        self.state.window = Some(window);
        let bits = self.reader.read(window.length());
        Ok(bits.ok_or(ChunkError::TooShort)? << window.trailing)
    }
}

#[cfg(test)]
mod tests {
    use narthex_model::STALE_NAN;
    use proptest::prelude::*;

    use super::*;

    fn encode(samples: &[(i64, u64)]) -> Arc<[u8]> {
        let mut encoder = Encoder::default();
        for (timestamp_ms, bits) in samples {
            encoder.push(*timestamp_ms, *bits);
        }
        encoder.bytes()
    }

    fn decoded(chunk: &[u8]) -> Result<Vec<(i64, u64)>, ChunkError> {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        decode(chunk, &mut times, &mut values)?;
        Ok(times
            .into_iter()
            .zip(values.iter().map(|v| v.to_bits()))
            .collect())
    }

    /// Every kind of bits: ordinary numbers, integers, infinities, NaNs of any payload.
    fn value_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            any::<f64>().prop_map(f64::to_bits),
            (-1000i32..1000).prop_map(|v| f64::from(v).to_bits()),
            Just(STALE_NAN.to_bits()),
            (0u64..1 << 52).prop_map(|payload| 0x7ff0_0000_0000_0000 | payload),
            Just((-0.0f64).to_bits()),
        ]
    }

    fn timestamps() -> impl Strategy<Value = Vec<i64>> {
        let extremes = prop::collection::vec(
            prop_oneof![
                any::<i64>(),
                Just(i64::MIN),
                Just(i64::MAX),
                -20_000i64..20_000
            ],
            0..120,
        );
        let regular = (
            any::<i32>(),
            prop::collection::vec(14_000i64..1_100_000, 0..120),
        )
            .prop_map(|(start, steps)| {
                let mut now = i64::from(start);
                let step = |step: i64| {
                    now += step;
                    now
                };
                steps.into_iter().map(step).collect()
            });
        prop_oneof![extremes, regular].prop_map(|mut times: Vec<i64>| {
            times.sort_unstable();
            times.dedup();
            times
        })
    }

    fn samples() -> impl Strategy<Value = Vec<(i64, u64)>> {
        timestamps().prop_flat_map(|times| {
            let count = times.len();
            prop::collection::vec(value_bits(), count)
                .prop_map(move |values| times.clone().into_iter().zip(values).collect())
        })
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded(samples in samples()) {
            prop_assert_eq!(decoded(&encode(&samples)), Ok(samples));
        }

        #[test]
        fn reopened_anywhere_it_goes_on_the_same(samples in samples(), at in 1usize..120) {
            prop_assume!(!samples.is_empty());
            let at = at.min(samples.len());
            let (mut encoder, start_ms) = Encoder::reopen(&encode(&samples[..at])).unwrap();
            prop_assert_eq!(start_ms, samples[0].0);
            for (timestamp_ms, bits) in &samples[at..] {
                encoder.push(*timestamp_ms, *bits);
            }
            prop_assert_eq!(encoder.bytes(), encode(&samples));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
            let _ = Encoder::reopen(&bytes);
        }

        #[test]
        fn a_cut_chunk_is_refused(samples in samples(), cut in 1usize..50) {
            prop_assume!(!samples.is_empty());
            let bytes = encode(&samples);
            let kept = bytes.len().saturating_sub(cut);
            prop_assert_eq!(decoded(&bytes[..kept]), Err(ChunkError::TooShort));
        }
    }

    #[test]
    fn every_prefix_of_the_distance_is_used_at_its_borders() {
        for change in [
            1,
            -1,
            8192,
            -8191,
            8193,
            -8192,
            65536,
            -65535,
            65537,
            -65536,
            524_288,
            -524_287,
            524_289,
            -524_288,
            1 << 40,
        ] {
            let step = 1i64 << 41;
            let times = [0, step, 2 * step + change, 3 * step + 2 * change];
            let samples: Vec<(i64, u64)> = times.iter().map(|t| (*t, 0)).collect();
            assert_eq!(decoded(&encode(&samples)), Ok(samples), "{change}");
        }
    }

    /// The bytes were worked out by hand from the description of the encoding.
    #[test]
    fn the_bytes_are_prometheus_s() {
        let bytes = encode(&[
            (1000, 1.0f64.to_bits()),
            (2000, 1.0f64.to_bits()),
            (3000, 2.0f64.to_bits()),
        ]);
        let expected = [
            0,
            3, // count
            0xd0,
            0x0f, // 1000 zigzagged
            0x3f,
            0xf0,
            0,
            0,
            0,
            0,
            0,
            0, // 1.0
            0xe8,
            0x07, // 1000
            // `0` value unchanged; `0` distance unchanged; `11`, 1 leading zero, 11 bits, all ones
            0b0011_0000,
            0b1001_0111,
            0b1111_1111,
            0b1100_0000,
        ];
        assert_eq!(*bytes, expected);
    }

    /// Chunks that Prometheus wrote: a file's header, then each with its length as a varint, the
    /// number of its encoding, its bytes and a checksum.
    #[test]
    fn prometheus_s_chunks_are_read_and_written_alike() {
        let Ok(folder) = std::env::var("CONFORMANCE_DIR") else {
            println!("skipped: CONFORMANCE_DIR is not set");
            return;
        };
        let file = std::path::Path::new(&folder).join("tsdb/index_format_v1/chunks/000001");
        let file = std::fs::read(file).unwrap();
        let mut rest = &file[8..];
        let mut chunks = 0;
        while !rest.is_empty() {
            let mut reader = BitReader::new(rest);
            let length = reader.read_unsigned_varint().unwrap() as usize;
            let start = reader.position_bits() / 8 + 1;
            assert_eq!(rest[start - 1], 1, "not the XOR encoding");
            let chunk = &rest[start..start + length];
            let samples = decoded(chunk).unwrap();
            assert!(!samples.is_empty());
            // Old versions left a byte without bits at the end.
            let tail = chunk.strip_prefix(&*encode(&samples));
            assert!(tail.is_some_and(|tail| tail.iter().all(|byte| *byte == 0)));
            rest = &rest[start + length + 4..];
            chunks += 1;
        }
        assert!(chunks > 0);
    }

    #[test]
    fn a_chunk_that_does_not_rise_is_not_reopened() {
        let bytes = encode(&[(5, 0), (5, 0)]);
        assert_eq!(Encoder::reopen(&bytes).err(), Some(ChunkError::NotRising));
        assert_eq!(Encoder::reopen(&[0, 0]).err(), Some(ChunkError::Empty));
    }
}

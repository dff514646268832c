//! Writing and reading bit by bit, most significant bit first.

/// Bits appended to bytes, eight bytes at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// What comes after `bytes`, leftmost; the unused bits are zero.
    pending: u64,
    /// Fewer than 64.
    pending_bits: u32,
}

impl BitWriter {
    /// Writes behind `bytes`.
    pub(crate) fn behind(bytes: Vec<u8>) -> Self {
        BitWriter {
            bytes,
            ..BitWriter::default()
        }
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() + self.pending_bits.div_ceil(8) as usize
    }

    /// What was written; the unused bits of the last byte are zero.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let (tail, used) = self.tail();
        self.bytes.extend(tail.iter().take(used));
        self.bytes
    }

    /// Appends what was written to `out`, as [`BitWriter::finish`] gives it.
    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) {
        let (tail, used) = self.tail();
        out.extend_from_slice(&self.bytes);
        out.extend(tail.iter().take(used));
    }

    fn tail(&self) -> ([u8; 8], usize) {
        let used = self.pending_bits.div_ceil(8) as usize;
        (self.pending.to_be_bytes(), used)
    }

    /// Writes the low `count` bits of `value`; `count` is at most 64.
    #[inline]
    pub(crate) fn write(&mut self, value: u64, count: u32) {
        let BitWriter {
            bytes,
            pending,
            pending_bits,
        } = self;
        push_bits(pending, pending_bits, value, count, &mut |word| {
            bytes.extend_from_slice(&word);
        });
    }

    pub(crate) fn write_byte(&mut self, byte: u8) {
        self.write(u64::from(byte), 8);
    }
}

/// Puts the low `count` bits of `value` behind the `pending_bits` leftmost ones of `pending`. Eight
/// bytes are given to `spill` whenever they are full.
#[inline]
pub(crate) fn push_bits(
    pending: &mut u64,
    pending_bits: &mut u32,
    value: u64,
    count: u32,
    spill: &mut impl FnMut([u8; 8]),
) {
    // To the left end; nothing if there is nothing to write.
    let value = value.checked_shl(64 - count).unwrap_or(0);
    *pending |= value >> *pending_bits;
    *pending_bits += count;
    if *pending_bits >= 64 {
        spill(pending.to_be_bytes());
        *pending_bits -= 64;
        let written = count - *pending_bits;
        *pending = value.checked_shl(written).unwrap_or(0);
    }
}

/// Calls `write` with the bytes of an unsigned varint.
pub(crate) fn unsigned_varint_bytes(mut value: u64, mut write: impl FnMut(u8)) {
    while value >= 0x80 {
        write(value as u8 | 0x80);
        value >>= 7;
    }
    write(value as u8);
}

/// Calls `write` with the bytes of a signed (zigzag) varint.
pub(crate) fn varint_bytes(value: i64, write: impl FnMut(u8)) {
    unsigned_varint_bytes(((value << 1) ^ (value >> 63)) as u64, write);
}

/// Bits read from bytes. Behind the end there are zeros; who reads asks [`BitReader::overran`]
/// before the result is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The last eight bytes, or all and zeros to the left of them.
    last_word: u64,
    position_bits: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let last = bytes.get(bytes.len().saturating_sub(8)..);
        let last = last.unwrap_or_default().iter();
        BitReader {
            bytes,
            last_word: last.fold(0, |word, byte| word << 8 | u64::from(*byte)),
            position_bits: 0,
        }
    }

    #[inline]
    pub(crate) fn position_bits(&self) -> usize {
        self.position_bits
    }

    pub(crate) fn remaining_bits(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.position_bits)
    }

    /// Whether more was read than there is.
    #[inline]
    pub(crate) fn overran(&self) -> bool {
        self.position_bits > self.bytes.len() * 8
    }

    /// The next bits, leftmost; at least 57 of them are valid.
    #[inline]
    pub(crate) fn peek(&self) -> u64 {
        let at = self.position_bits / 8;
        let word = match self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(word) => u64::from_be_bytes(*word),
            None => {
                let missing_bytes = (at + 8).saturating_sub(self.bytes.len()).min(8) as u32;
                self.last_word.checked_shl(8 * missing_bytes).unwrap_or(0)
            }
        };
        word << (self.position_bits % 8)
    }

    #[inline]
    pub(crate) fn skip(&mut self, count: u32) {
        self.position_bits += count as usize;
    }

    /// Reads `count` bits; `count` is at most 64.
    #[inline]
    pub(crate) fn read(&mut self, count: u32) -> u64 {
        if count > 56 {
            let high = self.read(count - 32);
            return high << 32 | self.read(32);
        }
        let value = self.peek().checked_shr(64 - count).unwrap_or(0);
        self.skip(count);
        value
    }

    /// A varint of more than ten bytes is none: the reader has overrun then.
    pub(crate) fn read_unsigned_varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.read(8);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        self.position_bits = self.bytes.len() * 8 + 1;
        value
    }

    pub(crate) fn read_varint(&mut self) -> i64 {
        let value = self.read_unsigned_varint();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_was_written(parts in prop::collection::vec((any::<u64>(), 0u32..=64), 0..60)) {
            let low = |value: u64, count: u32| value & 1u64.checked_shl(count).unwrap_or(0).wrapping_sub(1);
            let mut writer = BitWriter::default();
            for (value, count) in &parts {
                writer.write(*value, *count);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (value, count) in &parts {
                prop_assert_eq!(reader.read(*count), low(*value, *count));
                prop_assert!(!reader.overran());
            }
            prop_assert!(reader.remaining_bits() < 8);
            reader.read(8);
            prop_assert!(reader.overran());
        }

        #[test]
        fn varints_round(signed: i64, unsigned: u64, lead in 0u32..8) {
            let mut writer = BitWriter::default();
            writer.write(0, lead);
            varint_bytes(signed, |byte| writer.write_byte(byte));
            unsigned_varint_bytes(unsigned, |byte| writer.write_byte(byte));
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            reader.skip(lead);
            prop_assert_eq!(reader.read_varint(), signed);
            prop_assert_eq!(reader.read_unsigned_varint(), unsigned);
        }

        #[test]
        fn a_varint_without_end_is_refused(lead in 0u32..8) {
            let mut reader = BitReader::new(&[0xff; 30]);
            reader.skip(lead);
            reader.read_unsigned_varint();
            prop_assert!(reader.overran());
        }

        #[test]
        fn peeking_sees_57_bits_and_zeros_behind_the_end(
            bytes in prop::collection::vec(any::<u8>(), 0..20),
            at in 0usize..200,
        ) {
            let mut reader = BitReader::new(&bytes);
            reader.position_bits = at;
            let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
            for offset in 0..57 {
                prop_assert_eq!(reader.peek() >> (63 - offset) & 1 == 1, bit(at + offset));
            }
        }
    }
}

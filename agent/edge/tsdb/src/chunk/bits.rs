//! Writing and reading bit by bit, most significant bit first.

/// Bits appended to bytes; the unused bits of the last byte are zero.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Of the last byte.
    unused_bits: u32,
}

impl BitWriter {
    /// Continues after the first `bits` of `bytes`.
    pub(crate) fn resume(bytes: &[u8], bits: usize) -> Self {
        let used = bits.div_ceil(8);
        let mut bytes = bytes.get(..used).unwrap_or(bytes).to_vec();
        let unused_bits = (used * 8 - bits) as u32;
        if let Some(last) = bytes.last_mut() {
            *last = *last >> unused_bits << unused_bits;
        }
        BitWriter { bytes, unused_bits }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.unused_bits = 0;
    }

    /// Writes the low `count` bits of `value`; `count` is at most 64.
    pub(crate) fn write(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.unused_bits == 0 {
                self.bytes.push(0);
                self.unused_bits = 8;
            }
            let taken = left.min(self.unused_bits);
            left -= taken;
            self.unused_bits -= taken;
            let part = (value >> left) as u8 & (0xff >> (8 - taken));
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << self.unused_bits;
            }
        }
    }

    pub(crate) fn write_unsigned_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.write(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.write(value, 8);
    }

    pub(crate) fn write_varint(&mut self, value: i64) {
        self.write_unsigned_varint(((value << 1) ^ (value >> 63)) as u64);
    }
}

/// Bits read from bytes. Reading past the end gives `None`.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position_bits: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        BitReader {
            bytes,
            position_bits: 0,
        }
    }

    pub(crate) fn position_bits(&self) -> usize {
        self.position_bits
    }

    /// Reads `count` bits; `count` is at most 64.
    #[inline]
    pub(crate) fn read(&mut self, count: u32) -> Option<u64> {
        if count > 56 {
            let high = self.read(count - 32)?;
            return Some(high << 32 | self.read(32)?);
        }
        let value = self.peek().checked_shr(64 - count).unwrap_or(0);
        self.skip(count)?;
        Some(value)
    }

    /// The next bits, leftmost; at least 57 of them are valid, zeros follow the end.
    #[inline]
    pub(crate) fn peek(&self) -> u64 {
        let at = self.position_bits / 8;
        let word = match self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(word) => *word,
            None => self.last_word(at),
        };
        u64::from_be_bytes(word) << (self.position_bits % 8)
    }

    #[inline]
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        let end = self.position_bits + count as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        self.position_bits = end;
        Some(())
    }

    pub(crate) fn read_unsigned_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.read(8)?;
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn read_varint(&mut self) -> Option<i64> {
        let value = self.read_unsigned_varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    #[cold]
    fn last_word(&self, at: usize) -> [u8; 8] {
        let mut word = [0; 8];
        let rest = self.bytes.get(at..).unwrap_or_default();
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        word
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
            let mut reader = BitReader::new(writer.bytes());
            for (value, count) in &parts {
                prop_assert_eq!(reader.read(*count), Some(low(*value, *count)));
            }
            prop_assert!(reader.read(8).is_none());
        }

        #[test]
        fn varints_round(signed: i64, unsigned: u64, lead in 0u32..8) {
            let mut writer = BitWriter::default();
            writer.write(0, lead);
            writer.write_varint(signed);
            writer.write_unsigned_varint(unsigned);
            let mut reader = BitReader::new(writer.bytes());
            reader.skip(lead);
            prop_assert_eq!(reader.read_varint(), Some(signed));
            prop_assert_eq!(reader.read_unsigned_varint(), Some(unsigned));
        }

        #[test]
        fn resumes_anywhere(bits in prop::collection::vec(any::<bool>(), 1..100), at in 0usize..100) {
            let at = at.min(bits.len());
            let mut whole = BitWriter::default();
            for bit in &bits {
                whole.write(u64::from(*bit), 1);
            }
            let mut resumed = BitWriter::resume(whole.bytes(), at);
            for bit in &bits[at..] {
                resumed.write(u64::from(*bit), 1);
            }
            prop_assert_eq!(resumed.bytes(), whole.bytes());
        }
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        assert_eq!(BitReader::new(&[0xff; 20]).read_unsigned_varint(), None);
        assert_eq!(BitReader::new(&[0xff; 3]).read_unsigned_varint(), None);
    }
}

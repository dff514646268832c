//! Writing and reading bit by bit, most significant bit first.

/// Bits appended to bytes. The last ones are held back, so that a series that changes little
/// touches its buffer seldom.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// What comes after `bytes`, leftmost; the unused bits are zero.
    pending: u64,
    /// Fewer than 64.
    pending_bits: u32,
}

impl BitWriter {
    /// Continues after the first `bits` of `bytes`.
    pub(crate) fn resume(bytes: &[u8], bits: usize) -> Self {
        let whole = bytes.get(..bits / 8).unwrap_or(bytes);
        let pending_bits = (bits % 8) as u32;
        let part = bytes.get(bits / 8).map_or(0, |byte| u64::from(*byte) << 56);
        BitWriter {
            bytes: whole.to_vec(),
            pending: part & !(u64::MAX >> pending_bits),
            pending_bits,
        }
    }

    /// What was written; the unused bits of the last byte are zero.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        let pending_bytes = self.pending_bits.div_ceil(8) as usize;
        let pending = self.pending.to_be_bytes().into_iter().take(pending_bytes);
        self.bytes.iter().copied().chain(pending)
    }

    /// Forgets what was written and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.pending = 0;
        self.pending_bits = 0;
    }

    /// Writes the low `count` bits of `value`; `count` is at most 64.
    #[inline]
    pub(crate) fn write(&mut self, value: u64, count: u32) {
        // To the left end; nothing if there is nothing to write.
        let value = value.checked_shl(64 - count).unwrap_or(0);
        self.pending |= value >> self.pending_bits;
        self.pending_bits += count;
        if self.pending_bits >= 64 {
            self.bytes.extend_from_slice(&self.pending.to_be_bytes());
            self.pending_bits -= 64;
            let written = count - self.pending_bits;
            self.pending = value.checked_shl(written).unwrap_or(0);
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
            let bytes: Vec<u8> = writer.bytes().collect();
            let mut reader = BitReader::new(&bytes);
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
            let bytes: Vec<u8> = writer.bytes().collect();
            let mut reader = BitReader::new(&bytes);
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
            let bytes: Vec<u8> = whole.bytes().collect();
            let mut resumed = BitWriter::resume(&bytes, at);
            for bit in &bits[at..] {
                resumed.write(u64::from(*bit), 1);
            }
            prop_assert_eq!(resumed.bytes().collect::<Vec<_>>(), bytes);
        }
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        assert_eq!(BitReader::new(&[0xff; 20]).read_unsigned_varint(), None);
        assert_eq!(BitReader::new(&[0xff; 3]).read_unsigned_varint(), None);
    }
}

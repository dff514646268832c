//! Reading and writing the primitive values that all files of a block are made of: big-endian
//! numbers, variable-length numbers, strings with their length, sections with their checksum.

use crate::{Part, ReadError};

pub(crate) const CHECKSUM_BYTES: usize = 4;

/// Reads a file's bytes from `at` up to `end`. Nothing beyond `end` is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    part: Part,
}

impl<'a> Cursor<'a> {
    /// Fails if the range is not within the bytes.
    pub(crate) fn new(
        bytes: &'a [u8],
        at: usize,
        end: usize,
        part: Part,
    ) -> Result<Self, ReadError> {
        if at > end || end > bytes.len() {
            return Err(ReadError::OutOfBounds {
                part,
                offset: at.max(bytes.len()) as u64,
            });
        }
        Ok(Cursor {
            bytes,
            at,
            end,
            part,
        })
    }

    /// What follows the magic number that a file begins with.
    pub(crate) fn after_magic(bytes: &'a [u8], part: Part, magic: u32) -> Result<Self, ReadError> {
        if bytes.is_empty() {
            return Err(ReadError::Empty(part));
        }
        let mut cursor = Cursor::new(bytes, 0, bytes.len(), part)?;
        match cursor.u32()? {
            found if found == magic => Ok(cursor),
            found => Err(ReadError::WrongMagic {
                part,
                found,
                expected: magic,
            }),
        }
    }

    /// The body of a section: u32 length, body, CRC of the body.
    pub(crate) fn section(bytes: &'a [u8], offset: u64, part: Part) -> Result<Self, ReadError> {
        let out_of_bounds = ReadError::OutOfBounds { part, offset };
        let at = usize::try_from(offset).map_err(|_| out_of_bounds)?;
        let mut whole = Cursor::new(bytes, at, bytes.len(), part).map_err(|_| out_of_bounds)?;
        let length = whole.u32()? as usize;
        let start = whole.at;
        let body = whole.take(length)?;
        if whole.u32()? != crc32c::crc32c(body) {
            return Err(ReadError::Checksum { part, offset });
        }
        Cursor::new(bytes, start, start + body.len(), part)
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    pub(crate) fn truncated(&self) -> ReadError {
        ReadError::Truncated {
            part: self.part,
            offset: self.at as u64,
        }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            part: self.part,
            offset: self.at as u64,
            what,
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let taken = self.rest().get(..length).ok_or_else(|| self.truncated())?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let first = self.rest().first_chunk::<N>();
        let array = *first.ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ReadError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, ReadError> {
        match self.rest() {
            [a, ..] if *a < 0x80 => {
                self.at += 1;
                Ok(u64::from(*a))
            }
            [a, b, ..] if *b < 0x80 => {
                self.at += 2;
                Ok(u64::from(*b) << 7 | u64::from(*a & 0x7f))
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Result<u64, ReadError> {
        let rest = self.rest();
        let mut value = 0u64;
        for (index, &byte) in rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        if rest.len() < 10 {
            return Err(self.truncated());
        }
        Err(self.malformed("a number has more than 64 bits"))
    }

    #[inline]
    pub(crate) fn uvarint_u32(&mut self) -> Result<u32, ReadError> {
        let before = *self;
        u32::try_from(self.uvarint()?)
            .map_err(|_| before.malformed("a number has more than 32 bits"))
    }

    /// Zigzag, as Go's `Varint`.
    pub(crate) fn varint(&mut self) -> Result<i64, ReadError> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A length and as many bytes.
    pub(crate) fn string_bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = self.uvarint()?;
        let length = usize::try_from(length).map_err(|_| self.truncated())?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, ReadError> {
        let bytes = self.string_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8 {
            part: self.part,
            offset: (self.at - bytes.len()) as u64,
        })
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes that [`put_uvarint`] takes.
pub(crate) fn uvarint_bytes(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor(bytes: &[u8]) -> Cursor<'_> {
        Cursor::new(bytes, 0, bytes.len(), Part::Chunk).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64, shift in 0u32..64) {
            let (unsigned, signed) = (unsigned >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, unsigned);
            prop_assert_eq!(bytes.len() as u64, uvarint_bytes(unsigned));
            put_varint(&mut bytes, signed);
            put_string(&mut bytes, "häm");
            let mut cursor = cursor(&bytes);
            prop_assert_eq!(cursor.uvarint(), Ok(unsigned));
            prop_assert_eq!(cursor.varint(), Ok(signed));
            prop_assert_eq!(cursor.string(), Ok("häm"));
            prop_assert!(cursor.is_empty());
        }
    }

    #[test]
    fn wrong_numbers_are_named() {
        let truncated = ReadError::Truncated {
            part: Part::Chunk,
            offset: 0,
        };
        let too_long = |what| ReadError::Malformed {
            part: Part::Chunk,
            offset: 0,
            what,
        };
        assert_eq!(cursor(&[]).uvarint(), Err(truncated));
        assert_eq!(cursor(&[0x80; 9]).uvarint(), Err(truncated));
        let more_than_64 = too_long("a number has more than 64 bits");
        assert_eq!(cursor(&[0xff; 10]).uvarint(), Err(more_than_64));
        let mut eleven_bytes = [0x80; 11];
        eleven_bytes[10] = 1;
        assert_eq!(cursor(&eleven_bytes).uvarint(), Err(more_than_64));
        let mut bytes = Vec::new();
        put_uvarint(&mut bytes, 1 << 32);
        let more_than_32 = too_long("a number has more than 32 bits");
        assert_eq!(cursor(&bytes).uvarint_u32(), Err(more_than_32));
    }
}

//! Numbers as bytes: variable-length ones, and a reader that never reads past the end.

use crate::DamagedRecord;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Length, then bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign as small ones without.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where `bytes` began, counted from the start of the record.
    origin: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            bytes,
            origin: 0,
            at: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn offset(&self) -> usize {
        self.origin + self.at
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn damaged(&self, reason: &'static str) -> DamagedRecord {
        DamagedRecord {
            offset: self.offset(),
            reason,
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DamagedRecord> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or_else(|| self.damaged("it ends too early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DamagedRecord> {
        let taken = self.rest().get(..length);
        let taken = taken.ok_or_else(|| self.damaged("it ends too early"))?;
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DamagedRecord> {
        let array = self.rest().first_chunk().copied();
        let array = array.ok_or_else(|| self.damaged("it ends too early"))?;
        self.at += N;
        Ok(array)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DamagedRecord> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number has too many bytes"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DamagedRecord> {
        Ok(unzigzag(self.varint()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DamagedRecord> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.damaged("a number is too large"))
    }

    /// A number of things that take at least `each_bytes` here, so that no memory is asked for
    /// on the word of a damaged record.
    pub(crate) fn count(&mut self, each_bytes: usize) -> Result<usize, DamagedRecord> {
        let count = self.varint()?;
        let most = self.rest().len() / each_bytes.max(1);
        let count = usize::try_from(count).ok().filter(|count| *count <= most);
        count.ok_or_else(|| self.damaged("it counts more than it can hold"))
    }

    /// Length, then so many bytes, to be read on their own.
    pub(crate) fn part(&mut self) -> Result<Reader<'a>, DamagedRecord> {
        let length = self.count(1)?;
        self.sub(length)
    }

    /// The next so many bytes, to be read on their own.
    pub(crate) fn sub(&mut self, length: usize) -> Result<Reader<'a>, DamagedRecord> {
        let origin = self.offset();
        let bytes = self.take(length)?;
        Ok(Reader {
            bytes,
            origin,
            at: 0,
        })
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DamagedRecord> {
        let part = self.part()?;
        str::from_utf8(part.bytes).map_err(|_| part.damaged("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, -1, 63, -64, 64, 1 << 40, i64::MAX, i64::MIN];
        let mut out = Vec::new();
        for number in numbers {
            put_signed(&mut out, number);
            put_varint(&mut out, number as u64);
        }
        let mut reader = Reader::new(&out);
        for number in numbers {
            assert_eq!(reader.signed().unwrap(), number);
            assert_eq!(reader.varint().unwrap(), number as u64);
        }
        assert!(reader.is_empty());
        assert_eq!(reader.byte().unwrap_err().offset, out.len());
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        assert!(Reader::new(&[5, b'a']).text().is_err());
        assert!(Reader::new(&[1, 0xff]).text().is_err());
        assert!(Reader::new(&[9, 1, 1]).count(1).is_err());
    }
}

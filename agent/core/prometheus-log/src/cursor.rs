//! Reading numbers and texts off the front of a record.

/// Why an entry of a record cannot be used. After the first two, the rest of the record cannot be
/// read either, and its iterator ends; the others cost one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("byte {offset} of the record: it ends within an entry")]
    Cut { offset: usize },
    #[error("byte {offset} of the record: the number is out of range")]
    Number { offset: usize },
    #[error("series {series}: text that is not UTF-8")]
    NotUtf8 { series: u64 },
    #[error("series {series}: no labels")]
    NoLabels { series: u64 },
    #[error("series {series}: histogram of the unknown schema {schema}")]
    UnknownSchema { series: u64, schema: i64 },
    #[error("series {series}: histogram whose {reason}")]
    InvalidHistogram { series: u64, reason: &'static str },
}

impl RecordError {
    /// Whether the place of the next entry is unknown.
    pub fn ends_record(&self) -> bool {
        matches!(self, RecordError::Cut { .. } | RecordError::Number { .. })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor {
            rest: bytes,
            length: bytes.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Leaves nothing to read.
    pub(crate) fn close(&mut self) {
        self.rest = &[];
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.cut())?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn big_endian(&mut self) -> Result<u64, RecordError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<8>()
            .ok_or_else(|| self.cut())?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    pub(crate) fn float(&mut self) -> Result<f64, RecordError> {
        Ok(f64::from_bits(self.big_endian()?))
    }

    /// Seven bits a byte, the lowest first; at most ten bytes.
    pub(crate) fn unsigned(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && byte > 1 {
                return Err(self.number());
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                self.rest = self.rest.get(at + 1..).unwrap_or(&[]);
                return Ok(number);
            }
        }
        match self.rest.len() {
            0..10 => Err(self.cut()),
            _ => Err(self.number()),
        }
    }

    /// The sign is in the lowest bit.
    pub(crate) fn signed(&mut self) -> Result<i64, RecordError> {
        let number = self.unsigned()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A count of things that take at least `each_bytes` each.
    pub(crate) fn count(&mut self, each_bytes: usize) -> Result<usize, RecordError> {
        let number = self.unsigned()?;
        usize::try_from(number)
            .ok()
            .filter(|&count| count <= self.rest.len() / each_bytes)
            .ok_or_else(|| self.cut())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.count(1)?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.cut())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The number just read doesn't fit the type it is for.
    pub(crate) fn number(&self) -> RecordError {
        RecordError::Number {
            offset: self.length - self.rest.len(),
        }
    }

    fn cut(&self) -> RecordError {
        RecordError::Cut {
            offset: self.length - self.rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_of_every_length_and_refuses_too_long_ones() {
        for (bytes, expected) in [
            (&[0][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 1], Ok(128)),
            (&[0x80, 0], Ok(0)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                Ok(u64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                Err(RecordError::Number { offset: 0 }),
            ),
            (&[0x80; 11], Err(RecordError::Number { offset: 0 })),
            (&[0x80, 0x80], Err(RecordError::Cut { offset: 0 })),
            (&[], Err(RecordError::Cut { offset: 0 })),
        ] {
            assert_eq!(Cursor::new(bytes).unsigned(), expected, "{bytes:?}");
        }
        for (bytes, expected) in [(&[1][..], -1), (&[2], 1), (&[0xfe, 1], 127)] {
            assert_eq!(Cursor::new(bytes).signed(), Ok(expected));
        }
    }

    #[test]
    fn a_count_is_never_more_than_the_bytes_can_hold() {
        assert_eq!(Cursor::new(&[2, 0, 0, 0, 0]).count(2), Ok(2));
        assert!(Cursor::new(&[3, 0, 0, 0, 0]).count(2).is_err());
        assert!(Cursor::new(&[4, 1, 2, 3]).bytes().is_err());
    }
}

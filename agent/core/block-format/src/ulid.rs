//! Names of blocks: 48 bits of time and 80 random bits, written as 26 letters and digits of
//! Crockford's base 32, so that names sort by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(u128);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no ULID: 26 letters and digits of Crockford's base 32, the first below 8")]
pub struct UlidError(String);

impl Ulid {
    /// Of the time, the lowest 48 bits count: enough until the year 10889.
    pub fn new(time_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        let (time, rest) = bytes.split_at_mut(6);
        time.copy_from_slice(&time_ms.to_be_bytes()[2..]);
        rest.copy_from_slice(&random);
        Ulid(u128::from_be_bytes(bytes))
    }

    /// When the block was made, as its maker's clock had it.
    pub fn time_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TEXT_BYTES: usize = 26;

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = (0..TEXT_BYTES)
            .rev()
            .map(|place| DIGITS[(self.0 >> (5 * place)) as usize % DIGITS.len()] as char)
            .collect();
        f.pad(&text)
    }
}

impl fmt::Debug for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ulid {
    type Err = UlidError;

    fn from_str(text: &str) -> Result<Self, UlidError> {
        let error = || UlidError(text.chars().take(64).collect());
        if text.len() != TEXT_BYTES {
            return Err(error());
        }
        let mut value = 0u128;
        for byte in text.bytes() {
            let upper = byte.to_ascii_uppercase();
            let digit = DIGITS.iter().position(|&digit| digit == upper);
            let digit = digit.ok_or_else(error)?;
            if value >> (128 - 5) != 0 {
                return Err(error());
            }
            value = value << 5 | digit as u128;
        }
        Ok(Ulid(value))
    }
}

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_names() {
        let known = "01BZJ9WJQPWHGNC2W4J9TA62KC".parse::<Ulid>().unwrap();
        assert_eq!(known.time_ms(), 1511369100022);
        assert_eq!(known.to_string(), "01BZJ9WJQPWHGNC2W4J9TA62KC");
        assert_eq!("01bzj9wjqpwhgnc2w4j9ta62kc".parse(), Ok(known));
        let largest = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<Ulid>().unwrap();
        assert_eq!(largest, Ulid::new(u64::MAX, [0xff; 10]));
    }

    #[test]
    fn what_is_no_ulid() {
        for text in [
            "",
            "01BZJ9WJQPWHGNC2W4J9TA62K",
            "01BZJ9WJQPWHGNC2W4J9TA62KCC",
            "01BZJ9WJQPWHGNC2W4J9TA62KU",
            "81BZJ9WJQPWHGNC2W4J9TA62KC",
            "01BZJ9WJQPWHGNC2W4J9TA62é",
            "chunks_head",
        ] {
            assert!(text.parse::<Ulid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_and_sort_by_time(
            time_ms in 0u64..1 << 48,
            random: [u8; 10],
            later_ms in 0u64..1 << 48,
        ) {
            let ulid = Ulid::new(time_ms, random);
            prop_assert_eq!(ulid.time_ms(), time_ms);
            prop_assert_eq!(ulid.to_string().parse(), Ok(ulid));
            let other = Ulid::new(later_ms, [0; 10]);
            let by_text = ulid.to_string().cmp(&other.to_string());
            prop_assert_eq!(by_text, ulid.cmp(&other));
        }
    }
}

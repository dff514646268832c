//! One value of the log, written against the series' key value.
//!
//! A control byte, then its payload, least significant byte first:
//!
//! | control byte | payload | value |
//! |---|---|---|
//! | 00–7f | none | the key plus a whole number of 7 bits, zigzag |
//! | 80–bf | 1 byte | the key plus a whole number of 14 bits (the upper 6 in the control byte), zigzag |
//! | c0–c8 | 0–8 bytes | a new key: its upper 0–8 bytes, the others are zero |
//! | c9 | none | the stale marker |
//! | ca, cb | 3, 4 bytes | the key plus a whole number of 24 or 32 bits, zigzag |
//! | d0–f3 | 1–8 bytes | the key XOR so many bytes, so many bytes up (see [`XOR_SHAPES`]) |

use narthex_model::sample::STALE_NAN_BITS;

use crate::DamagedRecord;
use crate::bytes::{Reader, unzigzag, zigzag};

/// A value as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The bits, and whether they are the new key.
    Known { bits: u64, is_key: bool },
    /// It was written against a key that the reader does not have.
    Unknown,
}

const SMALL: u64 = 0x80;
const MEDIUM: u64 = 0x4000;
const KEY: u8 = 0xc0;
const STALE: u8 = 0xc9;
const WHOLE_3: u8 = 0xca;
const WHOLE_4: u8 = 0xcb;
const XOR: u8 = 0xd0;

/// Above this not every whole number is a float.
const LARGEST_WHOLE: u64 = 1 << 53;

/// Length of the changed bytes and how many unchanged ones lie below them, by control byte.
const XOR_SHAPES: [(u8, u8); 36] = xor_shapes();

/// The first control byte for each length; the number of bytes below is added.
const XOR_STARTS: [u8; 9] = xor_starts();

/// Writes a value as the new key.
#[inline]
pub(crate) fn write_key(out: &mut Vec<u8>, bits: u64) {
    let zero_bytes = (bits.trailing_zeros() / 8) as usize;
    out.push(KEY + 8 - zero_bytes as u8);
    let bytes = bits.to_le_bytes();
    out.extend_from_slice(bytes.get(zero_bytes..).unwrap_or_default());
}

/// Writes a value that differs from the key.
#[inline]
pub(crate) fn write_against(out: &mut Vec<u8>, bits: u64, key: u64) {
    if let (Some(value), Some(key)) = (whole(bits), whole(key)) {
        let difference = zigzag(value - key);
        if write_difference(out, difference) {
            return;
        }
    }
    write_xor(out, bits ^ key);
}

pub(crate) fn write_stale(out: &mut Vec<u8>) {
    out.push(STALE);
}

/// Reads a value; without the key what stands is passed over and `Unknown`.
#[inline]
pub(crate) fn read(reader: &mut Reader<'_>, key: Option<u64>) -> Result<Value, DamagedRecord> {
    let control = reader.byte()?;
    let difference = match control {
        0..=0x7f => u64::from(control),
        0x80..=0xbf => u64::from(control & 0x3f) << 8 | u64::from(reader.byte()?),
        WHOLE_3 => read_number(reader, 3)?,
        WHOLE_4 => read_number(reader, 4)?,
        STALE => {
            return Ok(Value::Known {
                bits: STALE_NAN_BITS,
                is_key: false,
            });
        }
        KEY..=0xc8 => {
            let length = u32::from(control - KEY);
            let number = read_number(reader, length as usize)?;
            let bits = number.checked_shl(64 - 8 * length).unwrap_or(0);
            return Ok(Value::Known { bits, is_key: true });
        }
        _ => return read_xor(reader, control, key),
    };
    let Some(key) = key else {
        return Ok(Value::Unknown);
    };
    let key =
        whole(key).ok_or_else(|| reader.damaged("a difference to a key that is not whole"))?;
    let bits = (key.wrapping_add(unzigzag(difference)) as f64).to_bits();
    Ok(Value::Known {
        bits,
        is_key: false,
    })
}

/// The value as a whole number, if it is one to the bit.
#[inline]
fn whole(bits: u64) -> Option<i64> {
    let value = f64::from_bits(bits);
    let whole = value as i64;
    let same = (whole as f64).to_bits() == bits && whole.unsigned_abs() <= LARGEST_WHOLE;
    same.then_some(whole)
}

/// False if the difference is too large.
#[inline]
fn write_difference(out: &mut Vec<u8>, difference: u64) -> bool {
    if difference < SMALL {
        out.push(difference as u8);
    } else if difference < MEDIUM {
        out.extend_from_slice(&[0x80 | (difference >> 8) as u8, difference as u8]);
    } else if difference < 1 << 24 {
        let [a, b, c, ..] = difference.to_le_bytes();
        out.extend_from_slice(&[WHOLE_3, a, b, c]);
    } else if difference < 1 << 32 {
        out.push(WHOLE_4);
        out.extend_from_slice(&(difference as u32).to_le_bytes());
    } else {
        return false;
    }
    true
}

#[inline]
fn write_xor(out: &mut Vec<u8>, change: u64) {
    let below = (change.trailing_zeros() / 8).min(7) as usize;
    let above = (change.leading_zeros() / 8).min(7) as usize;
    // A change of nothing does not come here; it would be written as one byte of zero.
    let length = 8usize.saturating_sub(above + below).max(1);
    out.push(XOR_STARTS[length] + below as u8);
    let bytes = change.to_le_bytes();
    out.extend_from_slice(bytes.get(below..below + length).unwrap_or_default());
}

fn read_xor(
    reader: &mut Reader<'_>,
    control: u8,
    key: Option<u64>,
) -> Result<Value, DamagedRecord> {
    let shape = control.checked_sub(XOR).map(usize::from);
    let shape = shape.and_then(|index| XOR_SHAPES.get(index));
    let (length, below) = *shape.ok_or_else(|| reader.damaged("an unknown kind of value"))?;
    let change = read_number(reader, usize::from(length))? << (8 * below);
    Ok(key.map_or(Value::Unknown, |key| Value::Known {
        bits: key ^ change,
        is_key: false,
    }))
}

#[inline]
fn read_number(reader: &mut Reader<'_>, length: usize) -> Result<u64, DamagedRecord> {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(reader.take(length)?) {
        *to = *from;
    }
    Ok(u64::from_le_bytes(bytes))
}

const fn xor_shapes() -> [(u8, u8); 36] {
    let mut shapes = [(0, 0); 36];
    let (mut at, mut length) = (0, 1);
    while length <= 8 {
        let mut below = 0;
        while below + length <= 8 {
            shapes[at] = (length, below);
            at += 1;
            below += 1;
        }
        length += 1;
    }
    shapes
}

const fn xor_starts() -> [u8; 9] {
    let mut starts = [XOR; 9];
    let mut length = 2;
    while length <= 8 {
        starts[length] = starts[length - 1] + (10 - length as u8);
        length += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (any::<u64>(), 0..64u32).prop_map(|(bits, shift)| bits << shift),
            any::<i64>().prop_map(|whole| (whole as f64).to_bits()),
            (-70_000_000..70_000_000i64).prop_map(|whole| (whole as f64).to_bits()),
            (-9..9i64).prop_map(|whole| (whole as f64).to_bits()),
            Just((-0.0f64).to_bits()),
            Just((LARGEST_WHOLE as f64).to_bits()),
            Just((-(LARGEST_WHOLE as f64)).to_bits()),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back(bits in values(), key in values()) {
            let mut out = Vec::new();
            if bits != key {
                write_against(&mut out, bits, key);
                prop_assert!(out.len() <= 9);
                let mut reader = Reader::new(&out);
                let read_back = read(&mut reader, Some(key));
                prop_assert_eq!(read_back, Ok(Value::Known { bits, is_key: false }));
                prop_assert!(reader.is_empty());
                let mut reader = Reader::new(&out);
                prop_assert_eq!(read(&mut reader, None), Ok(Value::Unknown));
                prop_assert!(reader.is_empty());
            }
            out.clear();
            write_key(&mut out, bits);
            let read_back = read(&mut Reader::new(&out), None);
            prop_assert_eq!(read_back, Ok(Value::Known { bits, is_key: true }));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..12), key: u64) {
            let _ = read(&mut Reader::new(&bytes), Some(key));
        }
    }

    #[test]
    fn small_changes_are_small() {
        for (value, key, expected) in [
            (101.0, 100.0, 1),
            (36.0, 100.0, 1),
            (163.0, 100.0, 1),
            (164.0, 100.0, 2),
            (8291.0, 100.0, 2),
            (8292.0, 100.0, 4),
            (1e9, 100.0, 5),
            (1.5, 1.25, 2),
        ] {
            let mut out = Vec::new();
            write_against(&mut out, f64::to_bits(value), f64::to_bits(key));
            assert_eq!(out.len(), expected, "{value} {key}");
        }
    }
}

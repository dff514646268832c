//! Whole numbers in as few bits as their size asks for: so many ones as say the width, a zero
//! (none after eight ones), then the number.

use crate::bits::{BitReader, BitWriter};

/// Bits of the number behind one, two, … eight ones.
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

pub(crate) fn write_signed(writer: &mut BitWriter, value: i64) {
    let fits = |width: u32| {
        let highest = 1i64 << (width - 1);
        (1 - highest..=highest).contains(&value)
    };
    write(writer, value as u64, fits);
}

pub(crate) fn write_unsigned(writer: &mut BitWriter, value: u64) {
    write(writer, value, |width| value >> width == 0);
}

/// `fits` is not asked about 64 bits.
fn write(writer: &mut BitWriter, value: u64, fits: impl Fn(u32) -> bool) {
    if value == 0 {
        return writer.write(0, 1);
    }
    for (ones, width) in (1u32..).zip(WIDTHS) {
        if width < 64 && fits(width) {
            let mark = ((1 << ones) - 1) << 1;
            let low = value & ((1 << width) - 1);
            return writer.write(mark << width | low, ones + 1 + width);
        }
    }
    writer.write(0xff, 8);
    writer.write(value, 64);
}

pub(crate) fn read_signed(reader: &mut BitReader<'_>) -> i64 {
    let (value, width) = read(reader);
    // The half of the range counts as positive.
    match 1u64.checked_shl(width) {
        Some(range) if value > range / 2 => value.wrapping_sub(range) as i64,
        _ => value as i64,
    }
}

pub(crate) fn read_unsigned(reader: &mut BitReader<'_>) -> u64 {
    read(reader).0
}

/// The number's bits and how many they are.
#[inline]
fn read(reader: &mut BitReader<'_>) -> (u64, u32) {
    let next = reader.peek();
    if next >> 63 == 0 {
        reader.skip(1);
        return (0, 0);
    }
    let ones = next.leading_ones().min(8);
    let width = WIDTHS.get(ones as usize - 1).copied().unwrap_or(64);
    reader.skip((ones + 1).min(8));
    (reader.read(width), width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(value: i64) -> (Vec<u8>, usize) {
        let mut writer = BitWriter::default();
        write_signed(&mut writer, value);
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        assert_eq!(read_signed(&mut reader), value);
        assert!(!reader.overran());
        let bits = reader.position_bits();
        (bytes, bits)
    }

    fn unsigned(value: u64) -> (Vec<u8>, usize) {
        let mut writer = BitWriter::default();
        write_unsigned(&mut writer, value);
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        assert_eq!(read_unsigned(&mut reader), value);
        let bits = reader.position_bits();
        (bytes, bits)
    }

    #[test]
    fn each_width_reaches_to_its_borders() {
        for (prefix_and_width, highest) in [
            (5, 4i64),
            (9, 32),
            (13, 256),
            (17, 2048),
            (24, 131_072),
            (32, 16_777_216),
            (64, 1 << 55),
        ] {
            for value in [highest, 1 - highest] {
                assert_eq!(signed(value).1, prefix_and_width, "{value}");
            }
            assert!(signed(highest + 1).1 > prefix_and_width);
            assert!(signed(-highest).1 > prefix_and_width);
            let highest = 2 * highest as u64 - 1;
            assert_eq!(unsigned(highest).1, prefix_and_width);
            assert!(unsigned(highest + 1).1 > prefix_and_width);
        }
        assert_eq!((signed(0).1, signed(i64::MIN).1), (1, 72));
        assert_eq!((unsigned(0).1, unsigned(u64::MAX).1), (1, 72));
    }

    #[test]
    fn the_bits_are_prometheus_s() {
        assert_eq!(signed(1).0, [0b1000_1000]);
        assert_eq!(signed(-1).0, [0b1011_1000]);
        assert_eq!(signed(-53).0, [0b1110_1110, 0b0101_1000]);
        assert_eq!(unsigned(7).0, [0b1011_1000]);
        assert_eq!(unsigned(8).0, [0b1100_0100, 0]);
    }

    proptest! {
        #[test]
        fn any_number_comes_back(value: i64, shift in 0u32..64) {
            signed(value >> shift);
            unsigned(value as u64 >> shift);
        }
    }
}

//! What all histograms of a chunk share, and how it is written.

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};

use super::spans;
use crate::ChunkError;
use crate::bits::{BitReader, BitWriter};
use crate::varbit;

/// The finest exponential schema that is answered with. Prometheus reads finer ones too, which a
/// later version may write, and coarsens them.
pub(super) const FINEST_SCHEMA: i32 = 8;

const KNOWN_SCHEMAS: std::ops::RangeInclusive<i64> = -9..=52;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    /// No span is empty.
    pub(super) positive: Vec<Span>,
    pub(super) negative: Vec<Span>,
    /// Empty unless the schema is that of custom bounds.
    pub(super) bounds: Vec<f64>,
}

impl Layout {
    /// Fails if the histogram contradicts itself.
    pub(super) fn of(histogram: &Histogram) -> Result<Self, ChunkError> {
        let has_bounds = histogram.schema == CUSTOM_BOUNDS_SCHEMA;
        let layout = Layout {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            positive: spans::without_empty(&histogram.positive_spans),
            negative: spans::without_empty(&histogram.negative_spans),
            bounds: match has_bounds {
                true => histogram.custom_values.clone(),
                false => Vec::new(),
            },
        };
        // The spans as they are given, as leaving out empty ones could hide that they overlap.
        spans::checked_bucket_count(&histogram.positive_spans)?;
        spans::checked_bucket_count(&histogram.negative_spans)?;
        let (positive, negative) = layout.check()?;
        for (asked, counts) in [
            (positive, &histogram.positive_buckets),
            (negative, &histogram.negative_buckets),
        ] {
            let there = counts.len() as u64;
            if asked != there {
                return Err(ChunkError::Buckets { asked, there });
            }
        }
        Ok(layout)
    }

    /// Counts the positive and the negative buckets.
    fn check(&self) -> Result<(u64, u64), ChunkError> {
        let schema = i64::from(self.schema);
        if self.schema != CUSTOM_BOUNDS_SCHEMA && !KNOWN_SCHEMAS.contains(&schema) {
            return Err(ChunkError::Schema(schema));
        }
        let positive = spans::checked_bucket_count(&self.positive)?;
        let negative = spans::checked_bucket_count(&self.negative)?;
        let bounds = self.bounds.len();
        let first = self.positive.first().map_or(0, |span| span.offset);
        // One bucket more than bounds: that up to +Inf.
        let is_inside = first >= 0 && spans::end_index(&self.positive) <= bounds as i64 + 1;
        if self.schema == CUSTOM_BOUNDS_SCHEMA && !(is_inside && negative == 0) {
            return Err(ChunkError::Bounds { bounds });
        }
        Ok((positive, negative))
    }

    pub(super) fn write(&self, writer: &mut BitWriter) {
        write_zero_threshold(writer, self.zero_threshold);
        varbit::write_signed(writer, i64::from(self.schema));
        for spans in [&self.positive, &self.negative] {
            varbit::write_unsigned(writer, spans.len() as u64);
            for span in spans {
                varbit::write_unsigned(writer, u64::from(span.length));
                varbit::write_signed(writer, i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BOUNDS_SCHEMA {
            varbit::write_unsigned(writer, self.bounds.len() as u64);
            for bound in &self.bounds {
                write_bound(writer, *bound);
            }
        }
    }

    /// Also gives the numbers of positive and negative buckets, which fit what the reader still has
    /// if each takes `bucket_bits`.
    pub(super) fn read(
        reader: &mut BitReader<'_>,
        bucket_bits: u64,
    ) -> Result<(Self, usize, usize), ChunkError> {
        let zero_threshold = read_zero_threshold(reader);
        let schema = varbit::read_signed(reader);
        let mut layout = Layout {
            schema: i32::try_from(schema).map_err(|_| ChunkError::Schema(schema))?,
            zero_threshold,
            positive: read_spans(reader)?,
            negative: read_spans(reader)?,
            bounds: Vec::new(),
        };
        if layout.schema == CUSTOM_BOUNDS_SCHEMA {
            layout.bounds = read_bounds(reader)?;
        }
        let (positive, negative) = layout.check()?;
        let (asked, there) = (
            positive + negative,
            reader.remaining_bits() as u64 / bucket_bits,
        );
        if asked > there {
            return Err(ChunkError::Buckets { asked, there });
        }
        Ok((layout, positive as usize, negative as usize))
    }
}

fn read_spans(reader: &mut BitReader<'_>) -> Result<Vec<Span>, ChunkError> {
    let count = varbit::read_unsigned(reader);
    let mut spans = Vec::new();
    for _ in 0..count {
        let length = varbit::read_unsigned(reader);
        let offset = varbit::read_signed(reader);
        if reader.overran() {
            return Err(ChunkError::TooShort);
        }
        spans.push(Span {
            length: u32::try_from(length).map_err(|_| ChunkError::Spans)?,
            offset: i32::try_from(offset).map_err(|_| ChunkError::Spans)?,
        });
    }
    spans::checked_bucket_count(&spans)?;
    Ok(spans::without_empty(&spans))
}

fn read_bounds(reader: &mut BitReader<'_>) -> Result<Vec<f64>, ChunkError> {
    let count = varbit::read_unsigned(reader);
    let mut bounds = Vec::new();
    for _ in 0..count {
        bounds.push(read_bound(reader));
        if reader.overran() {
            return Err(ChunkError::TooShort);
        }
    }
    Ok(bounds)
}

/// Powers of two from 2^−243 to 2^10 take a byte: this plus their exponent.
const THRESHOLD_EXPONENT_BIAS: i64 = 244;
const THRESHOLD_EXPONENTS: std::ops::RangeInclusive<i64> = -243..=10;
/// Says that the threshold follows as it is.
const THRESHOLD_RAW: u8 = 255;
/// Of 64-bit floats.
const EXPONENT_BIAS: i64 = 1023;
const MANTISSA_BITS: u32 = 52;

fn write_zero_threshold(writer: &mut BitWriter, threshold: f64) {
    let bits = threshold.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i64 - EXPONENT_BIAS;
    let is_power = bits << (64 - MANTISSA_BITS) == 0;
    if bits == 0 {
        writer.write_byte(0);
    } else if is_power && THRESHOLD_EXPONENTS.contains(&exponent) {
        writer.write_byte((exponent + THRESHOLD_EXPONENT_BIAS) as u8);
    } else {
        writer.write_byte(THRESHOLD_RAW);
        writer.write(bits, 64);
    }
}

fn read_zero_threshold(reader: &mut BitReader<'_>) -> f64 {
    f64::from_bits(match reader.read(8) as u8 {
        0 => 0,
        THRESHOLD_RAW => reader.read(64),
        byte => {
            let exponent = i64::from(byte) - THRESHOLD_EXPONENT_BIAS;
            ((exponent + EXPONENT_BIAS) as u64) << MANTISSA_BITS
        }
    })
}

/// The largest number of thousandths that is written as one.
const MOST_THOUSANDTHS: u64 = 33_554_430;

/// Multiples of 0.001 are written as thousandths plus one, others as a zero bit and the float.
fn write_bound(writer: &mut BitWriter, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    let whole = thousandths as u64;
    if whole <= MOST_THOUSANDTHS && thousandth_bound(whole).to_bits() == bound.to_bits() {
        return varbit::write_unsigned(writer, whole + 1);
    }
    writer.write(0, 1);
    writer.write(bound.to_bits(), 64);
}

fn read_bound(reader: &mut BitReader<'_>) -> f64 {
    match varbit::read_unsigned(reader) {
        0 => f64::from_bits(reader.read(64)),
        more => thousandth_bound(more - 1),
    }
}

fn thousandth_bound(thousandths: u64) -> f64 {
    thousandths as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut BitWriter)) -> Vec<u8> {
        let mut writer = BitWriter::default();
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn powers_of_two_are_short_thresholds() {
        for (threshold, length, first) in [
            (0.0, 1, 0),
            (2f64.powi(-128), 1, 116),
            (2f64.powi(-243), 1, 1),
            (2f64.powi(10), 1, 254),
            (2f64.powi(-244), 9, 255),
            (2f64.powi(11), 9, 255),
            (-1.0, 9, 255),
            (-0.0, 9, 255),
            (0.001, 9, 255),
            (f64::INFINITY, 9, 255),
        ] {
            let bytes = written(|writer| write_zero_threshold(writer, threshold));
            assert_eq!((bytes.len(), bytes[0]), (length, first), "{threshold}");
            let read = read_zero_threshold(&mut BitReader::new(&bytes));
            assert_eq!(read.to_bits(), threshold.to_bits());
        }
    }

    #[test]
    fn thousandths_are_short_bounds() {
        for (bound, bytes) in [
            (0.0, 1),
            (0.006, 1),
            (0.062, 2),
            (33_554.43, 4),
            (33_554.431, 9),
            (0.0005, 9),
            (-1.0, 9),
            (-0.0, 9),
            (f64::INFINITY, 9),
            (f64::NAN, 9),
        ] {
            let written = written(|writer| write_bound(writer, bound));
            assert_eq!(written.len(), bytes, "{bound}");
            let read = read_bound(&mut BitReader::new(&written));
            assert_eq!(read.to_bits(), bound.to_bits());
        }
    }

    /// Worked out by hand: 2^-128; schema 3; one span of 2 at offset -1; no negative span.
    #[test]
    fn the_bits_are_prometheus_s() {
        let layout = Layout {
            schema: 3,
            zero_threshold: 2f64.powi(-128),
            positive: vec![Span {
                offset: -1,
                length: 2,
            }],
            ..Layout::default()
        };
        let bytes = written(|writer| layout.write(writer));
        // 116; 10 011; 10 001; 10 010; 10 111; 0
        assert_eq!(bytes, [116, 0b1001_1100, 0b0110_0101, 0b0111_0000]);
        let (read, positive, negative) = Layout::read(&mut BitReader::new(&bytes), 1).unwrap();
        assert_eq!((read, positive, negative), (layout, 2, 0));
    }

    #[test]
    fn wrong_layouts_are_refused() {
        let span = |offset, length| Span { offset, length };
        let read = |schema: i64, spans: &[Span], bounds: &[f64]| {
            let bytes = written(|writer| {
                writer.write_byte(0);
                varbit::write_signed(writer, schema);
                varbit::write_unsigned(writer, spans.len() as u64);
                for span in spans {
                    varbit::write_unsigned(writer, u64::from(span.length));
                    varbit::write_signed(writer, i64::from(span.offset));
                }
                varbit::write_unsigned(writer, 0);
                varbit::write_unsigned(writer, bounds.len() as u64);
                for bound in bounds {
                    write_bound(writer, *bound);
                }
                writer.write(0, 64);
            });
            Layout::read(&mut BitReader::new(&bytes), 1).map(|(_, positive, _)| positive)
        };
        assert_eq!(read(0, &[span(3, 2)], &[]), Ok(2));
        assert_eq!(read(53, &[], &[]), Err(ChunkError::Schema(53)));
        assert_eq!(read(1 << 40, &[], &[]), Err(ChunkError::Schema(1 << 40)));
        assert_eq!(read(0, &[span(0, u32::MAX)], &[]), Err(ChunkError::Spans));
        assert!(matches!(
            read(0, &[span(0, 1 << 29)], &[]),
            Err(ChunkError::Buckets { asked, .. }) if asked == 1 << 29
        ));
        assert_eq!(read(-53, &[span(0, 2)], &[1.0]), Ok(2));
        assert_eq!(
            read(-53, &[span(0, 3)], &[1.0]),
            Err(ChunkError::Bounds { bounds: 1 })
        );
        assert_eq!(
            read(-53, &[span(-1, 1)], &[1.0]),
            Err(ChunkError::Bounds { bounds: 1 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Layout::read(&mut BitReader::new(&bytes), 1);
        }
    }
}

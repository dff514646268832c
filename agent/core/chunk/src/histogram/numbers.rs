//! The numbers of a chunk's histograms: how each goes on from that of the sample before.

use narthex_model::is_stale_nan;

use crate::ChunkError;
use crate::bits::{BitReader, BitWriter};
use crate::varbit;
use crate::window::XorValue;

/// A count as one of the two encodings writes it.
pub(super) trait Number: Copy {
    /// What a bucket of the first sample takes at least.
    const LEAST_BUCKET_BITS: u64;

    fn read_first_count(reader: &mut BitReader<'_>) -> Self;
    fn read_first_bucket(reader: &mut BitReader<'_>) -> Self;
    /// Says whether the number changed.
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<bool, ChunkError>;

    fn count(self) -> f64;
    fn bucket_counts(buckets: &[Self]) -> Vec<f64>;

    fn write_first_count(count: f64, writer: &mut BitWriter) -> Self;
    fn write_first_buckets(counts: &[f64], writer: &mut BitWriter) -> Vec<Self>;
    fn write_next_count(&mut self, count: f64, writer: &mut BitWriter);
    fn write_next_buckets(buckets: &mut [Self], counts: &[f64], writer: &mut BitWriter);
}

/// A whole number, written as the change of its change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole {
    pub(super) value: i64,
    change: i64,
}

impl Whole {
    pub(super) fn new(value: i64) -> Self {
        Whole { value, change: 0 }
    }

    /// Says whether the number changed.
    #[inline]
    pub(super) fn read(&mut self, reader: &mut BitReader<'_>) -> bool {
        self.change = self.change.wrapping_add(varbit::read_signed(reader));
        self.value = self.value.wrapping_add(self.change);
        self.change != 0
    }

    #[inline]
    pub(super) fn write(&mut self, value: i64, writer: &mut BitWriter) {
        let change = value.wrapping_sub(self.value);
        varbit::write_signed(writer, change.wrapping_sub(self.change));
        *self = Whole { value, change };
    }
}

/// Whether the whole encoding gives this count back to the bit.
pub(super) fn is_whole_count(count: f64) -> bool {
    const EXACT_BELOW: f64 = (1u64 << 53) as f64;
    count < EXACT_BELOW && (count as u64 as f64).to_bits() == count.to_bits()
}

/// Each bucket less the one before it.
fn differences(counts: &[f64]) -> impl Iterator<Item = i64> {
    let mut before = 0;
    counts.iter().map(move |count| {
        let difference = *count as i64 - before;
        before = *count as i64;
        difference
    })
}

/// Buckets are the difference to the bucket before them.
impl Number for Whole {
    const LEAST_BUCKET_BITS: u64 = 1;

    fn read_first_count(reader: &mut BitReader<'_>) -> Self {
        Whole::new(varbit::read_unsigned(reader) as i64)
    }

    fn read_first_bucket(reader: &mut BitReader<'_>) -> Self {
        Whole::new(varbit::read_signed(reader))
    }

    #[inline]
    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<bool, ChunkError> {
        Ok(self.read(reader))
    }

    fn count(self) -> f64 {
        self.value as u64 as f64
    }

    fn bucket_counts(buckets: &[Self]) -> Vec<f64> {
        let mut count = 0i64;
        let counts = buckets.iter().map(|bucket| {
            count = count.wrapping_add(bucket.value);
            count as f64
        });
        counts.collect()
    }

    fn write_first_count(count: f64, writer: &mut BitWriter) -> Self {
        varbit::write_unsigned(writer, count as u64);
        Whole::new(count as i64)
    }

    fn write_first_buckets(counts: &[f64], writer: &mut BitWriter) -> Vec<Self> {
        let buckets = differences(counts).map(|difference| {
            varbit::write_signed(writer, difference);
            Whole::new(difference)
        });
        buckets.collect()
    }

    fn write_next_count(&mut self, count: f64, writer: &mut BitWriter) {
        self.write(count as i64, writer);
    }

    fn write_next_buckets(buckets: &mut [Self], counts: &[f64], writer: &mut BitWriter) {
        for (bucket, difference) in buckets.iter_mut().zip(differences(counts)) {
            bucket.write(difference, writer);
        }
    }
}

/// Buckets are their counts.
impl Number for XorValue {
    const LEAST_BUCKET_BITS: u64 = 64;

    fn read_first_count(reader: &mut BitReader<'_>) -> Self {
        XorValue::new(reader.read(64))
    }

    fn read_first_bucket(reader: &mut BitReader<'_>) -> Self {
        XorValue::new(reader.read(64))
    }

    fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<bool, ChunkError> {
        self.read(reader)
    }

    fn count(self) -> f64 {
        self.value()
    }

    fn bucket_counts(buckets: &[Self]) -> Vec<f64> {
        buckets.iter().map(|bucket| bucket.value()).collect()
    }

    fn write_first_count(count: f64, writer: &mut BitWriter) -> Self {
        writer.write(count.to_bits(), 64);
        XorValue::new(count.to_bits())
    }

    fn write_first_buckets(counts: &[f64], writer: &mut BitWriter) -> Vec<Self> {
        let counts = counts.iter();
        counts
            .map(|count| Self::write_first_count(*count, writer))
            .collect()
    }

    fn write_next_count(&mut self, count: f64, writer: &mut BitWriter) {
        self.write(count.to_bits(), writer);
    }

    fn write_next_buckets(buckets: &mut [Self], counts: &[f64], writer: &mut BitWriter) {
        for (bucket, count) in buckets.iter_mut().zip(counts) {
            bucket.write(count.to_bits(), writer);
        }
    }
}

/// All numbers of a chunk's last sample.
#[derive(Clone, Debug)]
pub(super) struct Numbers<N> {
    pub(super) time: Whole,
    pub(super) count: N,
    pub(super) zero_count: N,
    pub(super) sum: XorValue,
    pub(super) positive: Vec<N>,
    pub(super) negative: Vec<N>,
}

/// A histogram's counts, its buckets those of the chunk's layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts<'a> {
    pub(super) count: f64,
    pub(super) zero_count: f64,
    pub(super) sum: f64,
    pub(super) positive: &'a [f64],
    pub(super) negative: &'a [f64],
}

impl Counts<'_> {
    /// Of a stale marker, which has no others.
    pub(super) fn stale(sum: f64) -> Self {
        Counts {
            count: 0.0,
            zero_count: 0.0,
            sum,
            positive: &[],
            negative: &[],
        }
    }
}

impl<N: Number> Numbers<N> {
    pub(super) fn is_stale(&self) -> bool {
        is_stale_nan(self.sum.value())
    }

    pub(super) fn read_first(reader: &mut BitReader<'_>, positive: usize, negative: usize) -> Self {
        let time = Whole::new(varbit::read_signed(reader));
        let count = N::read_first_count(reader);
        let zero_count = N::read_first_count(reader);
        let sum = XorValue::new(reader.read(64));
        let mut buckets = |count| (0..count).map(|_| N::read_first_bucket(reader)).collect();
        Numbers {
            time,
            count,
            zero_count,
            sum,
            positive: buckets(positive),
            negative: buckets(negative),
        }
    }

    /// Says whether anything but the time changed.
    pub(super) fn read_next(&mut self, reader: &mut BitReader<'_>) -> Result<bool, ChunkError> {
        self.time.read(reader);
        let mut changed = self.count.read_next(reader)?;
        changed |= self.zero_count.read_next(reader)?;
        changed |= self.sum.read(reader)?;
        if self.is_stale() {
            return Ok(changed);
        }
        for bucket in self.positive.iter_mut().chain(&mut self.negative) {
            changed |= bucket.read_next(reader)?;
        }
        Ok(changed)
    }

    pub(super) fn write_first(
        timestamp_ms: i64,
        counts: Counts<'_>,
        writer: &mut BitWriter,
    ) -> Self {
        varbit::write_signed(writer, timestamp_ms);
        let count = N::write_first_count(counts.count, writer);
        let zero_count = N::write_first_count(counts.zero_count, writer);
        writer.write(counts.sum.to_bits(), 64);
        Numbers {
            time: Whole::new(timestamp_ms),
            count,
            zero_count,
            sum: XorValue::new(counts.sum.to_bits()),
            positive: N::write_first_buckets(counts.positive, writer),
            negative: N::write_first_buckets(counts.negative, writer),
        }
    }

    pub(super) fn write_next(
        &mut self,
        timestamp_ms: i64,
        counts: Counts<'_>,
        writer: &mut BitWriter,
    ) {
        self.time.write(timestamp_ms, writer);
        if is_stale_nan(counts.sum) {
            // Two counts that go on as they did, and no buckets: nothing of them is read.
            writer.write(0, 2);
            return self.sum.write(counts.sum.to_bits(), writer);
        }
        self.count.write_next_count(counts.count, writer);
        self.zero_count.write_next_count(counts.zero_count, writer);
        self.sum.write(counts.sum.to_bits(), writer);
        N::write_next_buckets(&mut self.positive, counts.positive, writer);
        N::write_next_buckets(&mut self.negative, counts.negative, writer);
    }
}

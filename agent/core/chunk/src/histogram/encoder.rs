//! Writing histograms sample by sample, as long as they fit one chunk.
//!
//! Keeps true: counters within a chunk never go down, all histograms have the chunk's layout.
//! What doesn't fit asks for a new chunk, by Prometheus's rules. Buckets that are new don't: the
//! chunk is written again with them.

use std::sync::Arc;

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::is_stale_nan;

use super::decode::{counter_reset, decode_histograms};
use super::layout::Layout;
use super::numbers::{Counts, Number, Numbers, Whole, is_whole_count};
use super::{HEADER_BYTES, MOST_SAMPLES_WITH_STARTS, reset_to_bits, spans};
use crate::bits::BitWriter;
use crate::start_times::StartWriter;
use crate::window::XorValue;
use crate::{ChunkError, Encoding};

/// A chunk that grows.
#[derive(Clone, Debug)]
pub struct HistogramEncoder {
    /// What follows the header.
    writer: BitWriter,
    count: u16,
    reset: CounterReset,
    start_ms: i64,
    layout: Layout,
    numbers: AnyNumbers,
}

/// What became of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the chunk.
    Done,
    /// It is in the chunk, of which no byte is as it was: there are buckets that it did not have.
    Recoded,
    /// It has to begin a new chunk, to which this is to be given.
    NewChunk(CounterReset),
}

#[derive(Clone, Debug)]
enum AnyNumbers {
    Whole(Numbers<Whole>),
    Float(Numbers<XorValue>),
}

impl HistogramEncoder {
    /// Begins a chunk. `reset` is what is known about the chunk before, from
    /// [`Appended::NewChunk`]; the histogram's own hint goes before it.
    pub fn begin(
        timestamp_ms: i64,
        histogram: &Histogram,
        reset: CounterReset,
    ) -> Result<Self, ChunkError> {
        Self::begin_with(timestamp_ms, histogram, reset, is_whole(histogram))
    }

    /// As [`HistogramEncoder::begin`]; what is not `whole` takes counts that are no whole numbers.
    pub(super) fn begin_with(
        timestamp_ms: i64,
        histogram: &Histogram,
        reset: CounterReset,
        whole: bool,
    ) -> Result<Self, ChunkError> {
        let reset = match histogram.counter_reset {
            known @ (CounterReset::Gauge | CounterReset::Reset) => known,
            _ => reset,
        };
        let layout = match is_stale(histogram) {
            true => Layout::default(),
            false => Layout::of(histogram)?,
        };
        Ok(Self::first(timestamp_ms, histogram, layout, reset, whole))
    }

    /// Takes a chunk apart, to go on with it. Refuses one whose times don't rise.
    pub fn reopen(encoding: Encoding, chunk: &[u8]) -> Result<Self, ChunkError> {
        let (mut times, mut histograms) = (Vec::new(), Vec::new());
        decode_histograms(encoding, chunk, &mut times, &mut histograms)?;
        if !times.is_sorted_by(|earlier, later| earlier < later) {
            return Err(ChunkError::NotRising);
        }
        let mut real = histograms.iter().filter(|histogram| !is_stale(histogram));
        let layout = real.next().map(|first| Layout::of(first)).transpose()?;
        let whole = histograms.iter().all(|histogram| is_whole(histogram));
        let reset = counter_reset(encoding, chunk)?;
        Self::of_all(
            &times,
            &histograms,
            &layout.unwrap_or_default(),
            reset,
            whole,
        )
    }

    /// Adds a histogram. Fails, and changes nothing, if it contradicts itself.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        histogram: &Histogram,
    ) -> Result<Appended, ChunkError> {
        if is_stale(histogram) {
            if self.count == u16::MAX {
                return Ok(Appended::NewChunk(
                    self.reset_if_gauge(CounterReset::Unknown),
                ));
            }
            self.write(timestamp_ms, histogram);
            return Ok(Appended::Done);
        }
        let own = self.checked_layout(histogram)?;
        if let Some(reset) = self.refusal(histogram) {
            return Ok(Appended::NewChunk(reset));
        }
        let Some(own) = own else {
            self.write(timestamp_ms, histogram);
            return Ok(Appended::Done);
        };
        let positive = spans::union(&self.layout.positive, &own.positive);
        let negative = spans::union(&self.layout.negative, &own.negative);
        let is_known = positive == self.layout.positive && negative == self.layout.negative;
        if !is_known {
            self.recode(positive, negative)?;
        }
        self.write(timestamp_ms, histogram);
        Ok(match is_known {
            true => Appended::Done,
            false => Appended::Recoded,
        })
    }

    /// What to give to the chunk that begins with this histogram, if this one ends here.
    pub fn reset_before(&self, histogram: &Histogram) -> CounterReset {
        if is_stale(histogram) {
            return self.reset_if_gauge(CounterReset::Unknown);
        }
        let refusal = self.refusal(histogram);
        refusal.unwrap_or_else(|| self.reset_if_gauge(CounterReset::NotReset))
    }

    pub fn encoding(&self) -> Encoding {
        match self.numbers {
            AnyNumbers::Whole(_) => Encoding::Histogram,
            AnyNumbers::Float(_) => Encoding::FloatHistogram,
        }
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// The time of the first histogram.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The time of the last histogram.
    pub fn last_ms(&self) -> i64 {
        match &self.numbers {
            AnyNumbers::Whole(numbers) => numbers.time.value,
            AnyNumbers::Float(numbers) => numbers.time.value,
        }
    }

    /// How long the chunk is now.
    pub fn len_bytes(&self) -> usize {
        HEADER_BYTES + self.writer.len_bytes()
    }

    /// The chunk as it is now.
    pub fn snapshot(&self) -> Vec<u8> {
        let [high, low] = self.count.to_be_bytes();
        let mut chunk = Vec::with_capacity(self.len_bytes());
        chunk.extend([high, low, reset_to_bits(self.reset)]);
        self.writer.copy_to(&mut chunk);
        chunk
    }

    pub fn finish(self) -> (Encoding, Vec<u8>) {
        (self.encoding(), self.snapshot())
    }

    fn first(
        timestamp_ms: i64,
        histogram: &Histogram,
        layout: Layout,
        reset: CounterReset,
        whole: bool,
    ) -> Self {
        let mut writer = BitWriter::default();
        layout.write(&mut writer);
        let spread = Spread::of(histogram, &layout);
        let counts = spread.counts(histogram);
        let numbers = match whole {
            true => AnyNumbers::Whole(Numbers::write_first(timestamp_ms, counts, &mut writer)),
            false => AnyNumbers::Float(Numbers::write_first(timestamp_ms, counts, &mut writer)),
        };
        HistogramEncoder {
            writer,
            count: 1,
            reset,
            start_ms: timestamp_ms,
            layout,
            numbers,
        }
    }

    /// Writes histograms that are known to fit one chunk.
    fn of_all(
        timestamps_ms: &[i64],
        histograms: &[Arc<Histogram>],
        layout: &Layout,
        reset: CounterReset,
        whole: bool,
    ) -> Result<Self, ChunkError> {
        let mut samples = timestamps_ms.iter().zip(histograms);
        let (timestamp_ms, first) = samples.next().ok_or(ChunkError::Empty)?;
        let mut encoder = Self::first(*timestamp_ms, first, layout.clone(), reset, whole);
        for (timestamp_ms, histogram) in samples {
            encoder.write(*timestamp_ms, histogram);
        }
        Ok(encoder)
    }

    /// Writes all again with more buckets.
    fn recode(&mut self, positive: Vec<Span>, negative: Vec<Span>) -> Result<(), ChunkError> {
        let whole = matches!(self.numbers, AnyNumbers::Whole(_));
        let layout = Layout {
            positive,
            negative,
            ..self.layout.clone()
        };
        let (mut times, mut histograms) = (Vec::new(), Vec::new());
        decode_histograms(
            self.encoding(),
            &self.snapshot(),
            &mut times,
            &mut histograms,
        )?;
        *self = Self::of_all(&times, &histograms, &layout, self.reset, whole)?;
        Ok(())
    }

    /// Writes a histogram without asking whether it fits.
    fn write(&mut self, timestamp_ms: i64, histogram: &Histogram) {
        let spread = Spread::of(histogram, &self.layout);
        let counts = spread.counts(histogram);
        match &mut self.numbers {
            AnyNumbers::Whole(numbers) => {
                numbers.write_next(timestamp_ms, counts, &mut self.writer);
            }
            AnyNumbers::Float(numbers) => {
                numbers.write_next(timestamp_ms, counts, &mut self.writer);
            }
        }
        self.count += 1;
    }

    /// The histogram's layout, unless its buckets are the chunk's.
    fn checked_layout(&self, histogram: &Histogram) -> Result<Option<Layout>, ChunkError> {
        let (positive, negative) = self.bucket_numbers();
        let is_same = self.has_schema_of(histogram)
            && self.layout.positive == histogram.positive_spans
            && self.layout.negative == histogram.negative_spans
            && positive == histogram.positive_buckets.len()
            && negative == histogram.negative_buckets.len();
        match is_same {
            true => Ok(None),
            false => Layout::of(histogram).map(Some),
        }
    }

    fn bucket_numbers(&self) -> (usize, usize) {
        match &self.numbers {
            AnyNumbers::Whole(numbers) => (numbers.positive.len(), numbers.negative.len()),
            AnyNumbers::Float(numbers) => (numbers.positive.len(), numbers.negative.len()),
        }
    }

    fn has_schema_of(&self, histogram: &Histogram) -> bool {
        self.layout.schema == histogram.schema
            && self.layout.zero_threshold == histogram.zero_threshold
            && self.has_bounds_of(histogram)
    }

    fn has_bounds_of(&self, histogram: &Histogram) -> bool {
        histogram.schema != CUSTOM_BOUNDS_SCHEMA || self.layout.bounds == histogram.custom_values
    }

    /// What to say about a new chunk, if the histogram, which is no stale marker, needs one.
    fn refusal(&self, histogram: &Histogram) -> Option<CounterReset> {
        let is_gauge = histogram.counter_reset == CounterReset::Gauge;
        if is_gauge != (self.reset == CounterReset::Gauge) {
            return Some(match is_gauge {
                true => CounterReset::Gauge,
                false => CounterReset::Unknown,
            });
        }
        let refusal = match (&self.numbers, is_gauge) {
            (AnyNumbers::Whole(numbers), true) => self.gauge_refusal(numbers, histogram),
            (AnyNumbers::Float(numbers), true) => self.gauge_refusal(numbers, histogram),
            (AnyNumbers::Whole(numbers), false) => self.counter_refusal(numbers, histogram),
            (AnyNumbers::Float(numbers), false) => self.counter_refusal(numbers, histogram),
        };
        let is_wrong_kind = matches!(self.numbers, AnyNumbers::Whole(_)) && !is_whole(histogram);
        if refusal.is_none() && (is_wrong_kind || self.count == u16::MAX) {
            return Some(self.reset_if_gauge(CounterReset::NotReset));
        }
        refusal
    }

    fn reset_if_gauge(&self, otherwise: CounterReset) -> CounterReset {
        match self.reset {
            CounterReset::Gauge => CounterReset::Gauge,
            _ => otherwise,
        }
    }

    fn gauge_refusal<N: Number>(
        &self,
        numbers: &Numbers<N>,
        histogram: &Histogram,
    ) -> Option<CounterReset> {
        let fits = !numbers.is_stale() && self.has_schema_of(histogram);
        (!fits).then_some(CounterReset::Gauge)
    }

    fn counter_refusal<N: Number>(
        &self,
        numbers: &Numbers<N>,
        histogram: &Histogram,
    ) -> Option<CounterReset> {
        if histogram.counter_reset == CounterReset::Reset {
            return Some(CounterReset::Reset);
        }
        if numbers.is_stale() {
            return Some(CounterReset::Unknown);
        }
        if histogram.count < numbers.count.count() {
            return Some(CounterReset::Reset);
        }
        let layout = &self.layout;
        if layout.schema != histogram.schema || layout.zero_threshold != histogram.zero_threshold {
            return Some(CounterReset::Unknown);
        }
        let any_reset = !self.has_bounds_of(histogram)
            || histogram.zero_count < numbers.zero_count.count()
            || spans::any_reset(
                N::bucket_counts(&numbers.positive).into_iter(),
                &layout.positive,
                &histogram.positive_buckets,
                &histogram.positive_spans,
            )
            || spans::any_reset(
                N::bucket_counts(&numbers.negative).into_iter(),
                &layout.negative,
                &histogram.negative_buckets,
                &histogram.negative_spans,
            );
        any_reset.then_some(CounterReset::Reset)
    }
}

/// A histogram's buckets brought to a chunk's layout; nothing is copied if they have it.
struct Spread {
    positive: Option<Vec<f64>>,
    negative: Option<Vec<f64>>,
}

impl Spread {
    fn of(histogram: &Histogram, layout: &Layout) -> Self {
        let spread = |counts: &[f64], from: &[Span], to: &[Span]| {
            (from != to).then(|| spans::spread(counts, from, to))
        };
        Spread {
            positive: spread(
                &histogram.positive_buckets,
                &histogram.positive_spans,
                &layout.positive,
            ),
            negative: spread(
                &histogram.negative_buckets,
                &histogram.negative_spans,
                &layout.negative,
            ),
        }
    }

    fn counts<'a>(&'a self, histogram: &'a Histogram) -> Counts<'a> {
        if is_stale(histogram) {
            return Counts::stale(histogram.sum);
        }
        Counts {
            count: histogram.count,
            zero_count: histogram.zero_count,
            sum: histogram.sum,
            positive: self
                .positive
                .as_deref()
                .unwrap_or(&histogram.positive_buckets),
            negative: self
                .negative
                .as_deref()
                .unwrap_or(&histogram.negative_buckets),
        }
    }
}

/// A chunk without starts written again with that of each sample, 0 if it is not known.
pub(super) fn with_starts(
    encoding: Encoding,
    chunk: &[u8],
    starts_ms: &[i64],
) -> Result<(Encoding, Vec<u8>), ChunkError> {
    let HistogramEncoder { layout, reset, .. } = HistogramEncoder::reopen(encoding, chunk)?;
    let (mut times, mut histograms) = (Vec::new(), Vec::new());
    decode_histograms(encoding, chunk, &mut times, &mut histograms)?;
    if times.len() > usize::from(MOST_SAMPLES_WITH_STARTS) {
        return Err(ChunkError::TooManySamples);
    }
    let whole = encoding == Encoding::Histogram;
    let mut starts = StartWriter::new(starts_ms);
    let mut encoder: Option<HistogramEncoder> = None;
    let start_of = |index: usize| starts_ms.get(index).copied().unwrap_or(0);
    for (index, (time, histogram)) in times.iter().zip(&histograms).enumerate() {
        let before_ms = encoder.as_ref().map_or(0, HistogramEncoder::last_ms);
        let open = match &mut encoder {
            Some(open) => {
                open.write(*time, histogram);
                open
            }
            None => encoder.insert(HistogramEncoder::first(
                *time,
                histogram,
                layout.clone(),
                reset,
                whole,
            )),
        };
        starts.write(&mut open.writer, index, before_ms, *time, start_of(index));
    }
    let encoder = encoder.ok_or(ChunkError::Empty)?;
    let [high, low] = encoder.count.to_be_bytes();
    let mut bytes = vec![high | reset_to_bits(reset), low, starts.header()];
    encoder.writer.copy_to(&mut bytes);
    let encoding = match whole {
        true => Encoding::HistogramStart,
        false => Encoding::FloatHistogramStart,
    };
    Ok((encoding, bytes))
}

pub(super) fn is_stale(histogram: &Histogram) -> bool {
    is_stale_nan(histogram.sum)
}

/// Whether all counts are whole numbers. Those of a stale marker don't count.
pub(super) fn is_whole(histogram: &Histogram) -> bool {
    let buckets = histogram.positive_buckets.iter();
    let mut counts = buckets
        .chain(&histogram.negative_buckets)
        .chain([&histogram.count, &histogram.zero_count]);
    is_stale(histogram) || counts.all(|count| is_whole_count(*count))
}

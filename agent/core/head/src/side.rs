//! What few series have: histograms, samples that came late, deleted intervals.

use std::sync::Arc;

use narthex_chunk::{Appended, HistogramEncoder, encode_xor};
use narthex_model::histogram::CounterReset;
use narthex_model::{Histogram, STALE_NAN, SampleValue, is_stale_nan};

use crate::hot::{foretell, until_border};
use crate::sealed::{Place, SealedEntry};

/// Samples that came late are made a chunk when there are so many.
const LATE_SAMPLES: usize = 32;

/// A chunk of histograms is full at so many bytes, if it has some samples.
const HISTOGRAM_BYTES: usize = 1024;
const HISTOGRAM_LEAST_SAMPLES: u16 = 10;
const HISTOGRAM_SAMPLES: u16 = 120;

#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) open: Option<OpenHistograms>,
    /// The last sample of the series, if that was a histogram.
    pub(crate) last_histogram: Option<Arc<Histogram>>,
    pub(crate) late: Late,
    /// Intervals whose samples readers don't get, both ends inclusive.
    pub(crate) deleted: Vec<(i64, i64)>,
}

impl Side {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none()
            && self.last_histogram.is_none()
            && self.deleted.is_empty()
            && self.late.is_empty()
    }
}

/// The open chunk of a series whose last sample is a histogram.
#[derive(Debug)]
pub(crate) struct OpenHistograms {
    pub(crate) encoder: HistogramEncoder,
    pub(crate) cut_after_ms: u32,
}

impl OpenHistograms {
    /// Begins a chunk; `None` if the histogram contradicts itself.
    pub(crate) fn begin(
        timestamp_ms: i64,
        histogram: &Histogram,
        reset: CounterReset,
        chunk_range_ms: i64,
    ) -> Option<Self> {
        Some(OpenHistograms {
            encoder: HistogramEncoder::begin(timestamp_ms, histogram, reset).ok()?,
            cut_after_ms: until_border(timestamp_ms, chunk_range_ms),
        })
    }

    /// Adds a later histogram, or says what to tell the chunk that has to begin with it.
    pub(crate) fn append(
        &mut self,
        timestamp_ms: i64,
        histogram: &Histogram,
    ) -> Option<Result<(), CounterReset>> {
        if self.must_cut_before(timestamp_ms) {
            return Some(Err(self.encoder.reset_before(histogram)));
        }
        match self.encoder.append(timestamp_ms, histogram).ok()? {
            Appended::Done | Appended::Recoded => Some(Ok(())),
            Appended::NewChunk(reset) => Some(Err(reset)),
        }
    }

    pub(crate) fn times_ms(&self) -> (i64, i64) {
        (self.encoder.start_ms(), self.encoder.last_ms())
    }

    pub(crate) fn seal(self) -> SealedEntry {
        let (start_ms, end_ms) = self.times_ms();
        let (encoding, bytes) = self.encoder.finish();
        SealedEntry {
            start_ms,
            end_ms,
            encoding: encoding.code(),
            place: Place::Memory(bytes.into()),
        }
    }

    fn must_cut_before(&mut self, timestamp_ms: i64) -> bool {
        let (start_ms, last_ms) = self.times_ms();
        let count = self.encoder.count();
        if count == HISTOGRAM_SAMPLES / 4 {
            self.cut_after_ms = foretell(start_ms, last_ms, self.cut_after_ms);
        }
        let large = self.encoder.len_bytes() >= HISTOGRAM_BYTES && count >= HISTOGRAM_LEAST_SAMPLES;
        let age_ms = timestamp_ms.wrapping_sub(start_ms) as u64;
        large || age_ms >= u64::from(self.cut_after_ms) || count >= HISTOGRAM_SAMPLES * 2
    }
}

/// Samples that came late: a few as they are, sorted, the others as chunks, which may overlap.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) buffer: Vec<(i64, SampleValue)>,
    /// The last commit that added to the buffer.
    pub(crate) newest_commit: u64,
    /// Oldest commits first.
    pub(crate) chunks: Vec<LateChunk>,
}

#[derive(Debug)]
pub(crate) struct LateChunk {
    /// A list of one entry.
    pub(crate) list: u32,
    /// The last commit that gave samples of it.
    pub(crate) newest_commit: u64,
    /// Samples before this are in a block already.
    pub(crate) from_ms: i64,
}

/// How a late sample fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateFit {
    At(usize),
    Known,
    Duplicate,
}

impl Late {
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.chunks.is_empty()
    }

    /// Only the buffer is looked at; of samples of one time in chunks, readers get the first.
    pub(crate) fn fit(&self, timestamp_ms: i64, value: &SampleValue) -> LateFit {
        let found = self
            .buffer
            .binary_search_by_key(&timestamp_ms, |(time, _)| *time);
        match found {
            Err(at) => LateFit::At(at),
            Ok(at)
                if self
                    .buffer
                    .get(at)
                    .is_some_and(|(_, there)| same(there, value)) =>
            {
                LateFit::Known
            }
            Ok(_) => LateFit::Duplicate,
        }
    }

    /// Adds a sample; gives the chunks that the buffer became, if it is full.
    pub(crate) fn insert(
        &mut self,
        at: usize,
        timestamp_ms: i64,
        value: SampleValue,
        commit: u64,
    ) -> Vec<SealedEntry> {
        self.buffer
            .insert(at.min(self.buffer.len()), (timestamp_ms, value));
        self.newest_commit = commit;
        if self.buffer.len() < LATE_SAMPLES {
            return Vec::new();
        }
        encode_mixed(&std::mem::take(&mut self.buffer))
    }
}

/// Whether a sample marks the end of its series.
pub(crate) fn is_stale(value: &SampleValue) -> bool {
    match value {
        SampleValue::Float(value) => is_stale_nan(*value),
        SampleValue::Histogram(histogram) => is_stale_nan(histogram.sum),
    }
}

/// Equal to the bit.
pub(crate) fn same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => same_histogram(a, b),
        _ => false,
    }
}

/// Whether two histograms hold the same, to the bit. What they say of resets doesn't count, as it
/// isn't kept.
pub(crate) fn same_histogram(a: &Histogram, b: &Histogram) -> bool {
    if is_stale_nan(a.sum) || is_stale_nan(b.sum) {
        return a.sum.to_bits() == b.sum.to_bits();
    }
    let same_floats = |a: &[f64], b: &[f64]| {
        let both = a.iter().zip(b);
        a.len() == b.len() && both.into_iter().all(|(a, b)| a.to_bits() == b.to_bits())
    };
    same_floats(
        &[a.sum, a.count, a.zero_count, a.zero_threshold],
        &[b.sum, b.count, b.zero_count, b.zero_threshold],
    ) && a.schema == b.schema
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && same_floats(&a.positive_buckets, &b.positive_buckets)
        && same_floats(&a.negative_buckets, &b.negative_buckets)
        && same_floats(&a.custom_values, &b.custom_values)
}

/// The stale marker of a series of histograms.
pub(crate) fn stale_histogram() -> Arc<Histogram> {
    Arc::new(Histogram {
        sum: STALE_NAN,
        ..Histogram::default()
    })
}

/// Sorted samples of both kinds as chunks.
pub(crate) fn encode_mixed(samples: &[(i64, SampleValue)]) -> Vec<SealedEntry> {
    let is_float = |sample: &(i64, SampleValue)| sample.1.as_float().is_some();
    // A list's entries span less than 2^32 ms.
    let near = |a: &(i64, SampleValue), b: &(i64, SampleValue)| {
        b.0.wrapping_sub(a.0) as u64 <= u64::from(u32::MAX) / LATE_SAMPLES as u64
    };
    let runs = samples.chunk_by(|a, b| is_float(a) == is_float(b) && near(a, b));
    let mut entries = Vec::new();
    for run in runs {
        let times: Vec<i64> = run.iter().map(|(time, _)| *time).collect();
        let (Some(&start_ms), Some(&end_ms)) = (times.first(), times.last()) else {
            continue;
        };
        let floats: Vec<f64> = run
            .iter()
            .filter_map(|(_, value)| value.as_float())
            .collect();
        if floats.len() == run.len() {
            // It fails for columns that are too long, which these are not.
            let bytes = encode_xor(&times, &floats).unwrap_or_default();
            entries.push(SealedEntry {
                start_ms,
                end_ms,
                encoding: narthex_chunk::Encoding::Xor.code(),
                place: Place::Memory(bytes.into()),
            });
            continue;
        }
        entries.extend(encode_run_of_histograms(run));
    }
    entries
}

fn encode_run_of_histograms(run: &[(i64, SampleValue)]) -> Vec<SealedEntry> {
    let mut entries = Vec::new();
    let mut open: Option<OpenHistograms> = None;
    for (timestamp_ms, value) in run {
        let SampleValue::Histogram(histogram) = value else {
            continue;
        };
        let mut reset = CounterReset::Unknown;
        match open
            .as_mut()
            .map(|open| open.append(*timestamp_ms, histogram))
        {
            // It is of no use to the reader either.
            Some(None) | Some(Some(Ok(()))) => continue,
            Some(Some(Err(found))) => reset = found,
            None => {}
        }
        entries.extend(open.take().map(OpenHistograms::seal));
        open = OpenHistograms::begin(*timestamp_ms, histogram, reset, i64::MAX);
    }
    entries.extend(open.map(OpenHistograms::seal));
    entries
}

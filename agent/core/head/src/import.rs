//! Samples from elsewhere, Prometheus's log for one: no record is written and no bound is checked.

use std::sync::{Arc, Mutex, PoisonError};

use narthex_chunk::{
    ChunkError, Encoding, decode_floats_with_starts, decode_histograms_with_starts,
};
use narthex_model::{Exemplar, Histogram, Labels, Metadata, SampleValue};
use narthex_storage::AppendError;

use crate::counters::Tally;
use crate::delete::deletion;
use crate::page::{PageInner, page_of, slot_of};
use crate::sealed::{Place, SealedEntry};
use crate::side::{LateFit, is_stale, same};
use crate::starts::UNKNOWN;
use crate::{Batch, Head};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("the label set is empty")]
    NoLabels,
    #[error("there are too many series")]
    Full,
    #[error("invalid histogram: {0}")]
    InvalidHistogram(&'static str),
    #[error("damaged chunk: {0}")]
    Chunk(#[from] ChunkError),
}

/// Each call takes effect at once. A sample that is not later than the newest of its series is kept
/// as one that came late, or passed over if that very sample is there.
pub struct Import<'a> {
    head: &'a Head,
    /// Makes series, and keeps them from being collected.
    batch: Mutex<Batch<'a>>,
}

impl<'a> Import<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        Import {
            head,
            batch: Mutex::new(head.batch()),
        }
    }

    /// The series of these labels, made if need be. Good as long as this lives.
    pub fn series(&self, labels: &Labels) -> Result<u32, ImportError> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        match batch.find_or_create(labels) {
            Ok(series) => Ok(series.0 as u32),
            Err(AppendError::NoLabels) => Err(ImportError::NoLabels),
            Err(_) => Err(ImportError::Full),
        }
    }

    pub fn labels(&self, series: u32) -> Option<Labels> {
        self.head.catalogue().labels(series)
    }

    pub fn float(&self, series: u32, timestamp_ms: i64, value: f64) {
        self.float_since(series, timestamp_ms, value, UNKNOWN);
    }

    /// With the time at which its counter started, 0 if that is not known.
    pub fn float_since(&self, series: u32, timestamp_ms: i64, value: f64, start_ms: i64) {
        self.sample(series, timestamp_ms, SampleValue::Float(value), start_ms);
    }

    pub fn histogram(
        &self,
        series: u32,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), ImportError> {
        self.histogram_since(series, timestamp_ms, histogram, UNKNOWN)
    }

    /// With the time at which its counters started, 0 if that is not known.
    pub fn histogram_since(
        &self,
        series: u32,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
        start_ms: i64,
    ) -> Result<(), ImportError> {
        histogram.check().map_err(ImportError::InvalidHistogram)?;
        let value = SampleValue::Histogram(histogram);
        self.sample(series, timestamp_ms, value, start_ms);
        Ok(())
    }

    /// Takes a whole chunk in Prometheus's encoding of this number; gives its number of samples.
    pub fn chunk(&self, series: u32, encoding: u8, bytes: &[u8]) -> Result<u64, ImportError> {
        let encoding = Encoding::from_code(encoding)?;
        let (mut times, mut floats, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        let mut starts = Vec::new();
        if encoding.is_floats() {
            decode_floats_with_starts(encoding, bytes, &mut times, &mut floats, &mut starts)?;
        } else {
            let values = &mut histograms;
            decode_histograms_with_starts(encoding, bytes, &mut times, values, &mut starts)?;
        }
        let floats = floats.into_iter().map(SampleValue::Float);
        let values = floats.chain(histograms.into_iter().map(SampleValue::Histogram));
        let samples: Vec<(i64, SampleValue)> = times.into_iter().zip(values).collect();
        self.with_page(series, |page, tally| {
            let taken = page.take_chunk(slot_of(series), encoding, bytes, &samples, tally);
            if taken {
                let first_ms = samples.first().map_or(0, |(time, _)| *time);
                page.note_start(slot_of(series), first_ms, UNKNOWN, false);
                return;
            }
            for ((time, value), start_ms) in samples.iter().zip(&starts) {
                self.add(page, series, *time, value.clone(), *start_ms, tally);
            }
        });
        Ok(samples.len() as u64)
    }

    pub fn exemplar(&self, series: u32, exemplar: &Exemplar) {
        if let Some(labels) = self.head.catalogue().labels(series) {
            self.head.exemplar_ring().add(&labels, exemplar);
        }
    }

    pub fn metadata(&self, family: &str, metadata: &Metadata) {
        self.head.keep_metadata(family, metadata.clone());
    }

    /// Hides the samples of these times that the series has now.
    pub fn delete(&self, series: u32, start_ms: i64, end_ms: i64) {
        self.with_page(series, |page, _| {
            if let Some(deletion) = deletion(page, series, start_ms, end_ms) {
                let interval = (deletion.start_ms, deletion.end_ms);
                page.add_deletion(slot_of(series), interval);
            }
        });
    }

    fn sample(&self, series: u32, timestamp_ms: i64, value: SampleValue, start_ms: i64) {
        self.with_page(series, |page, tally| {
            self.add(page, series, timestamp_ms, value, start_ms, tally);
        });
    }

    fn with_page(&self, series: u32, change: impl FnOnce(&mut PageInner, &mut Tally)) {
        let mut tally = Tally::default();
        let _commit = self.head.isolation.begin_commit();
        if let Some(page) = self.head.pages().get(page_of(series)) {
            change(&mut page.lock(), &mut tally);
        }
        self.head.add(&tally);
    }

    fn add(
        &self,
        page: &mut PageInner,
        series: u32,
        timestamp_ms: i64,
        value: SampleValue,
        start_ms: i64,
        tally: &mut Tally,
    ) {
        let slot = slot_of(series);
        let range_ms = self.head.chunk_range_ms;
        let hot = &page.hot[usize::from(slot)];
        let later = !hot.has_seen() || timestamp_ms > hot.last_ms();
        if !later {
            if timestamp_ms < hot.last_ms() || !page.is_last(slot, &value) {
                let fit = page.insert_late(slot, timestamp_ms, value, 0, tally);
                if matches!(fit, LateFit::At(_)) {
                    page.note_start(slot, timestamp_ms, start_ms, true);
                }
            }
            return;
        }
        if !is_stale(&value) {
            page.note_start(slot, timestamp_ms, start_ms, false);
        }
        match value {
            SampleValue::Float(value) => {
                page.append_float(slot, timestamp_ms, value.to_bits(), range_ms, tally);
            }
            SampleValue::Histogram(histogram) => {
                page.append_histogram(slot, timestamp_ms, &histogram, range_ms, tally);
            }
        }
    }
}

impl PageInner {
    /// Whether the last sample has this value.
    fn is_last(&self, slot: u8, value: &SampleValue) -> bool {
        let hot = &self.hot[usize::from(slot)];
        if !hot.is_histogram() {
            let last = SampleValue::Float(f64::from_bits(hot.last_bits()));
            return same(&last, value);
        }
        let last = self.side(slot).and_then(|side| side.last_histogram.clone());
        last.is_some_and(|last| same(&SampleValue::Histogram(last), value))
    }

    /// Takes a chunk as it is, if all its samples are later than the last.
    fn take_chunk(
        &mut self,
        slot: u8,
        encoding: Encoding,
        bytes: &[u8],
        samples: &[(i64, SampleValue)],
        tally: &mut Tally,
    ) -> bool {
        let (Some((start_ms, _)), Some((end_ms, last))) = (samples.first(), samples.last()) else {
            return true;
        };
        let hot = &self.hot[usize::from(slot)];
        let later = !hot.has_seen() || *start_ms > hot.last_ms();
        let rises = samples.is_sorted_by(|a, b| a.0 < b.0);
        let near = end_ms.wrapping_sub(*start_ms) as u64 <= u64::from(u32::MAX);
        let plain = encoding.code() <= Encoding::FloatHistogram.code();
        if !(later && rises && near && plain) {
            return false;
        }
        let entry = SealedEntry {
            start_ms: *start_ms,
            end_ms: *end_ms,
            encoding: encoding.code(),
            place: Place::Memory(bytes.into()),
        };
        self.push_chunk(slot, entry, tally);
        self.note_last(slot, *end_ms, last, tally);
        let count = samples.len() as u64;
        match last {
            SampleValue::Float(_) => tally.floats += count,
            SampleValue::Histogram(_) => tally.histograms += count,
        }
        tally.stretch_to(*start_ms);
        tally.stretch_to(*end_ms);
        true
    }
}

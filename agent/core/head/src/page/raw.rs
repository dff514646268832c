//! What a reader takes along of a series, to decode it when the page is no longer held.

use narthex_chunk::{Encoding, sample_count};
use narthex_model::SampleValue;

use super::PageInner;
use crate::sealed::{Place, SealedEntry};
use crate::side::Side;

/// A series' chunks as a reader takes them along.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    /// Newest first. Without what came late.
    pub(crate) chunks: Vec<SealedEntry>,
    /// So many samples at the end of `chunks` are not to be seen.
    pub(crate) hidden: usize,
    /// In the order they came, each with the time from which on its samples are to be seen.
    pub(crate) late_chunks: Vec<(SealedEntry, i64)>,
    pub(crate) late_samples: Vec<(i64, SampleValue)>,
    /// One late sample each of these times, the last that came, is not to be seen.
    pub(crate) hidden_late: Vec<i64>,
    pub(crate) deleted: Vec<(i64, i64)>,
}

impl Raw {
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.hidden = 0;
        self.late_chunks.clear();
        self.late_samples.clear();
        self.hidden_late.clear();
        self.deleted.clear();
    }
}

impl PageInner {
    /// What a reader with this range takes along who has seen the commits up to this one. `raw` is
    /// empty.
    pub(crate) fn take_raw(
        &self,
        slot: u8,
        seen: u64,
        (start_ms, end_ms): (i64, i64),
        raw: &mut Raw,
    ) {
        raw.hidden = self.history.hidden(seen, slot);
        let open = self.open_times_ms(slot);
        let open_counts =
            raw.hidden > 0 || open.is_some_and(|open| open.1 >= start_ms && open.0 <= end_ms);
        if open_counts {
            let open = self.open_floats(slot);
            raw.chunks
                .extend(open.or_else(|| self.open_histograms(slot)));
        }
        let mut hidden_left = raw.hidden.saturating_sub(count_in(&raw.chunks));
        for entry in self.sealed.iter(self.hot[usize::from(slot)].sealed) {
            if hidden_left > 0 {
                hidden_left = hidden_left.saturating_sub(count_in(std::slice::from_ref(&entry)));
                raw.chunks.push(entry);
            } else if entry.end_ms < start_ms {
                break;
            } else if entry.start_ms <= end_ms {
                raw.chunks.push(entry);
            }
        }
        if let Some(side) = self.side(slot) {
            raw.hidden_late = self.history.hidden_late(seen, slot);
            self.take_side(side, start_ms, end_ms, raw);
        }
    }

    fn take_side(&self, side: &Side, start_ms: i64, end_ms: i64, raw: &mut Raw) {
        raw.deleted.clone_from(&side.deleted);
        for chunk in &side.late.chunks {
            let entries = self.sealed.iter(chunk.list);
            let hits = entries.filter(|entry| entry.end_ms >= start_ms && entry.start_ms <= end_ms);
            raw.late_chunks
                .extend(hits.map(|entry| (entry, chunk.from_ms)));
        }
        let buffer = side.late.buffer.iter();
        let hits = buffer.filter(|(time, _)| (start_ms..=end_ms).contains(time));
        raw.late_samples.extend(hits.cloned());
    }
}

/// Samples of the chunks in memory; others are not counted.
fn count_in(entries: &[SealedEntry]) -> usize {
    let counts = entries.iter().map(|entry| match &entry.place {
        Place::Memory(bytes) => Encoding::from_code(entry.encoding)
            .and_then(|encoding| sample_count(encoding, bytes))
            .unwrap_or(0),
        Place::File(_) => 0,
    });
    counts.sum()
}

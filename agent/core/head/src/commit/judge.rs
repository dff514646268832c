//! Judging a sample by what is there of its series, and writing it into the sections of the record.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::sample::STALE_NAN_BITS;
use narthex_model::{Histogram, SampleValue, is_stale_nan};
use narthex_storage::AppendError;

use super::Entry;
use crate::page::{PageInner, slot_of};
use crate::record::definitions::Definitions;
use crate::record::floats::FloatWriter;
use crate::record::others::{
    LateEntry, StartEntry, encode_histogram, put_histogram, put_late, put_start,
};
use crate::record::{self, put_section};
use crate::side::{LateFit, same_histogram};
use crate::starts::UNKNOWN;
use crate::{Batch, Head};

/// Samples in the log after which a series gets a new key.
const KEY_SAMPLES: u8 = 64;

/// What commits write with.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) floats: FloatWriter,
    pub(super) definitions: Definitions,
    histograms: Vec<u8>,
    last_histogram_id: u32,
    late: Vec<u8>,
    last_late_id: u32,
    starts: Vec<u8>,
    last_start_id: u32,
    pub(super) body: Vec<u8>,
    pub(super) record: Vec<u8>,
    pub(super) decisions: Vec<Decision>,
    /// What becomes of a sample of nothing where each sample's counter started; empty if there is
    /// none.
    pub(super) zeros: Vec<Decision>,
    pub(super) order: Vec<u32>,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Store,
    /// The log has its value as the series' new key.
    StoreKey,
    Late,
    /// It is there already.
    Known,
    Refuse(AppendError),
}

impl Decision {
    pub(super) fn stores(self) -> bool {
        matches!(self, Decision::Store | Decision::StoreKey | Decision::Late)
    }
}

/// What of a series' state a sample is judged by: that of the page, and on from there that of the
/// batch.
pub(super) struct View {
    pub(super) id: u32,
    seen: bool,
    last_ms: i64,
    last_bits: u64,
    is_histogram: bool,
    /// The last sample, if it is a histogram of this batch.
    last_histogram: Option<usize>,
    pub(super) birth: u8,
    pub(super) defined: bool,
    /// When the counter of the last sample started.
    start_ms: i64,
    keyed: bool,
    key: u64,
    key_age: u8,
    /// Whether samples of this series are in the sections that are being written, by kind.
    wrote: (bool, bool),
}

/// How the time of a sample fits.
enum Place {
    Later,
    Same,
    Late,
    Refuse(AppendError),
}

/// The times that are judged by, the same for a whole commit.
pub(super) struct Bounds {
    in_order_ms: i64,
    window_ms: i64,
    newest_ms: i64,
}

impl Bounds {
    pub(super) fn of(head: &Head) -> Self {
        let newest_ms = head.newest_ms();
        let half_range_ms = head.chunk_range_ms / 2;
        Bounds {
            in_order_ms: newest_ms
                .saturating_sub(half_range_ms)
                .max(head.min_valid_ms()),
            window_ms: head.window_ms(),
            newest_ms,
        }
    }

    /// Counts a sample that came late.
    pub(super) fn note_delay(&self, head: &Head, timestamp_ms: i64) {
        let delay_ms = self.newest_ms.saturating_sub(timestamp_ms);
        if delay_ms > 0 {
            head.counters.delays.observe(delay_ms);
        }
    }

    #[inline]
    fn place(&self, view: &View, timestamp_ms: i64) -> Place {
        if timestamp_ms >= self.in_order_ms {
            if !view.seen || timestamp_ms > view.last_ms {
                return Place::Later;
            }
            if timestamp_ms == view.last_ms {
                return Place::Same;
            }
        }
        if self.window_ms > 0 {
            let oldest_ms = self.newest_ms.saturating_sub(self.window_ms);
            return match timestamp_ms >= oldest_ms {
                true => Place::Late,
                false => Place::Refuse(AppendError::TooOld),
            };
        }
        Place::Refuse(match timestamp_ms < self.in_order_ms {
            true => AppendError::OutOfBounds,
            false => AppendError::OutOfOrder,
        })
    }
}

impl View {
    #[inline]
    pub(super) fn of(page: &PageInner, id: u32, same_epoch: bool, defined: bool) -> Self {
        let slot = slot_of(id);
        let hot = &page.hot[usize::from(slot)];
        View {
            id,
            seen: hot.has_seen(),
            last_ms: hot.last_ms(),
            last_bits: hot.last_bits(),
            is_histogram: hot.is_histogram(),
            last_histogram: None,
            birth: page.births[usize::from(slot)],
            defined,
            start_ms: page
                .starts
                .as_ref()
                .map_or(UNKNOWN, |all| all.last_ms(slot)),
            keyed: same_epoch && page.keyed.contains(slot),
            key: page.keys[usize::from(slot)],
            key_age: hot.key_age,
            wrote: (false, false),
        }
    }
}

impl Scratch {
    pub(super) fn begin(&mut self, samples: usize, epoch: u32) {
        self.epoch = epoch;
        self.floats.clear();
        self.definitions = Definitions::default();
        for body in [
            &mut self.histograms,
            &mut self.late,
            &mut self.starts,
            &mut self.body,
            &mut self.record,
        ] {
            body.clear();
        }
        self.last_histogram_id = 0;
        self.last_late_id = 0;
        self.last_start_id = 0;
        self.zeros.clear();
        self.decisions.clear();
        self.decisions.resize(samples, Decision::Known);
    }

    pub(super) fn begin_zeros(&mut self, samples: usize) {
        self.zeros.resize(samples, Decision::Known);
    }

    /// Writes the section of starts.
    pub(super) fn flush_starts(&mut self) {
        put_section(&mut self.record, record::STARTS, &mut self.starts);
    }

    /// Writes that a sample which is stored has this start, if that is news. What a late one has may
    /// change by what the batch brings, so it is always written.
    pub(super) fn put_start(
        &mut self,
        view: &mut View,
        timestamp_ms: i64,
        late: bool,
        start_ms: i64,
    ) {
        if !late && start_ms == view.start_ms {
            return;
        }
        let entry = StartEntry {
            id: view.id,
            birth: view.birth,
            late,
            timestamp_ms,
            start_ms,
        };
        put_start(&mut self.starts, &mut self.last_start_id, &entry);
        if !late {
            view.start_ms = start_ms;
        }
    }

    /// Writes the sections that have something.
    pub(super) fn flush(&mut self) {
        let Self {
            floats,
            definitions,
            histograms,
            late,
            body,
            record,
            epoch,
            ..
        } = self;
        definitions.take(body);
        put_section(record, record::DEFINITIONS, body);
        floats.take(*epoch, body);
        put_section(record, record::FLOATS, body);
        put_section(record, record::HISTOGRAMS, histograms);
        put_section(record, record::LATE_FLOATS, late);
        self.last_histogram_id = 0;
        self.last_late_id = 0;
    }

    #[inline]
    pub(super) fn judge_float(
        &mut self,
        entry: &Entry,
        view: &mut View,
        bounds: &Bounds,
        page: &PageInner,
    ) -> Decision {
        let bits = entry.bits;
        match bounds.place(view, entry.timestamp_ms) {
            Place::Later => self.write_float(entry, view),
            Place::Same if view.is_histogram => {
                let stale = bits == STALE_NAN_BITS && is_stale_nan(f64::from_bits(view.last_bits));
                match stale {
                    true => Decision::Known,
                    false => Decision::Refuse(AppendError::DuplicateTimestamp),
                }
            }
            Place::Same if bits == view.last_bits => Decision::Known,
            Place::Same => Decision::Refuse(AppendError::DuplicateTimestamp),
            Place::Late => {
                let value = SampleValue::Float(f64::from_bits(bits));
                let decision = judge_late(page, entry, &value);
                if decision == Decision::Late {
                    let entry = LateEntry {
                        id: entry.id,
                        birth: view.birth,
                        timestamp_ms: entry.timestamp_ms,
                        bits,
                    };
                    put_late(&mut self.late, &mut self.last_late_id, &entry);
                }
                decision
            }
            Place::Refuse(error) => Decision::Refuse(error),
        }
    }

    /// Writes a float that is later than the last sample.
    #[inline]
    fn write_float(&mut self, entry: &Entry, view: &mut View) -> Decision {
        let (id, time, bits) = (entry.id, entry.timestamp_ms, entry.bits);
        if view.wrote.1 {
            // Floats stand before histograms, so those that came before get a section of their own.
            self.flush();
            view.wrote = (false, false);
        }
        let repeats = view.seen && bits == view.last_bits && !view.is_histogram;
        let mut decision = Decision::Store;
        if bits == STALE_NAN_BITS {
            self.floats.push_stale(id, time, view.birth);
        } else if !view.keyed || view.key_age >= KEY_SAMPLES || (repeats && bits != view.key) {
            self.floats.push_key(id, time, view.birth, bits);
            (view.keyed, view.key, view.key_age) = (true, bits, 0);
            decision = Decision::StoreKey;
        } else if bits == view.key {
            self.floats.push_equal(id, time, view.birth);
        } else {
            self.floats
                .push_against(id, time, view.birth, bits, view.key);
        }
        if decision == Decision::Store {
            view.key_age = view.key_age.saturating_add(1);
        }
        // A stale marker keeps a series of histograms one.
        view.is_histogram &= bits == STALE_NAN_BITS;
        view.seen = true;
        view.last_ms = time;
        view.last_bits = bits;
        view.last_histogram = None;
        view.wrote.0 = true;
        decision
    }

    pub(super) fn judge_histogram(
        &mut self,
        entry: &Entry,
        view: &mut View,
        bounds: &Bounds,
        page: &PageInner,
        all: &[Arc<Histogram>],
    ) -> Decision {
        let Some(histogram) = all.get(entry.bits as usize) else {
            return Decision::Refuse(AppendError::InvalidHistogram("it is missing"));
        };
        let place = bounds.place(view, entry.timestamp_ms);
        let late = matches!(place, Place::Late);
        match place {
            Place::Later => {}
            Place::Same => {
                return match view.has_last(histogram, page, all) {
                    true => Decision::Known,
                    false => Decision::Refuse(AppendError::DuplicateTimestamp),
                };
            }
            Place::Late => {
                let value = SampleValue::Histogram(histogram.clone());
                let decision = judge_late(page, entry, &value);
                if decision != Decision::Late {
                    return decision;
                }
            }
            Place::Refuse(error) => return Decision::Refuse(error),
        }
        if !self.write_histogram(view, entry.timestamp_ms, histogram, late) {
            let reason = "its spans and buckets contradict each other";
            return Decision::Refuse(AppendError::InvalidHistogram(reason));
        }
        if late {
            return Decision::Late;
        }
        view.last_histogram = Some(entry.bits as usize);
        Decision::Store
    }

    /// Judges, and writes, a sample of nothing where the counter of an entry started.
    pub(super) fn judge_zero(
        &mut self,
        index: usize,
        entry: &Entry,
        view: &mut View,
        bounds: &Bounds,
        batch: &Batch<'_>,
    ) -> Decision {
        let start_ms = batch.start_ms(index);
        let fits = start_ms != UNKNOWN
            && start_ms < entry.timestamp_ms
            && !batch.is_stale(entry)
            && matches!(bounds.place(view, start_ms), Place::Later);
        if !fits {
            return Decision::Known;
        }
        let histogram = batch.histograms.get(entry.bits as usize);
        let decision = match histogram.filter(|_| entry.is_histogram) {
            None => self.write_float(&Entry::float(entry.id, start_ms, 0.0), view),
            Some(histogram) => {
                let zero = zero_histogram(histogram);
                match self.write_histogram(view, start_ms, &zero, false) {
                    true => Decision::Store,
                    false => Decision::Known,
                }
            }
        };
        if let Some(zero) = self.zeros.get_mut(index) {
            *zero = decision;
        }
        decision
    }

    /// Writes a histogram; false if it contradicts itself.
    fn write_histogram(
        &mut self,
        view: &mut View,
        timestamp_ms: i64,
        histogram: &Histogram,
        late: bool,
    ) -> bool {
        let Some((encoding, bytes)) = encode_histogram(timestamp_ms, histogram) else {
            return false;
        };
        let (body, previous) = (&mut self.histograms, &mut self.last_histogram_id);
        let series = (view.id, view.birth);
        put_histogram(body, previous, series, late, (encoding, &bytes));
        if !late {
            view.seen = true;
            view.is_histogram = true;
            view.last_ms = timestamp_ms;
            view.last_bits = histogram.sum.to_bits();
            view.last_histogram = None;
            view.wrote.1 = true;
        }
        true
    }
}

/// A histogram that has counted nothing, in the layout of another.
pub(super) fn zero_histogram(histogram: &Histogram) -> Histogram {
    Histogram {
        counter_reset: CounterReset::Reset,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        custom_values: histogram.custom_values.clone(),
        ..Histogram::default()
    }
}

impl View {
    /// Whether the last sample is this histogram.
    fn has_last(&self, histogram: &Histogram, page: &PageInner, all: &[Arc<Histogram>]) -> bool {
        if !self.is_histogram {
            return false;
        }
        if let Some(last) = self.last_histogram {
            return all
                .get(last)
                .is_some_and(|last| same_histogram(last, histogram));
        }
        if self.wrote.0 {
            // The batch has written a stale marker.
            return is_stale_nan(histogram.sum);
        }
        let side = page.side(slot_of(self.id));
        let last = side.and_then(|side| side.last_histogram.as_deref());
        last.is_some_and(|last| same_histogram(last, histogram))
    }
}

fn judge_late(page: &PageInner, entry: &Entry, value: &SampleValue) -> Decision {
    let side = page.side(slot_of(entry.id));
    match side.map(|side| side.late.fit(entry.timestamp_ms, value)) {
        None | Some(LateFit::At(_)) => Decision::Late,
        Some(LateFit::Known) => Decision::Known,
        Some(LateFit::Duplicate) => Decision::Refuse(AppendError::DuplicateTimestamp),
    }
}

//! The increase of native histograms between the borders of an anchored or smoothed range.

use std::sync::Arc;

use narthex_model::Histogram;

use super::extended::Place;
use super::histogram_rate::{Finding, note_combined, tell};
use super::{Notes, Window};
use crate::engine::annotations::HistogramOperation;

type Findings = Vec<Finding>;

/// None if the range holds nothing, or a mix of kinds.
pub(super) fn increase(
    window: &Window<'_>,
    smoothed: bool,
    is_counter: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if !window.values.is_empty() {
        notes.add(|annotations, name, span| annotations.mixed_floats_and_histograms(name, span));
        return None;
    }
    let times_ms = window.beside.times_ms;
    let place = Place::of(times_ms, window.start_ms, window.end_ms, smoothed)?;
    let range = Range {
        window,
        place,
        smoothed,
        is_counter,
    };
    let mut findings = Vec::new();
    let result = range.increase(&mut findings);
    tell(&findings, notes);
    result
}

/// A histogram with its time.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Timed<'h> {
    pub time_ms: i64,
    pub histogram: &'h Arc<Histogram>,
}

struct Range<'w> {
    window: &'w Window<'w>,
    place: Place,
    smoothed: bool,
    is_counter: bool,
}

impl<'w> Range<'w> {
    fn at(&self, index: usize) -> Option<Timed<'w>> {
        Some(Timed {
            time_ms: *self.window.beside.times_ms.get(index)?,
            histogram: self.window.beside.histograms.get(index)?,
        })
    }

    fn increase(&self, findings: &mut Findings) -> Option<Histogram> {
        self.check_kinds(findings)?;
        let left = self.left(findings)?;
        let right = self.right(findings)?;
        let gauges = left.is_gauge() && right.is_gauge();
        if !self.is_counter && !gauges {
            findings.push(Finding::NoGauge);
        }
        let mut increase = right.clone();
        let combined = increase.subtract(&left);
        note(combined, HistogramOperation::Subtraction, findings)?;
        if self.is_counter
            && let Some(hidden) = self.correction(&left, &right, findings)?
        {
            let combined = increase.add(&hidden);
            note(combined, HistogramOperation::Addition, findings)?;
        }
        Some(increase)
    }

    fn check_kinds(&self, findings: &mut Findings) -> Option<()> {
        let Place { first, last } = self.place;
        let histograms = self.window.beside.histograms.get(first..=last)?;
        let custom = histograms.first()?.uses_custom_bounds();
        for histogram in histograms {
            if histogram.uses_custom_bounds() != custom {
                findings.push(Finding::MixedSchemas);
                return None;
            }
            if self.is_counter && histogram.is_gauge() {
                findings.push(Finding::NoCounter);
            }
        }
        Some(())
    }

    fn left(&self, findings: &mut Findings) -> Option<Histogram> {
        let (first, start_ms) = (self.at(self.place.first)?, self.window.start_ms);
        if self.smoothed && first.time_ms < start_ms {
            let next = self.at(self.place.first + 1)?;
            return interpolate(first, next, start_ms, self.is_counter, findings);
        }
        Some(Histogram::clone(first.histogram))
    }

    fn right(&self, findings: &mut Findings) -> Option<Histogram> {
        let (last, end_ms) = (self.at(self.place.last)?, self.window.end_ms);
        if self.smoothed && last.time_ms > end_ms && self.place.last > 0 {
            let before = self.at(self.place.last - 1)?;
            return interpolate(before, last, end_ms, self.is_counter, findings);
        }
        Some(Histogram::clone(last.histogram))
    }

    /// What the counter's resets between the borders hide; None if that can't be told.
    fn correction(
        &self,
        left: &Histogram,
        right: &Histogram,
        findings: &mut Findings,
    ) -> Option<Option<Histogram>> {
        let Place { first, last } = self.place;
        let mut inside = first + 1;
        let mut before = left;
        // The left border stands behind a reset already: it was told from what followed.
        if self.smoothed
            && self.at(first)?.time_ms < self.window.start_ms
            && let (Some(old), Some(new)) = (self.at(first), self.at(first + 1))
            && new.histogram.is_reset_after(old.histogram)
        {
            before = new.histogram;
            inside += 1;
        }
        if inside > last {
            return Some(None);
        }
        // The last sample is not compared: the right border stands for it, with its hint.
        let between = self
            .window
            .beside
            .histograms
            .get(inside..last)
            .unwrap_or_default();
        let mut hidden: Option<Histogram> = None;
        for histogram in between.iter().map(|h| &**h).chain([right]) {
            if histogram.is_reset_after(before) {
                match &mut hidden {
                    None => hidden = Some(before.clone()),
                    Some(hidden) => {
                        let combined = hidden.add(before);
                        note(combined, HistogramOperation::Addition, findings)?;
                    }
                }
            }
            before = histogram;
        }
        Some(hidden)
    }
}

/// The histogram at `time_ms` on the line between two. A counter that was reset between them rises
/// from nothing. None, with a finding, if they are of different kinds.
pub(in crate::engine) fn interpolate(
    before: Timed<'_>,
    after: Timed<'_>,
    time_ms: i64,
    is_counter: bool,
    findings: &mut Findings,
) -> Option<Histogram> {
    let (low, high) = (before.histogram, after.histogram);
    if time_ms == before.time_ms {
        return Some(Histogram::clone(low));
    }
    if time_ms == after.time_ms {
        return Some(Histogram::clone(high));
    }
    let elapsed = time_ms.saturating_sub(before.time_ms) as f64;
    let fraction = elapsed / after.time_ms.saturating_sub(before.time_ms) as f64;
    let mut result = Histogram::clone(high);
    if is_counter && high.is_reset_after(low) {
        result.scale(fraction);
        return Some(result);
    }
    let combined = result.subtract(low);
    note(combined, HistogramOperation::Subtraction, findings)?;
    result.scale(fraction);
    let combined = result.add(low);
    note(combined, HistogramOperation::Addition, findings)?;
    Some(result)
}

fn note(
    combined: Result<
        narthex_model::histogram_arithmetic::Combined,
        narthex_model::histogram_arithmetic::HistogramError,
    >,
    operation: HistogramOperation,
    findings: &mut Findings,
) -> Option<()> {
    match note_combined(combined, operation, findings) {
        Ok(()) => Some(()),
        Err(refused) => {
            findings.extend(refused);
            None
        }
    }
}

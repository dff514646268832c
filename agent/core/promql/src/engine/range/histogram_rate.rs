//! The increase between native histograms of a window, and of the last two samples.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::histogram_arithmetic::{Combined, HistogramError};
use narthex_model::{Histogram, SampleValue};

use super::rate::{change, seconds};
use super::start::{Started, started, starts_anew};
use super::{Notes, Samples, Window};
use crate::engine::annotations::HistogramOperation;
use crate::engine::column::Value;

/// What there is to be told of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Finding {
    NoCounter,
    NoGauge,
    MixedSchemas,
    BoundsReconciled(HistogramOperation),
}

/// Why there is no result, and what to tell of it.
pub(super) type Refused = Vec<Finding>;

/// For each histogram of a series, whether the counter began anew there.
#[derive(Debug, Default)]
pub(super) struct HistogramResets {
    at: Vec<bool>,
}

impl HistogramResets {
    pub(super) fn find(&mut self, samples: &Samples) {
        self.at.clear();
        let mut before: Option<&Arc<Histogram>> = None;
        for (at, histogram) in samples.histograms.iter().enumerate() {
            let started = |at| samples.histogram_started(at);
            let anew = || starts_anew(at.checked_sub(1).and_then(started), started(at));
            let is_reset = before.is_some_and(|b| histogram.is_reset_after(b) || anew());
            self.at.push(is_reset);
            before = Some(histogram);
        }
    }

    fn is_at(&self, index: usize) -> bool {
        self.at.get(index).copied().unwrap_or(false)
    }
}

/// The increase from the first to the last histogram of a window, as a gauge. `resets` are those of
/// a counter; None: it is a gauge. Nothing comes of less than two histograms or of a mix of kinds;
/// but a counter that is known to have been zero before the first one rose by that one, too.
pub(super) fn increase(
    window: &Window<'_>,
    resets: Option<&HistogramResets>,
    from_zero: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if !window.values.is_empty() {
        notes.add(|annotations, name, span| annotations.mixed_floats_and_histograms(name, span));
        return None;
    }
    let [first, between @ .., last] = window.beside.histograms else {
        let only = window.beside.histograms.first().filter(|_| from_zero)?;
        return Some(Histogram::clone(only));
    };
    let mut findings = Vec::new();
    let result = match resets {
        Some(resets) => counter_increase(window, resets, (first, between, last), &mut findings),
        None => gauge_increase(first, last, &mut findings),
    };
    match result {
        Ok(mut increase) => {
            tell(&findings, notes);
            increase.counter_reset = CounterReset::Gauge;
            let mut increase = increase.compacted();
            if from_zero {
                let combined = increase.add(first);
                let mut findings = Vec::new();
                let noted = note_combined(combined, HistogramOperation::Addition, &mut findings);
                let refused = noted.as_ref().err().unwrap_or(&findings);
                tell(refused, notes);
                noted.ok()?;
            }
            Some(increase)
        }
        Err(refused) => {
            tell(&refused, notes);
            None
        }
    }
}

fn gauge_increase(
    first: &Histogram,
    last: &Histogram,
    findings: &mut Vec<Finding>,
) -> Result<Histogram, Refused> {
    let mut increase = last.reduced_to(first.schema);
    let combined = increase.subtract(first);
    note_combined(combined, HistogramOperation::Subtraction, findings)?;
    if !first.is_gauge() || !last.is_gauge() {
        findings.push(Finding::NoGauge);
    }
    Ok(increase)
}

fn counter_increase(
    window: &Window<'_>,
    resets: &HistogramResets,
    (first, between, last): (&Histogram, &[Arc<Histogram>], &Histogram),
    findings: &mut Vec<Finding>,
) -> Result<Histogram, Refused> {
    let rest = window.beside.histograms.get(1..).unwrap_or_default();
    if first.is_gauge() || last.is_gauge() {
        findings.push(Finding::NoCounter);
    }
    // What lies before a reset right at the start doesn't matter, nor does its layout.
    let second = rest
        .first()
        .filter(|_| resets.is_at(window.beside.first + 1));
    let nothing = second.map(|second| Histogram {
        schema: second.schema,
        custom_values: second.custom_values.clone(),
        ..Histogram::default()
    });
    let start = nothing.as_ref().unwrap_or(first);
    let custom = start.uses_custom_bounds();
    if last.uses_custom_bounds() != custom {
        findings.push(Finding::MixedSchemas);
        return Err(std::mem::take(findings));
    }
    let mut schema = last.schema.min(start.schema);
    for histogram in between {
        if histogram.is_gauge() {
            findings.push(Finding::NoCounter);
        }
        schema = schema.min(histogram.schema);
        if histogram.uses_custom_bounds() != custom {
            return Err(vec![Finding::MixedSchemas]);
        }
    }
    let mut increase = last.reduced_to(schema);
    let combined = increase.subtract(start);
    note_combined(combined, HistogramOperation::Subtraction, findings)?;
    let mut before = start;
    for (index, histogram) in rest.iter().enumerate() {
        let is_reset = match (&nothing, index) {
            (Some(nothing), 0) => histogram.is_reset_after(nothing),
            _ => resets.is_at(window.beside.first + 1 + index),
        };
        if is_reset {
            let combined = increase.add(before);
            note_combined(combined, HistogramOperation::Addition, findings)?;
        }
        before = histogram;
    }
    Ok(increase)
}

pub(super) fn note_combined(
    combined: Result<Combined, HistogramError>,
    operation: HistogramOperation,
    findings: &mut Vec<Finding>,
) -> Result<(), Refused> {
    match combined {
        Ok(combined) => {
            if combined.bounds_reconciled {
                findings.push(Finding::BoundsReconciled(operation));
            }
            Ok(())
        }
        Err(HistogramError::MixedSchemas) => Err(vec![Finding::MixedSchemas]),
    }
}

pub(in crate::engine) fn tell(findings: &[Finding], notes: &Notes<'_>) {
    for (index, finding) in findings.iter().enumerate() {
        if findings.iter().take(index).any(|told| told == finding) {
            continue;
        }
        notes.add(|annotations, name, span| match finding {
            Finding::NoCounter => annotations.histogram_is_no_counter(name, span),
            Finding::NoGauge => annotations.histogram_is_no_gauge(name, span),
            Finding::MixedSchemas => annotations.mixed_exponential_and_custom(name, span),
            Finding::BoundsReconciled(during) => annotations.bounds_reconciled(*during, span),
        });
    }
}

/// `irate` and `idelta` of a window with histograms.
pub(super) fn of_last_two(
    window: &Window<'_>,
    per_second: bool,
    notes: &Notes<'_>,
) -> Option<SampleValue> {
    let float = |at: usize| {
        let started = started(window.times_ms, window.starts_ms(), at);
        let value = Value::Float(*window.values.get(at)?);
        Some((*window.times_ms.get(at)?, value, started))
    };
    let histogram = |at: usize| {
        let times_ms = window.beside.times_ms;
        let started = started(times_ms, window.beside.starts_ms(), at);
        let value = Value::Histogram(window.beside.histograms.get(at)?);
        Some((*times_ms.get(at)?, value, started))
    };
    let last_two = |count: usize| count.saturating_sub(2)..count;
    let floats = last_two(window.values.len()).filter_map(float);
    let histograms = last_two(window.beside.histograms.len()).filter_map(histogram);
    let mut samples: Vec<(i64, Value<'_>, Option<Started>)> = floats.chain(histograms).collect();
    samples.sort_by_key(|(time_ms, _, _)| *time_ms);
    let [
        ..,
        (before_ms, before, started_before),
        (last_ms, last, started),
    ] = samples[..]
    else {
        return None;
    };
    let anew = starts_anew(started_before, started);
    let elapsed_ms = last_ms.saturating_sub(before_ms);
    match (before, last) {
        _ if elapsed_ms == 0 => None,
        (Value::Float(before), Value::Float(last)) => {
            let change = change(before, last, elapsed_ms, per_second, anew);
            Some(SampleValue::Float(change))
        }
        (Value::Histogram(before), Value::Histogram(last)) => {
            let mut change = histogram_change(before, last, per_second, anew, notes)?;
            if per_second {
                change.divide(seconds(elapsed_ms));
            }
            Some(SampleValue::Histogram(Arc::new(change)))
        }
        _ => {
            notes.add(|annotations, name, span| {
                annotations.mixed_floats_and_histograms(name, span);
            });
            None
        }
    }
}

/// From one histogram to the next, as a gauge; after a reset of a counter, all of the last one.
fn histogram_change(
    before: &Histogram,
    last: &Histogram,
    of_counter: bool,
    anew: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    let mut findings = Vec::new();
    if of_counter && (before.is_gauge() || last.is_gauge()) {
        findings.push(Finding::NoCounter);
    }
    if !of_counter && (!before.is_gauge() || !last.is_gauge()) {
        findings.push(Finding::NoGauge);
    }
    let mut change = last.clone();
    let mut fits = true;
    if !of_counter || !(anew || last.is_reset_after(before)) {
        let combined = change.subtract(before);
        let noted = note_combined(combined, HistogramOperation::Subtraction, &mut findings);
        if let Err(refused) = noted {
            findings.extend(refused);
            fits = false;
        }
    }
    tell(&findings, notes);
    change.counter_reset = CounterReset::Gauge;
    fits.then(|| change.compacted())
}

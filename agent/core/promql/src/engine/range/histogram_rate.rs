//! The increase between native histograms of a window, and of the last two samples.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::histogram_arithmetic::{Combined, HistogramError};
use narthex_model::{Histogram, SampleValue};

use super::rate::{change, seconds};
use super::{Notes, Samples, Window};
use crate::engine::annotations::HistogramOperation;
use crate::engine::column::Value;

/// What there is to be told of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    NoCounter,
    NoGauge,
    MixedSchemas,
    BoundsReconciled(HistogramOperation),
}

/// Why there is no result, and what to tell of it.
type Refused = Vec<Finding>;

/// For each histogram of a series, whether the counter began anew there.
#[derive(Debug, Default)]
pub(super) struct Resets {
    at: Vec<bool>,
}

impl Resets {
    pub(super) fn find(&mut self, samples: &Samples) {
        self.at.clear();
        let mut before: Option<&Arc<Histogram>> = None;
        for histogram in &samples.histograms {
            let is_reset = before.is_some_and(|before| histogram.is_reset_after(before));
            self.at.push(is_reset);
            before = Some(histogram);
        }
    }

    fn is_at(&self, index: usize) -> bool {
        self.at.get(index).copied().unwrap_or(false)
    }
}

/// The increase from the first to the last histogram of a window, as a gauge. `resets` are those of
/// a counter; None: it is a gauge. Nothing comes of less than two histograms or of a mix of kinds.
pub(super) fn increase(
    window: &Window<'_>,
    resets: Option<&Resets>,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if !window.values.is_empty() {
        notes.add(|annotations, name, span| annotations.mixed_floats_and_histograms(name, span));
        return None;
    }
    let [first, between @ .., last] = window.beside.histograms else {
        return None;
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
            Some(increase.compacted())
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
    resets: &Resets,
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

fn note_combined(
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

fn tell(findings: &[Finding], notes: &Notes<'_>) {
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
    let floats = window.times_ms.iter().zip(window.values).rev().take(2);
    let floats = floats.map(|(time_ms, value)| (*time_ms, Value::Float(*value)));
    let histograms = window.beside.times_ms.iter().zip(window.beside.histograms);
    let histograms = histograms.rev().take(2);
    let histograms = histograms.map(|(time_ms, value)| (*time_ms, Value::Histogram(value)));
    let mut samples: Vec<(i64, Value<'_>)> = floats.chain(histograms).collect();
    samples.sort_by_key(|(time_ms, _)| *time_ms);
    let [.., (before_ms, before), (last_ms, last)] = samples[..] else {
        return None;
    };
    let elapsed_ms = last_ms.saturating_sub(before_ms);
    match (before, last) {
        _ if elapsed_ms == 0 => None,
        (Value::Float(before), Value::Float(last)) => {
            let change = change(before, last, elapsed_ms, per_second);
            Some(SampleValue::Float(change))
        }
        (Value::Histogram(before), Value::Histogram(last)) => {
            let mut change = histogram_change(before, last, per_second, notes)?;
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
    if !of_counter || !last.is_reset_after(before) {
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

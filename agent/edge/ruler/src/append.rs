//! Writes what a rule gave into the store.

use narthex_model::SampleValue;
use narthex_rules::{AppendReport, RuleOutput, RuleSample};
use narthex_storage::{AppendError, Appendable, Appender, CommitError};

/// Appends samples and stale markers in one batch.
pub(crate) fn append(store: &dyn Appendable, output: &RuleOutput) -> AppendReport {
    if output.samples.is_empty() && output.stale.is_empty() {
        return AppendReport {
            error: None,
            is_committed: true,
        };
    }
    match append_all(store, &output.samples, &output.stale) {
        Ok(refusal) => AppendReport {
            error: refusal.map(|refusal| refusal.to_string()),
            is_committed: true,
        },
        Err(failure) => AppendReport {
            error: Some(failure.to_string()),
            is_committed: false,
        },
    }
}

/// Appends the stale markers of series whose rules are gone.
pub(crate) fn append_stale(store: &dyn Appendable, markers: &[RuleSample]) -> Result<(), String> {
    if markers.is_empty() {
        return Ok(());
    }
    let refusal = append_all(store, &[], markers).map_err(|error| error.to_string())?;
    refusal.map_or(Ok(()), |refusal| Err(refusal.to_string()))
}

/// Gives the first refusal that matters.
fn append_all(
    store: &dyn Appendable,
    samples: &[RuleSample],
    markers: &[RuleSample],
) -> Result<Option<AppendError>, CommitError> {
    let mut appender = store.appender();
    let mut refusal = None;
    // Whether each sample that the batch took is a marker.
    let mut taken = Vec::with_capacity(samples.len() + markers.len());
    let samples = samples.iter().map(|sample| (sample, false));
    let markers = markers.iter().map(|marker| (marker, true));
    for (sample, is_marker) in samples.chain(markers) {
        match append_one(&mut *appender, sample) {
            Ok(()) => taken.push(is_marker),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let report = appender.commit()?;
    // A marker that comes too late is none: something else writes the series now.
    let mut refused = report.refused.iter();
    let refused = refused.find(|refused| taken.get(refused.index as usize) == Some(&false));
    Ok(refusal.or(refused.map(|refused| refused.error)))
}

fn append_one(appender: &mut dyn Appender, sample: &RuleSample) -> Result<(), AppendError> {
    let (labels, at_ms) = (&sample.labels, sample.timestamp_ms);
    match &sample.value {
        SampleValue::Float(value) => appender.append(labels, at_ms, *value),
        SampleValue::Histogram(histogram) => {
            appender.append_histogram(labels, at_ms, histogram.clone())
        }
    }
    .map(|_| ())
}

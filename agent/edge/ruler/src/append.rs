//! Writes what a rule gave into the store.

use narthex_model::SampleValue;
use narthex_rules::{AppendReport, RuleOutput, RuleSample};
use narthex_storage::{AppendError, Appendable, Appender};

/// Appends samples and stale markers in one batch.
pub(crate) fn append(store: &dyn Appendable, output: &RuleOutput) -> AppendReport {
    if output.samples.is_empty() && output.stale.is_empty() {
        return AppendReport {
            error: None,
            is_committed: true,
        };
    }
    let mut appender = store.appender();
    let mut error = None;
    for sample in &output.samples {
        if let Err(refusal) = append_one(&mut *appender, sample) {
            error.get_or_insert_with(|| refusal.to_string());
        }
    }
    if let Some(refusal) = append_markers(&mut *appender, &output.stale) {
        error.get_or_insert(refusal);
    }
    match appender.commit() {
        Ok(()) => AppendReport {
            error,
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
    let mut appender = store.appender();
    let refusal = append_markers(&mut *appender, markers);
    appender.commit().map_err(|e| e.to_string())?;
    refusal.map_or(Ok(()), Err)
}

/// The first refusal that matters. A marker that comes too late is none: something else writes
/// the series now.
fn append_markers(appender: &mut dyn Appender, markers: &[RuleSample]) -> Option<String> {
    let mut error = None;
    for marker in markers {
        match append_one(appender, marker) {
            Ok(())
            | Err(
                AppendError::OutOfOrder
                | AppendError::DuplicateTimestamp
                | AppendError::TooOld
                | AppendError::OutOfBounds,
            ) => {}
            Err(refusal) => error = Some(refusal.to_string()),
        }
    }
    error
}

fn append_one(appender: &mut dyn Appender, sample: &RuleSample) -> Result<(), AppendError> {
    let (labels, at_ms) = (&sample.labels, sample.timestamp_ms);
    match &sample.value {
        SampleValue::Float(value) => appender.append(None, labels, at_ms, *value),
        SampleValue::Histogram(histogram) => {
            appender.append_histogram(None, labels, at_ms, histogram.clone())
        }
    }
    .map(|_| ())
}

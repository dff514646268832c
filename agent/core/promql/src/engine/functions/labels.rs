//! `label_replace` and `label_join`: new labels for the same values.

use narthex_model::labels::is_valid_label_name_utf8;
use narthex_model::{METRIC_NAME, Regexp};

use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Relabeled, SeriesInfo, Vector};

pub(in crate::engine) fn label_replace<'q>(
    input: Vector<'q>,
    destination: &str,
    replacement: &str,
    source: &str,
    pattern: &str,
) -> Result<Vector<'q>, QueryError> {
    let regexp = Regexp::anchored(pattern).map_err(|_| {
        QueryError::execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    check("destination", destination, "label_replace")?;
    Ok(relabel(input, |info| {
        let value = regexp.expand(info.labels.value_or_empty(source), replacement)?;
        Some(with_label(info, destination, &value))
    }))
}

pub(in crate::engine) fn label_join<'q>(
    input: Vector<'q>,
    destination: &str,
    separator: &str,
    sources: &[&str],
) -> Result<Vector<'q>, QueryError> {
    for source in sources {
        check("source", source, "label_join")?;
    }
    check("destination", destination, "label_join")?;
    Ok(relabel(input, |info| {
        let values: Vec<&str> = sources
            .iter()
            .map(|source| info.labels.value_or_empty(source))
            .collect();
        Some(with_label(info, destination, &values.join(separator)))
    }))
}

/// The parser puts U+FFFD where a literal's bytes are no UTF-8.
pub(in crate::engine) fn is_valid_name(name: &str) -> bool {
    is_valid_label_name_utf8(name) && !name.contains(char::REPLACEMENT_CHARACTER)
}

fn check(which: &str, name: &str, function: &str) -> Result<(), QueryError> {
    if is_valid_name(name) {
        return Ok(());
    }
    Err(QueryError::execution(format!(
        "invalid {which} label name in {function}(): {name}"
    )))
}

/// None leaves a series as it is.
fn relabel<'q>(
    input: Vector<'q>,
    change: impl Fn(&SeriesInfo) -> Option<SeriesInfo>,
) -> Vector<'q> {
    let series = input
        .series()
        .iter()
        .map(|info| change(info).unwrap_or_else(|| info.clone()))
        .collect();
    merge_same_labels(Relabeled::boxed(input, series), Collision::Merge)
}

fn with_label(info: &SeriesInfo, name: &str, value: &str) -> SeriesInfo {
    SeriesInfo {
        labels: info.labels.with(name, value),
        // A name that was just given stays.
        drop_name: info.drop_name && name != METRIC_NAME,
    }
}

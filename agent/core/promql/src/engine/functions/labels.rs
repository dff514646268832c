//! `label_replace` and `label_join`: new labels for the same values.

use narthex_model::labels::is_valid_label_name_utf8;
use narthex_model::{METRIC_NAME, Regexp};

use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Relabeled, SeriesInfo, Vector};
use crate::syntax::ast::StringLiteral;

pub(in crate::engine) fn label_replace<'q>(
    input: Vector<'q>,
    destination: &StringLiteral,
    replacement: &StringLiteral,
    source: &StringLiteral,
    pattern: &StringLiteral,
) -> Result<Vector<'q>, QueryError> {
    let (pattern, source, replacement) = (pattern.text(), source.text(), replacement.text());
    let regexp = Regexp::anchored(pattern).map_err(|_| {
        QueryError::execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        ))
    })?;
    let destination = name("destination", destination, "label_replace")?;
    Ok(relabel(input, |info| {
        let value = regexp.expand(info.labels.value_or_empty(source), replacement)?;
        Some(with_label(info, destination, &value))
    }))
}

pub(in crate::engine) fn label_join<'q>(
    input: Vector<'q>,
    destination: &StringLiteral,
    separator: &StringLiteral,
    sources: &[&StringLiteral],
) -> Result<Vector<'q>, QueryError> {
    let sources = sources.iter();
    let sources: Vec<&str> = sources
        .map(|source| name("source", source, "label_join"))
        .collect::<Result<_, _>>()?;
    let destination = name("destination", destination, "label_join")?;
    let separator = separator.text();
    Ok(relabel(input, |info| {
        let values: Vec<&str> = sources
            .iter()
            .map(|source| info.labels.value_or_empty(source))
            .collect();
        Some(with_label(info, destination, &values.join(separator)))
    }))
}

pub(in crate::engine) fn is_valid_name(name: &StringLiteral) -> bool {
    name.is_utf8() && is_valid_label_name_utf8(name.text())
}

fn name<'n>(which: &str, name: &'n StringLiteral, function: &str) -> Result<&'n str, QueryError> {
    if is_valid_name(name) {
        return Ok(name.text());
    }
    let name = name.text();
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

//! `label_replace` and `label_join`: new labels for the same values.

use narthex_model::labels::is_valid_label_name_utf8;
use narthex_model::{METRIC_NAME, Regexp};

use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Relabeled, SeriesInfo, Vector};
use crate::engine::query::Query;
use crate::syntax::ast::StringLiteral;

/// What one call may make a label's value. Calls within one another could double it without end.
const MAX_VALUE_BYTES: usize = 16 << 20;

pub(in crate::engine) fn label_replace<'q>(
    query: &'q Query<'q>,
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
    // Each reference gives all of the value at most.
    let references = replacement.matches('$').count();
    relabel(query, input, destination, |info| {
        let value = info.labels.value_or_empty(source);
        let most = references.saturating_mul(value.len());
        check_size(most.saturating_add(replacement.len()), "label_replace")?;
        Ok(regexp.expand(value, replacement))
    })
}

pub(in crate::engine) fn label_join<'q>(
    query: &'q Query<'q>,
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
    relabel(query, input, destination, |info| {
        let values = sources.iter();
        let values: Vec<&str> = values
            .map(|source| info.labels.value_or_empty(source))
            .collect();
        let sizes = values.iter().map(|value| value.len() + separator.len());
        check_size(sizes.sum(), "label_join")?;
        Ok(Some(values.join(separator)))
    })
}

fn check_size(bytes: usize, function: &str) -> Result<(), QueryError> {
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(QueryError::execution(format!(
        "{function}() would give a label value of up to {bytes} bytes, but the limit is \
         {MAX_VALUE_BYTES} bytes"
    )))
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

/// Gives the label a new value; None leaves a series as it is.
fn relabel<'q>(
    query: &'q Query<'q>,
    input: Vector<'q>,
    label: &str,
    value_of: impl Fn(&SeriesInfo) -> Result<Option<String>, QueryError>,
) -> Result<Vector<'q>, QueryError> {
    let mut held = query.budget.charge_series(0)?;
    let mut series = Vec::with_capacity(input.series().len());
    for info in input.series() {
        query.check_canceled()?;
        series.push(match value_of(info)? {
            Some(value) => {
                held.grow(value.len())?;
                with_label(info, label, &value)
            }
            None => info.clone(),
        });
    }
    let relabeled = Relabeled::holding(input, series, held);
    Ok(merge_same_labels(relabeled, Collision::Merge))
}

fn with_label(info: &SeriesInfo, name: &str, value: &str) -> SeriesInfo {
    SeriesInfo {
        labels: info.labels.with(name, value),
        // A name that was just given stays.
        drop_name: info.drop_name && name != METRIC_NAME,
    }
}

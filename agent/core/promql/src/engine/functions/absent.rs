//! `absent` and `absent_over_time`: 1 where nothing is.

use narthex_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use crate::engine::column::Bitmap;
use crate::engine::error::QueryError;
use crate::engine::operator::{Ready, SeriesInfo, Vector};
use crate::engine::query::Query;
use crate::engine::steps::Steps;
use crate::syntax::ast::{Expr, ExprKind};

/// `labels` for the steps at which `input` has no value at all.
pub(in crate::engine) fn absent<'q>(
    query: &Query<'_>,
    steps: Steps,
    mut input: Vector<'_>,
    labels: Labels,
) -> Result<Vector<'q>, QueryError> {
    let mut present = Bitmap::new(steps.count);
    for _ in 0..input.series().len() {
        present.add_all(&input.next()?.present());
    }
    if present.count() == steps.count {
        return Ok(Ready::boxed(Vec::new()));
    }
    let mut column = query.column(&steps)?;
    for step in (0..steps.count).filter(|step| !present.get(*step)) {
        column.set(step, 1.0);
    }
    Ok(Ready::boxed(vec![(SeriesInfo::new(labels), column)]))
}

/// What a missing series would look like, as far as the selector says it: the labels that have
/// exactly one equality matcher.
pub(in crate::engine) fn labels_of(argument: &Expr) -> Labels {
    match &argument.kind {
        ExprKind::VectorSelector(selector) => labels_from(&selector.matchers),
        ExprKind::MatrixSelector(matrix) => labels_from(&matrix.selector.matchers),
        _ => Labels::empty(),
    }
}

fn labels_from(matchers: &[Matcher]) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|m| &*m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            builder.set(matcher.name.clone(), matcher.value.clone());
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_single_equality_matchers() {
        let equal = |name: &str, value: &str| Matcher::equal(name, value);
        let regex = |name: &str| Matcher::new(name, MatchOp::Regex, "x.*").unwrap();
        for (matchers, expected) in [
            (vec![equal("__name__", "up"), equal("a", "1")], r#"{a="1"}"#),
            (
                vec![equal("a", "1"), equal("a", "2"), equal("b", "3")],
                r#"{b="3"}"#,
            ),
            (vec![equal("a", "1"), regex("a")], "{}"),
            (vec![regex("a"), equal("a", "1")], r#"{a="1"}"#),
        ] {
            assert_eq!(labels_from(&matchers).to_string(), expected);
        }
    }
}

//! Expressions that give the same at every step, as all their selectors are pinned by `@`. They
//! are evaluated once.

use super::column::{Column, Value};
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator};
use super::query::Query;
use super::steps::Steps;
use crate::syntax::ast::{Call, Expr, ExprKind, TimeModifiers};

/// Functions whose result depends on the evaluation time even if their arguments don't.
const UNSAFE_FUNCTIONS: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

pub(super) fn is_step_invariant(mut expr: &Expr) -> bool {
    // Chains of operators may be long.
    while let ExprKind::Binary(binary) = &expr.kind {
        if !is_step_invariant(&binary.right) {
            return false;
        }
        expr = &binary.left;
    }
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Binary(_) => false,
        ExprKind::Paren(inner) | ExprKind::Unary { expr: inner, .. } => is_step_invariant(inner),
        ExprKind::Aggregate(aggregate) => {
            is_step_invariant(&aggregate.expr)
                && aggregate.param.as_ref().is_none_or(is_step_invariant)
        }
        ExprKind::Call(call) => is_call_invariant(call),
        ExprKind::VectorSelector(selector) => is_pinned(&selector.time),
        ExprKind::MatrixSelector(matrix) => is_pinned(&matrix.selector.time),
        ExprKind::Subquery(subquery) => is_pinned(&subquery.time),
    }
}

fn is_pinned(time: &TimeModifiers) -> bool {
    time.at.is_some()
}

fn is_call_invariant(call: &Call) -> bool {
    let name = call.function.name;
    // The samples' own times don't depend on the step.
    if name == "timestamp"
        && let Some(selector) = call.args.first().and_then(plain_selector)
    {
        return is_pinned(&selector.time);
    }
    !UNSAFE_FUNCTIONS.contains(&name) && call.args.iter().all(is_step_invariant)
}

/// A selector with nothing but parentheses around it.
pub(super) fn plain_selector(expr: &Expr) -> Option<&crate::syntax::ast::VectorSelector> {
    match &without_parens(expr).kind {
        ExprKind::VectorSelector(selector) => Some(selector),
        _ => None,
    }
}

pub(super) fn without_parens(mut expr: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

/// The value of the only step, at every step.
pub(super) struct Repeated<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
}

impl<'q> Repeated<'q> {
    pub(super) fn boxed(query: &'q Query<'q>, steps: Steps, input: Vector<'q>) -> Vector<'q> {
        Box::new(Repeated {
            query,
            steps,
            input,
        })
    }
}

impl VectorOperator for Repeated<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let once = self.input.next()?;
        let mut column = self.query.column(&self.steps)?;
        match once.value(0) {
            Some(Value::Float(value)) => {
                for step in 0..self.steps.count {
                    column.set(step, value);
                }
            }
            Some(Value::Histogram(histogram)) => {
                for step in 0..self.steps.count {
                    column.set_histogram(step, histogram.clone())?;
                }
            }
            None => {}
        }
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }
}

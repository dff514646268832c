//! The same expression pinned to a time by `@`: it must give the same whenever it is evaluated.

use narthex_promql::syntax::ast::{AtModifier, Expr, ExprKind, TimeModifiers};

/// Functions that look at the time of evaluation.
const TIME_FUNCTIONS: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "end",
    "start",
    "range",
    "step",
    "time",
    "timestamp",
    "predict_linear",
];

/// None if the expression would not mean the same.
pub(crate) fn pinned(expr: &Expr, at_ms: i64) -> Option<Expr> {
    let mut looks_at_time = false;
    expr.walk(&mut |expr| {
        if let ExprKind::Call(call) = &expr.kind {
            looks_at_time |= TIME_FUNCTIONS.contains(&call.function.name);
        }
    });
    if looks_at_time {
        return None;
    }
    let mut pinned = expr.clone();
    pin(&mut pinned, at_ms);
    Some(pinned)
}

/// What lies inside of a pinned subquery is relative to it and stays.
fn pin(expr: &mut Expr, at_ms: i64) {
    match &mut expr.kind {
        ExprKind::VectorSelector(selector) => pin_time(&mut selector.time, at_ms),
        ExprKind::MatrixSelector(matrix) => pin_time(&mut matrix.selector.time, at_ms),
        ExprKind::Subquery(subquery) => pin_time(&mut subquery.time, at_ms),
        _ => {
            for child in expr.children_mut() {
                pin(child, at_ms);
            }
        }
    }
}

fn pin_time(time: &mut TimeModifiers, at_ms: i64) {
    time.at.get_or_insert(AtModifier::TimestampMs(at_ms));
}

/// When a pinned expression is evaluated.
pub(crate) fn times(at_ms: i64) -> Vec<i64> {
    if at_ms == 0 {
        return vec![-1000, 0, 1000];
    }
    vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms]
}

//! What can be known to be wrong before anything is evaluated.

use super::error::QueryError;
use super::query::QueryTimes;
use crate::syntax::ast::{Expr, ExprKind, TimeModifiers};

/// Works out every duration, so that a wrong one is an error even if nothing reaches it.
pub(super) fn check(expr: &Expr, times: &QueryTimes) -> Result<(), QueryError> {
    let mut result = Ok(());
    expr.walk(&mut |expr| {
        if result.is_ok() {
            result = check_node(expr, times);
        }
    });
    result
}

fn check_node(expr: &Expr, times: &QueryTimes) -> Result<(), QueryError> {
    match &expr.kind {
        ExprKind::VectorSelector(selector) => check_time(&selector.time, times),
        ExprKind::MatrixSelector(matrix) => {
            times.length_ms(&matrix.range)?;
            check_time(&matrix.selector.time, times)
        }
        ExprKind::Subquery(subquery) => {
            times.length_ms(&subquery.range)?;
            if let Some(step) = &subquery.step {
                times.length_ms(step)?;
            }
            check_time(&subquery.time, times)
        }
        _ => Ok(()),
    }
}

fn check_time(time: &TimeModifiers, times: &QueryTimes) -> Result<(), QueryError> {
    times.shift(time).map(drop)
}

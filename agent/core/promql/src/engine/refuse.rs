//! What this engine lacks is refused by name before anything is evaluated.

use super::error::QueryError;
use super::query::QueryTimes;
use crate::syntax::ast::{Expr, ExprKind, TimeModifiers, VectorSelector};

/// Also works out every duration, so that a wrong one is an error even if nothing reaches it.
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
    let lacks = |what: &str| Err(QueryError::not_supported(what));
    match &expr.kind {
        ExprKind::VectorSelector(selector) => {
            // Without a range "anchored" has no effect.
            if selector.smoothed {
                return lacks("the modifier smoothed");
            }
            check_time(&selector.time, times)
        }
        ExprKind::MatrixSelector(matrix) => {
            check_extended(&matrix.selector)?;
            if matrix.anchored {
                return lacks("the modifier anchored");
            }
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
        ExprKind::Binary(binary) => {
            let fills = binary
                .matching
                .as_ref()
                .is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some());
            if fills {
                return lacks("the modifiers fill, fill_left and fill_right");
            }
            Ok(())
        }
        ExprKind::Call(call) => match call.function.name {
            name @ ("info" | "start_timestamp") => lacks(&format!("the function {name}()")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_extended(selector: &VectorSelector) -> Result<(), QueryError> {
    if selector.anchored {
        return Err(QueryError::not_supported("the modifier anchored"));
    }
    if selector.smoothed {
        return Err(QueryError::not_supported("the modifier smoothed"));
    }
    Ok(())
}

fn check_time(time: &TimeModifiers, times: &QueryTimes) -> Result<(), QueryError> {
    times.shift(time).map(drop)
}

//! Operators with a scalar on one side or both.

use super::{Finding, Outcome, apply, apply_values, changes_meaning, tell};
use crate::engine::column::{Column, Value};
use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Changed, Relabeled, SeriesInfo, Vector};
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::{BinaryOp, Span};

/// Two scalars; a comparison gives 1 or 0.
pub(in crate::engine) fn scalars(
    op: BinaryOp,
    left: Scalar,
    right: Scalar,
) -> Result<Scalar, QueryError> {
    if apply(op, 0.0, 0.0).is_none() {
        return Err(QueryError::execution(format!(
            "operator {:?} not allowed for scalar operations",
            op.as_str()
        )));
    }
    Ok(
        left.combine(right, |left, right| match apply(op, left, right) {
            Some(outcome) if op.is_comparison() => truth(outcome.keep),
            Some(outcome) => outcome.value,
            None => f64::NAN,
        }),
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum ScalarSide {
    Left,
    Right,
}

#[derive(Clone, Copy)]
pub(in crate::engine) struct VectorScalar {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub side: ScalarSide,
    /// Of the whole expression.
    pub span: Span,
}

pub(in crate::engine) fn vector_scalar<'q>(
    query: &'q Query<'q>,
    operation: VectorScalar,
    vector: Vector<'q>,
    scalar: Scalar,
) -> Vector<'q> {
    let VectorScalar {
        op,
        return_bool,
        side,
        span,
    } = operation;
    let drops_name = changes_meaning(op) || return_bool;
    let vector = if drops_name {
        without_names(query, vector)
    } else {
        vector
    };
    let floats = move |scalar: &Scalar, step, value| {
        let other = scalar.at(step);
        let (left, right) = match side {
            ScalarSide::Left => (other, value),
            ScalarSide::Right => (value, other),
        };
        let outcome = apply(op, left, right);
        if outcome.is_none() {
            tell(query, Finding::Types("float", "float"), op, span);
        }
        let Outcome {
            value: result,
            keep,
        } = outcome?;
        if return_bool {
            return Some(truth(keep));
        }
        // A comparison that holds gives the vector's value, on whichever side it stands.
        let result = if op.is_comparison() { value } else { result };
        keep.then_some(result)
    };
    let mapped = Changed::boxed(vector, move |column: &mut Column| {
        column.map(|step, value| floats(&scalar, step, value));
        for (step, histogram) in column.take_histograms() {
            let (histogram, other) = (Value::Histogram(&histogram), Value::Float(scalar.at(step)));
            let applied = match side {
                ScalarSide::Left => apply_values(op, other, histogram),
                ScalarSide::Right => apply_values(op, histogram, other),
            };
            match applied {
                // No comparison works on a histogram and a float.
                Ok(applied) => column.set_value(step, applied.value)?,
                Err(finding) => tell(query, finding, op, span),
            }
        }
        Ok(())
    });
    if drops_name {
        merge_same_labels(mapped, Collision::Merge)
    } else {
        mapped
    }
}

/// The same values without metric names; whoever calls this merges what has become alike.
pub(in crate::engine) fn without_names<'q>(query: &Query<'_>, input: Vector<'q>) -> Vector<'q> {
    let delayed = query.delayed_name_removal;
    let infos = input.series().iter();
    let series: Vec<SeriesInfo> = infos.map(|info| info.without_name(delayed)).collect();
    Relabeled::boxed(input, series)
}

pub(super) fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

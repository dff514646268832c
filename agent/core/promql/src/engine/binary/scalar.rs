//! Operators with a scalar on one side or both.

use super::{Finding, LastFindings, apply, apply_values, changes_meaning};
use crate::engine::column::{Column, Value};
use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Relabeled, SeriesInfo, Vector, VectorOperator};
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
    let drops_name = changes_meaning(operation.op) || operation.return_bool;
    let input = if drops_name {
        without_names(query, vector)
    } else {
        vector
    };
    let applied = Box::new(WithScalar {
        query,
        operation,
        scalar,
        input,
        findings: LastFindings::default(),
        next: 0,
    });
    if drops_name {
        merge_same_labels(applied, Collision::Merge)
    } else {
        applied
    }
}

struct WithScalar<'q> {
    query: &'q Query<'q>,
    operation: VectorScalar,
    scalar: Scalar,
    input: Vector<'q>,
    findings: LastFindings,
    next: usize,
}

impl VectorOperator for WithScalar<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn are_distinct(&self) -> bool {
        self.input.are_distinct()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let mut column = self.input.next()?;
        self.apply_to_floats(&mut column);
        if column.has_histograms() {
            self.apply_to_histograms(&mut column)?;
        }
        self.count_series();
        Ok(column)
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }

    // What is found in a series is told though nobody wants its values, so none is passed over.
}

impl WithScalar<'_> {
    fn apply_to_floats(&mut self, column: &mut Column) {
        let VectorScalar {
            op,
            return_bool,
            side,
            ..
        } = self.operation;
        column.map(|step, value| {
            let other = self.scalar.at(step);
            let (left, right) = match side {
                ScalarSide::Left => (other, value),
                ScalarSide::Right => (value, other),
            };
            let Some(outcome) = apply(op, left, right) else {
                self.findings.add(step, Finding::Types("float", "float"));
                return None;
            };
            if return_bool {
                return Some(truth(outcome.keep));
            }
            // A comparison that holds gives the vector's value, on whichever side it stands.
            let result = if op.is_comparison() {
                value
            } else {
                outcome.value
            };
            outcome.keep.then_some(result)
        });
    }

    fn apply_to_histograms(&mut self, column: &mut Column) -> Result<(), QueryError> {
        let VectorScalar { op, side, .. } = self.operation;
        for (step, histogram) in column.take_histograms() {
            let other = Value::Float(self.scalar.at(step));
            let histogram = Value::Histogram(&histogram);
            let applied = match side {
                ScalarSide::Left => apply_values(op, other, histogram),
                ScalarSide::Right => apply_values(op, histogram, other),
            };
            match applied {
                // No comparison works on a histogram and a float.
                Ok(applied) => column.set_value(step, applied.value)?,
                Err(finding) => self.findings.add(step, finding),
            }
        }
        Ok(())
    }

    /// After the last series, what was found is told.
    fn count_series(&mut self) {
        self.next += 1;
        if self.next == self.input.series().len() {
            let VectorScalar { op, span, .. } = self.operation;
            self.findings.tell(self.query, op, span);
        }
    }
}

/// The same values without metric names; whoever calls this merges what has become alike.
pub(in crate::engine) fn without_names<'q>(query: &Query<'_>, input: Vector<'q>) -> Vector<'q> {
    let delayed = query.delayed_name_removal;
    let infos = input.series().iter();
    let series: Vec<SeriesInfo> = infos.map(|info| info.without_name(delayed)).collect();
    Relabeled::without_names(input, series)
}

pub(super) fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

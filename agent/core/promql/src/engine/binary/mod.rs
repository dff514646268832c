//! Binary operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::histogram_trim::Keep;
use narthex_model::{Histogram, SampleValue};

use super::annotations::HistogramOperation;
use super::column::Value;
use super::query::Query;
use crate::syntax::ast::{BinaryOp, Span};

pub(super) mod matching;
pub(super) mod scalar;
pub(super) mod set;

/// What an operator makes of two floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    pub value: f64,
    /// A comparison that holds, or no comparison at all.
    pub keep: bool,
}

/// None: the operator isn't made for two floats.
pub(super) fn apply(op: BinaryOp, left: f64, right: f64) -> Option<Outcome> {
    let number = |value| Some(Outcome { value, keep: true });
    let compared = |keep| Some(Outcome { value: left, keep });
    match op {
        BinaryOp::Add => number(left + right),
        BinaryOp::Sub => number(left - right),
        BinaryOp::Mul => number(left * right),
        BinaryOp::Div => number(left / right),
        BinaryOp::Mod => number(left % right),
        BinaryOp::Pow => number(left.powf(right)),
        BinaryOp::Atan2 => number(left.atan2(right)),
        BinaryOp::Equal => compared(left == right),
        BinaryOp::NotEqual => compared(left != right),
        BinaryOp::Greater => compared(left > right),
        BinaryOp::Less => compared(left < right),
        BinaryOp::GreaterOrEqual => compared(left >= right),
        BinaryOp::LessOrEqual => compared(left <= right),
        BinaryOp::TrimUpper
        | BinaryOp::TrimLower
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless => None,
    }
}

/// Whether the results are another quantity than the left side, so that its name is wrong.
pub(super) fn changes_meaning(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}

/// What an operator makes of two values.
pub(super) struct Applied {
    pub value: SampleValue,
    /// A comparison that holds, or no comparison at all.
    pub keep: bool,
    /// Custom bounds had to be reconciled.
    pub reconciled: Option<HistogramOperation>,
}

/// What there is to be told of two values that met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The operator isn't made for these types.
    Types(&'static str, &'static str),
    IncompatibleBuckets,
    CounterResetCollision(HistogramOperation),
    BoundsReconciled(HistogramOperation),
}

/// Err: nothing comes of it, for this reason.
pub(super) fn apply_values(
    op: BinaryOp,
    left: Value<'_>,
    right: Value<'_>,
) -> Result<Applied, Finding> {
    let unfit = || Finding::Types(left.type_name(), right.type_name());
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            let Outcome { value, keep } = apply(op, left, right).ok_or_else(unfit)?;
            Ok(Applied {
                value: SampleValue::Float(value),
                keep,
                reconciled: None,
            })
        }
        (Value::Float(left), Value::Histogram(right)) => match op {
            BinaryOp::Mul => Ok(changed(right, |histogram| histogram.scale(left))),
            _ => Err(unfit()),
        },
        (Value::Histogram(left), Value::Float(right)) => match op {
            BinaryOp::Mul => Ok(changed(left, |histogram| histogram.scale(right))),
            BinaryOp::Div => Ok(changed(left, |histogram| histogram.divide(right))),
            BinaryOp::TrimUpper => Ok(kept(left.trimmed(Keep::Below, right))),
            BinaryOp::TrimLower => Ok(kept(left.trimmed(Keep::Above, right))),
            _ => Err(unfit()),
        },
        (Value::Histogram(left), Value::Histogram(right)) => match op {
            BinaryOp::Add => combined(left, right, HistogramOperation::Addition),
            BinaryOp::Sub => combined(left, right, HistogramOperation::Subtraction),
            BinaryOp::Equal => Ok(compared(left, left.is_same_as(right))),
            BinaryOp::NotEqual => Ok(compared(left, !left.is_same_as(right))),
            _ => Err(unfit()),
        },
    }
}

fn changed(histogram: &Histogram, change: impl FnOnce(&mut Histogram)) -> Applied {
    let mut result = histogram.clone();
    change(&mut result);
    kept(result.compacted())
}

fn kept(histogram: Histogram) -> Applied {
    Applied {
        value: SampleValue::Histogram(Arc::new(histogram)),
        keep: true,
        reconciled: None,
    }
}

fn compared(left: &Arc<Histogram>, keep: bool) -> Applied {
    Applied {
        value: SampleValue::Histogram(left.clone()),
        keep,
        reconciled: None,
    }
}

fn combined(
    left: &Histogram,
    right: &Histogram,
    operation: HistogramOperation,
) -> Result<Applied, Finding> {
    let mut result = left.clone();
    let combined = if operation == HistogramOperation::Subtraction {
        let combined = result.subtract(right);
        result.counter_reset = CounterReset::Gauge;
        combined
    } else {
        result.add(right)
    };
    let combined = combined.map_err(|_| Finding::IncompatibleBuckets)?;
    if combined.counter_reset_collision {
        return Err(Finding::CounterResetCollision(operation));
    }
    Ok(Applied {
        reconciled: combined.bounds_reconciled.then_some(operation),
        ..kept(result.compacted())
    })
}

/// Of all that is found at a step, only the last is told, as in Prometheus.
#[derive(Debug, Default)]
pub(super) struct LastFindings {
    at_step: BTreeMap<usize, Finding>,
}

impl LastFindings {
    pub(super) fn add(&mut self, step: usize, finding: Finding) {
        self.at_step.insert(step, finding);
    }

    /// Tells what was found. `span` is that of the whole expression.
    pub(super) fn tell(&mut self, query: &Query<'_>, op: BinaryOp, span: Span) {
        for finding in std::mem::take(&mut self.at_step).into_values() {
            tell(query, finding, op, span);
        }
    }
}

fn tell(query: &Query<'_>, finding: Finding, op: BinaryOp, span: Span) {
    let op = op.as_str();
    query.annotate(span, |annotations, span| match finding {
        Finding::Types(left, right) => annotations.incompatible_types(left, op, right, span),
        Finding::IncompatibleBuckets => annotations.incompatible_bucket_layout(op, span),
        Finding::CounterResetCollision(during) => {
            annotations.counter_reset_collision(during, span);
        }
        Finding::BoundsReconciled(during) => annotations.bounds_reconciled(during, span),
    });
}

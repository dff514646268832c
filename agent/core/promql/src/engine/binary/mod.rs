//! Binary operators.

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

/// Tells that nothing came of an operator because it doesn't work on floats.
pub(super) fn warn_about_floats(query: &Query<'_>, op: BinaryOp, span: Span) {
    query.annotate(span, |annotations, span| {
        annotations.incompatible_types("float", op.as_str(), "float", span);
    });
}

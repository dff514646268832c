//! What each operation becomes; selectors and other small ones.

use std::sync::Arc;

use narthex_model::Histogram;

use super::{Built, Part, Result};
use crate::engine::binary::scalar::without_names;
use crate::engine::column::Column;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::Changed;
use crate::engine::plan::Operation;
use crate::engine::range::RangeVector;
use crate::engine::range::extended::Extension;
use crate::engine::range::select::{SubqueryRanges, stored_ranges};
use crate::engine::scalar::Scalar;
use crate::engine::selector::{Give, Selection, instant_selector};
use crate::engine::smoothed::smoothed_selector;
use crate::engine::steps::Shift;
use crate::syntax::ast::{Expr, ExprKind, StringLiteral, VectorSelector};

impl<'q> Part<'q, '_> {
    pub(super) fn build(mut self) -> Result<Built<'q>> {
        match self.node.operation {
            Operation::Number(value) => Ok(Built::Scalar(Scalar::Constant(value))),
            Operation::Text(_) | Operation::LabelSelector(..) => Ok(Built::Nothing),
            Operation::Plus => self.inputs.next().ok_or_else(|| self.wrong_type()),
            Operation::Negate => self.negated(),
            Operation::Binary(binary) => self.binary(binary),
            Operation::Aggregate(aggregate) => self.aggregate(aggregate).map(Built::Vector),
            Operation::Call(call) => self.call(call),
            Operation::Selector(selector, shift, Give::Value) if selector.smoothed => {
                let (query, span) = (self.query, self.node.expr.span);
                smoothed_selector(query, self.steps, selector, shift, span).map(Built::Vector)
            }
            Operation::Selector(selector, shift, give) => {
                let selection = self.selection(selector);
                let (query, wanted) = (self.query, self.node.wanted);
                let vector = instant_selector(query, self.steps, selection, shift, give, wanted)?;
                Ok(Built::Vector(vector))
            }
            Operation::Range(selector, shift, range) => self
                .stored_range(selector, shift, range.0)
                .map(Built::Range),
            Operation::Subquery(shift, range, _) => {
                let inside = self.input(0).ok_or_else(|| self.wrong_type())?;
                let input = self.vector()?;
                Ok(Built::Range(RangeVector {
                    source: Box::new(SubqueryRanges::new(input, inside.result_steps())),
                    range_ms: range.0,
                    reach_ms: (0, 0),
                    shift,
                    span: self.node.expr.span,
                }))
            }
        }
    }

    fn selection(&self, selector: &'q VectorSelector) -> Selection<'q> {
        Selection {
            matchers: &selector.matchers,
            labels: self.node.labels.as_deref(),
        }
    }

    fn stored_range(
        &self,
        selector: &'q VectorSelector,
        shift: Shift,
        range_ms: i64,
    ) -> Result<RangeVector<'q>> {
        let (before_ms, after_ms) = Extension::of(selector).reach_ms(self.query.lookback_ms);
        let reach_ms = (range_ms.saturating_add(before_ms), after_ms);
        Ok(RangeVector {
            source: stored_ranges(
                self.query,
                self.steps,
                self.selection(selector),
                shift,
                reach_ms,
                self.node.wanted,
            )?,
            range_ms,
            reach_ms: (before_ms, after_ms),
            shift,
            span: self.node.expr.span,
        })
    }

    fn negated(&mut self) -> Result<Built<'q>> {
        match self.inputs.next() {
            Some(Built::Scalar(scalar)) => Ok(Built::Scalar(scalar.map(|value| -value))),
            Some(Built::Vector(vector)) => {
                let input = without_names(self.query, vector);
                let negated = Changed::boxed(input, negate);
                let merged = merge_same_labels(negated, Collision::Merge);
                Ok(Built::Vector(merged))
            }
            _ => Err(self.wrong_type()),
        }
    }
}

fn negate(column: &mut Column) -> Result<()> {
    column.map(|_, value| Some(-value));
    for (step, histogram) in column.take_histograms() {
        let mut negated = Histogram::clone(&histogram);
        negated.scale(-1.0);
        column.set_histogram(step, Arc::new(negated))?;
    }
    Ok(())
}

pub(in crate::engine) fn literal(expr: &Expr) -> Option<&StringLiteral> {
    match &expr.without_parens().kind {
        ExprKind::String(literal) => Some(literal),
        _ => None,
    }
}

/// The value of a string literal.
pub(in crate::engine) fn text(expr: &Expr) -> Option<&str> {
    literal(expr).map(StringLiteral::text)
}

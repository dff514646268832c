//! Aggregations, by their operators. The parameter stands before the series.

use super::{Part, Result, literal};
use crate::engine::aggregate::Grouping;
use crate::engine::aggregate::count_values::count_values;
use crate::engine::aggregate::fold::{Fold, fold};
use crate::engine::aggregate::limit::{limit_k, limit_ratio};
use crate::engine::aggregate::rank::{Rank, rank};
use crate::engine::operator::Vector;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::{AggregateExpr, AggregateOp};

impl<'q> Part<'q, '_> {
    pub(super) fn aggregate(mut self, aggregate: &'q AggregateExpr) -> Result<Vector<'q>> {
        let folding = match aggregate.op {
            AggregateOp::Sum => Fold::Sum,
            AggregateOp::Avg => Fold::Avg,
            AggregateOp::Count => Fold::Count,
            AggregateOp::Group => Fold::Group,
            AggregateOp::Min => Fold::Min,
            AggregateOp::Max => Fold::Max,
            AggregateOp::Stddev => Fold::Stddev,
            AggregateOp::Stdvar => Fold::Stdvar,
            AggregateOp::Quantile => Fold::Quantile(self.quantile()?),
            AggregateOp::TopK => return self.rank(aggregate, Rank::Top),
            AggregateOp::BottomK => return self.rank(aggregate, Rank::Bottom),
            AggregateOp::LimitK => {
                let (query, steps, k) = (self.query, self.steps, self.scalar()?);
                return limit_k(query, steps, k, &grouping(aggregate), self.vector()?);
            }
            AggregateOp::LimitRatio => {
                let ratio = self.scalar()?;
                return limit_ratio(self.query, ratio, self.vector()?, self.span_of_input(0));
            }
            AggregateOp::CountValues => return self.count_values(aggregate),
        };
        let input = self.vector()?;
        let span = self.outer_span_of_input(self.node.inputs.len().saturating_sub(1));
        let folding = (folding, span);
        Ok(fold(
            self.query,
            self.steps,
            folding,
            &grouping(aggregate),
            input,
        ))
    }

    fn quantile(&mut self) -> Result<Scalar> {
        let quantile = self.scalar()?;
        let bounds = quantile.bounds();
        let nan = bounds.has_nan.then_some(f64::NAN);
        let high = (bounds.max > 1.0).then_some(bounds.max);
        let low = (bounds.min < 0.0).then_some(bounds.min);
        for wrong in [nan, high, low].into_iter().flatten() {
            let span = self.span_of_input(0);
            self.query.annotate(span, |annotations, span| {
                annotations.invalid_quantile(wrong, span);
            });
        }
        Ok(quantile)
    }

    fn rank(&mut self, aggregate: &AggregateExpr, by: Rank) -> Result<Vector<'q>> {
        let (query, steps, k) = (self.query, self.steps, self.scalar()?);
        let rank_by = (by, self.node.expr.span);
        rank(
            query,
            steps,
            rank_by,
            &k,
            &grouping(aggregate),
            self.vector()?,
        )
    }

    fn count_values(&mut self, aggregate: &AggregateExpr) -> Result<Vector<'q>> {
        let label = aggregate.param.as_ref().and_then(literal);
        let label = label.ok_or_else(|| self.wrong_type())?;
        // The label is no input that has become anything.
        self.inputs.next();
        let (query, steps) = (self.query, self.steps);
        count_values(query, steps, label, &grouping(aggregate), self.vector()?)
    }
}

fn grouping(aggregate: &AggregateExpr) -> Grouping<'_> {
    Grouping {
        labels: &aggregate.grouping,
        without: aggregate.without,
    }
}

//! The plan of a query: what is to be evaluated, at which steps, and what of it only once.
//!
//! [`lower`] makes it of an expression, node for node; the passes beside it then change it, each
//! in one way:
//!
//! - [`invariant`] finds what is the same at every step,
//! - [`place`] says at which steps each node is evaluated and what becomes of its histograms,
//! - [`weigh`] says how often the samples count that each node looks at,
//! - [`constants`] works out arithmetic on numbers,
//! - [`labels`] finds out which labels of stored series anyone looks at,
//! - [`share`] finds parts that are the same, so that they are evaluated once.
//!
//! The first three decide what a query means and are always there; the others only save work, and
//! results, annotations and errors are the same without them. Matchers of one side of an operator
//! are not handed to the other side: series that meet nothing have annotations and errors, too,
//! and they would go.
//!
//! Keeps true: nodes stand in the order in which they are evaluated, inputs before what they go
//! into; a node's number is the same for the same expression; a node has one parent, save where
//! `same_as` leads to it.
//!
//! Doesn't know: operators, samples.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::QueryError;
use super::query::QueryTimes;
use super::selector::Give;
use super::statistics::Use;
use super::steps::{Shift, Steps};
use super::tally::Weight;
use crate::syntax::ast::{
    AggregateExpr, BinaryExpr, Call, Expr, Span, StringLiteral, ValueType, VectorSelector,
};

mod constants;
mod invariant;
mod labels;
mod lower;
mod place;
mod share;
#[cfg(test)]
mod tests;
mod weigh;
mod words;

pub(super) use constants::of_call;
pub(super) use share::Selected;

/// Where a node stands in the plan.
pub(super) type NodeId = usize;

#[derive(Debug)]
pub(super) struct Plan<'e> {
    pub nodes: Vec<Node<'e>>,
    pub root: NodeId,
    /// What several selectors select, and how many.
    pub selected: HashMap<Selected, usize>,
}

#[derive(Debug)]
pub(super) struct Node<'e> {
    /// Without parentheses.
    pub expr: &'e Expr,
    /// With the parentheses around it.
    pub outer_span: Span,
    pub operation: Operation<'e>,
    pub inputs: Vec<NodeId>,
    pub gives: ValueType,
    /// When it is evaluated.
    pub steps: Steps,
    /// It gives the same at all of these steps.
    pub repeated: Option<Steps>,
    /// What is done with the histograms that it gives.
    pub wanted: Use,
    /// Names of the labels of its series that anyone looks at; None: all.
    pub labels: Option<Vec<Arc<str>>>,
    /// That node is the same, and stands for this one and all below it.
    pub same_as: Option<NodeId>,
    /// Where this node stands in the expression: itself, and all that it stands for.
    pub places: Vec<NodeId>,
    /// How often a sample counts that it looks at.
    pub weight: Weight,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'e> {
    Number(f64),
    Text(&'e StringLiteral),
    Plus,
    Negate,
    /// Its inputs are the sides.
    Binary(&'e BinaryExpr),
    /// Its inputs are the parameter, if there is one, and the series.
    Aggregate(&'e AggregateExpr),
    /// Its inputs are the arguments.
    Call(&'e Call),
    Selector(&'e VectorSelector, Shift, Give),
    Range(&'e VectorSelector, Shift, RangeMs),
    Subquery(Shift, RangeMs, StepMs),
    /// Only the matchers are of interest: the second argument of `info()`.
    LabelSelector(&'e VectorSelector, Shift),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RangeMs(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StepMs(pub i64);

/// What of a query the plan depends on, beside the expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub times: QueryTimes,
    pub steps: Steps,
    pub lookback_ms: i64,
    pub default_subquery_step_ms: i64,
    /// Whether work is saved.
    pub optimise: bool,
}

impl<'e> Plan<'e> {
    pub(super) fn new(expr: &'e Expr, setting: &Setting) -> Result<Self, QueryError> {
        let mut plan = lower::lower(expr, setting)?;
        let invariant = invariant::find(&plan);
        place::place(&mut plan, setting.steps, &invariant);
        weigh::weigh(&mut plan);
        if setting.optimise {
            constants::fold(&mut plan, &setting.times);
            share::share_nodes(&mut plan);
            share::share_selections(&mut plan, setting.lookback_ms);
            labels::find(&mut plan, setting.lookback_ms);
        }
        Ok(plan)
    }

    /// How often a sample counts that a node looks at, for itself and for all that it stands for.
    pub(super) fn weight(&self, node: &Node<'_>) -> Weight {
        let places = node.places.iter().filter_map(|id| self.nodes.get(*id));
        places.fold(Weight::NOTHING, |sum, place| sum.plus(place.weight))
    }

    /// The node itself, or the one that stands for it.
    pub(super) fn resolved(&self, id: NodeId) -> NodeId {
        self.nodes
            .get(id)
            .and_then(|node| node.same_as)
            .unwrap_or(id)
    }

    /// The nodes that are evaluated for `root`, each once, in their order.
    pub(super) fn below(&self, root: NodeId) -> Vec<NodeId> {
        let mut found = vec![false; self.nodes.len()];
        let mut waiting = vec![self.resolved(root)];
        while let Some(id) = waiting.pop() {
            match found.get_mut(id) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            if let Some(node) = self.nodes.get(id) {
                waiting.extend(node.inputs.iter().map(|input| self.resolved(*input)));
            }
        }
        let ids = found.into_iter().enumerate();
        ids.filter_map(|(id, found)| found.then_some(id)).collect()
    }

    /// How many inputs of the nodes in `live` lead to each node.
    pub(super) fn consumers(&self, live: &[NodeId]) -> Vec<usize> {
        let mut counts = vec![0_usize; self.nodes.len()];
        let nodes = live.iter().filter_map(|id| self.nodes.get(*id));
        for input in nodes.flat_map(|node| &node.inputs) {
            if let Some(count) = counts.get_mut(self.resolved(*input)) {
                *count += 1;
            }
        }
        counts
    }

    /// Where a span that node `id` tells stands at another of its places.
    pub(super) fn moved(&self, span: Span, id: NodeId, place: NodeId) -> Span {
        let (Some(from), Some(to)) = (self.nodes.get(id), self.nodes.get(place)) else {
            return span;
        };
        if span == from.expr.span {
            return to.expr.span;
        }
        let pairs = from.inputs.iter().zip(&to.inputs);
        let mut inputs =
            pairs.filter_map(|(a, b)| Some((self.nodes.get(*a)?, self.nodes.get(*b)?)));
        let moved = inputs.find_map(|(a, b)| {
            if span == a.expr.span {
                Some(b.expr.span)
            } else {
                (span == a.outer_span).then_some(b.outer_span)
            }
        });
        moved.unwrap_or(span)
    }
}

impl Node<'_> {
    /// The steps at which there is a result.
    pub(super) fn result_steps(&self) -> Steps {
        self.repeated.unwrap_or(self.steps)
    }

    pub(super) fn has_parens(&self) -> bool {
        self.outer_span != self.expr.span
    }
}

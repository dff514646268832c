//! Finds what is the same, so that it is evaluated once.
//!
//! Nodes are the same if they do the same with the same inputs at the same steps, wherever they
//! stand. The first of them then stands for the others. What reads no samples is not worth it.
//! Selectors that differ in what is done with their series (`rate(x[5m])` and `increase(x[5m])`)
//! at least have them looked up once.

use std::collections::HashMap;
use std::sync::Arc;

use narthex_model::{MatchOp, Matcher};

use super::{Node, NodeId, Operation, Plan, RangeMs, StepMs};
use crate::engine::range::extended::Extension;
use crate::engine::selector::Give;
use crate::engine::statistics::Use;
use crate::engine::steps::{Shift, Steps};
use crate::syntax::ast::{
    AggregateOp, BinaryExpr, BinaryOp, Cardinality, StringLiteral, ValueType, VectorSelector,
};

/// Lets the first of several nodes that are the same stand for all of them.
pub(super) fn share_nodes(plan: &mut Plan<'_>) {
    let reads = reads(plan);
    if reads.iter().filter(|reads| **reads).count() < 2 {
        return;
    }
    let firsts = firsts(plan);
    let is_shareable = |id: NodeId, plan: &Plan<'_>| {
        let gives = plan.nodes.get(id).map(|node| node.gives);
        reads.get(id) == Some(&true)
            && matches!(gives, Some(ValueType::InstantVector | ValueType::Scalar))
    };
    // What each node of the expression comes to. Parents stand behind their inputs.
    let mut stands_for: Vec<NodeId> = (0..plan.nodes.len()).collect();
    for id in (0..plan.nodes.len()).rev() {
        let (Some(node), Some(instead)) = (plan.nodes.get(id), stands_for.get(id).copied()) else {
            continue;
        };
        let inputs = node.inputs.clone();
        let of_instead = plan.nodes.get(instead).map(|node| node.inputs.clone());
        for (input, other) in inputs.iter().zip(of_instead.unwrap_or_default()) {
            let first = firsts.get(*input).copied().unwrap_or(*input);
            let image = if is_shareable(*input, plan) {
                first
            } else {
                other
            };
            if let Some(slot) = stands_for.get_mut(*input) {
                *slot = image;
            }
        }
    }
    for (id, instead) in stands_for.into_iter().enumerate() {
        if instead == id {
            continue;
        }
        if let Some(node) = plan.nodes.get_mut(id) {
            node.same_as = Some(instead);
        }
        if let Some(node) = plan.nodes.get_mut(instead) {
            node.places.push(id);
        }
    }
}

/// For each node whether samples are read for it.
fn reads(plan: &Plan<'_>) -> Vec<bool> {
    let mut reads: Vec<bool> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let own = matches!(
            node.operation,
            Operation::Selector(..) | Operation::Range(..)
        );
        let below = node.inputs.iter().any(|id| reads.get(*id) == Some(&true));
        reads.push(own || below);
    }
    reads
}

/// For each node the first one that is the same.
fn firsts(plan: &Plan<'_>) -> Vec<NodeId> {
    let mut known: HashMap<Key<'_>, NodeId> = HashMap::new();
    let mut firsts: Vec<NodeId> = Vec::with_capacity(plan.nodes.len());
    for (id, node) in plan.nodes.iter().enumerate() {
        let key = Key::of(node, plan, &firsts);
        firsts.push(*known.entry(key).or_insert(id));
    }
    firsts
}

/// Everything that makes a node's results and what it tells, save where it stands.
#[derive(PartialEq, Eq, Hash)]
struct Key<'e> {
    what: What<'e>,
    /// With whether they have parentheses: these count to where an annotation points.
    inputs: Vec<(NodeId, bool)>,
    steps: Steps,
    repeated: Option<Steps>,
    wanted: Use,
}

#[derive(PartialEq, Eq, Hash)]
enum What<'e> {
    Number(u64),
    Text(&'e StringLiteral),
    Plus,
    Negate,
    Binary(BinaryOp, bool, Option<Matching<'e>>),
    Aggregate(AggregateOp, &'e [Arc<str>], bool),
    Call(&'static str),
    Selector(Vec<MatcherKey<'e>>, Shift, bool, Give),
    Range(Vec<MatcherKey<'e>>, Shift, Extension, RangeMs),
    Subquery(Shift, RangeMs, StepMs),
    LabelSelector(Vec<MatcherKey<'e>>, Shift),
}

#[derive(PartialEq, Eq, Hash)]
struct Matching<'e> {
    cardinality: Cardinality,
    on: bool,
    labels: &'e [Arc<str>],
    include: &'e [Arc<str>],
    fill_left: Option<u64>,
    fill_right: Option<u64>,
}

type MatcherKey<'e> = (&'e str, MatchOp, &'e str);

impl<'e> Key<'e> {
    fn of(node: &Node<'e>, plan: &Plan<'e>, firsts: &[NodeId]) -> Self {
        let input = |id: &NodeId| {
            let has_parens = plan.nodes.get(*id).is_some_and(Node::has_parens);
            (firsts.get(*id).copied().unwrap_or(*id), has_parens)
        };
        Key {
            what: What::of(node.operation),
            inputs: node.inputs.iter().map(input).collect(),
            steps: node.steps,
            repeated: node.repeated,
            wanted: node.wanted,
        }
    }
}

impl<'e> What<'e> {
    fn of(operation: Operation<'e>) -> Self {
        match operation {
            Operation::Number(value) => What::Number(value.to_bits()),
            Operation::Text(text) => What::Text(text),
            Operation::Plus => What::Plus,
            Operation::Negate => What::Negate,
            Operation::Binary(binary) => {
                What::Binary(binary.op, binary.return_bool, Matching::of(binary))
            }
            Operation::Aggregate(aggregate) => {
                What::Aggregate(aggregate.op, &aggregate.grouping, aggregate.without)
            }
            Operation::Call(call) => What::Call(call.function.name),
            Operation::Selector(selector, shift, give) => {
                What::Selector(matchers(selector), shift, selector.smoothed, give)
            }
            Operation::Range(selector, shift, range) => {
                What::Range(matchers(selector), shift, Extension::of(selector), range)
            }
            Operation::Subquery(shift, range, step) => What::Subquery(shift, range, step),
            Operation::LabelSelector(selector, shift) => {
                What::LabelSelector(matchers(selector), shift)
            }
        }
    }
}

impl<'e> Matching<'e> {
    fn of(binary: &'e BinaryExpr) -> Option<Self> {
        let matching = binary.matching.as_ref()?;
        Some(Matching {
            cardinality: matching.cardinality,
            on: matching.on,
            labels: &matching.labels,
            include: &matching.include,
            fill_left: matching.fill_left.map(f64::to_bits),
            fill_right: matching.fill_right.map(f64::to_bits),
        })
    }
}

/// In their order, which `absent()` makes labels of.
fn matchers(selector: &VectorSelector) -> Vec<MatcherKey<'_>> {
    let matchers = selector.matchers.iter();
    matchers.map(|m| (&*m.name, m.op, &*m.value)).collect()
}

/// What is asked of the store: matchers in any order, and after and until when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Selected {
    matchers: Vec<(Arc<str>, MatchOp, Arc<str>)>,
    after_ms: i64,
    last_ms: i64,
}

impl Selected {
    pub(in crate::engine) fn new(matchers: &[Matcher], after_ms: i64, last_ms: i64) -> Self {
        let key = |m: &Matcher| (m.name.clone(), m.op, m.value.clone());
        let mut matchers: Vec<_> = matchers.iter().map(key).collect();
        matchers.sort_unstable();
        Selected {
            matchers,
            after_ms,
            last_ms,
        }
    }
}

/// Counts what several selectors select.
pub(super) fn share_selections(plan: &mut Plan<'_>, lookback_ms: i64) {
    let live = plan.below(plan.root);
    let nodes = live.iter().filter_map(|id| plan.nodes.get(*id));
    let found: Vec<Selected> = nodes
        .filter_map(|node| selected(node, lookback_ms))
        .collect();
    if found.len() < 2 {
        return;
    }
    for selected in found {
        *plan.selected.entry(selected).or_insert(0) += 1;
    }
    plan.selected.retain(|_, count| *count > 1);
}

pub(super) fn selected(node: &Node<'_>, lookback_ms: i64) -> Option<Selected> {
    if node.steps.count == 0 {
        return None;
    }
    let (selector, shift, back_ms, ahead_ms) = match node.operation {
        Operation::Selector(selector, shift, Give::Value) if selector.smoothed => {
            let (back_ms, ahead_ms) = Extension::Smoothed.reach_ms(lookback_ms);
            (selector, shift, back_ms, ahead_ms)
        }
        Operation::Selector(selector, shift, _) => (selector, shift, lookback_ms, 0),
        Operation::Range(selector, shift, range) => {
            let (before_ms, after_ms) = Extension::of(selector).reach_ms(lookback_ms);
            (selector, shift, range.0.saturating_add(before_ms), after_ms)
        }
        _ => return None,
    };
    let (after_ms, last_ms) = shift.reach(node.steps, back_ms, ahead_ms);
    Some(Selected::new(&selector.matchers, after_ms, last_ms))
}

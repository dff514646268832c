//! From the root down: which labels of its series anyone looks at. An aggregation looks at those it
//! groups by, and what only changes values looks at none; so a store need not make the others.
//!
//! Labels that are not made can't tell series apart. So it is for selectors of one metric name
//! alone: then series that lose their names are still not the same.

use std::sync::Arc;

use narthex_model::METRIC_NAME;

use super::share::selected;
use super::{NodeId, Operation, Plan};
use crate::engine::functions::{math, time};
use crate::engine::selector::{Give, fixes_name};
use crate::syntax::ast::{AggregateOp, ValueType};

/// What annotations tell of a series, and what goes with its name.
const ALWAYS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Sorted. None: all.
type Names = Option<Vec<Arc<str>>>;

pub(super) fn find(plan: &mut Plan<'_>, lookback_ms: i64) {
    // What nobody has asked for yet.
    let mut asked: Vec<Option<Names>> = vec![None; plan.nodes.len()];
    let live = plan.below(plan.root);
    for &id in live.iter().rev() {
        let own = asked.get_mut(id).and_then(Option::take).flatten();
        let inputs = plan.nodes.get(id).map_or(&[][..], |node| &node.inputs);
        for (at, input) in inputs.iter().enumerate() {
            let names = of_input(plan, id, at, &own);
            if let Some(slot) = asked.get_mut(plan.resolved(*input)) {
                *slot = Some(match slot.take() {
                    None => names,
                    Some(known) => united(known, names),
                });
            }
        }
        let is_leaf = plan.nodes.get(id).is_some_and(|node| match node.operation {
            Operation::Selector(selector, _, give) => {
                give == Give::Value && !selector.smoothed && fixes_name(&selector.matchers)
            }
            Operation::Range(selector, ..) => fixes_name(&selector.matchers),
            _ => false,
        });
        // Several selectors that share their series may look at different labels.
        let is_shared = plan
            .nodes
            .get(id)
            .and_then(|node| selected(node, lookback_ms))
            .is_some_and(|selected| plan.selected.contains_key(&selected));
        if let Some(node) = plan.nodes.get_mut(id)
            && is_leaf
            && !is_shared
        {
            node.labels = own;
        }
    }
}

/// What a node looks at of an input, given what is looked at of itself.
fn of_input(plan: &Plan<'_>, id: NodeId, at: usize, own: &Names) -> Names {
    let node = plan.nodes.get(id)?;
    match node.operation {
        Operation::Aggregate(aggregate) => {
            let folds = !matches!(
                aggregate.op,
                AggregateOp::TopK
                    | AggregateOp::BottomK
                    | AggregateOp::LimitK
                    | AggregateOp::LimitRatio
                    | AggregateOp::CountValues
            );
            let is_series = at + 1 == node.inputs.len();
            if !folds || !is_series || aggregate.without {
                return None;
            }
            let always = ALWAYS.map(Arc::from);
            let mut names: Vec<Arc<str>> = aggregate.grouping.to_vec();
            names.extend(always);
            names.sort_unstable();
            names.dedup();
            Some(names)
        }
        Operation::Plus | Operation::Negate => own.clone(),
        Operation::Call(call) => {
            let name = call.function.name;
            let of_range = call.function.args.contains(&ValueType::RangeVector);
            let keeps_labels = (of_range && name != "absent_over_time")
                || math::function(name).is_some()
                || time::function(name).is_some()
                || matches!(name, "round" | "clamp" | "clamp_min" | "clamp_max");
            own.clone().filter(|_| keeps_labels)
        }
        Operation::Binary(_) => {
            let mut types = node.inputs.iter().filter_map(|id| plan.nodes.get(*id));
            let with_scalar = types.any(|input| input.gives == ValueType::Scalar);
            own.clone().filter(|_| with_scalar)
        }
        _ => None,
    }
}

fn united(a: Names, b: Names) -> Names {
    let (mut a, b) = (a?, b?);
    a.extend(b);
    a.sort_unstable();
    a.dedup();
    Some(a)
}

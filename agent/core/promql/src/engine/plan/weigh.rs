//! From the root down: how often the samples count that each node looks at.

use super::{NodeId, Operation, Plan};
use crate::engine::tally::Weight;

pub(super) fn weigh(plan: &mut Plan<'_>) {
    let root = plan.root;
    set(plan, root, Weight::AT_STEP);
    // Parents stand behind their inputs.
    for id in (0..plan.nodes.len()).rev() {
        let Some(node) = plan.nodes.get_mut(id) else {
            continue;
        };
        if node.repeated.is_some() && node.weight == Weight::AT_STEP {
            node.weight = Weight::AT_EVERY_STEP;
        }
        let inside = match node.operation {
            // All that is the result belongs to its only step.
            Operation::Subquery(..) if id == root => Weight::AT_EVERY_STEP,
            Operation::Subquery(..) => Weight::NOTHING,
            _ => node.weight,
        };
        for input in node.inputs.clone() {
            set(plan, input, inside);
        }
    }
}

fn set(plan: &mut Plan<'_>, id: NodeId, weight: Weight) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.weight = weight;
    }
}

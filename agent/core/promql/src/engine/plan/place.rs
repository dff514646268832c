//! From the root down: at which steps each node is evaluated, and what becomes of the histograms
//! that it gives.

use super::{NodeId, Operation, Plan};
use crate::engine::range::select::subquery_steps;
use crate::engine::statistics::Use;
use crate::engine::steps::Steps;
use crate::syntax::ast::ValueType;

/// `invariant` says of each node whether it gives the same at every step.
pub(super) fn place(plan: &mut Plan<'_>, steps: Steps, invariant: &[bool]) {
    let root = plan.root;
    set(plan, root, steps, Use::default());
    // Parents stand behind their inputs.
    for id in (0..plan.nodes.len()).rev() {
        let Some(node) = plan.nodes.get_mut(id) else {
            continue;
        };
        let is_vector = node.gives == ValueType::InstantVector;
        if is_vector && node.steps.count > 1 && invariant.get(id) == Some(&true) {
            node.repeated = Some(node.steps);
            node.steps = node.steps.first();
        }
        let inside = match node.operation {
            Operation::Subquery(shift, range, step) => {
                subquery_steps(node.steps, shift, range.0, step.0)
            }
            _ => node.steps,
        };
        let wanted = node.wanted.inside(node.expr);
        for input in node.inputs.clone() {
            set(plan, input, inside, wanted);
        }
    }
}

fn set(plan: &mut Plan<'_>, id: NodeId, steps: Steps, wanted: Use) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.steps = steps;
        node.wanted = wanted;
    }
}

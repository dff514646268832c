//! Finds what gives the same at every step, as all its selectors are pinned by `@`.

use super::{Operation, Plan};
use crate::engine::selector::Give;
use crate::syntax::ast::Call;

/// Functions whose result depends on the evaluation time even if their arguments don't.
const UNSAFE_FUNCTIONS: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// For each node, whether it is.
pub(super) fn find(plan: &Plan<'_>) -> Vec<bool> {
    let mut invariant: Vec<bool> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let mut inputs = node
            .inputs
            .iter()
            .map(|id| invariant.get(*id) == Some(&true));
        let is_invariant = match &node.operation {
            Operation::Number(_) | Operation::Text(_) => true,
            Operation::Plus
            | Operation::Negate
            | Operation::Binary(_)
            | Operation::Aggregate(_) => inputs.all(|is| is),
            Operation::Call(call) => is_safe(call, plan, &node.inputs) && inputs.all(|is| is),
            Operation::Selector(_, shift, _)
            | Operation::LabelSelector(_, shift)
            | Operation::Range(_, shift, _)
            | Operation::Subquery(shift, ..) => shift.at_ms.is_some(),
        };
        invariant.push(is_invariant);
    }
    invariant
}

fn is_safe(call: &Call, plan: &Plan<'_>, inputs: &[usize]) -> bool {
    // The samples' own times don't depend on the step.
    let gives_sample_times = || {
        let mut operations = inputs.iter().filter_map(|id| plan.nodes.get(*id));
        operations.all(|node| matches!(node.operation, Operation::Selector(_, _, Give::Timestamp)))
    };
    match call.function.name {
        "timestamp" => gives_sample_times(),
        name => !UNSAFE_FUNCTIONS.contains(&name),
    }
}

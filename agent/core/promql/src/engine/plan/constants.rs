//! Works out what is the same number at every step: arithmetic on numbers, and what the query's
//! own times give. By the same functions as during evaluation, so to the same last digit.

use super::{NodeId, Operation, Plan};
use crate::engine::binary::scalar::scalars;
use crate::engine::functions::{math, time};
use crate::engine::query::QueryTimes;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::ValueType;

pub(super) fn fold(plan: &mut Plan<'_>, times: &QueryTimes) {
    for id in 0..plan.nodes.len() {
        let value = value(plan, id, times);
        if let Some(value) = value
            && let Some(node) = plan.nodes.get_mut(id)
        {
            node.operation = Operation::Number(value);
            node.inputs.clear();
        }
    }
}

fn value(plan: &Plan<'_>, id: NodeId, times: &QueryTimes) -> Option<f64> {
    let node = plan.nodes.get(id)?;
    if node.gives != ValueType::Scalar {
        return None;
    }
    let number = |id: &NodeId| match plan.nodes.get(*id)?.operation {
        Operation::Number(value) => Some(value),
        _ => None,
    };
    let inputs: Option<Vec<f64>> = node.inputs.iter().map(number).collect();
    match (node.operation, &inputs?[..]) {
        (Operation::Plus, [value]) => Some(*value),
        (Operation::Negate, [value]) => Some(-value),
        // What fails, fails when it is evaluated.
        (Operation::Binary(binary), [left, right]) => {
            let (left, right) = (Scalar::Constant(*left), Scalar::Constant(*right));
            match scalars(binary.op, left, right) {
                Ok(Scalar::Constant(value)) => Some(value),
                _ => None,
            }
        }
        (Operation::Call(call), arguments) => of_call(call.function.name, arguments, times),
        _ => None,
    }
}

/// What a function gives at every step; None if that depends on the step or on samples.
pub(in crate::engine) fn of_call(name: &str, arguments: &[f64], times: &QueryTimes) -> Option<f64> {
    Some(match (name, arguments) {
        ("pi", []) => std::f64::consts::PI,
        ("start", []) => time::seconds(times.start_ms),
        ("end", []) => time::seconds(times.end_ms),
        ("range", []) => time::seconds(times.range_ms()),
        ("step", []) if times.range_ms() == 0 => 0.0,
        ("step", []) => time::seconds(times.step_ms),
        ("max_of", [a, b]) => math::max_of(*a, *b),
        ("min_of", [a, b]) => math::min_of(*a, *b),
        _ => return None,
    })
}

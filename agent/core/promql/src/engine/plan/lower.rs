//! From an expression to its plan, node for node. Parentheses go; durations and `@` become times.
//!
//! Works on a list of what is to be done, not on the stack: expressions may be of any height.

use super::{Node, Operation, Plan, RangeMs, Setting, StepMs};
use crate::engine::error::QueryError;
use crate::engine::selector::Give;
use crate::engine::statistics::Use;
use crate::engine::steps::Shift;
use crate::engine::tally::Weight;
use crate::syntax::ast::{Expr, ExprKind, UnaryOp, ValueType};

/// An expression, and what is known of it from above.
#[derive(Clone, Copy)]
struct Visit<'e> {
    /// With its parentheses.
    expr: &'e Expr,
    /// What a selector gives here.
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Plain,
    Give(Give),
    /// Only its matchers count.
    Labels,
}

enum Task<'e> {
    Enter(Visit<'e>),
    /// All inputs are there.
    Leave(Visit<'e>, Operation<'e>, usize),
}

pub(super) fn lower<'e>(expr: &'e Expr, setting: &Setting) -> Result<Plan<'e>, QueryError> {
    let mut nodes: Vec<Node<'e>> = Vec::new();
    // Those that are no inputs yet.
    let mut open: Vec<usize> = Vec::new();
    let mut tasks = vec![Task::Enter(Visit {
        expr,
        role: Role::Plain,
    })];
    while let Some(task) = tasks.pop() {
        match task {
            Task::Enter(visit) => {
                let operation = operation(visit, setting)?;
                let children = children(visit.expr.without_parens());
                tasks.push(Task::Leave(visit, operation, children.len()));
                tasks.extend(children.into_iter().rev().map(Task::Enter));
            }
            Task::Leave(visit, operation, inputs) => {
                let inputs = open.split_off(open.len().saturating_sub(inputs));
                let id = nodes.len();
                let gives = gives(&operation, &inputs, &nodes);
                nodes.push(Node {
                    expr: visit.expr.without_parens(),
                    outer_span: visit.expr.span,
                    operation,
                    inputs,
                    gives,
                    steps: setting.steps,
                    repeated: None,
                    wanted: Use::default(),
                    labels: None,
                    same_as: None,
                    places: vec![id],
                    weight: Weight::AT_STEP,
                });
                open.push(id);
            }
        }
    }
    Ok(Plan {
        root: nodes.len().saturating_sub(1),
        nodes,
        selected: Default::default(),
    })
}

fn operation<'e>(visit: Visit<'e>, setting: &Setting) -> Result<Operation<'e>, QueryError> {
    let times = &setting.times;
    Ok(match &visit.expr.without_parens().kind {
        ExprKind::Number(number) => Operation::Number(number.value),
        ExprKind::String(text) => Operation::Text(text),
        ExprKind::Unary { op, .. } => match op {
            UnaryOp::Plus => Operation::Plus,
            UnaryOp::Minus => Operation::Negate,
        },
        ExprKind::Binary(binary) => Operation::Binary(binary),
        ExprKind::Aggregate(aggregate) => Operation::Aggregate(aggregate),
        ExprKind::Call(call) => Operation::Call(call),
        ExprKind::VectorSelector(selector) => {
            let shift = times.shift(&selector.time)?;
            match visit.role {
                Role::Plain => Operation::Selector(selector, shift, Give::Value),
                Role::Give(give) => Operation::Selector(selector, shift, give),
                Role::Labels => Operation::LabelSelector(selector, shift),
            }
        }
        ExprKind::MatrixSelector(matrix) => {
            let shift = times.shift(&matrix.selector.time)?;
            let range = RangeMs(times.length_ms(&matrix.range)?);
            Operation::Range(&matrix.selector, shift, range)
        }
        ExprKind::Subquery(subquery) => {
            let shift: Shift = times.shift(&subquery.time)?;
            let range = RangeMs(times.length_ms(&subquery.range)?);
            let step = StepMs(match &subquery.step {
                Some(step) => times.length_ms(step)?,
                None => setting.default_subquery_step_ms,
            });
            Operation::Subquery(shift, range, step)
        }
        // There are none left.
        ExprKind::Paren(_) => Operation::Plus,
    })
}

/// What goes into an expression, in the order of evaluation.
fn children(expr: &Expr) -> Vec<Visit<'_>> {
    let mut children: Vec<&Expr> = expr.children();
    if let ExprKind::Aggregate(_) = expr.kind {
        // The parameter goes first.
        children.reverse();
    }
    let visits = children
        .into_iter()
        .enumerate()
        .map(|(index, child)| Visit {
            expr: child,
            role: role(expr, index, child),
        });
    visits.collect()
}

fn role(parent: &Expr, index: usize, child: &Expr) -> Role {
    let ExprKind::Call(call) = &parent.kind else {
        return Role::Plain;
    };
    let is_selector = matches!(child.without_parens().kind, ExprKind::VectorSelector(_));
    match call.function.name {
        "timestamp" if is_selector => Role::Give(Give::Timestamp),
        "start_timestamp" if is_selector => Role::Give(Give::StartTimestamp),
        "info" if is_selector && index == 1 => Role::Labels,
        _ => Role::Plain,
    }
}

fn gives(operation: &Operation<'_>, inputs: &[usize], nodes: &[Node<'_>]) -> ValueType {
    let mut types = inputs
        .iter()
        .filter_map(|id| nodes.get(*id))
        .map(|node| node.gives);
    match operation {
        Operation::Number(_) => ValueType::Scalar,
        Operation::Text(_) => ValueType::String,
        Operation::Plus | Operation::Negate => types.next().unwrap_or(ValueType::Scalar),
        Operation::Binary(_) if types.all(|gives| gives == ValueType::Scalar) => ValueType::Scalar,
        Operation::Binary(_)
        | Operation::Aggregate(_)
        | Operation::Selector(..)
        | Operation::LabelSelector(..) => ValueType::InstantVector,
        Operation::Call(call) => call.function.returns,
        Operation::Range(..) | Operation::Subquery(..) => ValueType::RangeVector,
    }
}

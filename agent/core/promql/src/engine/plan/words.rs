//! What nodes do, in words: for whoever wants to see the plan.

use std::fmt::{self, Display, Formatter};

use narthex_model::duration::format_ms;
use narthex_model::number::format_plain;

use super::{Operation, Plan};
use crate::engine::explain::{ExplainedNode, Measured};
use crate::engine::selector::Give;
use crate::syntax::{aggregate_in_words, operator_in_words};

impl Plan<'_> {
    /// The plan as a tree. `measured` says what each node cost, if the query ran.
    pub(in crate::engine) fn explained(
        &self,
        measured: impl Fn(usize) -> Option<Measured>,
    ) -> Vec<ExplainedNode> {
        let consumers = self.consumers(&self.below(self.root));
        let mut is_shown = vec![false; self.nodes.len()];
        let mut shown = Vec::new();
        // Parents stand behind their inputs.
        for (id, node) in self.nodes.iter().enumerate().rev() {
            if id != self.root && is_shown.get(id) != Some(&true) {
                continue;
            }
            let inputs = match node.same_as {
                None => node.inputs.clone(),
                Some(_) => Vec::new(),
            };
            for input in &inputs {
                if let Some(slot) = is_shown.get_mut(*input) {
                    *slot = true;
                }
            }
            shown.push(ExplainedNode {
                id,
                operation: node.operation.to_string(),
                span: node.expr.span,
                inputs,
                steps: node.steps.count,
                once: node.repeated.is_some(),
                same_as: node.same_as,
                consumers: match node.same_as {
                    None if id != self.root => consumers.get(id).copied().unwrap_or(1),
                    _ => 1,
                },
                measured: measured(id).filter(|_| node.same_as.is_none()),
            });
        }
        shown.reverse();
        shown
    }
}

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Number(value) => f.write_str(&format_plain(*value)),
            Operation::Text(text) => write!(f, "{text}"),
            Operation::Plus => f.write_str("+"),
            Operation::Negate => f.write_str("negate"),
            Operation::Binary(binary) => f.write_str(&operator_in_words(binary)),
            Operation::Aggregate(aggregate) => f.write_str(&aggregate_in_words(aggregate)),
            Operation::Call(call) => f.write_str(call.function.name),
            Operation::Selector(selector, _, give) => {
                write!(f, "{selector}")?;
                f.write_str(match give {
                    Give::Value => "",
                    Give::Timestamp | Give::InfoTime => " (times)",
                    Give::StartTimestamp => " (start times)",
                })
            }
            Operation::LabelSelector(selector, _) => write!(f, "labels {selector}"),
            Operation::Range(selector, _, range) => {
                write!(f, "{selector} over {}", milliseconds(range.0))
            }
            Operation::Subquery(shift, range, step) => {
                let (range, step) = (milliseconds(range.0), milliseconds(step.0));
                write!(f, "subquery over {range} every {step}")?;
                if let Some(at_ms) = shift.at_ms {
                    write!(f, " @ {:.3}", at_ms as f64 / 1000.0)?;
                }
                match shift.offset_ms {
                    0 => Ok(()),
                    offset_ms => write!(f, " offset {}", milliseconds(offset_ms)),
                }
            }
        }
    }
}

fn milliseconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}", format_ms(ms.unsigned_abs()))
}

//! The tree of a template, and how its parts are written in messages.
//!
//! Positions are bytes into the template's source; line and column are worked out for messages.

use std::fmt;
use std::sync::Arc;

use narthex_model::labels::write_quoted;

#[derive(Debug, Default)]
pub(crate) struct NodeList {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) position: usize,
    pub(crate) kind: NodeKind,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    Text(Arc<str>),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        name: Arc<str>,
        argument: Option<Pipeline>,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipeline: Pipeline,
    pub(crate) list: NodeList,
    pub(crate) else_list: Option<NodeList>,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) position: usize,
    /// `=` instead of `:=`.
    pub(crate) is_assign: bool,
    /// Variables that are declared or assigned, with their `$`.
    pub(crate) variables: Vec<Arc<str>>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) position: usize,
    /// Not empty.
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) position: usize,
    pub(crate) kind: OperandKind,
}

#[derive(Debug)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    String {
        /// As it was written, with its quotes.
        source: Arc<str>,
        text: Arc<str>,
    },
    /// `.a.b`
    Field(Vec<Arc<str>>),
    /// `$x.a.b`
    Variable {
        name: Arc<str>,
        fields: Vec<Arc<str>>,
    },
    Function(Arc<str>),
    /// `(…).a.b`
    Chain {
        base: Box<Operand>,
        fields: Vec<Arc<str>>,
    },
    Pipeline(Box<Pipeline>),
}

/// A literal has no type of its own in Go: it takes the one that is wanted, if it fits.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) source: Arc<str>,
    pub(crate) int: Option<i64>,
    pub(crate) float: Option<f64>,
}

impl Number {
    /// The type where none is wanted: a float if it is written as one.
    pub(crate) fn is_written_as_float(&self) -> bool {
        let source = &*self.source;
        if source.starts_with('\'') {
            return false;
        }
        // In a hexadecimal number an e is a digit.
        let exponent = if source.starts_with("0x") || source.starts_with("0X") {
            ['p', 'P']
        } else {
            ['e', 'E']
        };
        source.contains('.') || source.contains(exponent)
    }
}

impl fmt::Display for NodeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.iter().try_for_each(|node| node.fmt(f))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Text(text) => write_quoted(f, text),
            NodeKind::Action(pipeline) => write!(f, "{{{{{pipeline}}}}}"),
            NodeKind::If(branch) => write_branch(f, "if", branch),
            NodeKind::With(branch) => write_branch(f, "with", branch),
            NodeKind::Range(branch) => write_branch(f, "range", branch),
            NodeKind::Template { name, argument } => {
                f.write_str("{{template ")?;
                write_quoted(f, name)?;
                if let Some(argument) = argument {
                    write!(f, " {argument}")?;
                }
                f.write_str("}}")
            }
            NodeKind::Break => f.write_str("{{break}}"),
            NodeKind::Continue => f.write_str("{{continue}}"),
        }
    }
}

fn write_branch(f: &mut fmt::Formatter<'_>, word: &str, branch: &Branch) -> fmt::Result {
    write!(f, "{{{{{word} {}}}}}{}", branch.pipeline, branch.list)?;
    if let Some(list) = &branch.else_list {
        write!(f, "{{{{else}}}}{list}")?;
    }
    f.write_str("{{end}}")
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assign { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        write_joined(f, &self.commands, " | ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, operand) in self.operands.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            match &operand.kind {
                OperandKind::Pipeline(pipeline) => write!(f, "({pipeline})")?,
                _ => operand.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => value.fmt(f),
            OperandKind::Number(number) => f.write_str(&number.source),
            OperandKind::String { source, .. } => f.write_str(source),
            OperandKind::Field(fields) => write_fields(f, fields),
            OperandKind::Variable { name, fields } => {
                f.write_str(name)?;
                write_fields(f, fields)
            }
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Chain { base, fields } => {
                match &base.kind {
                    OperandKind::Pipeline(pipeline) => write!(f, "({pipeline})")?,
                    _ => base.fmt(f)?,
                }
                write_fields(f, fields)
            }
            OperandKind::Pipeline(pipeline) => pipeline.fmt(f),
        }
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[Arc<str>]) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(f, ".{field}"))
}

fn write_joined<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

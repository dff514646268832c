//! How expressions are written over several lines: what is longer than a line is split into its
//! parts, each a level further in. The layout is Prometheus's.

use std::fmt::{self, Display, Write};

use super::ast::{AggregateExpr, BinaryExpr, Call, Expr, ExprKind};
use super::print::{AggregateHead, Operation, SubquerySuffix};

/// Bytes that an expression may have on one line.
const MAX_LINE_BYTES: usize = 100;

/// The expression as text for people to read.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_expr(&mut out, expr, 0);
    out
}

fn write_expr(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    match &expr.kind {
        ExprKind::Subquery(subquery) => {
            if fits_line(expr) {
                // Without indentation: it is a part of the line that its parent began.
                return write!(out, "{expr}");
            }
            write_expr(out, &subquery.expr, level)?;
            write!(out, "{}", SubquerySuffix(subquery))
        }
        ExprKind::Unary { op, expr } => {
            let mut operand = String::new();
            write_expr(&mut operand, expr, level)?;
            write!(out, "{}{op}{}", Indent(level), operand.trim())
        }
        ExprKind::Binary(binary) if !fits_line(expr) => write_binary(out, binary, level),
        ExprKind::Aggregate(aggregate) if !fits_line(expr) => {
            write_aggregate(out, aggregate, level)
        }
        ExprKind::Call(call) if !fits_line(expr) => write_call(out, call, level),
        ExprKind::Paren(inner) if !fits_line(expr) => {
            writeln!(out, "{}(", Indent(level))?;
            write_expr(out, inner, level + 1)?;
            write!(out, "\n{})", Indent(level))
        }
        _ => write!(out, "{}{expr}", Indent(level)),
    }
}

fn write_binary(out: &mut String, binary: &BinaryExpr, level: usize) -> fmt::Result {
    write_expr(out, &binary.left, level + 1)?;
    writeln!(out, "\n{}{}", Indent(level), Operation(binary))?;
    write_expr(out, &binary.right, level + 1)
}

fn write_aggregate(out: &mut String, aggregate: &AggregateExpr, level: usize) -> fmt::Result {
    writeln!(out, "{}{}(", Indent(level), AggregateHead(aggregate))?;
    if let Some(param) = &aggregate.param {
        write_expr(out, param, level + 1)?;
        out.write_str(",\n")?;
    }
    write_expr(out, &aggregate.expr, level + 1)?;
    write!(out, "\n{})", Indent(level))
}

fn write_call(out: &mut String, call: &Call, level: usize) -> fmt::Result {
    writeln!(out, "{}{}(", Indent(level), call.function.name)?;
    for (i, arg) in call.args.iter().enumerate() {
        if i > 0 {
            out.write_str(",\n")?;
        }
        write_expr(out, arg, level + 1)?;
    }
    write!(out, "\n{})", Indent(level))
}

fn fits_line(expr: &Expr) -> bool {
    let mut line = Line {
        left: MAX_LINE_BYTES,
    };
    write!(line, "{expr}").is_ok()
}

/// Counts what is written and refuses what is too much, so that a long expression is not printed
/// whole at each of its levels.
struct Line {
    left: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

struct Indent(usize);

impl Display for Indent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.0 {
            f.write_str("  ")?;
        }
        Ok(())
    }
}

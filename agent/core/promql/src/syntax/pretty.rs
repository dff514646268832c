//! How expressions are written over several lines: what is longer than a line is split into its
//! parts, each a level further in. The layout is Prometheus's.

use std::fmt::{self, Display, Write};

use super::ast::{AggregateExpr, BinaryExpr, BinaryOp, Call, Expr, ExprKind};
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
        ExprKind::Binary(_) if !fits_line(expr) => write_chain(out, expr, level),
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

/// Each left side is a level further in, as far as it does not fit the line.
fn write_chain(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    let mut links: Vec<&BinaryExpr> = Vec::new();
    let mut left = expr;
    while let ExprKind::Binary(binary) = &left.kind
        && !fits_line(left)
    {
        links.push(binary);
        left = &binary.left;
    }
    let innermost = links.last().map(|link| link.op);
    match &left.kind {
        // As where it is printed on one line.
        ExprKind::Number(number)
            if number.value == f64::INFINITY && innermost == Some(BinaryOp::Pow) =>
        {
            write!(out, "{}Inf", Indent(level + links.len()))?;
        }
        _ => write_expr(out, left, level + links.len())?,
    }
    for (depth, link) in links.into_iter().enumerate().rev() {
        let level = level + depth;
        writeln!(out, "\n{}{}", Indent(level), Operation(link))?;
        write_expr(out, &link.right, level + 1)?;
    }
    Ok(())
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
    // Each link of a chain takes more than a byte.
    let mut first = expr;
    for _ in 0..MAX_LINE_BYTES {
        match &first.kind {
            ExprKind::Binary(binary) => first = &binary.left,
            _ => break,
        }
    }
    if matches!(first.kind, ExprKind::Binary(_)) {
        return false;
    }
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

/// Levels beyond this are not indented further, so that the text grows with the expression only.
const MAX_INDENT: usize = 100;

struct Indent(usize);

impl Display for Indent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..self.0.min(MAX_INDENT) {
            f.write_str("  ")?;
        }
        Ok(())
    }
}

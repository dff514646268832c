//! How expressions are written: on one line, exactly as Prometheus does, since queries are
//! compared by their texts and annotations point into them.

use std::fmt::{self, Display, Formatter, Write};
use std::sync::Arc;

use narthex_model::duration::format_ms;
use narthex_model::labels::write_label_name;
use narthex_model::number::{format_general, format_plain};
use narthex_model::{METRIC_NAME, MatchOp, Matcher};

use super::ast::{
    AggregateExpr, AggregateOp, AtModifier, BinaryExpr, BinaryOp, Cardinality, DurationExpr, Expr,
    ExprKind, MatrixSelector, NumberLiteral, Subquery, TimeModifiers, UnaryOp, ValueType,
    VectorMatching, VectorSelector,
};
use super::string_literal::readable;

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(value) => write!(f, "{value}"),
            ExprKind::Paren(expr) => write!(f, "({expr})"),
            ExprKind::Unary { op, expr } => write!(f, "{op}{expr}"),
            ExprKind::Binary(_) => write_chain(f, self),
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_joined(f, &call.args)?;
                f.write_char(')')
            }
            ExprKind::VectorSelector(selector) => selector.fmt(f),
            ExprKind::MatrixSelector(matrix) => matrix.fmt(f),
            ExprKind::Subquery(subquery) => {
                write!(f, "{}{}", subquery.expr, SubquerySuffix(subquery))
            }
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration && self.value == 0.0 && self.value.is_sign_negative() {
            f.write_str("-0s")
        } else if self.is_duration {
            // By way of nanoseconds, whose rounding shows for some values.
            write_duration_ms(f, (self.value * 1e9) as i64 / 1_000_000)
        } else {
            f.write_str(&format_plain(self.value))
        }
    }
}

impl Display for AggregateExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", AggregateHead(self))?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_selector(f, self)?;
        write_at(f, &self.time)?;
        write_extension(f, self)?;
        write_offset(f, &self.time)
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_selector(f, &self.selector)?;
        write!(f, "[{}]", self.range)?;
        write_extension(f, &self.selector)?;
        write_at(f, &self.selector.time)?;
        write_offset(f, &self.selector.time)
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::LiteralMs(ms) => write_duration_ms(f, *ms),
            DurationExpr::Number(value) => f.write_str(&format_plain(*value)),
            DurationExpr::Step => f.write_str("step()"),
            DurationExpr::Range => f.write_str("range()"),
            DurationExpr::Unary {
                op: UnaryOp::Plus,
                expr,
            } => expr.fmt(f),
            DurationExpr::Unary { op, expr } => write!(f, "{op}{expr}"),
            DurationExpr::Binary { op, left, right } => write!(f, "{left} {op} {right}"),
            DurationExpr::MinOf(left, right) => write!(f, "min_of({left}, {right})"),
            DurationExpr::MaxOf(left, right) => write!(f, "max_of({left}, {right})"),
            DurationExpr::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for AggregateOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for Cardinality {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As messages to users call it.
impl Display for ValueType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.documented())
    }
}

/// An operator with its modifiers.
pub(crate) struct Operation<'a>(pub(crate) &'a BinaryExpr);

impl Display for Operation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.op.fmt(f)?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        match &self.0.matching {
            Some(matching) => write_matching(f, matching),
            None => Ok(()),
        }
    }
}

/// An aggregation up to its parenthesis.
pub(crate) struct AggregateHead<'a>(pub(crate) &'a AggregateExpr);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let AggregateExpr {
            op,
            grouping,
            without,
            ..
        } = self.0;
        op.fmt(f)?;
        let word = match without {
            true => "without",
            false if grouping.is_empty() => return Ok(()),
            false => "by",
        };
        write!(f, " {word} (")?;
        write_labels(f, grouping)?;
        f.write_str(") ")
    }
}

/// What makes a subquery of the expression before it.
pub(crate) struct SubquerySuffix<'a>(pub(crate) &'a Subquery);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            step.fmt(f)?;
        }
        f.write_char(']')?;
        write_at(f, &self.0.time)?;
        write_offset(f, &self.0.time)
    }
}

fn write_chain(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    let (first, links) = expr.chain();
    match &first.kind {
        // A sign before a power would stand for the sign of the power.
        ExprKind::Number(number)
            if number.value == f64::INFINITY
                && links.first().is_some_and(|link| link.op == BinaryOp::Pow) =>
        {
            f.write_str("Inf")?;
        }
        _ => first.fmt(f)?,
    }
    for link in links {
        write!(f, " {} {}", Operation(link), link.right)?;
    }
    Ok(())
}

fn write_joined(f: &mut Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn write_labels(f: &mut Formatter<'_>, labels: &[Arc<str>]) -> fmt::Result {
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_label_name(f, label)?;
    }
    Ok(())
}

fn write_matching(f: &mut Formatter<'_>, matching: &VectorMatching) -> fmt::Result {
    let side = match matching.cardinality {
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if matching.on || side.is_some() || !matching.labels.is_empty() {
        f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        write_labels(f, &matching.labels)?;
        f.write_char(')')?;
    }
    if let Some(side) = side {
        write!(f, " group_{side} (")?;
        write_labels(f, &matching.include)?;
        f.write_char(')')?;
    }
    write_fill(f, matching)
}

fn write_fill(f: &mut Formatter<'_>, matching: &VectorMatching) -> fmt::Result {
    let (left, right) = (matching.fill_left, matching.fill_right);
    if let Some(value) = left.filter(|_| left == right) {
        return write!(f, " fill ({})", format_general(value));
    }
    for (side, value) in [("left", left), ("right", right)] {
        if let Some(value) = value {
            write!(f, " fill_{side} ({})", format_general(value))?;
        }
    }
    Ok(())
}

/// Name and matchers, without modifiers.
fn write_selector(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let is_name = |matcher: &Matcher| {
        &*matcher.name == METRIC_NAME
            && matcher.op == MatchOp::Equal
            && !matcher.value.is_empty()
            && selector.name.as_ref() == Some(&matcher.value)
    };
    if let Some(name) = &selector.name {
        f.write_str(name)?;
    }
    let mut matchers: Vec<String> = selector
        .matchers
        .iter()
        .filter(|matcher| !is_name(matcher))
        .map(Matcher::to_string)
        .collect();
    if matchers.is_empty() {
        // Only info() knows a selector of nothing. Prometheus prints it as nothing, which does not
        // parse.
        let nothing = selector.name.is_none() && selector.matchers.is_empty();
        return f.write_str(if nothing { "{}" } else { "" });
    }
    matchers.sort_unstable();
    write!(f, "{{{}}}", readable(matchers.join(",")))
}

fn write_extension(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    match (selector.anchored, selector.smoothed) {
        (true, _) => f.write_str(" anchored"),
        (_, true) => f.write_str(" smoothed"),
        _ => Ok(()),
    }
}

fn write_at(f: &mut Formatter<'_>, time: &TimeModifiers) -> fmt::Result {
    match time.at {
        Some(AtModifier::TimestampMs(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        Some(AtModifier::Start) => f.write_str(" @ start()"),
        Some(AtModifier::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn write_offset(f: &mut Formatter<'_>, time: &TimeModifiers) -> fmt::Result {
    match &time.offset {
        Some(offset) => write!(f, " offset {offset}"),
        None => Ok(()),
    }
}

fn write_duration_ms(f: &mut Formatter<'_>, ms: i64) -> fmt::Result {
    if ms < 0 {
        f.write_char('-')?;
    }
    f.write_str(&format_ms(ms.unsigned_abs()))
}

//! An expression as JSON, in the form that Prometheus's `/api/v1/parse_query` answers with.
//!
//! Keeps true: keys stand in the order of the alphabet; the text grows with the expression only.

use std::fmt::{self, Write};
use std::sync::Arc;

use narthex_model::Matcher;
use narthex_model::number::format_plain;

use super::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, DurationExpr, Expr, ExprKind, MatrixSelector,
    Subquery, TimeModifiers, UnaryOp, VectorMatching, VectorSelector,
};

/// The tree of `expr`.
pub fn to_json(expr: &Expr) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_expr(&mut out, expr);
    out
}

fn write_expr(out: &mut String, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Number(number) => {
            let value = format_plain(number.value);
            write!(out, r#"{{"type":"numberLiteral","val":"{value}"}}"#)
        }
        ExprKind::String(value) => {
            let text = Text(value.text());
            write!(out, r#"{{"type":"stringLiteral","val":{text}}}"#)
        }
        ExprKind::Paren(inner) => {
            out.push_str(r#"{"expr":"#);
            write_expr(out, inner)?;
            out.push_str(r#","type":"parenExpr"}"#);
            Ok(())
        }
        ExprKind::Unary { op, expr } => {
            out.push_str(r#"{"expr":"#);
            write_expr(out, expr)?;
            write!(out, r#","op":"{op}","type":"unaryExpr"}}"#)
        }
        ExprKind::Binary(_) => write_chain(out, expr),
        ExprKind::Aggregate(aggregate) => write_aggregate(out, aggregate),
        ExprKind::Call(call) => write_call(out, call),
        ExprKind::VectorSelector(selector) => write_selector(out, selector),
        ExprKind::MatrixSelector(matrix) => write_matrix(out, matrix),
        ExprKind::Subquery(subquery) => write_subquery(out, subquery),
    }
}

/// Left sides stand within one another, so all of them are opened before the first is closed.
fn write_chain(out: &mut String, expr: &Expr) -> fmt::Result {
    let (first, links) = expr.chain();
    for link in links.iter().rev() {
        write!(out, r#"{{"bool":{},"lhs":"#, link.return_bool)?;
    }
    write_expr(out, first)?;
    for link in links {
        write_link_end(out, link)?;
    }
    Ok(())
}

fn write_link_end(out: &mut String, link: &BinaryExpr) -> fmt::Result {
    out.push_str(r#","matching":"#);
    match &link.matching {
        Some(matching) => write_matching(out, matching)?,
        None => out.push_str("null"),
    }
    write!(out, r#","op":"{}","rhs":"#, link.op)?;
    write_expr(out, &link.right)?;
    out.push_str(r#","type":"binaryExpr"}"#);
    Ok(())
}

fn write_matching(out: &mut String, matching: &VectorMatching) -> fmt::Result {
    write!(
        out,
        r#"{{"card":"{}","fillValues":{{"lhs":{},"rhs":{}}},"include":{},"labels":{},"on":{}}}"#,
        matching.cardinality,
        Fill(matching.fill_left),
        Fill(matching.fill_right),
        Names(&matching.include),
        Names(&matching.labels),
        matching.on
    )
}

fn write_aggregate(out: &mut String, aggregate: &AggregateExpr) -> fmt::Result {
    out.push_str(r#"{"expr":"#);
    write_expr(out, &aggregate.expr)?;
    write!(
        out,
        r#","grouping":{},"op":"{}","param":"#,
        Names(&aggregate.grouping),
        aggregate.op
    )?;
    match &aggregate.param {
        Some(param) => write_expr(out, param)?,
        None => out.push_str("null"),
    }
    write!(
        out,
        r#","type":"aggregation","without":{}}}"#,
        aggregate.without
    )
}

fn write_call(out: &mut String, call: &Call) -> fmt::Result {
    out.push_str(r#"{"args":["#);
    for (index, argument) in call.args.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_expr(out, argument)?;
    }
    out.push_str(r#"],"func":{"argTypes":["#);
    let function = call.function;
    for (index, arg_type) in function.args.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, r#"{comma}"{}""#, arg_type.as_str())?;
    }
    write!(
        out,
        r#"],"name":"{}","returnType":"{}","variadic":{}}},"type":"call"}}"#,
        function.name,
        function.returns.as_str(),
        function.variadic
    )
}

fn write_selector(out: &mut String, selector: &VectorSelector) -> fmt::Result {
    write_selector_fields(out, selector)?;
    write_time(out, &selector.time)?;
    out.push_str(r#","type":"vectorSelector"}"#);
    Ok(())
}

fn write_matrix(out: &mut String, matrix: &MatrixSelector) -> fmt::Result {
    write_selector_fields(out, &matrix.selector)?;
    write_length(out, "range", Some(&matrix.range))?;
    write_time(out, &matrix.selector.time)?;
    out.push_str(r#","type":"matrixSelector"}"#);
    Ok(())
}

/// Up to where the fields begin in which the two kinds of selectors differ.
fn write_selector_fields(out: &mut String, selector: &VectorSelector) -> fmt::Result {
    write!(
        out,
        r#"{{"anchored":{},"matchers":{},"name":{}"#,
        selector.anchored,
        Matchers(&selector.matchers),
        Text(selector.name.as_deref().unwrap_or_default())
    )?;
    write_length(out, "offset", selector.time.offset.as_ref())?;
    write!(out, r#","smoothed":{}"#, selector.smoothed)
}

fn write_subquery(out: &mut String, subquery: &Subquery) -> fmt::Result {
    out.push_str(r#"{"expr":"#);
    write_expr(out, &subquery.expr)?;
    write_length(out, "offset", subquery.time.offset.as_ref())?;
    write_length(out, "range", Some(&subquery.range))?;
    write_length(out, "step", subquery.step.as_ref())?;
    write_time(out, &subquery.time)?;
    out.push_str(r#","type":"subquery"}"#);
    Ok(())
}

fn write_time(out: &mut String, time: &TimeModifiers) -> fmt::Result {
    let (start_or_end, timestamp) = match time.at {
        None => ("null", None),
        Some(AtModifier::Start) => (r#""start""#, None),
        Some(AtModifier::End) => (r#""end""#, None),
        Some(AtModifier::TimestampMs(ms)) => ("null", Some(ms)),
    };
    write!(out, r#","startOrEnd":{start_or_end},"timestamp":"#)?;
    match timestamp {
        Some(ms) => write!(out, "{ms}"),
        None => out.write_str("null"),
    }
}

/// Milliseconds where they are written plainly, else 0 and what is to be worked out.
fn write_length(out: &mut String, name: &str, length: Option<&DurationExpr>) -> fmt::Result {
    let ms = match length {
        Some(DurationExpr::LiteralMs(ms)) => *ms,
        _ => 0,
    };
    write!(out, r#","{name}":{ms},"{name}Expr":"#)?;
    match length {
        None | Some(DurationExpr::LiteralMs(_)) => out.write_str("null"),
        Some(length) => write_duration(out, length, false),
    }
}

fn write_duration(out: &mut String, length: &DurationExpr, wrapped: bool) -> fmt::Result {
    match length {
        DurationExpr::LiteralMs(ms) => {
            let seconds = format_plain(*ms as f64 / 1000.0);
            write_duration_number(out, &seconds, true)
        }
        DurationExpr::Number(value) => write_duration_number(out, &format_plain(*value), false),
        DurationExpr::Paren(inner) => write_duration(out, inner, true),
        DurationExpr::Step => write_operation(out, "step", None, None, wrapped),
        DurationExpr::Range => write_operation(out, "range", None, None, wrapped),
        DurationExpr::Unary {
            op: UnaryOp::Plus,
            expr,
        } => write_duration(out, expr, wrapped),
        DurationExpr::Unary { op, expr } => {
            write_operation(out, op.as_str(), None, Some(expr), wrapped)
        }
        DurationExpr::Binary { op, left, right } => {
            write_operation(out, op.as_str(), Some(left), Some(right), wrapped)
        }
        DurationExpr::MinOf(left, right) => {
            write_operation(out, "min_of", Some(left), Some(right), wrapped)
        }
        DurationExpr::MaxOf(left, right) => {
            write_operation(out, "max_of", Some(left), Some(right), wrapped)
        }
    }
}

fn write_duration_number(out: &mut String, value: &str, is_duration: bool) -> fmt::Result {
    write!(
        out,
        r#"{{"duration":{is_duration},"type":"numberLiteral","val":"{value}"}}"#
    )
}

fn write_operation(
    out: &mut String,
    op: &str,
    left: Option<&DurationExpr>,
    right: Option<&DurationExpr>,
    wrapped: bool,
) -> fmt::Result {
    out.push_str(r#"{"lhs":"#);
    let write_side = |out: &mut String, side: Option<&DurationExpr>| match side {
        Some(side) => write_duration(out, side, false),
        None => out.write_str("null"),
    };
    write_side(out, left)?;
    write!(out, r#","op":"{op}","rhs":"#)?;
    write_side(out, right)?;
    write!(out, r#","type":"durationExpr","wrapped":{wrapped}}}"#)
}

struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

struct Names<'n>(&'n [Arc<str>]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (index, name) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", Text(name))?;
        }
        f.write_char(']')
    }
}

struct Matchers<'m>(&'m [Matcher]);

impl fmt::Display for Matchers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (index, matcher) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(
                f,
                r#"{comma}{{"name":{},"type":"{}","value":{}}}"#,
                Text(&matcher.name),
                matcher.op.as_str(),
                Text(&matcher.value)
            )?;
        }
        f.write_char(']')
    }
}

/// A value to fill in; what is no number to JSON is a text.
struct Fill(Option<f64>);

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(value) if value.is_finite() => f.write_str(&format_plain(value)),
            Some(value) => write!(f, r#""{}""#, format_plain(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParserOptions, parse};
    use super::*;

    fn json(text: &str) -> String {
        to_json(&parse(text, &ParserOptions::everything()).unwrap())
    }

    #[test]
    fn every_kind_of_node_has_its_shape() {
        for (text, expected) in [
            ("1h", r#"{"type":"numberLiteral","val":"3600"}"#),
            ("-Inf", r#"{"type":"numberLiteral","val":"-Inf"}"#),
            (r#""a\"\n""#, r#"{"type":"stringLiteral","val":"a\"\n"}"#),
            (
                "(-a)",
                r#"{"expr":{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"op":"-","type":"unaryExpr"},"type":"parenExpr"}"#,
            ),
            (
                r#"{a=~"b"} offset -1m @ 1.5"#,
                r#"{"anchored":false,"matchers":[{"name":"a","type":"=~","value":"b"}],"name":"","offset":-60000,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":1500,"type":"vectorSelector"}"#,
            ),
            (
                "a[5m] smoothed @ end()",
                r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":true,"range":300000,"rangeExpr":null,"startOrEnd":"end","timestamp":null,"type":"matrixSelector"}"#,
            ),
            (
                "pi()",
                r#"{"args":[],"func":{"argTypes":[],"name":"pi","returnType":"scalar","variadic":0},"type":"call"}"#,
            ),
        ] {
            let got: serde_json::Value = serde_json::from_str(&json(text)).unwrap();
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn parts_of_larger_trees() {
        for (text, part) in [
            ("1 + 2", r#""matching":null,"op":"+""#),
            ("a > bool 2", r#"{"bool":true,"lhs":"#),
            (
                "a * on (x) group_left (y) fill_right (-1.5) b",
                r#""matching":{"card":"many-to-one","fillValues":{"lhs":null,"rhs":-1.5},"include":["y"],"labels":["x"],"on":true}"#,
            ),
            ("a and b", r#""card":"many-to-many""#),
            (
                "topk without (x, \"y z\") (2, a)",
                r#""grouping":["x","y z"],"op":"topk","param":{"type":"numberLiteral","val":"2"},"type":"aggregation","without":true}"#,
            ),
            ("sum(a)", r#""grouping":[],"op":"sum","param":null"#),
            (
                "rate(a[1m])",
                r#""func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0}"#,
            ),
            (
                "a[10m:1m] offset 5m",
                r#","offset":300000,"offsetExpr":null,"range":600000,"rangeExpr":null,"step":60000,"stepExpr":null,"startOrEnd":null,"timestamp":null,"type":"subquery"}"#,
            ),
            (
                "a[(5m + step()) * 2]",
                r#""range":0,"rangeExpr":{"lhs":{"lhs":{"duration":true,"type":"numberLiteral","val":"300"},"op":"+","rhs":{"lhs":null,"op":"step","rhs":null,"type":"durationExpr","wrapped":false},"type":"durationExpr","wrapped":true},"op":"*","rhs":{"#,
            ),
        ] {
            let json = json(text);
            assert!(json.contains(part), "{text}\n{json}");
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }

    #[test]
    fn chains_take_no_stack() {
        let json = json(&vec!["a"; 10_000].join(" + "));
        assert_eq!(json.matches("binaryExpr").count(), 9999);
    }
}

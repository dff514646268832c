//! Changes the matchers of every selector in an expression.

use anyhow::ensure;
use narthex_model::METRIC_NAME;
use narthex_model::{MatchOp, Matcher};
use narthex_promql::syntax::ast::{Expr, ExprKind, VectorSelector};

/// Each selector gets the matcher, in place of those that it has for the label.
pub(super) fn set(
    expr: &mut Expr,
    operator: MatchOp,
    name: &str,
    value: &str,
) -> anyhow::Result<()> {
    let wanted = Matcher::new(name, operator, value)?;
    let mut change = |selector: &mut VectorSelector| {
        let at = selector.matchers.iter().position(|m| &*m.name == name);
        selector.matchers.retain(|matcher| &*matcher.name != name);
        let at = at.unwrap_or(selector.matchers.len());
        selector.matchers.insert(at, wanted.clone());
        if name == METRIC_NAME {
            selector.name = (operator == MatchOp::Equal).then(|| value.into());
        }
    };
    each_selector(expr, &mut change);
    Ok(())
}

/// Selectors keep no matcher for the label. One that would select everything is an error.
pub(super) fn delete(expr: &mut Expr, name: &str) -> anyhow::Result<()> {
    let mut selects_all = false;
    let mut change = |selector: &mut VectorSelector| {
        selector.matchers.retain(|matcher| &*matcher.name != name);
        if name == METRIC_NAME {
            selector.name = None;
        }
        selects_all |= selector.matchers.iter().all(Matcher::matches_empty);
    };
    each_selector(expr, &mut change);
    ensure!(
        !selects_all,
        "without its matchers for {name:?} a selector would have no non-empty matcher left"
    );
    Ok(())
}

fn each_selector(expr: &mut Expr, change: &mut dyn FnMut(&mut VectorSelector)) {
    // Chains of operators can be longer than the stack is deep.
    let mut waiting = vec![expr];
    while let Some(expr) = waiting.pop() {
        match &mut expr.kind {
            ExprKind::VectorSelector(selector) => change(selector),
            ExprKind::MatrixSelector(matrix) => change(&mut matrix.selector),
            _ => waiting.extend(expr.children_mut()),
        }
    }
}

#[cfg(test)]
mod tests {
    use narthex_promql::syntax::{ParserOptions, parse};

    use super::*;

    fn changed(text: &str, change: impl Fn(&mut Expr) -> anyhow::Result<()>) -> String {
        let mut expr = parse(text, &ParserOptions::default()).unwrap();
        match change(&mut expr) {
            Ok(()) => expr.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn matchers_are_set() {
        for (text, operator, name, value, expected) in [
            ("up", MatchOp::Equal, "job", "a", "up{job=\"a\"}"),
            (
                "rate(x{job=\"b\",job!=\"c\",z=\"1\"}[5m]) / on () y",
                MatchOp::Regex,
                "job",
                "a|b",
                "rate(x{job=~\"a|b\",z=\"1\"}[5m]) / on () y{job=~\"a|b\"}",
            ),
            ("sum(up)", MatchOp::Equal, "__name__", "down", "sum(down)"),
            (
                "up{a=\"b\"}",
                MatchOp::Regex,
                "__name__",
                "x.*",
                "{__name__=~\"x.*\",a=\"b\"}",
            ),
        ] {
            let set = |expr: &mut Expr| set(expr, operator, name, value);
            assert_eq!(changed(text, set), expected);
        }
        let wrong = |expr: &mut Expr| set(expr, MatchOp::Regex, "a", "(");
        assert!(changed("up", wrong).contains("unclosed group"));
    }

    #[test]
    fn matchers_are_deleted() {
        for (text, name, expected) in [
            ("up{job=\"a\",x=\"y\"} + up", "job", "up{x=\"y\"} + up"),
            (
                "max_over_time(up{job!=\"a\"}[1h:])",
                "job",
                "max_over_time(up[1h:])",
            ),
            ("up{a=\"b\"}", "__name__", "{a=\"b\"}"),
            (
                "{job=\"a\"}",
                "job",
                "without its matchers for \"job\" a selector would have no non-empty matcher left",
            ),
        ] {
            assert_eq!(changed(text, |expr| delete(expr, name)), expected);
        }
    }
}

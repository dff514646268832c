//! Types: which expression may stand where.
//!
//! Also settles what depends on types: only two instant vectors are matched, and set operators
//! match many to many. The order of the checks decides which of several faults is reported; it is
//! Prometheus's.

use std::collections::HashSet;

use narthex_model::labels::quoted;
use narthex_model::{METRIC_NAME, Matcher};

use super::ast::{
    AggregateExpr, BinaryExpr, Call, Cardinality, Expr, ExprKind, Span, ValueType, VectorSelector,
};
use super::error::Fault;

type Result<T> = std::result::Result<T, Fault>;

pub(crate) fn check(expr: &mut Expr) -> Result<ValueType> {
    let span = expr.span;
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Paren(inner) => return check(inner),
        ExprKind::Unary { expr: inner, .. } => {
            let operand = check(inner)?;
            if !matches!(operand, ValueType::Scalar | ValueType::InstantVector) {
                let message = format!(
                    "unary expression only allowed on expressions of type scalar or instant \
                     vector, got {:?}",
                    operand.documented()
                );
                return Err(Fault::new(span, message));
            }
            return Ok(operand);
        }
        ExprKind::Binary(_) => return check_chain(expr),
        ExprKind::Aggregate(aggregate) => check_aggregate(aggregate)?,
        ExprKind::Call(call) => check_call(call, span)?,
        ExprKind::VectorSelector(selector) => check_selector(selector, span)?,
        ExprKind::MatrixSelector(matrix) => {
            check_selector(&matrix.selector, matrix.selector_span)?;
        }
        ExprKind::Subquery(subquery) => {
            let inner = check(&mut subquery.expr)?;
            if inner != ValueType::InstantVector {
                let message = format!(
                    "subquery is only allowed on instant vector, got {} instead",
                    inner.as_str()
                );
                return Err(Fault::new(span, message));
            }
        }
    }
    Ok(expr.value_type())
}

/// Whether the matchers can't select every series there is.
pub(crate) fn has_non_empty_matcher(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|matcher| !matcher.matches_empty())
}

fn check_aggregate(aggregate: &mut AggregateExpr) -> Result<()> {
    expect_type(
        &mut aggregate.expr,
        ValueType::InstantVector,
        "aggregation expression",
    )?;
    match (&mut aggregate.param, aggregate.op.param_type()) {
        (Some(param), Some(expected)) => expect_type(param, expected, "aggregation parameter"),
        _ => Ok(()),
    }
}

fn expect_type(expr: &mut Expr, expected: ValueType, place: &str) -> Result<()> {
    let got = check(expr)?;
    if got == expected {
        return Ok(());
    }
    let message = format!(
        "expected type {} in {place}, got {}",
        expected.documented(),
        got.documented()
    );
    Err(Fault::new(expr.span, message))
}

/// A binary expression with all that hangs on its left side: taken apart, checked from the inside
/// out, and put together again.
fn check_chain(expr: &mut Expr) -> Result<ValueType> {
    let mut links = Vec::new();
    let mut first = expr.take();
    while let ExprKind::Binary(mut binary) = first.kind {
        let left = binary.left.take();
        links.push((binary, first.span));
        first = left;
    }
    let mut checked = check(&mut first);
    while let Some((mut binary, span)) = links.pop() {
        binary.left = first;
        checked = checked.and_then(|left| check_binary(&mut binary, left, span));
        let kind = ExprKind::Binary(binary);
        first = Expr { kind, span };
    }
    *expr = first;
    checked
}

fn check_binary(binary: &mut BinaryExpr, left: ValueType, span: Span) -> Result<ValueType> {
    let right = check(&mut binary.right)?;
    check_operator(binary, left, right)?;
    for (expr, got) in [(&binary.left, left), (&binary.right, right)] {
        if !matches!(got, ValueType::Scalar | ValueType::InstantVector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::new(expr.span, message));
        }
    }
    if left == ValueType::InstantVector && right == ValueType::InstantVector {
        check_set_operator(binary, span)?;
        return Ok(ValueType::InstantVector);
    }
    check_without_matching(binary, span)?;
    binary.matching = None;
    Ok(if left == right {
        ValueType::Scalar
    } else {
        ValueType::InstantVector
    })
}

/// What is reported at the operator.
fn check_operator(binary: &BinaryExpr, left: ValueType, right: ValueType) -> Result<()> {
    let fault = |message: String| Err(Fault::new(binary.op_span, message));
    if binary.return_bool && !binary.op.is_comparison() {
        return fault("bool modifier can only be used on comparison operators".to_owned());
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if binary.op.is_comparison() && !binary.return_bool && scalars {
        return fault("comparisons between scalars must use BOOL modifier".to_owned());
    }
    let Some(matching) = &binary.matching else {
        return Ok(());
    };
    if !matching.on {
        return Ok(());
    }
    let include: HashSet<_> = matching.include.iter().collect();
    match matching.labels.iter().find(|label| include.contains(label)) {
        Some(label) => fault(format!(
            "label {} must not occur in ON and GROUP clause at once",
            quoted(label)
        )),
        None => Ok(()),
    }
}

/// Both sides are instant vectors.
fn check_set_operator(binary: &mut BinaryExpr, span: Span) -> Result<()> {
    let op = binary.op;
    let Some(matching) = binary.matching.as_mut().filter(|_| op.is_set_operator()) else {
        return Ok(());
    };
    if matching.cardinality != Cardinality::OneToOne {
        let message = format!("no grouping allowed for {:?} operation", op.as_str());
        return Err(Fault::new(span, message));
    }
    matching.cardinality = Cardinality::ManyToMany;
    if matching.fills() {
        let message = "filling in missing series not allowed for set operators";
        return Err(Fault::new(span, message));
    }
    Ok(())
}

/// At least one side is a scalar.
fn check_without_matching(binary: &BinaryExpr, span: Span) -> Result<()> {
    let fault = |message: String| Err(Fault::new(span, message));
    if let Some(matching) = &binary.matching {
        if !matching.labels.is_empty() {
            return fault("vector matching only allowed between instant vectors".to_owned());
        }
        if matching.fills() {
            return fault(
                "filling in missing series only allowed between instant vectors".to_owned(),
            );
        }
    }
    if binary.op.is_set_operator() {
        return fault(format!(
            "set operator {:?} not allowed in binary scalar expression",
            binary.op.as_str()
        ));
    }
    Ok(())
}

fn check_call(call: &mut Call, span: Span) -> Result<()> {
    let function = call.function;
    check_argument_count(call, span)?;
    let mut skip_selector = false;
    if function.name == "info"
        && let Some(selector) = call.args.get(1)
    {
        check_info_selector(selector, span)?;
        skip_selector = true;
    }
    for (index, arg) in call.args.iter_mut().enumerate() {
        let Some(expected) = function.arg_type(index) else {
            break;
        };
        // The second argument of info() may match everything, as it only picks labels.
        if skip_selector && index == 1 {
            continue;
        }
        let place = format!("call to function {:?}", function.name);
        expect_type(arg, expected, &place)?;
    }
    Ok(())
}

fn check_argument_count(call: &Call, span: Span) -> Result<()> {
    let (least, most) = (call.function.min_args(), call.function.max_args());
    let got = call.args.len();
    let expected = if got < least {
        (least, if most == Some(least) { "" } else { "at least " })
    } else if most.is_some_and(|most| got > most) {
        let most = most.unwrap_or(least);
        (most, if most == least { "" } else { "at most " })
    } else {
        return Ok(());
    };
    let (count, word) = expected;
    let message = format!(
        "expected {word}{count} argument(s) in call to {:?}, got {got}",
        call.function.name
    );
    Err(Fault::new(span, message))
}

fn check_info_selector(selector: &Expr, span: Span) -> Result<()> {
    let got = selector.value_type();
    if got != ValueType::InstantVector {
        let message = format!(
            "expected type instant vector in call to function \"info\", got {}",
            got.documented()
        );
        return Err(Fault::new(span, message));
    }
    let message = match &selector.kind {
        ExprKind::VectorSelector(selector) if selector.name.is_none() => return Ok(()),
        ExprKind::VectorSelector(_) => "expected label selectors only, got vector selector instead",
        _ => "expected label selectors only",
    };
    Err(Fault::new(selector.span, message))
}

fn check_selector(selector: &VectorSelector, span: Span) -> Result<()> {
    let Some(name) = &selector.name else {
        if has_non_empty_matcher(&selector.matchers) {
            return Ok(());
        }
        let message = "vector selector must contain at least one non-empty matcher";
        return Err(Fault::new(span, message));
    };
    // The last matcher is the one of the name before the braces.
    let inside = selector
        .matchers
        .split_last()
        .map_or(&[][..], |(_, rest)| rest);
    match inside.iter().find(|matcher| &*matcher.name == METRIC_NAME) {
        Some(matcher) => {
            let message = format!(
                "metric name must not be set twice: {} or {}",
                quoted(name),
                quoted(&matcher.value)
            );
            Err(Fault::new(span, message))
        }
        None => Ok(()),
    }
}

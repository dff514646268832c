//! From an expression to the operators that evaluate it.

use std::sync::Arc;

use narthex_model::Histogram;

use super::aggregate::Grouping;
use super::aggregate::count_values::count_values;
use super::aggregate::fold::{Fold, fold};
use super::aggregate::limit::{limit_k, limit_ratio};
use super::aggregate::rank::{Rank, rank};
use super::binary::scalar::without_names;
use super::column::{Bitmap, Column};
use super::error::QueryError;
use super::functions::absent::{absent, labels_of};
use super::functions::info::{self, InfoSelection};
use super::functions::{histogram, labels, math, native, sort, time};
use super::invariant::{Repeated, is_step_invariant, plain_selector, without_parens};
use super::merge::{Collision, merge_same_labels};
use super::operator::{Changed, Mapped, Ready, Vector, skip_all};
use super::query::Query;
use super::range::extended::Extension;
use super::range::select::{SubqueryRanges, stored_ranges, subquery_steps};
use super::range::table::{Arguments, window_function};
use super::range::{RangeVector, range_call};
use super::scalar::Scalar;
use super::selector::{Give, instant_selector};
use super::smoothed::smoothed_selector;
use super::statistics::Use;
use super::steps::Steps;
use crate::syntax::ast::{
    AggregateExpr, AggregateOp, Call, Expr, ExprKind, Subquery, UnaryOp, ValueType, VectorSelector,
};

/// Evaluates expressions at the same steps.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'q> {
    pub query: &'q Query<'q>,
    pub steps: Steps,
    /// Of what the expression gives.
    pub wanted: Use,
}

type Result<T> = std::result::Result<T, QueryError>;

impl<'q> Evaluator<'q> {
    fn at(self, steps: Steps) -> Self {
        Evaluator { steps, ..self }
    }

    /// An expression that gives an instant vector.
    pub(super) fn vector(self, expr: &'q Expr) -> Result<Vector<'q>> {
        self.query.check_canceled()?;
        // A grid too large for a single series is too large to be walked over, too.
        self.query.budget.check_size(self.steps.count)?;
        if self.steps.count > 1 && is_step_invariant(expr) {
            let once = self.at(self.steps.first()).vector(expr)?;
            return Ok(Repeated::boxed(self.query, self.steps, once));
        }
        self.inside(expr).vector_of(expr)
    }

    /// What evaluates the parts of `expr`.
    pub(super) fn inside(self, expr: &Expr) -> Self {
        Evaluator {
            wanted: self.wanted.inside(expr),
            ..self
        }
    }

    fn vector_of(self, expr: &'q Expr) -> Result<Vector<'q>> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.vector(inner),
            ExprKind::Unary { op, expr } => self.unary(*op, expr),
            ExprKind::Binary(binary) => self.vector_chain(binary, expr),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr),
            ExprKind::Call(call) => self.call(call, expr),
            ExprKind::VectorSelector(selector) if selector.smoothed => {
                self.smoothed(selector, expr)
            }
            ExprKind::VectorSelector(selector) => self.selector(selector, Give::Value),
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::MatrixSelector(_)
            | ExprKind::Subquery(_) => Err(wrong_type(expr)),
        }
    }

    /// An expression that gives a scalar.
    pub(super) fn scalar(self, expr: &'q Expr) -> Result<Scalar> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Scalar::Constant(number.value)),
            ExprKind::Paren(inner) => self.scalar(inner),
            ExprKind::Unary {
                op: UnaryOp::Minus,
                expr,
            } => Ok(self.scalar(expr)?.map(|value| -value)),
            ExprKind::Unary { expr, .. } => self.scalar(expr),
            ExprKind::Binary(binary) => self.scalar_chain(binary, expr),
            ExprKind::Call(call) => self.scalar_call(call, expr),
            _ => Err(wrong_type(expr)),
        }
    }

    /// An expression that gives a range vector.
    pub(super) fn range(self, expr: &'q Expr) -> Result<RangeVector<'q>> {
        let times = &self.query.times;
        match &expr.kind {
            ExprKind::Paren(inner) => self.range(inner),
            ExprKind::MatrixSelector(matrix) => {
                let shift = times.shift(&matrix.selector.time)?;
                let range_ms = times.length_ms(&matrix.range)?;
                let extension = Extension::of(&matrix.selector);
                let (before_ms, after_ms) = extension.reach_ms(self.query.lookback_ms);
                let matchers = &matrix.selector.matchers;
                let reach_ms = (range_ms.saturating_add(before_ms), after_ms);
                Ok(RangeVector {
                    source: stored_ranges(
                        self.query,
                        self.steps,
                        matchers,
                        shift,
                        reach_ms,
                        self.wanted,
                    )?,
                    range_ms,
                    reach_ms: (before_ms, after_ms),
                    shift,
                    span: expr.span,
                })
            }
            ExprKind::Subquery(subquery) => {
                let shift = times.shift(&subquery.time)?;
                let range_ms = times.length_ms(&subquery.range)?;
                let (input, steps) = self.subquery(subquery)?;
                Ok(RangeVector {
                    source: Box::new(SubqueryRanges::new(input, steps)),
                    range_ms,
                    reach_ms: (0, 0),
                    shift,
                    span: expr.span,
                })
            }
            _ => Err(wrong_type(expr)),
        }
    }

    /// A subquery's expression at the steps that its windows hold.
    pub(super) fn subquery(self, subquery: &'q Subquery) -> Result<(Vector<'q>, Steps)> {
        let times = &self.query.times;
        let step_ms = match &subquery.step {
            Some(step) => times.length_ms(step)?,
            None => self.query.default_subquery_step_ms,
        };
        let shift = times.shift(&subquery.time)?;
        let range_ms = times.length_ms(&subquery.range)?;
        let steps = subquery_steps(self.steps, shift, range_ms, step_ms);
        let inside = Evaluator {
            wanted: Use::Buckets,
            ..self.at(steps)
        };
        Ok((inside.vector(&subquery.expr)?, steps))
    }

    fn selector(self, selector: &'q VectorSelector, give: Give) -> Result<Vector<'q>> {
        let shift = self.query.times.shift(&selector.time)?;
        let matchers = &selector.matchers;
        instant_selector(self.query, self.steps, matchers, shift, give, self.wanted)
    }

    fn smoothed(self, selector: &'q VectorSelector, expr: &'q Expr) -> Result<Vector<'q>> {
        let shift = self.query.times.shift(&selector.time)?;
        smoothed_selector(self.query, self.steps, selector, shift, expr.span)
    }

    fn unary(self, op: UnaryOp, expr: &'q Expr) -> Result<Vector<'q>> {
        let input = self.vector(expr)?;
        if op == UnaryOp::Plus {
            return Ok(input);
        }
        let input = without_names(self.query, input);
        let negated = Changed::boxed(input, negate);
        Ok(merge_same_labels(negated, Collision::Merge))
    }

    fn aggregate(self, aggregate: &'q AggregateExpr, expr: &'q Expr) -> Result<Vector<'q>> {
        let (query, steps) = (self.query, self.steps);
        let grouping = Grouping {
            labels: &aggregate.grouping,
            without: aggregate.without,
        };
        let param = || match &aggregate.param {
            Some(param) => Ok((self.scalar(param)?, without_parens(param).span)),
            None => Err(wrong_type(&aggregate.expr)),
        };
        let input = || self.vector(&aggregate.expr);
        let folding = match aggregate.op {
            AggregateOp::Sum => Fold::Sum,
            AggregateOp::Avg => Fold::Avg,
            AggregateOp::Count => Fold::Count,
            AggregateOp::Group => Fold::Group,
            AggregateOp::Min => Fold::Min,
            AggregateOp::Max => Fold::Max,
            AggregateOp::Stddev => Fold::Stddev,
            AggregateOp::Stdvar => Fold::Stdvar,
            AggregateOp::Quantile => {
                let (quantile, span) = param()?;
                let bounds = quantile.bounds();
                let nan = bounds.has_nan.then_some(f64::NAN);
                let high = (bounds.max > 1.0).then_some(bounds.max);
                let low = (bounds.min < 0.0).then_some(bounds.min);
                for wrong in [nan, high, low].into_iter().flatten() {
                    query.annotate(span, |a, span| a.invalid_quantile(wrong, span));
                }
                Fold::Quantile(quantile)
            }
            AggregateOp::TopK => {
                let rank_by = (Rank::Top, expr.span);
                return rank(query, steps, rank_by, &param()?.0, &grouping, input()?);
            }
            AggregateOp::BottomK => {
                let rank_by = (Rank::Bottom, expr.span);
                return rank(query, steps, rank_by, &param()?.0, &grouping, input()?);
            }
            AggregateOp::LimitK => {
                return limit_k(query, steps, param()?.0, &grouping, input()?);
            }
            AggregateOp::LimitRatio => {
                let (ratio, span) = param()?;
                return limit_ratio(query, ratio, input()?, span);
            }
            AggregateOp::CountValues => {
                let label = aggregate.param.as_ref().and_then(text);
                let label = label.ok_or_else(|| wrong_type(&aggregate.expr))?;
                return count_values(query, steps, label, &grouping, input()?);
            }
        };
        let folding = (folding, aggregate.expr.span);
        Ok(fold(query, steps, folding, &grouping, input()?))
    }

    fn scalar_call(self, call: &'q Call, expr: &'q Expr) -> Result<Scalar> {
        let times = &self.query.times;
        let pair = || match &call.args[..] {
            [a, b] => Ok((self.scalar(a)?, self.scalar(b)?)),
            _ => Err(wrong_type(expr)),
        };
        Ok(match call.function.name {
            "time" => Scalar::per_step(self.query, &self.steps, |step| {
                time::seconds(self.steps.time_ms(step))
            })?,
            "pi" => Scalar::Constant(std::f64::consts::PI),
            "start" => Scalar::Constant(time::seconds(times.start_ms)),
            "end" => Scalar::Constant(time::seconds(times.end_ms)),
            "range" => Scalar::Constant(time::seconds(times.range_ms())),
            "step" if times.range_ms() == 0 => Scalar::Constant(0.0),
            "step" => Scalar::Constant(time::seconds(times.step_ms)),
            "max_of" => {
                let (a, b) = pair()?;
                a.combine(b, math::max_of)
            }
            "min_of" => {
                let (a, b) = pair()?;
                a.combine(b, math::min_of)
            }
            "scalar" => {
                let [argument] = &call.args[..] else {
                    return Err(wrong_type(expr));
                };
                self.only_value(argument)?
            }
            _ => return Err(unknown_function(call)),
        })
    }

    /// The value of the only series at each step, NaN where there is none or more than one.
    fn only_value(self, expr: &'q Expr) -> Result<Scalar> {
        let mut input = self.vector(expr)?;
        let mut only = Scalar::per_step(self.query, &self.steps, |_| f64::NAN)?;
        let mut seen = Bitmap::new(self.steps.count);
        for _ in 0..input.series().len() {
            for (step, value) in input.next()?.iter() {
                only.set(step, if seen.get(step) { f64::NAN } else { value });
                seen.set(step);
            }
        }
        Ok(only)
    }

    fn call(self, call: &'q Call, expr: &'q Expr) -> Result<Vector<'q>> {
        let name = call.function.name;
        if call.function.args.contains(&ValueType::RangeVector) {
            return self.range_call(call);
        }
        if let Some(function) = math::function(name) {
            return self.math_call(call, function);
        }
        if let Some(function) = time::function(name) {
            return self.date_call(call, function);
        }
        match name {
            "round" | "clamp" | "clamp_min" | "clamp_max" => self.bounded_call(call),
            "vector" => self
                .scalar_argument(call, 0)?
                .into_vector(self.query, &self.steps),
            "timestamp" => self.timestamp(call),
            "start_timestamp" => self.start_timestamp(call),
            "info" => self.info_call(call),
            "absent" => self.absent(call),
            "label_replace" | "label_join" => self.label_call(call),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.sort_call(call, expr)
            }
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                self.histogram_call(call)
            }
            _ => match native::function(name) {
                Some(function) => {
                    let input = self.vector(argument(call, 0)?)?;
                    Ok(native::of_histograms(self.query, input, function))
                }
                None => Err(unknown_function(call)),
            },
        }
    }

    fn math_call(self, call: &'q Call, function: fn(f64) -> f64) -> Result<Vector<'q>> {
        let input = self.unnamed(call, 0)?;
        let mapped = Mapped::boxed(input, move |_, value| Some(function(value)));
        Ok(merge_same_labels(mapped, Collision::Merge))
    }

    fn absent(self, call: &'q Call) -> Result<Vector<'q>> {
        let argument = argument(call, 0)?;
        let labels = labels_of(without_parens(argument));
        absent(self.query, self.steps, self.vector(argument)?, labels)
    }

    /// The vector argument without metric names.
    fn unnamed(self, call: &'q Call, index: usize) -> Result<Vector<'q>> {
        let input = self.vector(argument(call, index)?)?;
        Ok(without_names(self.query, input))
    }

    fn scalar_argument(self, call: &'q Call, index: usize) -> Result<Scalar> {
        self.scalar(argument(call, index)?)
    }

    fn range_call(self, call: &'q Call) -> Result<Vector<'q>> {
        let name = call.function.name;
        let mut scalars = Vec::new();
        let mut range = None;
        for argument in &call.args {
            let argument = without_parens(argument);
            if argument.value_type() == ValueType::RangeVector {
                range = Some(argument);
            } else {
                scalars.push((Arc::new(self.scalar(argument)?), argument.span));
            }
        }
        let range_expr = range.ok_or_else(|| unknown_function(call))?;
        let extension = match &range_expr.kind {
            ExprKind::MatrixSelector(matrix) => Extension::of(&matrix.selector),
            _ => Extension::None,
        };
        extension.check_function(name)?;
        let input = self.range(range_expr)?;
        let arguments = Arguments {
            scalars,
            range_ms: input.range_ms,
            extension,
            range_span: input.span,
        };
        let query = self.query;
        let make = Box::new(move || window_function(query, name, arguments.clone()));
        let keeps_name = matches!(name, "last_over_time" | "first_over_time");
        let delayed = self.query.delayed_name_removal;
        let infos = input.source.series().iter().map(|info| {
            if keeps_name && !info.drop_name {
                info.clone()
            } else {
                info.without_name(delayed)
            }
        });
        let infos = infos.collect();
        let notes_span = without_parens(argument(call, 0)?).span;
        let result = range_call(query, self.steps, input, infos, make, notes_span)?;
        let result = result.ok_or_else(|| unknown_function(call))?;
        if name == "absent_over_time" {
            let labels = labels_of(range_expr);
            return absent(self.query, self.steps, result, labels);
        }
        Ok(if delayed {
            result
        } else {
            merge_same_labels(result, Collision::Refuse)
        })
    }

    fn date_call(self, call: &'q Call, function: fn(f64) -> f64) -> Result<Vector<'q>> {
        if call.args.is_empty() {
            let (query, steps) = (self.query, self.steps);
            let dates = Scalar::per_step(query, &steps, |step| {
                let time_ms = steps.time_ms(step);
                function(time::seconds(time_ms))
            })?;
            return dates.into_vector(query, &steps);
        }
        let input = self.unnamed(call, 0)?;
        let mapped = Mapped::boxed(input, move |_, value| Some(function(value)));
        Ok(merge_same_labels(mapped, Collision::Merge))
    }

    fn bounded_call(self, call: &'q Call) -> Result<Vector<'q>> {
        let input = self.unnamed(call, 0)?;
        let mapped = match call.function.name {
            "round" => {
                let to_nearest = match call.args.len() {
                    1 => Scalar::Constant(1.0),
                    _ => self.scalar_argument(call, 1)?,
                };
                Mapped::boxed(input, move |step, value| {
                    Some(math::round(value, to_nearest.at(step)))
                })
            }
            "clamp_min" => {
                let min = self.scalar_argument(call, 1)?;
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, min.at(step), f64::INFINITY)
                })
            }
            "clamp_max" => {
                let max = self.scalar_argument(call, 1)?;
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, f64::NEG_INFINITY, max.at(step))
                })
            }
            _ => {
                let min = self.scalar_argument(call, 1)?;
                let max = self.scalar_argument(call, 2)?;
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, min.at(step), max.at(step))
                })
            }
        };
        Ok(merge_same_labels(mapped, Collision::Merge))
    }

    /// The time of the sample for a plain selector, else that of the step.
    fn timestamp(self, call: &'q Call) -> Result<Vector<'q>> {
        let argument = argument(call, 0)?;
        let steps = self.steps;
        let times = match plain_selector(argument) {
            Some(selector) => self.selector(selector, Give::Timestamp)?,
            None => {
                let input = self.vector(argument)?;
                Changed::boxed(input, move |column: &mut Column| {
                    for (step, _) in column.take_histograms() {
                        column.set(step, 0.0);
                    }
                    column.map(|step, _| Some(time::seconds(steps.time_ms(step))));
                    Ok(())
                })
            }
        };
        let unnamed = without_names(self.query, times);
        Ok(merge_same_labels(unnamed, Collision::Merge))
    }

    /// When the sample of a plain selector started; nothing for other expressions, whose samples
    /// are of no store.
    fn start_timestamp(self, call: &'q Call) -> Result<Vector<'q>> {
        let argument = argument(call, 0)?;
        let selector = plain_selector(argument).filter(|_| self.query.use_start_timestamps);
        let Some(selector) = selector else {
            skip_all(&mut self.vector(argument)?)?;
            return Ok(Ready::boxed(Vec::new()));
        };
        let starts = self.selector(selector, Give::StartTimestamp)?;
        let unnamed = without_names(self.query, starts);
        Ok(merge_same_labels(unnamed, Collision::Merge))
    }

    fn info_call(self, call: &'q Call) -> Result<Vector<'q>> {
        let base = argument(call, 0)?;
        let matchers = match call.args.get(1).map(|argument| &argument.kind) {
            Some(ExprKind::VectorSelector(selector)) => &selector.matchers[..],
            _ => &[],
        };
        let shift = info::info_shift(self.query, base)?;
        let selection = InfoSelection::new(matchers);
        info::info(
            self.query,
            self.steps,
            self.vector(base)?,
            &selection,
            shift,
        )
    }

    fn label_call(self, call: &'q Call) -> Result<Vector<'q>> {
        let [_, texts @ ..] = &call.args[..] else {
            return Err(unknown_function(call));
        };
        let texts: Vec<&str> = texts.iter().filter_map(text).collect();
        let input = || self.vector(argument(call, 0)?);
        match (call.function.name, &texts[..]) {
            ("label_replace", [destination, replacement, source, pattern]) => {
                labels::label_replace(input()?, destination, replacement, source, pattern)
            }
            ("label_join", [destination, separator, sources @ ..]) => {
                labels::label_join(input()?, destination, separator, sources)
            }
            _ => Err(unknown_function(call)),
        }
    }

    fn sort_call(self, call: &'q Call, expr: &'q Expr) -> Result<Vector<'q>> {
        let input = self.vector(argument(call, 0)?)?;
        if !self.steps.instant {
            self.query.annotate(expr.span, |annotations, span| {
                annotations.sort_in_range_query(span);
            });
            return Ok(input);
        }
        let names: Vec<&str> = call.args.iter().skip(1).filter_map(text).collect();
        match call.function.name {
            "sort" => sort::by_value(input, false),
            "sort_desc" => sort::by_value(input, true),
            "sort_by_label" => sort::by_label(input, &names, false),
            _ => sort::by_label(input, &names, true),
        }
    }

    fn histogram_call(self, call: &'q Call) -> Result<Vector<'q>> {
        use histogram::{Question, ask, quantiles, warn_about_quantiles};
        let (query, steps) = (self.query, self.steps);
        let span = |index| argument(call, index).map(|arg| without_parens(arg).span);
        match call.function.name {
            "histogram_fraction" => {
                let (lower, upper) = (
                    self.scalar_argument(call, 0)?,
                    self.scalar_argument(call, 1)?,
                );
                let input = self.vector(argument(call, 2)?)?;
                let question = Question::Fraction { lower, upper };
                Ok(ask(query, steps, input, question, span(2)?))
            }
            "histogram_quantile" => {
                let quantile = self.scalar_argument(call, 0)?;
                warn_about_quantiles(query, &quantile, &steps, span(0)?);
                let input = self.vector(argument(call, 1)?)?;
                let question = Question::Quantile(quantile.into());
                Ok(ask(query, steps, input, question, span(1)?))
            }
            _ => {
                let label = call.args.get(1).and_then(text);
                let label = label.ok_or_else(|| unknown_function(call))?;
                let mut wanted = Vec::new();
                for index in 2..call.args.len() {
                    let quantile = self.scalar_argument(call, index)?;
                    warn_about_quantiles(query, &quantile, &steps, span(index)?);
                    wanted.push(quantile);
                }
                let input = self.vector(argument(call, 0)?)?;
                Ok(quantiles(query, steps, input, label, wanted, span(0)?))
            }
        }
    }
}

fn negate(column: &mut Column) -> Result<()> {
    column.map(|_, value| Some(-value));
    for (step, histogram) in column.take_histograms() {
        let mut negated = Histogram::clone(&histogram);
        negated.scale(-1.0);
        column.set_histogram(step, Arc::new(negated))?;
    }
    Ok(())
}

fn argument(call: &Call, index: usize) -> Result<&Expr> {
    call.args.get(index).ok_or_else(|| unknown_function(call))
}

/// The value of a string literal.
pub(super) fn text(expr: &Expr) -> Option<&str> {
    match &without_parens(expr).kind {
        ExprKind::String(text) => Some(text),
        _ => None,
    }
}

/// The parser checks types, so this is met only if a tree was built by hand.
pub(super) fn wrong_type(expr: &Expr) -> QueryError {
    QueryError::execution(format!(
        "unexpected {} in the expression",
        expr.value_type().documented()
    ))
}

fn unknown_function(call: &Call) -> QueryError {
    QueryError::not_supported(format!(
        "the function {}() with these arguments",
        call.function.name
    ))
}

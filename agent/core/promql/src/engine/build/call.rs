//! Function calls, by their functions. Arguments are inputs in their order.

use std::sync::Arc;

use super::{Built, Part, Result, literal, text};
use crate::engine::binary::scalar::without_names;
use crate::engine::column::{Bitmap, Column};
use crate::engine::error::QueryError;
use crate::engine::functions::absent::{absent, labels_of};
use crate::engine::functions::info::{self, InfoSelection};
use crate::engine::functions::{histogram, labels, math, native, sort, time};
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Changed, Mapped, Ready, Vector, skip_all};
use crate::engine::plan::{Operation, of_call};
use crate::engine::range::extended::Extension;
use crate::engine::range::range_call;
use crate::engine::range::table::{Arguments, window_function};
use crate::engine::scalar::Scalar;
use crate::engine::selector::Give;
use crate::syntax::ast::{Call, Expr, StringLiteral, ValueType};

impl<'q> Part<'q, '_> {
    pub(super) fn call(self, call: &'q Call) -> Result<Built<'q>> {
        if call.function.returns == ValueType::Scalar {
            self.scalar_call(call).map(Built::Scalar)
        } else {
            self.vector_call(call).map(Built::Vector)
        }
    }

    fn scalar_call(mut self, call: &'q Call) -> Result<Scalar> {
        if let Some(value) = of_call(call.function.name, &[], &self.query.times) {
            return Ok(Scalar::Constant(value));
        }
        let steps = self.steps;
        Ok(match call.function.name {
            "time" => Scalar::per_step(self.query, &steps, |step| {
                time::seconds(steps.time_ms(step))
            })?,
            "max_of" => {
                let a = self.scalar()?;
                a.combine(self.scalar()?, math::max_of)
            }
            "min_of" => {
                let a = self.scalar()?;
                a.combine(self.scalar()?, math::min_of)
            }
            "scalar" => self.only_value()?,
            _ => return Err(unknown_function(call)),
        })
    }

    /// The value of the only series at each step, NaN where there is none or more than one.
    fn only_value(&mut self) -> Result<Scalar> {
        let mut input = self.vector()?;
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

    fn vector_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        let name = call.function.name;
        if call.function.args.contains(&ValueType::RangeVector) {
            return self.range_call(call);
        }
        if let Some(function) = math::function(name) {
            return self.mapped(move |_, value| Some(function(value)));
        }
        if let Some(function) = time::function(name) {
            return self.date_call(call, function);
        }
        match name {
            "round" | "clamp" | "clamp_min" | "clamp_max" => self.bounded_call(call),
            "vector" => self.scalar()?.into_vector(self.query, &self.steps),
            "timestamp" => self.timestamp(),
            "start_timestamp" => self.start_timestamp(),
            "info" => self.info_call(call),
            "absent" => {
                let labels = labels_of(argument(call, 0)?);
                absent(self.query, self.steps, self.vector()?, labels)
            }
            "label_replace" | "label_join" => self.label_call(call),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort_call(call),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                self.histogram_call(call)
            }
            _ => match native::function(name) {
                Some(function) => {
                    let input = self.vector()?;
                    Ok(native::of_histograms(self.query, input, function))
                }
                None => Err(unknown_function(call)),
            },
        }
    }

    /// The next input without metric names.
    fn unnamed(&mut self) -> Result<Vector<'q>> {
        let input = self.vector()?;
        Ok(without_names(self.query, input))
    }

    /// A function of each float of the next input.
    fn mapped(&mut self, f: impl FnMut(usize, f64) -> Option<f64> + 'q) -> Result<Vector<'q>> {
        let mapped = Mapped::boxed(self.unnamed()?, f);
        Ok(merge_same_labels(mapped, Collision::Merge))
    }

    fn range_call(self, call: &'q Call) -> Result<Vector<'q>> {
        let name = call.function.name;
        let mut scalars = Vec::new();
        let mut range = None;
        let mut index = 0;
        while let Some(input) = self.inputs.next() {
            match input {
                Built::Scalar(scalar) => {
                    scalars.push((Arc::new(scalar), self.span_of_input(index)));
                }
                Built::Range(input) => range = Some((input, index)),
                Built::Vector(_) | Built::Nothing => return Err(unknown_function(call)),
            }
            index += 1;
        }
        let (input, at) = range.ok_or_else(|| unknown_function(call))?;
        let extension = match self.input(at).map(|node| node.operation) {
            Some(Operation::Range(selector, ..)) => Extension::of(selector),
            _ => Extension::None,
        };
        extension.check_function(name)?;
        let arguments = Arguments {
            scalars,
            range_ms: input.range_ms,
            extension,
            range_span: input.span,
        };
        let query = self.query;
        let make = Box::new(move || window_function(query, name, arguments.clone()));
        let keeps_name = matches!(name, "last_over_time" | "first_over_time");
        let delayed = query.delayed_name_removal;
        let infos = input.source.series().iter().map(|info| {
            if keeps_name && !info.drop_name {
                info.clone()
            } else {
                info.without_name(delayed)
            }
        });
        let infos = infos.collect();
        let result = range_call(query, self.steps, input, infos, make, self.span_of_input(0))?;
        let result = result.ok_or_else(|| unknown_function(call))?;
        if name == "absent_over_time" {
            let labels = labels_of(argument(call, at)?);
            return absent(query, self.steps, result, labels);
        }
        Ok(if delayed {
            result
        } else {
            merge_same_labels(result, Collision::Refuse)
        })
    }

    fn date_call(mut self, call: &'q Call, function: fn(f64) -> f64) -> Result<Vector<'q>> {
        if call.args.is_empty() {
            let (query, steps) = (self.query, self.steps);
            let dates = Scalar::per_step(query, &steps, |step| {
                let time_ms = steps.time_ms(step);
                function(time::seconds(time_ms))
            })?;
            return dates.into_vector(query, &steps);
        }
        self.mapped(move |_, value| Some(function(value)))
    }

    fn bounded_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        let input = self.unnamed()?;
        let mapped = match call.function.name {
            "round" => {
                let to_nearest = match call.args.len() {
                    1 => Scalar::Constant(1.0),
                    _ => self.scalar()?,
                };
                Mapped::boxed(input, move |step, value| {
                    Some(math::round(value, to_nearest.at(step)))
                })
            }
            "clamp_min" => {
                let min = self.scalar()?;
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, min.at(step), f64::INFINITY)
                })
            }
            "clamp_max" => {
                let max = self.scalar()?;
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, f64::NEG_INFINITY, max.at(step))
                })
            }
            _ => {
                let (min, max) = (self.scalar()?, self.scalar()?);
                Mapped::boxed(input, move |step, value| {
                    math::clamp(value, min.at(step), max.at(step))
                })
            }
        };
        Ok(merge_same_labels(mapped, Collision::Merge))
    }

    /// What the plan has a selector give as the argument; None: the argument is no plain selector.
    fn given(&self) -> Option<Give> {
        match self.input(0)?.operation {
            Operation::Selector(_, _, give) => Some(give),
            _ => None,
        }
    }

    /// The time of the sample for a plain selector, else that of the step.
    fn timestamp(mut self) -> Result<Vector<'q>> {
        let steps = self.steps;
        let input = self.vector()?;
        let times = match self.given() {
            Some(_) => input,
            None => Changed::boxed(input, move |column: &mut Column| {
                for (step, _) in column.take_histograms() {
                    column.set(step, 0.0);
                }
                column.map(|step, _| Some(time::seconds(steps.time_ms(step))));
                Ok(())
            }),
        };
        let unnamed = without_names(self.query, times);
        Ok(merge_same_labels(unnamed, Collision::Merge))
    }

    /// When the sample of a plain selector started; nothing for other expressions, whose samples
    /// are of no store.
    fn start_timestamp(mut self) -> Result<Vector<'q>> {
        let mut input = self.vector()?;
        if self.given().is_none() || !self.query.use_start_timestamps {
            skip_all(&mut input)?;
            return Ok(Ready::boxed(Vec::new()));
        }
        let unnamed = without_names(self.query, input);
        Ok(merge_same_labels(unnamed, Collision::Merge))
    }

    fn info_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        let matchers = match self.input(1).map(|node| node.operation) {
            Some(Operation::LabelSelector(selector, _)) => &selector.matchers[..],
            _ => &[],
        };
        let shift = info::info_shift(self.query, argument(call, 0)?)?;
        let selection = InfoSelection::new(matchers);
        info::info(self.query, self.steps, self.vector()?, &selection, shift)
    }

    fn label_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        let input = self.vector()?;
        let texts: Vec<&StringLiteral> = call.args.iter().skip(1).filter_map(literal).collect();
        match (call.function.name, &texts[..]) {
            ("label_replace", [destination, replacement, source, pattern]) => {
                labels::label_replace(self.query, input, destination, replacement, source, pattern)
            }
            ("label_join", [destination, separator, sources @ ..]) => {
                labels::label_join(self.query, input, destination, separator, sources)
            }
            _ => Err(unknown_function(call)),
        }
    }

    fn sort_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        let input = self.vector()?;
        if !self.steps.instant {
            self.query
                .annotate(self.node.expr.span, |annotations, span| {
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

    fn histogram_call(mut self, call: &'q Call) -> Result<Vector<'q>> {
        use histogram::{Question, ask, quantiles, warn_about_quantiles};
        let (query, steps) = (self.query, self.steps);
        match call.function.name {
            "histogram_fraction" => {
                let (lower, upper) = (self.scalar()?, self.scalar()?);
                let question = Question::Fraction { lower, upper };
                let (input, span) = (self.vector()?, self.span_of_input(2));
                Ok(ask(query, steps, input, question, span))
            }
            "histogram_quantile" => {
                let quantile = self.scalar()?;
                warn_about_quantiles(query, &quantile, &steps, self.span_of_input(0));
                let question = Question::Quantile(quantile.into());
                let (input, span) = (self.vector()?, self.span_of_input(1));
                Ok(ask(query, steps, input, question, span))
            }
            _ => {
                let label = call.args.get(1).and_then(text);
                let label = label.ok_or_else(|| unknown_function(call))?;
                let input = self.vector()?;
                // The label is no input that has become anything.
                self.inputs.next();
                let mut wanted = Vec::new();
                for index in 2..call.args.len() {
                    let quantile = self.scalar()?;
                    warn_about_quantiles(query, &quantile, &steps, self.span_of_input(index));
                    wanted.push(quantile);
                }
                Ok(quantiles(
                    query,
                    steps,
                    input,
                    label,
                    wanted,
                    self.span_of_input(0),
                ))
            }
        }
    }
}

/// Without parentheses.
fn argument(call: &Call, index: usize) -> Result<&Expr> {
    let argument = call.args.get(index).map(Expr::without_parens);
    argument.ok_or_else(|| unknown_function(call))
}

fn unknown_function(call: &Call) -> QueryError {
    QueryError::not_supported(format!(
        "the function {}() with these arguments",
        call.function.name
    ))
}

//! Functions of histograms: of classic ones, which are series that differ in nothing but the label
//! `le`, and of native ones.
//!
//! A series may be a bucket at one step and a native histogram at another.

use std::sync::Arc;

use narthex_model::number::{format_general, parse_float};
use narthex_model::{Histogram, Labels, METRIC_NAME};

use super::native;
use crate::engine::annotations::{Annotations, Monotonicity};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, FanIn, merge_same_labels};
use crate::engine::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use crate::engine::quantile::{Bucket, Correction, bucket_fraction, bucket_quantile};
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::engine::steps::Steps;
use crate::syntax::ast::Span;

const BUCKET_LABEL: &str = "le";

/// What is asked of each histogram.
pub(in crate::engine) enum Question {
    Quantile(Arc<Scalar>),
    Fraction { lower: Scalar, upper: Scalar },
}

/// `histogram_quantile` and `histogram_fraction`. `span` is where the histograms stand.
pub(in crate::engine) fn ask<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
    question: Question,
    span: Span,
) -> Vector<'q> {
    let output = Output {
        question,
        label: None,
    };
    histograms(query, steps, input, vec![output], span)
}

/// `histogram_quantiles`: each quantile becomes a series with a label that says which one it is.
pub(in crate::engine) fn quantiles<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
    label: &str,
    quantiles: Vec<Scalar>,
    span: Span,
) -> Vector<'q> {
    let mut outputs = Vec::new();
    for quantile in quantiles.into_iter().map(Arc::new) {
        // The label depends on the value, so each value there is becomes an output of its own.
        for value in distinct(&quantile, &steps) {
            outputs.push(Output {
                question: Question::Quantile(quantile.clone()),
                label: Some(QuantileLabel {
                    name: label.to_owned(),
                    value,
                }),
            });
        }
    }
    histograms(query, steps, input, outputs, span)
}

pub(in crate::engine) fn warn_about_quantiles(
    query: &Query<'_>,
    quantile: &Scalar,
    steps: &Steps,
    span: Span,
) {
    for value in distinct(quantile, steps) {
        if !(0.0..=1.0).contains(&value) {
            query.annotate(span, |annotations, span| {
                annotations.invalid_quantile(value, span);
            });
        }
    }
}

fn distinct(scalar: &Scalar, steps: &Steps) -> Vec<f64> {
    if let Scalar::Constant(value) = scalar {
        return vec![*value];
    }
    let mut values: Vec<f64> = Vec::new();
    for step in 0..steps.count {
        let value = scalar.at(step);
        if !values.iter().any(|known| same(*known, value)) {
            values.push(value);
        }
    }
    values
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

struct Output {
    question: Question,
    label: Option<QuantileLabel>,
}

struct QuantileLabel {
    name: String,
    value: f64,
}

impl Output {
    /// Whether the label, if there is one, stands for this quantile.
    fn is_of(&self, quantile: f64) -> bool {
        let label = self.label.as_ref();
        label.is_none_or(|label| same(label.value, quantile))
    }
}

fn histograms<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
    outputs: Vec<Output>,
    span: Span,
) -> Vector<'q> {
    let fan_in = FanIn::by_key(input.series().iter().map(|info| key(&info.labels)));
    let bounds = input.series().iter().map(|info| bound(&info.labels));
    let bounds: Vec<Option<f64>> = bounds.collect();
    let delayed = query.delayed_name_removal;
    let infos = fan_in.first_input_of.iter().flat_map(|first| {
        let info = input.series().get(*first);
        let labels = info.map_or_else(Labels::empty, |info| key(&info.labels));
        let named = SeriesInfo::new(labels).without_name(delayed);
        outputs.iter().map(move |output| labelled(&named, output))
    });
    let series = infos.collect();
    let operator = Histograms {
        groups: (0..fan_in.outputs()).map(|_| Group::default()).collect(),
        query,
        steps,
        input,
        outputs,
        span,
        fan_in,
        bounds,
        series,
        next_input: 0,
        next_output: 0,
        current: Group::default(),
        scratch: Vec::new(),
    };
    merge_same_labels(Box::new(operator), Collision::Merge)
}

/// Series without a usable bound are no buckets; where they have native histograms, those share
/// their labels with the classic histogram of the same name.
fn key(labels: &Labels) -> Labels {
    match bound(labels) {
        Some(_) => labels.without(BUCKET_LABEL),
        None => labels.clone(),
    }
}

fn bound(labels: &Labels) -> Option<f64> {
    parse_float(labels.value_or_empty(BUCKET_LABEL))
}

fn labelled(info: &SeriesInfo, output: &Output) -> SeriesInfo {
    let Some(label) = &output.label else {
        return info.clone();
    };
    SeriesInfo {
        labels: info
            .labels
            .with(label.name.as_str(), quantile_text(label.value)),
        drop_name: info.drop_name,
    }
}

/// As OpenMetrics writes floats: never like an integer.
fn quantile_text(value: f64) -> String {
    let text = format_general(value);
    if value.is_finite() && !text.contains(['.', 'e']) {
        return format!("{text}.0");
    }
    text
}

struct Histograms<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
    outputs: Vec<Output>,
    span: Span,
    fan_in: FanIn,
    bounds: Vec<Option<f64>>,
    series: Vec<SeriesInfo>,
    /// What each unfinished group has so far.
    groups: Vec<Group>,
    next_input: usize,
    next_output: usize,
    /// The group whose outputs are being given, its buckets sorted by bound.
    current: Group,
    scratch: Vec<Bucket>,
}

/// The histograms of the same labels.
#[derive(Default)]
struct Group {
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
}

impl VectorOperator for Histograms<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let per_group = self.outputs.len().max(1);
        let (group, output) = (self.next_output / per_group, self.next_output % per_group);
        self.next_output += 1;
        if output == 0 {
            self.load(group)?;
        }
        self.answer(output)
    }
}

impl Histograms<'_> {
    fn load(&mut self, group: usize) -> Result<(), QueryError> {
        let last = *self.fan_in.last_input_of.get(group).ok_or_else(exhausted)?;
        while self.next_input <= last {
            self.take_input()?;
        }
        let group = self.groups.get_mut(group).ok_or_else(exhausted)?;
        self.current = std::mem::take(group);
        self.current.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(())
    }

    fn take_input(&mut self) -> Result<(), QueryError> {
        let index = self.next_input;
        self.next_input += 1;
        let column = self.input.next()?;
        if column.is_empty() {
            return Ok(());
        }
        let bound = self.bounds.get(index).copied().flatten();
        if bound.is_none() && !column.floats().is_empty() {
            self.warn_about_bucket(index);
        }
        let group = self.fan_in.output_of.get(index);
        let group = group.and_then(|group| self.groups.get_mut(*group));
        let group = group.ok_or_else(exhausted)?;
        match bound {
            // Its histograms would have other labels than its buckets.
            Some(_) if column.has_histograms() => {
                return Err(QueryError::not_supported(
                    "quantiles of native histograms in a series with the label le",
                ));
            }
            Some(bound) => group.buckets.push((bound, column)),
            None => group.native = Some(column),
        }
        Ok(())
    }

    fn warn_about_bucket(&self, index: usize) {
        let Some(info) = self.input.series().get(index) else {
            return;
        };
        let name = self.shown_name(&info.labels);
        let value = info.labels.value_or_empty(BUCKET_LABEL);
        self.query.annotate(self.span, |annotations, span| {
            annotations.bad_bucket_label(name, value, span);
        });
    }

    /// Names are told only where they are certain to be there still.
    fn shown_name<'a>(&self, labels: &'a Labels) -> &'a str {
        if self.query.delayed_name_removal {
            labels.value_or_empty(METRIC_NAME)
        } else {
            ""
        }
    }

    fn answer(&mut self, output: usize) -> Result<Column, QueryError> {
        let mut column = self.query.column(&self.steps)?;
        let wanted = self.outputs.get(output).ok_or_else(exhausted)?;
        let mut buckets = std::mem::take(&mut self.scratch);
        for step in 0..self.steps.count {
            self.buckets_at(step, &mut buckets);
            let native = self.current.native.as_ref();
            let native = native.and_then(|column| column.histogram(step));
            let answer = match native {
                None if buckets.is_empty() => None,
                None => self.answer_at(step, wanted, &mut buckets),
                Some(native) if buckets.is_empty() => self.answer_native_at(step, wanted, native),
                Some(_) => {
                    self.tell(|annotations, name, span| {
                        annotations.mixed_classic_and_native(name, span);
                    });
                    None
                }
            };
            if let Some(value) = answer {
                column.set(step, value);
            }
        }
        self.scratch = buckets;
        Ok(column)
    }

    fn buckets_at(&self, step: usize, buckets: &mut Vec<Bucket>) {
        buckets.clear();
        let here = self.current.buckets.iter().filter_map(|(bound, column)| {
            Some(Bucket {
                upper_bound: *bound,
                count: column.get(step)?,
            })
        });
        buckets.extend(here);
    }

    /// None: at this step the label of the output stands for another quantile.
    fn answer_at(&self, step: usize, wanted: &Output, buckets: &mut Vec<Bucket>) -> Option<f64> {
        let quantile = match &wanted.question {
            Question::Fraction { lower, upper } => {
                return Some(bucket_fraction(lower.at(step), upper.at(step), buckets));
            }
            Question::Quantile(quantile) => quantile.at(step),
        };
        if !wanted.is_of(quantile) {
            return None;
        }
        let (value, correction) = bucket_quantile(quantile, buckets);
        if let Some(correction) = correction {
            self.tell_correction(step, correction);
        }
        Some(value)
    }

    /// None as in `answer_at`.
    fn answer_native_at(&self, step: usize, wanted: &Output, histogram: &Histogram) -> Option<f64> {
        let (value, effect) = match &wanted.question {
            Question::Fraction { lower, upper } => {
                native::fraction(lower.at(step), upper.at(step), histogram)
            }
            Question::Quantile(quantile) => {
                let quantile = quantile.at(step);
                if !wanted.is_of(quantile) {
                    return None;
                }
                native::quantile(quantile, histogram)
            }
        };
        if let Some(effect) = effect {
            self.tell(|annotations, name, span| annotations.nan_observations(effect, name, span));
        }
        Some(value)
    }

    /// Says something of the histogram whose outputs are being given.
    fn tell(&self, add: impl FnOnce(&mut Annotations, &str, Span)) {
        let info = self.series.get(self.next_output - 1);
        let name = info.map_or("", |info| self.shown_name(&info.labels));
        self.query
            .annotate(self.span, |annotations, span| add(annotations, name, span));
    }

    fn tell_correction(&self, step: usize, correction: Correction) {
        let time_ms = self.steps.time_ms(step);
        let found = Monotonicity {
            first_ms: time_ms,
            last_ms: time_ms,
            lowest_bucket: correction.lowest_bucket,
            highest_bucket: correction.highest_bucket,
            max_difference: correction.max_difference,
            samples: 1,
        };
        self.tell(|annotations, name, span| annotations.forced_monotonicity(name, found, span));
    }
}

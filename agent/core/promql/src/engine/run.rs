//! Runs one query and brings its result into the form that callers get.

use std::sync::Arc;

use narthex_model::{Histogram, Labels, SampleValue};

use super::budget::Charge;
use super::build::{Builder, Queries, text};
use super::column::Column;
use super::error::QueryError;
use super::explain::EvaluationTimes;
use super::merge::{Collision, merge_same_labels};
use super::meter::Meter;
use super::operator::{Relabeled, SeriesInfo, Vector, drop_name, exhausted};
use super::output::{MatrixSeries, QueryOutput, QueryValue, VectorSample};
use super::plan::{Node, Operation, Plan};
use super::query::Query;
use super::range::extended::{Extension, with_borders};
use super::range::{RangeVector, Samples, sizes};
use super::steps::Steps;
use crate::syntax::ast::ValueType;

/// The result together with what was said and counted on the way.
pub(super) fn run(
    query: &Query<'_>,
    plan: &Plan<'_>,
    times: EvaluationTimes,
    text: &str,
    meter: Option<&Meter<'_>>,
) -> Result<QueryOutput, QueryError> {
    let queries = Queries::new(query, plan);
    let result = Run {
        query,
        plan,
        builder: Builder::new(plan, &queries, meter),
    };
    let value = match times {
        EvaluationTimes::Instant(time_ms) => result.at(time_ms)?,
        EvaluationTimes::Range(_) => result.matrix().map(QueryValue::Matrix)?,
    };
    query.check_canceled()?;
    queries.gather_annotations(plan);
    let (warnings, infos) = query.take_annotations().into_texts(text);
    Ok(QueryOutput {
        value,
        warnings,
        infos,
        stats: query.stats(),
        queryable_per_step: query.tally.per_step(),
    })
}

/// A plan whose result is to be brought into its form.
struct Run<'q> {
    query: &'q Query<'q>,
    plan: &'q Plan<'q>,
    builder: Builder<'q>,
}

impl<'q> Run<'q> {
    fn root(&self) -> Result<&'q Node<'q>, QueryError> {
        self.plan.nodes.get(self.plan.root).ok_or_else(exhausted)
    }

    /// The value at the only step.
    fn at(&self, timestamp_ms: i64) -> Result<QueryValue, QueryError> {
        let root = self.root()?;
        match root.gives {
            ValueType::Scalar => Ok(QueryValue::Scalar {
                timestamp_ms,
                value: self.builder.scalar(self.plan.root)?.at(0),
            }),
            ValueType::String => Ok(QueryValue::String {
                timestamp_ms,
                value: text(root.expr).unwrap_or_default().to_owned(),
            }),
            ValueType::InstantVector => {
                let vector = self.builder.vector(self.plan.root)?;
                let samples = vector_samples(self.query, vector, timestamp_ms)?;
                Ok(QueryValue::Vector(samples))
            }
            ValueType::RangeVector => self.range_vector(root).map(QueryValue::Matrix),
        }
    }

    /// The values at every step.
    fn matrix(&self) -> Result<Vec<MatrixSeries>, QueryError> {
        let root = self.root()?;
        let vector = match root.gives {
            ValueType::Scalar => {
                let scalar = self.builder.scalar(self.plan.root)?;
                scalar.into_vector(self.query, &root.steps)?
            }
            ValueType::InstantVector => self.builder.vector(self.plan.root)?,
            other => {
                return Err(QueryError::execution(format!(
                    "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    other.documented()
                )));
            }
        };
        matrix(self.query, vector, root.result_steps())
    }

    /// A range vector as the whole result: the samples with their own times.
    fn range_vector(&self, root: &Node<'_>) -> Result<Vec<MatrixSeries>, QueryError> {
        let extension = match (root.operation, &root.inputs[..]) {
            (Operation::Subquery(..), [inside]) => {
                let vector = self.builder.vector(*inside)?;
                let inside = self.plan.nodes.get(*inside).ok_or_else(exhausted)?;
                return matrix(self.query, vector, inside.result_steps());
            }
            (Operation::Range(selector, ..), _) => Extension::of(selector),
            _ => Extension::None,
        };
        let range = self.builder.range(self.plan.root)?;
        samples(self.query, range, root.steps, extension)
    }
}

fn vector_samples(
    query: &Query<'_>,
    vector: Vector<'_>,
    timestamp_ms: i64,
) -> Result<Vec<VectorSample>, QueryError> {
    let mut vector = cleaned(query, vector);
    let mut samples = Vec::new();
    let mut charge = query.charge(0)?;
    for index in 0..vector.series().len() {
        let column = vector.next()?;
        if let (Some(value), Some(info)) = (column.value(0), vector.series().get(index)) {
            let value = value.owned();
            charge.grow(size(&value))?;
            samples.push(VectorSample {
                labels: info.labels.clone(),
                timestamp_ms,
                value,
            });
        }
        vector.reuse(column);
    }
    Ok(samples)
}

fn matrix(
    query: &Query<'_>,
    vector: Vector<'_>,
    steps: Steps,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let mut vector = cleaned(query, vector);
    let mut series = Vec::new();
    let mut held = query.charge(0)?;
    for index in 0..vector.series().len() {
        let mut column: Column = vector.next()?;
        let points: Vec<(i64, f64)> = column
            .iter()
            .map(|(step, value)| (steps.time_ms(step), value))
            .collect();
        let histograms = column.take_histograms().into_iter();
        let histograms: Histograms = histograms
            .map(|(step, histogram)| (steps.time_ms(step), histogram))
            .collect();
        if let Some(info) = vector.series().get(index) {
            add_series(&mut series, &mut held, &info.labels, points, histograms)?;
        }
        vector.reuse(column);
    }
    Ok(sorted(series))
}

type Histograms = Vec<(i64, Arc<Histogram>)>;

/// Adds a series if it has anything.
fn add_series(
    series: &mut Vec<MatrixSeries>,
    held: &mut Charge,
    labels: &Labels,
    points: Vec<(i64, f64)>,
    histograms: Histograms,
) -> Result<(), QueryError> {
    let sizes = histograms.iter().map(|(_, h)| h.size_in_samples());
    held.grow(points.len() + sizes.sum::<usize>())?;
    if !points.is_empty() || !histograms.is_empty() {
        series.push(MatrixSeries {
            labels: labels.clone(),
            points,
            histograms,
        });
    }
    Ok(())
}

fn size(value: &SampleValue) -> usize {
    match value {
        SampleValue::Float(_) => 1,
        SampleValue::Histogram(histogram) => histogram.size_in_samples(),
    }
}

/// Names that were to be dropped at the end go now.
fn cleaned<'q>(query: &Query<'_>, vector: Vector<'q>) -> Vector<'q> {
    if !query.delayed_name_removal {
        return vector;
    }
    let infos = vector.series().iter().map(cleaned_info).collect();
    merge_same_labels(Relabeled::boxed(vector, infos), Collision::Merge)
}

fn cleaned_info(info: &SeriesInfo) -> SeriesInfo {
    if info.drop_name {
        SeriesInfo::new(drop_name(&info.labels))
    } else {
        info.clone()
    }
}

/// The samples of a range vector at one step.
fn samples(
    query: &Query<'_>,
    mut range: RangeVector<'_>,
    steps: Steps,
    extension: Extension,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let end_ms = range.shift.apply(steps.start_ms);
    let start_ms = end_ms.saturating_sub(range.range_ms);
    let mut series: Vec<MatrixSeries> = Vec::new();
    let mut samples = Samples::new(query)?;
    let mut held = query.charge(0)?;
    for index in 0..range.source.series().len() {
        range.source.next(&mut samples)?;
        let times = samples.histogram_times_ms.iter().copied();
        let histograms: Histograms = times.zip(samples.histograms.iter().cloned()).collect();
        extension.check_result(&histograms)?;
        let points: Vec<(i64, f64)> = if extension == Extension::None {
            let times = samples.times_ms.iter().copied();
            times.zip(samples.values.iter().copied()).collect()
        } else {
            with_borders(&samples, start_ms, end_ms, extension)
        };
        let all = points.len() + sizes(&samples.histograms);
        query.count_queryable(all, |tell| tell(0, all));
        if let Some(info) = range.source.series().get(index) {
            add_series(&mut series, &mut held, &info.labels, points, histograms)?;
        }
    }
    Ok(sorted(series))
}

fn sorted(mut series: Vec<MatrixSeries>) -> Vec<MatrixSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

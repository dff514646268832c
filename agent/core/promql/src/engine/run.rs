//! Runs one query and brings its result into the form that callers get.

use std::sync::{Arc, PoisonError};

use narthex_model::{Histogram, Labels, SampleValue};

use super::budget::Charge;
use super::column::Column;
use super::error::QueryError;
use super::evaluate::{Evaluator, text};
use super::invariant::without_parens;
use super::merge::{Collision, merge_same_labels};
use super::operator::{Relabeled, SeriesInfo, Vector, drop_name};
use super::output::{MatrixSeries, QueryOutput, QueryValue, VectorSample};
use super::query::Query;
use super::range::extended::{Extension, with_borders};
use super::range::{Samples, sizes};
use super::statistics::Use;
use super::steps::Steps;
use crate::syntax::ast::{Expr, ExprKind, ValueType};

/// The result together with what was said and counted on the way.
pub(super) fn finish(
    query: &Query<'_>,
    text: &str,
    value: Result<QueryValue, QueryError>,
) -> Result<QueryOutput, QueryError> {
    let value = value?;
    query.check_canceled()?;
    let annotations = std::mem::take(
        &mut *query
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let (warnings, infos) = annotations.into_texts(text);
    Ok(QueryOutput {
        value,
        warnings,
        infos,
        stats: query.budget.stats(),
    })
}

pub(super) fn instant(query: &Query<'_>, expr: &Expr) -> Result<QueryValue, QueryError> {
    let timestamp_ms = query.times.start_ms;
    let evaluator = Evaluator {
        query,
        steps: Steps::instant(timestamp_ms),
        wanted: Use::default(),
    };
    match expr.value_type() {
        ValueType::Scalar => Ok(QueryValue::Scalar {
            timestamp_ms,
            value: evaluator.scalar(expr)?.at(0),
        }),
        ValueType::String => Ok(QueryValue::String {
            timestamp_ms,
            value: text(expr).unwrap_or_default().to_owned(),
        }),
        ValueType::InstantVector => {
            let samples = vector_samples(query, evaluator.vector(expr)?, timestamp_ms)?;
            Ok(QueryValue::Vector(samples))
        }
        ValueType::RangeVector => range_vector(evaluator, expr).map(QueryValue::Matrix),
    }
}

pub(super) fn range(
    query: &Query<'_>,
    expr: &Expr,
    steps: Steps,
) -> Result<QueryValue, QueryError> {
    let evaluator = Evaluator {
        query,
        steps,
        wanted: Use::default(),
    };
    let vector = match expr.value_type() {
        ValueType::Scalar => evaluator.scalar(expr)?.into_vector(query, &steps)?,
        ValueType::InstantVector => evaluator.vector(expr)?,
        other => {
            return Err(QueryError::execution(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                other.documented()
            )));
        }
    };
    matrix(query, vector, steps).map(QueryValue::Matrix)
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

/// A range vector as the whole result: the samples with their own times.
fn range_vector<'q>(
    evaluator: Evaluator<'q>,
    expr: &'q Expr,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let query = evaluator.query;
    if let ExprKind::Subquery(subquery) = &without_parens(expr).kind {
        let (vector, steps) = evaluator.subquery(subquery)?;
        return matrix(query, vector, steps);
    }
    let extension = match &without_parens(expr).kind {
        ExprKind::MatrixSelector(matrix) => Extension::of(&matrix.selector),
        _ => Extension::None,
    };
    let mut range = evaluator.range(expr)?;
    let end_ms = range.shift.apply(evaluator.steps.start_ms);
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
        query
            .budget
            .count_queryable(points.len() + sizes(&samples.histograms));
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

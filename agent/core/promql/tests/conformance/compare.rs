//! Compares results with what a script expects.

use narthex_model::{Histogram, Labels, SampleValue, is_stale_nan};
use narthex_promql::syntax::ast::{SequenceValue, SeriesDescription};
use narthex_promql::testlang::{Eval, Expected, TextMatch};
use narthex_promql::{MatrixSeries, QueryOutput, QueryValue, RangeParams};

type Checked = Result<(), String>;

pub(crate) fn annotations(output: &QueryOutput, eval: &Eval) -> Checked {
    texts(
        "warning",
        &output.warnings,
        &eval.warnings,
        eval.no_warnings,
    )?;
    texts("info", &output.infos, &eval.infos, eval.no_infos)
}

fn texts(kind: &str, got: &[String], expected: &[TextMatch], none: bool) -> Checked {
    if none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    for text in got {
        if !expected.iter().any(|expected| expected.matches(text)) {
            return Err(format!("unexpected {kind}: {text}"));
        }
    }
    for expected in expected {
        if !got.iter().any(|text| expected.matches(text)) {
            return Err(format!("missing {kind} {expected}, got {got:?}"));
        }
    }
    Ok(())
}

pub(crate) fn instant(output: &QueryOutput, expected: &Expected, ordered: bool) -> Checked {
    match (&output.value, expected) {
        (QueryValue::Scalar { value, .. }, Expected::Scalar(expected)) => {
            float(*value, *expected, "the scalar")
        }
        (QueryValue::String { value, .. }, Expected::String(expected)) => {
            equal(value, expected, "the string")
        }
        (QueryValue::Vector(samples), Expected::Series(expected)) => {
            let got: Vec<(&Labels, &SampleValue)> =
                samples.iter().map(|s| (&s.labels, &s.value)).collect();
            vector(&got, expected, ordered)
        }
        (QueryValue::Matrix(series), Expected::RangeVector(times, expected)) => {
            sorted(series)?;
            let params = RangeParams {
                start_ms: times.start_ms,
                end_ms: times.end_ms,
                step_ms: times.step_ms,
            };
            matrix(series, params, expected)
        }
        (got, expected) => Err(format!("got {got:?}, expected {expected:?}")),
    }
}

pub(crate) fn range(output: &QueryOutput, params: RangeParams, expected: &Expected) -> Checked {
    match (&output.value, expected) {
        (QueryValue::Matrix(series), Expected::Series(expected)) => {
            sorted(series)?;
            matrix(series, params, expected)
        }
        (got, expected) => Err(format!("got {got:?}, expected {expected:?}")),
    }
}

/// The points that a range query gives at one time, against an instant query's expectation.
pub(crate) fn at_time(output: &QueryOutput, time_ms: i64, expected: &Expected) -> Checked {
    let QueryValue::Matrix(series) = &output.value else {
        return Err(format!("got {:?}", output.value));
    };
    sorted(series)?;
    let points: Vec<(&Labels, SampleValue)> = series
        .iter()
        .filter_map(|series| Some((&series.labels, value_at(series, time_ms)?)))
        .collect();
    match expected {
        Expected::Series(expected) => {
            let got: Vec<(&Labels, &SampleValue)> = points
                .iter()
                .map(|(labels, value)| (*labels, value))
                .collect();
            vector(&got, expected, false)
        }
        Expected::Scalar(expected) => match &points[..] {
            [(labels, SampleValue::Float(value))] if labels.is_empty() => {
                float(*value, *expected, "the scalar")
            }
            other => Err(format!("got {other:?}, expected the scalar {expected}")),
        },
        other => Err(format!("no expectation for a range query: {other:?}")),
    }
}

fn vector(
    got: &[(&Labels, &SampleValue)],
    expected: &[SeriesDescription],
    ordered: bool,
) -> Checked {
    if got.len() != expected.len() {
        return Err(format!(
            "got {} series, expected {}: {got:?}",
            got.len(),
            expected.len()
        ));
    }
    for (place, wanted) in expected.iter().enumerate() {
        let at = got.iter().position(|(labels, _)| **labels == wanted.labels);
        let at = at.ok_or_else(|| format!("{} is missing from {got:?}", wanted.labels))?;
        if ordered && at != place {
            return Err(format!("{} is at {at}, expected {place}", wanted.labels));
        }
        let [wanted_value] = &wanted.values[..] else {
            return Err(format!("{} has not one value", wanted.labels));
        };
        value(got[at].1, wanted_value, &wanted.labels)?;
    }
    Ok(())
}

fn matrix(got: &[MatrixSeries], params: RangeParams, expected: &[SeriesDescription]) -> Checked {
    for series in got {
        if !expected.iter().any(|wanted| wanted.labels == series.labels) {
            return Err(format!("unexpected series {}", series.labels));
        }
    }
    for wanted in expected {
        let found = got.iter().find(|series| series.labels == wanted.labels);
        let found = found.ok_or_else(|| format!("{} is missing", wanted.labels))?;
        let mut matched = 0;
        for (index, wanted_value) in wanted.values.iter().enumerate() {
            let time_ms = params.start_ms + i64::try_from(index).unwrap() * params.step_ms;
            match (value_at(found, time_ms), wanted_value) {
                (None, SequenceValue::Omitted) => {}
                (Some(got), SequenceValue::Value { .. }) => {
                    matched += 1;
                    value(&got, wanted_value, &wanted.labels)
                        .map_err(|why| format!("{why} at {time_ms}"))?;
                }
                (got, wanted) => {
                    return Err(format!(
                        "{} at {time_ms}: got {got:?}, expected {wanted:?}",
                        found.labels
                    ));
                }
            }
        }
        if found.points.len() + found.histograms.len() != matched {
            return Err(format!("{} has more points: {found:?}", found.labels));
        }
    }
    Ok(())
}

fn value_at(series: &MatrixSeries, time_ms: i64) -> Option<SampleValue> {
    let float = series.points.iter().find(|(time, _)| *time == time_ms);
    if let Some((_, value)) = float {
        return Some(SampleValue::Float(*value));
    }
    let found = series.histograms.iter().find(|(time, _)| *time == time_ms);
    found.map(|(_, histogram)| SampleValue::Histogram(histogram.clone()))
}

fn value(got: &SampleValue, expected: &SequenceValue, labels: &Labels) -> Checked {
    let SequenceValue::Value {
        value,
        hint_written,
    } = expected
    else {
        return Err(format!("{labels}: got {got:?}, expected nothing"));
    };
    match (got, value) {
        (SampleValue::Float(got), SampleValue::Float(expected)) => {
            float(*got, *expected, &labels.to_string())
        }
        (SampleValue::Histogram(got), SampleValue::Histogram(expected)) => {
            histogram(got, expected, *hint_written).map_err(|why| format!("{labels}: {why}"))
        }
        (got, expected) => equal(got, expected, &labels.to_string()),
    }
}

/// Hints count only where a script gives one.
fn histogram(got: &Histogram, expected: &Histogram, hint_written: bool) -> Checked {
    let (got, expected) = (got.clone().compacted(), expected.clone().compacted());
    let floats = |a: &[f64], b: &[f64]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| nearly_equal(*a, *b))
    };
    let numbers = |h: &Histogram| [h.count, h.sum, h.zero_count];
    let same = got.schema == expected.schema
        && got.zero_threshold == expected.zero_threshold
        && got.custom_values == expected.custom_values
        && got.positive_spans == expected.positive_spans
        && got.negative_spans == expected.negative_spans
        && floats(&numbers(&got), &numbers(&expected))
        && floats(&got.positive_buckets, &expected.positive_buckets)
        && floats(&got.negative_buckets, &expected.negative_buckets)
        && (!hint_written || got.counter_reset == expected.counter_reset);
    if same {
        return Ok(());
    }
    Err(format!("the histogram is {got:?}, expected {expected:?}"))
}

fn sorted(series: &[MatrixSeries]) -> Checked {
    if series.is_sorted_by(|a, b| a.labels <= b.labels) {
        return Ok(());
    }
    Err("the series are not sorted by their labels".to_owned())
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(got: &T, expected: &T, what: &str) -> Checked {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what} is {got:?}, expected {expected:?}"))
}

fn float(got: f64, expected: f64, what: &str) -> Checked {
    if nearly_equal(got, expected) {
        return Ok(());
    }
    Err(format!("{what} is {got}, expected {expected}"))
}

/// As the scripts mean it: to a millionth, zero exactly.
fn nearly_equal(a: f64, b: f64) -> bool {
    const TOLERANCE: f64 = 1e-6;
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

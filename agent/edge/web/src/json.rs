//! Query results as JSON, written straight into text: they can be large.

use std::fmt::Write;

use narthex_model::{Labels, SampleValue, number};
use narthex_promql::engine::{MatrixSeries, QueryValue, VectorSample};

/// `{"resultType": …, "result": …}` without the closing brace, so that stats may follow.
pub(crate) fn write_result(out: &mut String, value: &QueryValue) -> Result<(), String> {
    let kind = match value {
        QueryValue::Scalar { .. } => "scalar",
        QueryValue::String { .. } => "string",
        QueryValue::Vector(_) => "vector",
        QueryValue::Matrix(_) => "matrix",
    };
    out.push_str("{\"resultType\":\"");
    out.push_str(kind);
    out.push_str("\",\"result\":");
    match value {
        QueryValue::Scalar {
            timestamp_ms,
            value,
        } => write_point(out, *timestamp_ms, *value),
        QueryValue::String {
            timestamp_ms,
            value,
        } => {
            out.push('[');
            write_time(out, *timestamp_ms);
            out.push(',');
            write_string(out, value);
            out.push(']');
        }
        QueryValue::Vector(samples) => write_list(out, samples, write_sample)?,
        QueryValue::Matrix(series) => write_list(out, series, write_series)?,
    }
    Ok(())
}

fn write_list<T>(
    out: &mut String,
    items: &[T],
    write: impl Fn(&mut String, &T) -> Result<(), String>,
) -> Result<(), String> {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item)?;
    }
    out.push(']');
    Ok(())
}

fn write_sample(out: &mut String, sample: &VectorSample) -> Result<(), String> {
    out.push_str("{\"metric\":");
    write_labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.push_str(",\"value\":");
            write_point(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(_) => return Err(HISTOGRAM.to_owned()),
    }
    out.push('}');
    Ok(())
}

fn write_series(out: &mut String, series: &MatrixSeries) -> Result<(), String> {
    if !series.histograms.is_empty() {
        return Err(HISTOGRAM.to_owned());
    }
    out.push_str("{\"metric\":");
    write_labels(out, &series.labels);
    out.push_str(",\"values\":");
    write_list(out, &series.points, |out, (time, value)| {
        write_point(out, *time, *value);
        Ok(())
    })?;
    out.push('}');
    Ok(())
}

const HISTOGRAM: &str = "native histograms in results are not supported yet";

/// `[seconds, "value"]`.
fn write_point(out: &mut String, timestamp_ms: i64, value: f64) {
    out.push('[');
    write_time(out, timestamp_ms);
    out.push_str(",\"");
    out.push_str(&number::format_json(value));
    out.push_str("\"]");
}

/// Seconds: three decimals if there is a fraction, none otherwise.
pub(crate) fn write_time(out: &mut String, timestamp_ms: i64) {
    let sign = if timestamp_ms < 0 { "-" } else { "" };
    let ms = timestamp_ms.unsigned_abs();
    let (seconds, rest) = (ms / 1000, ms % 1000);
    // Writing into a String does not fail.
    let _ = match rest {
        0 => write!(out, "{sign}{seconds}"),
        rest => write!(out, "{sign}{seconds}.{rest:03}"),
    };
}

pub(crate) fn write_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(out, &label.name);
        out.push(':');
        write_string(out, &label.value);
    }
    out.push('}');
}

pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_kind_of_result() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "x\"\\\n\u{1}")]);
        let vector = QueryValue::Vector(vec![VectorSample {
            labels: labels.clone(),
            timestamp_ms: 1500,
            value: SampleValue::Float(f64::INFINITY),
        }]);
        let matrix = QueryValue::Matrix(vec![MatrixSeries {
            labels,
            points: vec![(-1500, 1e-7), (2000, f64::NAN)],
            histograms: vec![],
        }]);
        for (value, expected) in [
            (
                QueryValue::Scalar {
                    timestamp_ms: 0,
                    value: -0.5,
                },
                r#"{"resultType":"scalar","result":[0,"-0.5"]"#,
            ),
            (
                QueryValue::String {
                    timestamp_ms: 1,
                    value: "é\t".to_owned(),
                },
                r#"{"resultType":"string","result":[0.001,"é\t"]"#,
            ),
            (
                vector,
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"m","a":"x\"\\\n\u0001"},"value":[1.500,"+Inf"]}]"#,
            ),
            (
                matrix,
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"m","a":"x\"\\\n\u0001"},"values":[[-1.500,"1e-07"],[2,"NaN"]]}]"#,
            ),
        ] {
            let mut out = String::new();
            write_result(&mut out, &value).unwrap();
            assert_eq!(out, expected);
            serde_json::from_str::<serde_json::Value>(&format!("{out}}}")).unwrap();
        }
    }
}

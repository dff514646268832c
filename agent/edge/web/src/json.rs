//! Query results as JSON, written straight into the answer: they can be large.

use std::io::Write;

use narthex_model::float_text::push_json;
use narthex_model::{Histogram, Labels, SampleValue};
use narthex_promql::engine::{MatrixSeries, QueryValue, RangeParams, VectorSample};

use crate::stream::{Out, Stop};

/// `{"resultType": …, "result": …}` without the closing brace, so that stats may follow. What is
/// written is given back to memory at once.
pub(crate) fn write_result(
    out: &mut Out,
    value: QueryValue,
    steps: &StepTexts,
) -> Result<(), Stop> {
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
        } => write_point(&mut out.buffer, timestamp_ms, value),
        QueryValue::String {
            timestamp_ms,
            value,
        } => {
            out.buffer.push(b'[');
            write_time(&mut out.buffer, timestamp_ms);
            out.buffer.push(b',');
            write_string(&mut out.buffer, &value);
            out.buffer.push(b']');
        }
        QueryValue::Vector(samples) => write_list(out, samples, |out, sample| {
            write_sample(&mut out.buffer, &sample);
            Ok(())
        })?,
        QueryValue::Matrix(series) => {
            write_list(out, series, |out, series| write_series(out, &series, steps))?;
        }
    }
    Ok(())
}

/// A JSON list, handed on whenever enough has come together.
pub(crate) fn write_list<T>(
    out: &mut Out,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Out, T) -> Result<(), Stop>,
) -> Result<(), Stop> {
    out.buffer.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.buffer.push(b',');
        }
        write(out, item)?;
        out.flush_if_full()?;
    }
    out.buffer.push(b']');
    Ok(())
}

fn write_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    write_labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            write_point(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            write_histogram_point(out, sample.timestamp_ms, histogram);
        }
    }
    out.push(b'}');
}

fn write_series(out: &mut Out, series: &MatrixSeries, steps: &StepTexts) -> Result<(), Stop> {
    out.push_str("{\"metric\":");
    write_labels(&mut out.buffer, &series.labels);
    if !series.points.is_empty() {
        out.push_str(",\"values\":");
        let mut texts = steps.cursor();
        write_list(out, &series.points, |out, (time_ms, value)| {
            texts.push_opening(&mut out.buffer, *time_ms);
            push_json(&mut out.buffer, *value);
            out.buffer.extend_from_slice(b"\"]");
            Ok(())
        })?;
    }
    if !series.histograms.is_empty() {
        out.push_str(",\"histograms\":");
        write_list(out, &series.histograms, |out, (time_ms, histogram)| {
            write_histogram_point(&mut out.buffer, *time_ms, histogram);
            Ok(())
        })?;
    }
    out.buffer.push(b'}');
    Ok(())
}

/// `[seconds, "value"]`.
fn write_point(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    push_opening(out, timestamp_ms);
    push_json(out, value);
    out.extend_from_slice(b"\"]");
}

/// A point as far as it is the same for all series of a step.
fn push_opening(out: &mut Vec<u8>, timestamp_ms: i64) {
    out.push(b'[');
    write_time(out, timestamp_ms);
    out.extend_from_slice(b",\"");
}

fn write_histogram_point(out: &mut Vec<u8>, timestamp_ms: i64, histogram: &Histogram) {
    out.push(b'[');
    write_time(out, timestamp_ms);
    out.push(b',');
    write_histogram(out, histogram);
    out.push(b']');
}

/// Each bucket as `[borders, "lower", "upper", "count"]`; the number says which borders belong to it.
fn write_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    write_quoted_float(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    write_quoted_float(out, histogram.sum);
    let buckets = histogram.buckets();
    for (index, bucket) in buckets.iter().enumerate() {
        out.extend_from_slice(if index == 0 {
            b",\"buckets\":[["
        } else {
            b",["
        });
        out.push(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        });
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            write_quoted_float(out, value);
        }
        out.push(b']');
    }
    if !buckets.is_empty() {
        out.push(b']');
    }
    out.push(b'}');
}

pub(crate) fn write_quoted_float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    push_json(out, value);
    out.push(b'"');
}

/// Seconds: three decimals if there is a fraction, none otherwise.
pub(crate) fn write_time(out: &mut Vec<u8>, timestamp_ms: i64) {
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let ms = timestamp_ms.unsigned_abs();
    let (seconds, rest) = (ms / 1000, ms % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if rest != 0 {
        // Writing into a vector does not fail.
        let _ = write!(out, ".{rest:03}");
    }
}

/// The beginnings of points at the steps of a range query, each written once for all series.
#[derive(Default)]
pub(crate) struct StepTexts {
    times_ms: Vec<i64>,
    texts: Vec<u8>,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl StepTexts {
    /// For instant queries, where no time comes back.
    pub(crate) fn none() -> Self {
        StepTexts::default()
    }

    pub(crate) fn of(range: RangeParams) -> Self {
        let mut steps = StepTexts::default();
        let mut time_ms = Some(range.start_ms);
        while let Some(ms) = time_ms.filter(|ms| *ms <= range.end_ms) {
            steps.times_ms.push(ms);
            push_opening(&mut steps.texts, ms);
            steps.ends.push(steps.texts.len());
            time_ms = ms.checked_add(range.step_ms.max(1));
        }
        steps
    }

    fn cursor(&self) -> StepCursor<'_> {
        StepCursor { steps: self, at: 0 }
    }
}

/// Goes along the steps with the points of one series.
struct StepCursor<'a> {
    steps: &'a StepTexts,
    at: usize,
}

impl StepCursor<'_> {
    fn push_opening(&mut self, out: &mut Vec<u8>, time_ms: i64) {
        let times_ms = &self.steps.times_ms;
        while times_ms.get(self.at).is_some_and(|ms| *ms < time_ms) {
            self.at += 1;
        }
        match self.text() {
            Some(text) if times_ms.get(self.at) == Some(&time_ms) => out.extend_from_slice(text),
            _ => push_opening(out, time_ms),
        }
    }

    fn text(&self) -> Option<&[u8]> {
        let start = match self.at.checked_sub(1) {
            Some(former) => *self.steps.ends.get(former)?,
            None => 0,
        };
        self.steps.texts.get(start..*self.steps.ends.get(self.at)?)
    }
}

pub(crate) fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, &label.name);
        out.push(b':');
        write_string(out, &label.value);
    }
    out.push(b'}');
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(is_special) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((byte, after)) = special.split_first() {
            push_escaped(out, *byte);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => {
            // Writing into a vector does not fail.
            let _ = write!(out, "\\u{other:04x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};

    use super::*;

    fn written(value: QueryValue, steps: &StepTexts) -> String {
        let mut out = Out::collecting();
        write_result(&mut out, value, steps).unwrap();
        let text = String::from_utf8(out.buffer).unwrap();
        serde_json::from_str::<serde_json::Value>(&format!("{text}}}")).unwrap();
        text
    }

    fn exponential() -> Arc<Histogram> {
        let span = |offset, length| Span { offset, length };
        Arc::new(Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 7.5,
            sum: f64::NAN,
            positive_spans: vec![span(0, 2)],
            positive_buckets: vec![1.0, 0.0],
            negative_spans: vec![span(1, 1)],
            negative_buckets: vec![1e-7],
            ..Histogram::default()
        })
    }

    fn custom() -> Arc<Histogram> {
        Arc::new(Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            sum: 5.0,
            positive_spans: vec![Span {
                offset: 0,
                length: 3,
            }],
            positive_buckets: vec![1.0, 1.0, 1.0],
            custom_values: vec![-2.0, 2.5],
            ..Histogram::default()
        })
    }

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
            assert_eq!(written(value, &StepTexts::none()), expected);
        }
    }

    #[test]
    fn writes_native_histograms() {
        let vector = QueryValue::Vector(vec![VectorSample {
            labels: Labels::empty(),
            timestamp_ms: 0,
            value: SampleValue::Histogram(exponential()),
        }]);
        assert_eq!(
            written(vector, &StepTexts::none()),
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[0,{"count":"7.5","sum":"NaN","buckets":[[1,"-2","-1","1e-07"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"]]}]}]"#
        );
        let matrix = QueryValue::Matrix(vec![MatrixSeries {
            labels: Labels::empty(),
            points: vec![(1, 2.0)],
            histograms: vec![(2, custom()), (3, Arc::new(Histogram::default()))],
        }]);
        assert_eq!(
            written(matrix, &StepTexts::none()),
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0.001,"2"]],"histograms":[[0.002,{"count":"3","sum":"5","buckets":[[3,"-Inf","-2","1"],[0,"-2","2.5","1"],[0,"2.5","+Inf","1"]]}],[0.003,{"count":"0","sum":"0"}]]}]"#
        );
    }

    #[test]
    fn times_are_the_same_with_and_without_the_steps() {
        let steps = StepTexts::of(RangeParams {
            start_ms: -1500,
            end_ms: 10_000,
            step_ms: 500,
        });
        let series = |times_ms: &[i64]| MatrixSeries {
            labels: Labels::empty(),
            points: times_ms.iter().map(|ms| (*ms, 1.0)).collect(),
            histograms: vec![],
        };
        for times_ms in [
            &[-1500, -1000, 0, 500, 10_000][..],
            &[9_500],
            &[-2000, -1500, 1, 500, 501, 10_500],
            &[],
        ] {
            // The second series begins at the first step again.
            let matrix = QueryValue::Matrix(vec![series(times_ms), series(times_ms)]);
            assert_eq!(
                written(matrix.clone(), &steps),
                written(matrix, &StepTexts::none())
            );
        }
    }

    /// `cargo test --release -- --ignored measure --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn measure_nanoseconds_per_point() {
        let range = RangeParams {
            start_ms: 1_700_000_000_000,
            end_ms: 1_700_021_600_000,
            step_ms: 60_000,
        };
        let value = |kind: usize, at: i64| match kind {
            0 => (at / 1000) as f64,
            1 => (at as f64).sqrt() / 7.0,
            _ => (at % 977) as f64 * 1e-8,
        };
        for (kind, name) in ["whole", "17 digits", "small"].into_iter().enumerate() {
            let times = (0..=360).map(|i| range.start_ms + i * range.step_ms);
            let points: Vec<(i64, f64)> = times.map(|t| (t, value(kind, t))).collect();
            let series = MatrixSeries {
                labels: Labels::from_pairs([("__name__", "node_cpu"), ("instance", "a:9100")]),
                points,
                histograms: vec![],
            };
            let mut out = Out::collecting();
            let mut best_ns = f64::MAX;
            // The quickest of some, as others share the machine.
            for _ in 0..10 {
                let matrix = QueryValue::Matrix(vec![series.clone(); 160]);
                out.buffer.clear();
                let started = std::time::Instant::now();
                write_result(&mut out, matrix, &StepTexts::of(range)).unwrap();
                let ns = started.elapsed().as_nanos() as f64 / (160.0 * 361.0);
                best_ns = best_ns.min(ns);
            }
            eprintln!("{name}: {best_ns:.1} ns/point, {} bytes", out.buffer.len());
        }
    }
}

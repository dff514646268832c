//! Prints results as promtool does, for people or as JSON.

use std::fmt;
use std::io::Write;

use narthex_model::Labels;
use narthex_model::METRIC_NAME;
use narthex_model::labels::{is_legacy_metric_name, quoted};
use narthex_model::number::{format_general, format_plain};
use serde::Serialize;

use super::Format;
use super::result::{Bucket, Figure, Histogram, QueryResult, Sample, Series, Texts, Time};

pub(super) fn value(
    result: &QueryResult,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match (format, result) {
        (Format::Json, QueryResult::Scalar(point)) => json(point, out),
        (Format::Json, QueryResult::String(point)) => json(point, out),
        (Format::Json, QueryResult::Vector(samples)) => json(samples, out),
        (Format::Json, QueryResult::Matrix(series)) => json(series, out),
        (Format::Promql, QueryResult::Scalar((time, value))) => {
            Ok(writeln!(out, "scalar: {value} @[{time}]")?)
        }
        (Format::Promql, QueryResult::String((_, text))) => Ok(writeln!(out, "{text}")?),
        (Format::Promql, QueryResult::Vector(samples)) => {
            lines(samples.iter(), out, |sample, out| write_sample(sample, out))
        }
        (Format::Promql, QueryResult::Matrix(series)) => {
            lines(series.iter(), out, |series, out| write_series(series, out))
        }
    }
}

pub(super) fn series(series: &[Texts], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Format::Json = format {
        return json(series, out);
    }
    for labels in series {
        writeln!(out, "{}", to_labels(labels))?;
    }
    Ok(())
}

pub(super) fn values(values: &[String], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Format::Json = format {
        return json(values, out);
    }
    for value in values {
        writeln!(out, "{value}")?;
    }
    Ok(())
}

fn json(data: &(impl Serialize + ?Sized), out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, data).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Each item on lines of its own; an empty line where there is none.
fn lines<T>(
    items: impl ExactSizeIterator<Item = T>,
    out: &mut dyn Write,
    write: impl Fn(T, &mut dyn Write) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    if items.len() == 0 {
        writeln!(out)?;
    }
    for item in items {
        write(item, out)?;
    }
    Ok(())
}

fn write_sample(sample: &Sample, out: &mut dyn Write) -> std::io::Result<()> {
    let metric = metric(&sample.metric);
    if let Some((time, value)) = &sample.value {
        writeln!(out, "{metric} => {value} @[{time}]")?;
    }
    if let Some((time, histogram)) = &sample.histogram {
        writeln!(out, "{metric} => {histogram} @[{time}]")?;
    }
    Ok(())
}

fn write_series(series: &Series, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{} =>", metric(&series.metric))?;
    for (time, value) in &series.values {
        writeln!(out, "{value} @[{time}]")?;
    }
    for (time, histogram) in &series.histograms {
        writeln!(out, "{histogram} @[{time}]")?;
    }
    Ok(())
}

fn to_labels(texts: &Texts) -> Labels {
    Labels::from_pairs(texts.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

/// `name{labels}`; a name that is no legacy one stands in the braces.
fn metric(texts: &Texts) -> String {
    let labels = to_labels(texts);
    let Some(name) = labels.metric_name() else {
        return labels.to_string();
    };
    let rest = labels.without(METRIC_NAME);
    match (is_legacy_metric_name(name), rest.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{name}{rest}"),
        (false, true) => format!("{{{}}}", quoted(name)),
        (false, false) => {
            let rest = rest.to_string();
            let inner = rest.strip_prefix('{').unwrap_or(&rest);
            format!("{{{}, {inner}", quoted(name))
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_plain(self.0))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_plain(self.0))
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets: Vec<String> = self.buckets.iter().map(bucket).collect();
        let (count, sum) = (six_decimals(self.count), six_decimals(self.sum));
        let buckets = buckets.join(" ");
        write!(f, "Count: {count}, Sum: {sum}, Buckets: [{buckets}]")
    }
}

fn bucket((borders, lower, upper, count): &Bucket) -> String {
    let open = if matches!(borders, 1 | 3) { '[' } else { '(' };
    let close = if matches!(borders, 0 | 3) { ']' } else { ')' };
    let (lower, upper) = (format_general(lower.0), format_general(upper.0));
    format!("{open}{lower},{upper}{close}:{count}")
}

fn six_decimals(Figure(value): Figure) -> String {
    match value.is_finite() {
        true => format!("{value:.6}"),
        false => format_plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(result: &str, format: Format) -> String {
        let result: QueryResult = serde_json::from_str(result).unwrap();
        let mut out = Vec::new();
        value(&result, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn results() {
        for (result, promql, json) in [
            (
                r#"{"resultType":"scalar","result":[1.5,"2"]}"#,
                "scalar: 2 @[1.5]\n",
                "[1.5,\"2\"]\n",
            ),
            (
                r#"{"resultType":"string","result":[1,"a\nb"],"stats":{}}"#,
                "a\nb\n",
                "[1,\"a\\nb\"]\n",
            ),
            (r#"{"resultType":"vector","result":[]}"#, "\n", "[]\n"),
            (
                r#"{"resultType":"vector","result":[
                    {"metric":{"__name__":"up","a":"\"x\""},"value":[1700000000.120,"1e+21"]},
                    {"metric":{},"value":[0,"NaN"]}]}"#,
                "up{a=\"\\\"x\\\"\"} => 1000000000000000000000 @[1700000000.12]\n{} => NaN @[0]\n",
                "[{\"metric\":{\"__name__\":\"up\",\"a\":\"\\\"x\\\"\"},\"value\":[1700000000.12,\
                 \"1000000000000000000000\"]},{\"metric\":{},\"value\":[0,\"NaN\"]}]\n",
            ),
            (
                r#"{"resultType":"matrix","result":[
                    {"metric":{"__name__":"a"},"values":[[1,"1"],[2,"+Inf"]]},
                    {"metric":{"__name__":"h.h","x":"y"},"histograms":[[3,
                        {"count":"3","sum":"1.25","buckets":[[3,"-0.001","0.001","1"],
                         [0,"0.5","1e+06","2"]]}]]}]}"#,
                "a =>\n1 @[1]\n+Inf @[2]\n{\"h.h\", x=\"y\"} =>\n\
                 Count: 3.000000, Sum: 1.250000, Buckets: [[-0.001,0.001]:1 (0.5,1e+06]:2] @[3]\n",
                "[{\"metric\":{\"__name__\":\"a\"},\"values\":[[1,\"1\"],[2,\"+Inf\"]]},\
                 {\"metric\":{\"__name__\":\"h.h\",\"x\":\"y\"},\"histograms\":[[3,{\"count\":\"3\",\
                 \"sum\":\"1.25\",\"buckets\":[[3,\"-0.001\",\"0.001\",\"1\"],[0,\"0.5\",\"1000000\",\
                 \"2\"]]}]]}]\n",
            ),
        ] {
            assert_eq!(printed(result, Format::Promql), promql);
            assert_eq!(printed(result, Format::Json), json);
        }
    }

    #[test]
    fn a_result_of_nonsense_is_refused() {
        for result in [
            r#"{"resultType":"scalar","result":[1,"x"]}"#,
            r#"{"resultType":"tensor","result":[]}"#,
            r#"{"result":[]}"#,
        ] {
            assert!(serde_json::from_str::<QueryResult>(result).is_err());
        }
    }
}

//! Writing metric families as text.
//!
//! What is written can be read again: names that are no legacy ones are quoted, texts are escaped.

use std::fmt::Write as _;

use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use narthex_model::{MetricFamily, MetricType, number};

use crate::Format;
use crate::family::{FamilySample, for_each_text_sample, format_bound};

/// Writes the families in Prometheus text, version 0.0.4.
pub fn write_text(families: &[MetricFamily], out: &mut String) {
    for family in families {
        metadata_line("HELP", &family.name, out);
        escape(&family.metadata.help, false, out);
        out.push('\n');
        metadata_line("TYPE", &family.name, out);
        out.push_str(text_type(family.metadata.kind));
        out.push('\n');
        for_each_text_sample(family, |sample| {
            write_sample(&family.name, &sample, Format::Text, out);
        });
    }
}

/// Writes the families in OpenMetrics text, version 1.0.0, `# EOF` at the end.
pub fn write_openmetrics(families: &[MetricFamily], out: &mut String) {
    for family in families {
        let (name, kind) = openmetrics_family(family);
        metadata_line("TYPE", name, out);
        out.push_str(kind.as_str());
        out.push('\n');
        let unit = &family.metadata.unit;
        let ends_in_unit = |stem: &str| stem.ends_with('_');
        if !unit.is_empty() && name.strip_suffix(unit.as_str()).is_some_and(ends_in_unit) {
            metadata_line("UNIT", name, out);
            out.push_str(unit);
            out.push('\n');
        }
        metadata_line("HELP", name, out);
        escape(&family.metadata.help, true, out);
        out.push('\n');
        for_each_text_sample(family, |sample| {
            write_sample(&family.name, &sample, Format::OpenMetrics, out);
        });
    }
    out.push_str("# EOF\n");
}

fn text_type(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        // The text format doesn't know `_gsum` and `_gcount` as parts of a histogram.
        MetricType::GaugeHistogram | MetricType::Unknown => "untyped",
    }
}

/// The family's name and type in OpenMetrics, where the endings of counters and infos belong to
/// the samples only. Without its ending such a family is of unknown type.
fn openmetrics_family(family: &MetricFamily) -> (&str, MetricType) {
    let kind = family.metadata.kind;
    let ending = match kind {
        MetricType::Counter => "_total",
        MetricType::Info => "_info",
        _ => return (&family.name, kind),
    };
    match family.name.strip_suffix(ending) {
        Some(stem) if !stem.is_empty() => (stem, kind),
        _ => (&family.name, MetricType::Unknown),
    }
}

fn metadata_line(keyword: &str, name: &str, out: &mut String) {
    out.push_str("# ");
    out.push_str(keyword);
    out.push(' ');
    if is_legacy_metric_name(name) {
        out.push_str(name);
    } else {
        quote(name, out);
    }
    out.push(' ');
}

fn write_sample(family: &str, sample: &FamilySample<'_>, format: Format, out: &mut String) {
    let legacy = is_legacy_metric_name(family);
    let mut separator = '{';
    if legacy {
        out.push_str(family);
        out.push_str(sample.suffix);
    } else {
        out.push_str("{\"");
        escape(family, true, out);
        out.push_str(sample.suffix);
        out.push('"');
        separator = ',';
    }
    for label in sample.labels.iter() {
        write_label(separator, &label.name, &label.value, out);
        separator = ',';
    }
    if let Some((name, bound)) = sample.bound {
        let text = match format {
            Format::Text => number::format_general(bound),
            Format::OpenMetrics => format_bound(bound),
        };
        write_label(separator, name, &text, out);
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    out.push(' ');
    out.push_str(&number::format_general(sample.value));
    if let Some(timestamp_ms) = sample.timestamp_ms {
        write_timestamp(timestamp_ms, format, out);
    }
    out.push('\n');
}

fn write_label(separator: char, name: &str, value: &str, out: &mut String) {
    out.push(separator);
    if is_legacy_label_name(name) {
        out.push_str(name);
    } else {
        quote(name, out);
    }
    out.push('=');
    quote(value, out);
}

fn write_timestamp(timestamp_ms: i64, format: Format, out: &mut String) {
    // Writing into a String does not fail.
    let _ = match format {
        Format::Text => write!(out, " {timestamp_ms}"),
        Format::OpenMetrics => {
            let sign = if timestamp_ms < 0 { "-" } else { "" };
            let (seconds, ms) = (
                timestamp_ms.unsigned_abs() / 1000,
                timestamp_ms.unsigned_abs() % 1000,
            );
            write!(out, " {sign}{seconds}.{ms:03}")
        }
    };
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, true, out);
    out.push('"');
}

fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

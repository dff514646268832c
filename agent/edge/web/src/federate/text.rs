//! Families in the text format, version 0.0.4.

use std::borrow::Cow;

use narthex_model::labels::is_legacy_metric_name;
use narthex_model::{Histogram, Label, SampleValue, number};

use super::names::Escaping;
use super::{Kind, Newest, classic_buckets, shown_labels};
use crate::stream::{Out, Stop};

/// All samples are of one name and kind.
pub(super) fn write_family(
    out: &mut Out,
    family: &[&Newest],
    added: &[Label],
    escaping: Escaping,
) -> Result<(), Stop> {
    let Some(first) = family.first() else {
        return Ok(());
    };
    let name = escaping.escape(first.name());
    out.push_str("# TYPE ");
    push_name(&mut out.buffer, &name);
    out.push_str(match Kind::of(&first.value) {
        Kind::Untyped => " untyped\n",
        // The format has no gauge histograms, but their lines are the same.
        Kind::Histogram | Kind::GaugeHistogram => " histogram\n",
    });
    for sample in family {
        let line = Line {
            name: &name,
            labels: shown_labels(sample, added)
                .map(|(name, value)| (escaping.escape(name), value))
                .collect(),
            timestamp_ms: sample.timestamp_ms,
        };
        match &sample.value {
            SampleValue::Float(value) => line.write(&mut out.buffer, "", None, *value),
            SampleValue::Histogram(histogram) => line.write_histogram(&mut out.buffer, histogram),
        }
        out.flush_if_full()?;
    }
    Ok(())
}

/// What the lines of one sample have in common.
struct Line<'a> {
    name: &'a str,
    labels: Vec<(Cow<'a, str>, &'a str)>,
    timestamp_ms: i64,
}

impl Line<'_> {
    fn write_histogram(&self, out: &mut Vec<u8>, histogram: &Histogram) {
        for (bound, count) in classic_buckets(histogram) {
            self.write(out, "_bucket", Some(bound), count);
        }
        self.write(out, "_bucket", Some(f64::INFINITY), histogram.count);
        self.write(out, "_sum", None, histogram.sum);
        self.write(out, "_count", None, histogram.count);
    }

    fn write(&self, out: &mut Vec<u8>, suffix: &str, bound: Option<f64>, value: f64) {
        let mut separator = b'{';
        if is_legacy_metric_name(self.name) {
            out.extend_from_slice(self.name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        } else {
            out.push(separator);
            separator = b',';
            push_quoted(out, &format!("{}{suffix}", self.name));
        }
        for (name, value) in &self.labels {
            out.push(separator);
            separator = b',';
            push_name(out, name);
            out.push(b'=');
            push_quoted(out, value);
        }
        if let Some(bound) = bound {
            out.push(separator);
            separator = b',';
            let text = number::format_general(bound);
            out.extend_from_slice(format!("le=\"{text}\"").as_bytes());
        }
        if separator == b',' {
            out.push(b'}');
        }
        out.push(b' ');
        out.extend_from_slice(number::format_general(value).as_bytes());
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(self.timestamp_ms).as_bytes());
        out.push(b'\n');
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
    } else {
        push_quoted(out, name);
    }
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

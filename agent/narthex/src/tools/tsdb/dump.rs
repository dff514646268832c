//! `narthex tsdb dump` and `dump-openmetrics`: the samples of a data folder as text.

use std::io::Write;
use std::path::Path;

use narthex_model::labels::write_quoted;
use narthex_model::number::{format_general, format_plain};
use narthex_model::{CancelToken, Labels, METRIC_NAME};
use narthex_storage::{Column, SelectQuery, Series};

use super::Selection;
use super::whole::WholeFolder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `{labels} value milliseconds`
    Plain,
    /// The labels of each series as a JSON object.
    SeriesJson,
    /// `name{labels} value seconds`, `# EOF` at the end.
    OpenMetrics,
}

pub(super) fn dump(
    folder: &Path,
    selection: &Selection,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let store = WholeFolder::open(folder, selection.sandbox_dir_root.as_deref())?;
    let mut sets = selection.matcher_sets()?;
    if sets.is_empty() {
        sets.push(Vec::new());
    }
    let mut sources = Vec::with_capacity(sets.len());
    for matchers in &sets {
        sources.push(store.select(&SelectQuery {
            matchers,
            start_ms: selection.min_time,
            end_ms: selection.max_time,
            cancel: CancelToken::default(),
        })?);
    }
    for series in narthex_blocks::merge(sources) {
        write_series(&*series, format, out)?;
    }
    if format == Format::OpenMetrics {
        writeln!(out, "# EOF")?;
    }
    Ok(())
}

fn write_series(series: &dyn Series, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    let labels = series.labels();
    let name = match format {
        Format::Plain => labels.to_string(),
        Format::OpenMetrics => openmetrics_name(labels),
        Format::SeriesJson => return Ok(writeln!(out, "{}", json_labels(labels))?),
    };
    let mut written = Ok(());
    series.visit(&mut |column| {
        if written.is_ok() {
            written = write_column(&name, column, format, out);
        }
    })?;
    Ok(written?)
}

fn write_column(
    name: &str,
    column: Column<'_>,
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match column {
        Column::Floats {
            timestamps_ms,
            values,
        } => {
            for (time_ms, value) in timestamps_ms.iter().zip(values) {
                match format {
                    Format::OpenMetrics => {
                        let time = seconds(*time_ms);
                        writeln!(out, "{name} {} {time}", format_plain(*value))?;
                    }
                    _ => writeln!(out, "{name} {} {time_ms}", format_general(*value))?,
                }
            }
        }
        Column::Histograms {
            timestamps_ms,
            values,
        } => {
            for (time_ms, value) in timestamps_ms.iter().zip(values) {
                // OpenMetrics has no text for them.
                match format {
                    Format::OpenMetrics => {}
                    _ => writeln!(out, "{name} {} {time_ms}", value)?,
                }
            }
        }
    }
    Ok(())
}

/// Seconds with three digits after the point.
fn seconds(time_ms: i64) -> String {
    let sign = if time_ms < 0 { "-" } else { "" };
    let time_ms = time_ms.unsigned_abs();
    format!("{sign}{}.{:03}", time_ms / 1000, time_ms % 1000)
}

fn openmetrics_name(labels: &Labels) -> String {
    let name = labels.metric_name().unwrap_or_default();
    let mut text = name.to_owned();
    let rest = labels.iter().filter(|label| &*label.name != METRIC_NAME);
    let mut separator = '{';
    for label in rest {
        text.push(separator);
        separator = ',';
        text.push_str(&label.name);
        text.push('=');
        // Writing into a String does not fail.
        let _ = write_quoted(&mut text, &label.value);
    }
    if separator == ',' {
        text.push('}');
    }
    text
}

fn json_labels(labels: &Labels) -> String {
    let pairs = labels.iter().map(|label| {
        let (name, value) = (&*label.name, &*label.value);
        (name.to_owned(), serde_json::Value::from(value))
    });
    serde_json::Value::Object(pairs.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_of_openmetrics() {
        for (labels, expected) in [
            (Labels::from_pairs([("__name__", "up")]), "up"),
            (
                Labels::from_pairs([("__name__", "up"), ("b", "x\"y"), ("a", "1")]),
                r#"up{a="1",b="x\"y"}"#,
            ),
        ] {
            assert_eq!(openmetrics_name(&labels), expected);
        }
        for (time_ms, expected) in [(0, "0.000"), (60_001, "60.001"), (-5, "-0.005")] {
            assert_eq!(seconds(time_ms), expected);
        }
    }
}

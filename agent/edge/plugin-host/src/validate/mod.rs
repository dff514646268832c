//! What plugins give becomes the agent's own types here, if it is valid and within the limits.
//!
//! Keeps true: what passes can be stored and served as it is. A fault is named so that the
//! plugin's author finds it.

mod targets;

use std::collections::HashSet;
use std::sync::Arc;

use narthex_model::family::Metadata;
use narthex_model::histogram::{CounterReset, Span};
use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use narthex_model::number::NORMAL_NAN_BITS;
use narthex_model::{
    Histogram, Label, Labels, Metric, MetricFamily, MetricType, MetricValue, is_stale_nan,
};

use crate::Limits;
use crate::bindings::metrics as raw;

pub(crate) use targets::groups;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Invalid(String),
    #[error("{count} {name}, and the limit plugins.limits.{name} is {limit}{at}")]
    Limit {
        name: &'static str,
        count: usize,
        limit: usize,
        /// Where, as ` (metric x)`.
        at: String,
    },
}

pub(crate) fn limit(name: &'static str, count: usize, limit: usize) -> Result<(), Fault> {
    limit_at(name, count, limit, String::new)
}

fn limit_at(
    name: &'static str,
    count: usize,
    limit: usize,
    at: impl FnOnce() -> String,
) -> Result<(), Fault> {
    match count <= limit {
        true => Ok(()),
        false => Err(Fault::Limit {
            name,
            count,
            limit,
            at: at(),
        }),
    }
}

/// Stands for "no time" in a list of times, where an older version of the contract has some metrics
/// with and some without. No clock gives it.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// One collection's families, and how many series they are.
pub(crate) fn families(
    families: Vec<raw::Family>,
    limits: &Limits,
) -> Result<(Vec<MetricFamily>, usize), Fault> {
    let mut names = HashSet::with_capacity(families.len());
    let mut series = 0;
    let mut out = Vec::with_capacity(families.len());
    for family in families {
        // Counted first: what is too much is not even looked at.
        series += series_of(&family.values);
        limit("series", series, limits.series)?;
        let family = self::family(family, limits)?;
        if !names.insert(family.name.clone()) {
            return Err(Fault::Invalid(format!(
                "the family {} is given twice",
                family.name
            )));
        }
        out.push(family);
    }
    Ok((out, series))
}

fn series_of(values: &raw::Values) -> usize {
    match values {
        raw::Values::Numbers(numbers) => numbers.len(),
        // The bucket of +Inf, the sum and the count come on top.
        raw::Values::Histograms(all) => all.iter().map(|h| h.buckets.len() + 3).sum(),
        // One series, but its buckets take what others' series do.
        raw::Values::NativeHistograms(all) => all.iter().map(|h| 1 + native_parts(h)).sum(),
        raw::Values::Summaries(all) => all.iter().map(|s| s.quantiles.len() + 2).sum(),
    }
}

fn native_parts(histogram: &raw::NativeHistogram) -> usize {
    histogram.positive_counts.len()
        + histogram.negative_counts.len()
        + histogram.positive_spans.len()
        + histogram.negative_spans.len()
        + histogram.custom_bounds.len()
}

fn family(family: raw::Family, limits: &Limits) -> Result<MetricFamily, Fault> {
    let name = &family.name;
    if !is_legacy_metric_name(name) {
        return Err(Fault::Invalid(format!(
            "invalid metric name {}: expected a letter, _ or :, then letters, digits, _ or :",
            shown(name)
        )));
    }
    let at = || format!(" (metric {name})");
    limit_at("label_name_bytes", name.len(), limits.label_name_bytes, at)?;
    for text in [&family.help, &family.unit] {
        limit_at(
            "label_value_bytes",
            text.len(),
            limits.label_value_bytes,
            at,
        )?;
    }
    let columns = columns(&family, limits)?;
    let values = values(name, family.kind, family.values)?;
    let rows = values.len();
    check_lengths(name, rows, &columns, family.label_values.len())?;
    let timestamps_ms = times(name, "timestamps-ms", rows, &family.timestamps_ms)?;
    let starts_ms = times(
        name,
        "start-timestamps-ms",
        rows,
        &family.start_timestamps_ms,
    )?;
    let mut label_values = family.label_values.into_iter();
    let mut seen = HashSet::with_capacity(rows);
    let mut metrics = Vec::with_capacity(rows);
    for (row, value) in values.into_iter().enumerate() {
        let of_row = label_values.by_ref().take(columns.sorted.len());
        let labels = labels_of(name, &columns, of_row, limits)?;
        if !seen.insert(labels.clone()) {
            return Err(Fault::Invalid(format!(
                "metric {name} is given twice with the labels {labels}"
            )));
        }
        metrics.push(Metric {
            value,
            labels,
            timestamp_ms: timestamps_ms(row),
            start_timestamp_ms: starts_ms(row),
        });
    }
    Ok(MetricFamily {
        name: family.name,
        metadata: Metadata {
            kind: kind(family.kind),
            help: family.help,
            unit: family.unit,
        },
        metrics,
    })
}

fn check_lengths(metric: &str, rows: usize, columns: &Columns, given: usize) -> Result<(), Fault> {
    let names = columns.sorted.len();
    match rows.checked_mul(names) {
        Some(expected) if expected == given => Ok(()),
        _ => Err(Fault::Invalid(format!(
            "metric {metric}: {given} label values for {rows} metrics of {names} label names"
        ))),
    }
}

/// A list of times, one a metric or none at all.
fn times<'a>(
    metric: &str,
    list: &str,
    rows: usize,
    times_ms: &'a [i64],
) -> Result<impl Fn(usize) -> Option<i64> + use<'a>, Fault> {
    if !times_ms.is_empty() && times_ms.len() != rows {
        return Err(Fault::Invalid(format!(
            "metric {metric}: {} {list} for {rows} metrics",
            times_ms.len()
        )));
    }
    Ok(|row| {
        times_ms
            .get(row)
            .copied()
            .filter(|time_ms| *time_ms != NO_TIME)
    })
}

/// The family's label names in the order of the alphabet, each with its column.
struct Columns {
    sorted: Vec<(Arc<str>, usize)>,
}

fn columns(family: &raw::Family, limits: &Limits) -> Result<Columns, Fault> {
    let metric = &family.name;
    let names = &family.label_names;
    let at = || format!(" (metric {metric})");
    limit_at("labels", names.len(), limits.labels, at)?;
    let mut sorted = Vec::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        let reserved = match family.kind {
            raw::MetricType::Histogram | raw::MetricType::GaugeHistogram => name == "le",
            raw::MetricType::Summary => name == "quantile",
            _ => false,
        };
        if !is_legacy_label_name(name) || name.starts_with("__") || reserved {
            return Err(Fault::Invalid(format!(
                "metric {metric}: invalid label name {}: expected a letter or _, then letters, \
                 digits or _; names that start with __ are Prometheus's own, as are le and \
                 quantile in histograms and summaries",
                shown(name)
            )));
        }
        limit_at("label_name_bytes", name.len(), limits.label_name_bytes, at)?;
        sorted.push((Arc::from(name.as_str()), column));
    }
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Fault::Invalid(format!(
            "metric {metric}: label {} is named twice",
            pair[0].0
        ))),
        None => Ok(Columns { sorted }),
    }
}

fn labels_of(
    metric: &str,
    columns: &Columns,
    values: impl Iterator<Item = String>,
    limits: &Limits,
) -> Result<Labels, Fault> {
    let mut values: Vec<String> = values.collect();
    let mut labels = Vec::with_capacity(values.len());
    for (name, column) in &columns.sorted {
        // Lengths agree, so the column is there.
        let value = values.get_mut(*column).map(std::mem::take);
        let value = value.unwrap_or_default();
        limit_at(
            "label_value_bytes",
            value.len(),
            limits.label_value_bytes,
            || format!(" (metric {metric}, label {name})"),
        )?;
        if !value.is_empty() {
            labels.push(Label::new(name.clone(), value));
        }
    }
    Ok(Labels::from_sorted(labels))
}

/// The values of a family, which fit its type.
fn values(
    metric: &str,
    kind: raw::MetricType,
    values: raw::Values,
) -> Result<Vec<MetricValue>, Fault> {
    use raw::MetricType as Kind;
    let is_histogram = matches!(kind, Kind::Histogram | Kind::GaugeHistogram);
    match values {
        raw::Values::Numbers(numbers) if !is_histogram && kind != Kind::Summary => {
            Ok(numbers.into_iter().map(MetricValue::Float).collect())
        }
        raw::Values::Histograms(all) if is_histogram => all
            .into_iter()
            .map(|each| histogram(metric, each))
            .collect(),
        raw::Values::NativeHistograms(all) if is_histogram => {
            let is_gauge = kind == Kind::GaugeHistogram;
            let native = |each| native_histogram(metric, is_gauge, each);
            all.into_iter().map(native).collect()
        }
        raw::Values::Summaries(all) if kind == Kind::Summary => {
            all.into_iter().map(|each| summary(metric, each)).collect()
        }
        _ => Err(Fault::Invalid(format!(
            "metric {metric} has values that are not of its type"
        ))),
    }
}

fn ascends(pairs: &[(f64, f64)]) -> bool {
    pairs.windows(2).all(|pair| pair[0].0 < pair[1].0)
}

fn histogram(metric: &str, histogram: raw::Histogram) -> Result<MetricValue, Fault> {
    let bounds = &histogram.buckets;
    let infinite = bounds.iter().any(|(bound, _)| !bound.is_finite());
    if !ascends(bounds) || infinite {
        return Err(Fault::Invalid(format!(
            "metric {metric}: the buckets' bounds must be finite and ascend"
        )));
    }
    Ok(MetricValue::Histogram {
        buckets: histogram.buckets,
        sum: histogram.sum,
        count: histogram.count,
    })
}

fn summary(metric: &str, summary: raw::Summary) -> Result<MetricValue, Fault> {
    let outside = |(quantile, _): &(f64, f64)| !(0.0..=1.0).contains(quantile);
    if !ascends(&summary.quantiles) || summary.quantiles.iter().any(outside) {
        return Err(Fault::Invalid(format!(
            "metric {metric}: the quantiles must lie between 0 and 1 and ascend"
        )));
    }
    Ok(MetricValue::Summary {
        quantiles: summary.quantiles,
        sum: summary.sum,
        count: summary.count,
    })
}

fn native_histogram(
    metric: &str,
    is_gauge: bool,
    raw: raw::NativeHistogram,
) -> Result<MetricValue, Fault> {
    let spans = |spans: Vec<raw::Span>| {
        let span = |span: raw::Span| Span {
            offset: span.offset,
            length: span.length,
        };
        spans.into_iter().map(span).collect()
    };
    // No plugin can forge the end of a series.
    let sum = match is_stale_nan(raw.sum) {
        true => f64::from_bits(NORMAL_NAN_BITS),
        false => raw.sum,
    };
    let histogram = Histogram {
        counter_reset: match is_gauge {
            true => CounterReset::Gauge,
            false => CounterReset::Unknown,
        },
        schema: raw.schema,
        zero_threshold: raw.zero_threshold,
        zero_count: raw.zero_count,
        count: raw.count,
        sum,
        positive_spans: spans(raw.positive_spans),
        positive_buckets: raw.positive_counts,
        negative_spans: spans(raw.negative_spans),
        negative_buckets: raw.negative_counts,
        custom_values: raw.custom_bounds,
    };
    match histogram.check() {
        Ok(()) => Ok(MetricValue::NativeHistogram(Arc::new(histogram))),
        Err(reason) => Err(Fault::Invalid(format!(
            "metric {metric}: invalid native histogram: {reason}"
        ))),
    }
}

fn kind(kind: raw::MetricType) -> MetricType {
    match kind {
        raw::MetricType::Counter => MetricType::Counter,
        raw::MetricType::Gauge => MetricType::Gauge,
        raw::MetricType::Histogram => MetricType::Histogram,
        raw::MetricType::Summary => MetricType::Summary,
        raw::MetricType::Info => MetricType::Info,
        raw::MetricType::StateSet => MetricType::StateSet,
        raw::MetricType::GaugeHistogram => MetricType::GaugeHistogram,
        raw::MetricType::Unknown => MetricType::Unknown,
    }
}

/// Quoted, and cut where it is long: whoever broke the limit for names has a long one.
fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;

//! What plugins give becomes the agent's own types here, if it is valid and within the limits.
//!
//! Keeps true: what passes can be stored and served as it is. A fault is named so that the
//! plugin's author finds it.

use std::collections::HashSet;
use std::sync::Arc;

use narthex_model::family::Metadata;
use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use narthex_model::{Label, Labels, Metric, MetricFamily, MetricType, MetricValue, TargetGroup};

use crate::Limits;
use crate::bindings::metrics as raw;
use crate::bindings::publisher::TargetGroup as RawGroup;

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
        series += family.metrics.iter().map(series_of).sum::<usize>();
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

fn series_of(metric: &raw::Metric) -> usize {
    match &metric.value {
        raw::Value::Number(_) => 1,
        // The bucket of +Inf, the sum and the count come on top.
        raw::Value::Histogram(histogram) => histogram.buckets.len() + 3,
        raw::Value::Summary(summary) => summary.quantiles.len() + 2,
    }
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
    let mut seen = HashSet::with_capacity(family.metrics.len());
    let mut metrics = Vec::with_capacity(family.metrics.len());
    for metric in family.metrics {
        let labels = labels_of(name, &columns, metric.label_values, limits)?;
        if !seen.insert(labels.clone()) {
            return Err(Fault::Invalid(format!(
                "metric {name} is given twice with the labels {labels}"
            )));
        }
        metrics.push(Metric {
            value: value(name, family.kind, metric.value)?,
            labels,
            timestamp_ms: metric.timestamp_ms,
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
    mut values: Vec<String>,
    limits: &Limits,
) -> Result<Labels, Fault> {
    if values.len() != columns.sorted.len() {
        return Err(Fault::Invalid(format!(
            "metric {metric}: {} label values for {} label names",
            values.len(),
            columns.sorted.len()
        )));
    }
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
            labels.push(Label {
                name: name.clone(),
                value: value.into(),
            });
        }
    }
    Ok(Labels::from_sorted(labels))
}

fn value(metric: &str, kind: raw::MetricType, value: raw::Value) -> Result<MetricValue, Fault> {
    use raw::MetricType as Kind;
    let ascends = |pairs: &[(f64, f64)]| pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let is_histogram = matches!(kind, Kind::Histogram | Kind::GaugeHistogram);
    match value {
        raw::Value::Number(number) if !is_histogram && kind != Kind::Summary => {
            Ok(MetricValue::Float(number))
        }
        raw::Value::Histogram(histogram) if is_histogram => {
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
        raw::Value::Summary(summary) if kind == Kind::Summary => {
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
        _ => Err(Fault::Invalid(format!(
            "metric {metric} has a value that is not of its type"
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

/// One call's target groups. That all groups together stay within the limit is not seen here.
pub(crate) fn groups(groups: Vec<RawGroup>, limits: &Limits) -> Result<Vec<TargetGroup>, Fault> {
    groups
        .into_iter()
        .map(|group| {
            let at = || format!(" (group {})", shown(&group.source));
            limit_at(
                "label_value_bytes",
                group.source.len(),
                limits.label_value_bytes,
                at,
            )?;
            Ok(TargetGroup {
                targets: group
                    .targets
                    .into_iter()
                    .map(|labels| target_labels(&group.source, labels, limits))
                    .collect::<Result<_, Fault>>()?,
                labels: target_labels(&group.source, group.labels, limits)?,
                source: group.source,
            })
        })
        .collect()
}

fn target_labels(
    source: &str,
    labels: Vec<(String, String)>,
    limits: &Limits,
) -> Result<Labels, Fault> {
    let at = || format!(" (group {})", shown(source));
    limit_at("labels", labels.len(), limits.labels, at)?;
    let mut seen = HashSet::with_capacity(labels.len());
    for (name, value) in &labels {
        if name.is_empty() {
            return Err(Fault::Invalid(format!(
                "group {}: a label without a name",
                shown(source)
            )));
        }
        if !seen.insert(name.as_str()) {
            return Err(Fault::Invalid(format!(
                "group {}: label {} is named twice",
                shown(source),
                shown(name)
            )));
        }
        limit_at("label_name_bytes", name.len(), limits.label_name_bytes, at)?;
        limit_at(
            "label_value_bytes",
            value.len(),
            limits.label_value_bytes,
            at,
        )?;
    }
    Ok(Labels::from_pairs(labels))
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
mod tests {
    use super::*;

    fn gauge(name: &str, label_names: &[&str], metrics: &[&[&str]]) -> raw::Family {
        raw::Family {
            name: name.to_owned(),
            kind: raw::MetricType::Gauge,
            help: "Help.".to_owned(),
            unit: String::new(),
            label_names: label_names.iter().map(|&n| n.to_owned()).collect(),
            metrics: metrics
                .iter()
                .map(|values| raw::Metric {
                    label_values: values.iter().map(|&v| v.to_owned()).collect(),
                    value: raw::Value::Number(1.0),
                    timestamp_ms: None,
                })
                .collect(),
        }
    }

    fn histogram(buckets: &[f64]) -> raw::Family {
        raw::Family {
            kind: raw::MetricType::Histogram,
            metrics: vec![raw::Metric {
                label_values: vec![],
                value: raw::Value::Histogram(raw::Histogram {
                    buckets: buckets.iter().map(|&bound| (bound, 1.0)).collect(),
                    sum: 1.0,
                    count: 1.0,
                }),
                timestamp_ms: None,
            }],
            ..gauge("h", &[], &[])
        }
    }

    #[test]
    fn sorts_labels_and_drops_empty_ones() {
        let family = gauge("m", &["z", "a", "e"], &[&["1", "2", ""], &["3", "", "4"]]);
        let (families, series) = families(vec![family], &Limits::default()).unwrap();
        let labels: Vec<String> = families[0]
            .metrics
            .iter()
            .map(|metric| metric.labels.to_string())
            .collect();
        assert_eq!(labels, [r#"{a="2", z="1"}"#, r#"{e="4", z="3"}"#]);
        assert_eq!((families[0].name.as_str(), series), ("m", 2));
    }

    #[test]
    fn names_what_is_wrong() {
        let limits = Limits {
            series: 4,
            labels: 2,
            label_name_bytes: 8,
            label_value_bytes: 8,
            ..Limits::default()
        };
        let cases = [
            (
                vec![gauge("1-a", &[], &[&[]])],
                "invalid metric name \"1-a\"",
            ),
            (vec![gauge("", &[], &[&[]])], "invalid metric name \"\""),
            (
                vec![gauge("m", &["a-b"], &[&["1"]])],
                "metric m: invalid label name \"a-b\"",
            ),
            (
                vec![gauge("m", &["__name__"], &[&["1"]])],
                "metric m: invalid label name \"__name__\"",
            ),
            (
                vec![gauge("m", &["a", "a"], &[&["1", "2"]])],
                "metric m: label a is named twice",
            ),
            (
                vec![gauge("m", &["a"], &[&["1", "2"]])],
                "metric m: 2 label values for 1 label names",
            ),
            (
                vec![gauge("m", &["a"], &[&["1"], &["1"]])],
                "metric m is given twice with the labels {a=\"1\"}",
            ),
            (
                vec![gauge("m", &["a", "b"], &[&["1", ""], &["1", ""]])],
                "metric m is given twice with the labels {a=\"1\"}",
            ),
            (
                vec![gauge("m", &[], &[&[]]), gauge("m", &[], &[&[]])],
                "the family m is given twice",
            ),
            (
                vec![gauge(
                    "m",
                    &["a"],
                    &[&["1"], &["2"], &["3"], &["4"], &["5"]],
                )],
                "5 series, and the limit plugins.limits.series is 4",
            ),
            (
                vec![histogram(&[1.0, 2.0])],
                "5 series, and the limit plugins.limits.series is 4",
            ),
            (
                vec![gauge("m", &["a", "b", "c"], &[])],
                "3 labels, and the limit plugins.limits.labels is 2 (metric m)",
            ),
            (
                vec![gauge("m_and_more", &[], &[])],
                "10 label_name_bytes, and the limit plugins.limits.label_name_bytes is 8",
            ),
            (
                vec![gauge("m", &["a"], &[&["123456789"]])],
                "9 label_value_bytes, and the limit plugins.limits.label_value_bytes is 8 (metric \
                 m, label a)",
            ),
        ];
        for (given, expected) in cases {
            let error = families(given, &limits).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn histograms_must_ascend_and_values_fit_their_type() {
        let limits = Limits::default();
        let check = |family| families(vec![family], &limits).map(|(_, series)| series);
        assert_eq!(check(histogram(&[0.5, 1.0])), Ok(5));
        for buckets in [&[1.0, 0.5][..], &[1.0, 1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(check(histogram(buckets)).is_err(), "{buckets:?}");
        }
        let mut gauge_of_buckets = histogram(&[1.0]);
        gauge_of_buckets.kind = raw::MetricType::Gauge;
        assert!(check(gauge_of_buckets).is_err());
        let mut with_le = histogram(&[1.0]);
        with_le.label_names = vec!["le".to_owned()];
        with_le.metrics[0].label_values = vec!["1".to_owned()];
        assert!(check(with_le).is_err());
    }

    #[test]
    fn target_labels_are_checked() {
        let group = |labels: &[(&str, &str)]| RawGroup {
            source: "s".to_owned(),
            targets: vec![
                labels
                    .iter()
                    .map(|&(n, v)| (n.to_owned(), v.to_owned()))
                    .collect(),
            ],
            labels: vec![],
        };
        let limits = Limits::default();
        let good = groups(vec![group(&[("__address__", "a:1"), ("x", "")])], &limits).unwrap();
        assert_eq!(good[0].targets[0].to_string(), r#"{__address__="a:1"}"#);
        for bad in [&[("", "x")][..], &[("a", "1"), ("a", "2")]] {
            assert!(groups(vec![group(bad)], &limits).is_err(), "{bad:?}");
        }
    }
}

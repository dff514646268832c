//! Calls a plugin as the host would, from a test on your own machine. For what it sees of the
//! world, see [`crate::fake`].

use crate::metrics::{Family, Value, label_text};
use crate::{ConfigError, Discovery, Error, Exporter, Metrics, config};

/// An exporter with this configuration, a JSON object.
pub fn exporter<E: Exporter>(json: &str) -> Result<E, ConfigError> {
    config::parse(json).and_then(E::new)
}

/// A discovery with this configuration, a JSON object.
pub fn discovery<D: Discovery>(json: &str, base_directory: &str) -> Result<D, ConfigError> {
    config::parse(json).and_then(|config| D::new(config, base_directory))
}

/// Collects once and checks the families as the host does.
pub fn collect(exporter: &mut impl Exporter) -> Result<Vec<Family>, Error> {
    let mut metrics = Metrics::new();
    exporter.collect(&mut metrics)?;
    metrics.finish()
}

/// The samples as lines of text, `name{label="value"} 1`, in the order in which they were given.
pub fn lines(families: &[Family]) -> Vec<String> {
    let mut lines = Vec::new();
    for family in families {
        for metric in &family.metrics {
            let labels = label_text(family, metric);
            let name = &family.name;
            match &metric.value {
                Value::Number(value) => lines.push(format!("{name}{labels} {value}")),
                Value::Histogram(histogram) => {
                    for (bound, count) in &histogram.buckets {
                        let labels = with_label(&labels, "le", &bound.to_string());
                        lines.push(format!("{name}_bucket{labels} {count}"));
                    }
                    let all = with_label(&labels, "le", "+Inf");
                    lines.push(format!("{name}_bucket{all} {}", histogram.count));
                    lines.push(format!("{name}_sum{labels} {}", histogram.sum));
                    lines.push(format!("{name}_count{labels} {}", histogram.count));
                }
                Value::Summary(summary) => {
                    for (quantile, value) in &summary.quantiles {
                        let labels = with_label(&labels, "quantile", &quantile.to_string());
                        lines.push(format!("{name}{labels} {value}"));
                    }
                    lines.push(format!("{name}_sum{labels} {}", summary.sum));
                    lines.push(format!("{name}_count{labels} {}", summary.count));
                }
            }
        }
    }
    lines
}

fn with_label(labels: &str, name: &str, value: &str) -> String {
    match labels.strip_suffix('}') {
        Some(open) => format!("{open},{name}={value:?}}}"),
        None => format!("{{{name}={value:?}}}"),
    }
}

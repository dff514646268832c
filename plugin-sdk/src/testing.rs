//! Calls a plugin as the host would, from a test on your own machine. For what it sees of the
//! world, see [`crate::fake`].

use crate::fake::Patience;
use crate::metrics::{Family, Value, label_text};
use crate::{ConfigError, Discovery, Error, Exporter, Metrics, config, executor, fake};

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

/// How a discovery's run stands when the script of [`fake::Host::then`] is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for more, as it should.
    Waits,
    /// It has ended, by itself or by an error.
    Ended(Result<(), Error>),
}

/// Runs a discovery until it ends or the script is over.
pub fn run(discovery: impl Discovery) -> Outcome {
    let wait = || fake::wait(Patience::UntilTheScriptIsOver).ok_or(());
    match executor::drive(discovery.run(), wait) {
        Ok(result) => Outcome::Ended(result),
        Err(()) => Outcome::Waits,
    }
}

/// The samples as lines of text, `name{label="value"} 1`, in the order in which they were given.
/// Native histograms are given as their count and sum.
pub fn lines(families: &[Family]) -> Vec<String> {
    let mut lines = Vec::new();
    for family in families {
        for metric in family.metrics() {
            let labels = label_text(&family.label_names, metric.label_values);
            sample_lines(&family.name, &labels, &metric.value, &mut lines);
        }
    }
    lines
}

fn sample_lines(name: &str, labels: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Number(value) => lines.push(format!("{name}{labels} {value}")),
        Value::Histogram(histogram) => {
            for (bound, count) in &histogram.buckets {
                let labels = with_label(labels, "le", &bound.to_string());
                lines.push(format!("{name}_bucket{labels} {count}"));
            }
            let all = with_label(labels, "le", "+Inf");
            lines.push(format!("{name}_bucket{all} {}", histogram.count));
            lines.push(format!("{name}_sum{labels} {}", histogram.sum));
            lines.push(format!("{name}_count{labels} {}", histogram.count));
        }
        Value::Native(histogram) => {
            lines.push(format!("{name}_sum{labels} {}", histogram.sum));
            lines.push(format!("{name}_count{labels} {}", histogram.count));
        }
        Value::Summary(summary) => {
            for (quantile, value) in &summary.quantiles {
                let labels = with_label(labels, "quantile", &quantile.to_string());
                lines.push(format!("{name}{labels} {value}"));
            }
            lines.push(format!("{name}_sum{labels} {}", summary.sum));
            lines.push(format!("{name}_count{labels} {}", summary.count));
        }
    }
}

fn with_label(labels: &str, name: &str, value: &str) -> String {
    match labels.strip_suffix('}') {
        Some(open) => format!("{open},{name}={value:?}}}"),
        None => format!("{{{name}={value:?}}}"),
    }
}

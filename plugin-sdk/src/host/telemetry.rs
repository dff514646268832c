//! What a discovery tells of its own work on the agent's page of metrics. Names begin with
//! `prometheus_sd_NAME_` or `narthex_sd_NAME_`, where NAME is the plugin's.
//!
//! ```
//! use narthex_plugin_sdk::telemetry::Counter;
//!
//! const LOOKUPS: Counter = Counter::new("prometheus_sd_shop_lookups_total", "Lookups of shops.");
//! LOOKUPS.add(&[("country", "fr")], 1.0);
//! ```

use super::backend::telemetry;
use crate::bindings::discovery::narthex::plugin::telemetry::Metric;
use crate::metrics::names::is_metric_name;

/// Failures of a discovery that asks again and again: what Prometheus's alerts look at. The host adds
/// the label `mechanism`.
pub const REFRESH_FAILURES: Counter = Counter::new(
    "prometheus_sd_refresh_failures_total",
    "Refreshes of the targets that failed.",
);

/// Only grows. It goes on from one run to the next.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
}

/// Goes up and down. It ends with the run.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    name: &'static str,
    help: &'static str,
}

impl Counter {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        check(name);
        Counter { name, help }
    }

    /// Adding 0 shows it.
    pub fn add(&self, labels: &[(&str, &str)], value: f64) {
        told(telemetry::add(&metric(self.name, self.help, labels), value));
    }
}

impl Gauge {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        check(name);
        Gauge { name, help }
    }

    pub fn set(&self, labels: &[(&str, &str)], value: f64) {
        let metric = metric(self.name, self.help, labels);
        told(telemetry::set(&metric, Some(value)));
    }

    pub fn end(&self, labels: &[(&str, &str)]) {
        told(telemetry::set(&metric(self.name, self.help, labels), None));
    }
}

const fn check(name: &str) {
    assert!(is_metric_name(name), "no name of a metric");
}

fn metric(name: &str, help: &str, labels: &[(&str, &str)]) -> Metric {
    let labels = labels.iter();
    Metric {
        name: name.to_owned(),
        help: help.to_owned(),
        labels: labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// Finding targets goes on whatever becomes of what is told of it.
fn told<E: std::fmt::Debug>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!("telemetry: {error:?}");
    }
}

//! The families that collectors give: type, name and help, which are node_exporter's.

use narthex_plugin_sdk::metrics::FamilyBuilder;
use narthex_plugin_sdk::{MetricType, Metrics, Value};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    kind: MetricType,
    pub(crate) name: &'static str,
    help: &'static str,
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor {
        kind: MetricType::Gauge,
        name,
        help,
    }
}

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor {
        kind: MetricType::Counter,
        name,
        help,
    }
}

impl Descriptor {
    /// The family, to add metrics to.
    pub(crate) fn family<'a>(&self, metrics: &'a mut Metrics) -> FamilyBuilder<'a, Value, 0> {
        metrics.family(self.name, self.help, self.kind)
    }

    /// The one metric of a family without labels.
    pub(crate) fn set(&self, metrics: &mut Metrics, value: f64) {
        self.family(metrics).set(value);
    }

    /// One metric of a family with labels.
    pub(crate) fn add<const N: usize>(
        &self,
        metrics: &mut Metrics,
        labels: [&str; N],
        values: [&str; N],
        value: f64,
    ) {
        self.family(metrics).labels(labels).add(values, value);
    }
}

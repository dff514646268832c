//! What discovery says of itself, under Prometheus's names.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Shared by all managers of the process, which the label `name` tells apart.
#[derive(Clone)]
pub struct Metrics {
    pub(crate) discovered_targets: IntGaugeVec,
    pub(crate) failed_configs: IntGaugeVec,
    pub(crate) received_updates: IntCounterVec,
    pub(crate) updates: IntCounterVec,
    pub(crate) updates_delayed: IntCounterVec,
    pub(crate) last_update: GaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["name"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let last_update = GaugeVec::new(
            Opts::new(
                "prometheus_sd_last_update_timestamp_seconds",
                "Timestamp of the last update sent to the consumers of the targets.",
            ),
            &["name"],
        )?;
        registry.register(Box::new(last_update.clone()))?;
        Ok(Metrics {
            discovered_targets: gauge(
                "prometheus_sd_discovered_targets",
                "Current number of discovered targets.",
                &["name", "config"],
            )?,
            failed_configs: gauge(
                "prometheus_sd_failed_configs",
                "Current number of service discovery entries that fail or wait for their plugin.",
                &["name"],
            )?,
            received_updates: counter(
                "prometheus_sd_received_updates_total",
                "Number of updates received from the discoveries.",
            )?,
            updates: counter(
                "prometheus_sd_updates_total",
                "Number of updates sent to the consumers of the targets.",
            )?,
            updates_delayed: counter(
                "prometheus_sd_updates_delayed_total",
                "Number of updates that were held back to be sent together with later ones.",
            )?,
            last_update,
        })
    }
}

//! What the agent counts of itself as a whole: build, process, configuration.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) reload_successful: IntGauge,
    pub(crate) reload_success_seconds: Gauge,
    pub(crate) ready: IntGauge,
}

impl Metrics {
    pub(crate) fn new(
        registry: &Registry,
        prometheus_version: &str,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            reload_successful: IntGauge::new(
                "prometheus_config_last_reload_successful",
                "Whether the last configuration reload attempt was successful.",
            )?,
            reload_success_seconds: Gauge::new(
                "prometheus_config_last_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
            )?,
            ready: IntGauge::new("prometheus_ready", "Whether requests can be served.")?,
        };
        registry.register(Box::new(metrics.reload_successful.clone()))?;
        registry.register(Box::new(metrics.reload_success_seconds.clone()))?;
        registry.register(Box::new(metrics.ready.clone()))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        build_info(registry, "prometheus_build_info", prometheus_version)?;
        build_info(registry, "narthex_build_info", env!("CARGO_PKG_VERSION"))?;
        Ok(metrics)
    }
}

fn build_info(registry: &Registry, name: &str, version: &str) -> Result<(), prometheus::Error> {
    let help = "A metric with the constant value 1, labelled by the version.";
    let info = IntGaugeVec::new(Opts::new(name, help), &["version"])?;
    info.with_label_values(&[version]).set(1);
    registry.register(Box::new(info))
}

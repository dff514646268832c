//! What the script host counts of itself.

use prometheus::{IntGauge, Registry};

pub(crate) struct Metrics {
    pub(crate) loaded: IntGauge,
    pub(crate) broken: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            loaded: IntGauge::new("narthex_scripts_loaded", "Scripts that are loaded.")?,
            broken: IntGauge::new(
                "narthex_scripts_broken",
                "Script files whose present content cannot be loaded.",
            )?,
        };
        registry.register(Box::new(metrics.loaded.clone()))?;
        registry.register(Box::new(metrics.broken.clone()))?;
        Ok(metrics)
    }
}

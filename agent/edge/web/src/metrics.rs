//! What the HTTP server counts of itself.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

pub(crate) struct Metrics {
    requests: IntCounterVec,
    duration_seconds: HistogramVec,
    pub(crate) federation_errors: IntCounter,
    /// Nothing here warns: a store finds series or fails. Dashboards ask for it all the same.
    federation_warnings: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics {
            requests: IntCounterVec::new(
                Opts::new(
                    "prometheus_http_requests_total",
                    "Counter of HTTP requests.",
                ),
                &["handler", "code"],
            )?,
            duration_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "prometheus_http_request_duration_seconds",
                    "Histogram of latencies for HTTP requests.",
                )
                .buckets(vec![0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0]),
                &["handler"],
            )?,
            federation_errors: IntCounter::new(
                "prometheus_web_federation_errors_total",
                "Total number of errors that occurred while sending federation responses.",
            )?,
            federation_warnings: IntCounter::new(
                "prometheus_web_federation_warnings_total",
                "Total number of warnings that occurred while sending federation responses.",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration_seconds.clone()))?;
        registry.register(Box::new(metrics.federation_errors.clone()))?;
        registry.register(Box::new(metrics.federation_warnings.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn observe(&self, handler: &str, code: u16, duration: Duration) {
        self.requests
            .with_label_values(&[handler, &code.to_string()])
            .inc();
        self.duration_seconds
            .with_label_values(&[handler])
            .observe(duration.as_secs_f64());
    }
}

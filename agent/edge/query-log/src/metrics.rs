//! `prometheus_engine_*`.

use std::time::Duration;

use narthex_telemetry::SummaryVec;
use prometheus::{Error, HistogramOpts, HistogramVec, IntCounter, IntGauge, Registry};

pub(crate) struct Metrics {
    pub(crate) queries: IntGauge,
    pub(crate) log_enabled: IntGauge,
    pub(crate) log_failures: IntCounter,
    pub(crate) samples: IntCounter,
    pub(crate) samples_read: IntCounter,
    durations: SummaryVec,
    duration_histogram: HistogramVec,
}

/// A part of a query's time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slice {
    Queue,
    Prepare,
    InnerEvaluation,
}

impl Slice {
    fn name(self) -> &'static str {
        match self {
            Slice::Queue => "queue_time",
            Slice::Prepare => "prepare_time",
            Slice::InnerEvaluation => "inner_eval",
        }
    }
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, concurrent_max: usize) -> Result<Self, Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, Error>(counter)
        };
        let concurrent = gauge(
            "prometheus_engine_queries_concurrent_max",
            "The max number of concurrent queries.",
        )?;
        concurrent.set(i64::try_from(concurrent_max).unwrap_or(i64::MAX));
        let duration_histogram = HistogramVec::new(
            HistogramOpts::new(
                "prometheus_engine_query_duration_histogram_seconds",
                "The duration of various parts of PromQL query execution.",
            )
            .buckets(vec![0.01, 0.1, 1.0, 10.0]),
            &["slice"],
        )?;
        registry.register(Box::new(duration_histogram.clone()))?;
        Ok(Metrics {
            queries: gauge(
                "prometheus_engine_queries",
                "The current number of queries being executed or waiting.",
            )?,
            log_enabled: gauge(
                "prometheus_engine_query_log_enabled",
                "State of the query log.",
            )?,
            log_failures: counter(
                "prometheus_engine_query_log_failures_total",
                "The number of query log failures.",
            )?,
            samples: counter(
                "prometheus_engine_query_samples_total",
                "The total number of samples loaded by all queries (full window per step for \
                 range-vector).",
            )?,
            samples_read: counter(
                "prometheus_engine_query_samples_read_total",
                "The total number of samples read by all queries (only new points per step for \
                 range-vector).",
            )?,
            durations: SummaryVec::register(
                registry,
                "prometheus_engine_query_duration_seconds",
                "Query timings",
                "slice",
                &[0.5, 0.9, 0.99],
            )?,
            duration_histogram,
        })
    }

    pub(crate) fn observe(&self, slice: Slice, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.durations.observe(slice.name(), seconds);
        self.duration_histogram
            .with_label_values(&[slice.name()])
            .observe(seconds);
    }
}

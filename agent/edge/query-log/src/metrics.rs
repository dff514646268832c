//! `prometheus_engine_*`. The histogram of durations is left out, as promtool finds fault with its
//! name; the summary tells the same.

use std::time::Duration;

use narthex_telemetry::SummaryVec;
use prometheus::{Error, IntCounter, IntGauge, Registry};

pub(crate) struct Metrics {
    pub(crate) queries: IntGauge,
    pub(crate) log_enabled: IntGauge,
    pub(crate) log_failures: IntCounter,
    pub(crate) samples: IntCounter,
    pub(crate) samples_read: IntCounter,
    durations: SummaryVec,
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
            "How many queries may run at a time.",
        )?;
        concurrent.set(i64::try_from(concurrent_max).unwrap_or(i64::MAX));
        Ok(Metrics {
            queries: gauge(
                "prometheus_engine_queries",
                "Queries that run or wait to run.",
            )?,
            log_enabled: gauge(
                "prometheus_engine_query_log_enabled",
                "Whether queries are written to a log: 1 or 0.",
            )?,
            log_failures: counter(
                "prometheus_engine_query_log_failures_total",
                "Queries that could not be written to the query log.",
            )?,
            samples: counter(
                "prometheus_engine_query_samples_total",
                "Samples that steps looked at, those of a window again at each step.",
            )?,
            samples_read: counter(
                "prometheus_engine_query_samples_read_total",
                "Samples that were read, those of a window once.",
            )?,
            durations: SummaryVec::register(
                registry,
                "prometheus_engine_query_duration_seconds",
                "How long parts of queries took.",
                "slice",
                &[0.5, 0.9, 0.99],
            )?,
        })
    }

    pub(crate) fn observe(&self, slice: Slice, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.durations.observe(slice.name(), seconds);
    }
}

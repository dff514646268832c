//! What the agent tells about its scraping, under Prometheus's names.

use narthex_telemetry::SummaryVec;
use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

pub(crate) struct Metrics {
    pub interval_length: SummaryVec,
    pub scrape_duration: Histogram,
    pub sync_length: SummaryVec,
    pub pools: IntCounter,
    pub pools_failed: IntCounter,
    pub pool_reloads: IntCounter,
    pub pool_reloads_failed: IntCounter,
    pub pool_exceeded_label_limits: IntCounter,
    pub pool_exceeded_target_limit: IntCounter,
    pub pool_syncs: IntCounterVec,
    pub pool_target_limit: GaugeVec,
    pub pool_targets: GaugeVec,
    pub sync_failed: IntCounterVec,
    pub cache_flush_forced: IntCounter,
    pub exceeded_body_size_limit: IntCounter,
    pub exceeded_sample_limit: IntCounter,
    pub exemplar_out_of_order: IntCounter,
    pub sample_duplicate_timestamp: IntCounter,
    pub sample_out_of_bounds: IntCounter,
    pub sample_out_of_order: IntCounter,
    pub scrapes_skipped: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counter_per_job = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["scrape_job"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge_per_job = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &["scrape_job"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let summary = |name: &str, help: &str, label: &str| {
            SummaryVec::register(registry, name, help, label, &[0.01, 0.05, 0.5, 0.9, 0.99])
        };
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "prometheus_target_scrape_duration_seconds",
                "Total duration of the scrape from start to commit completion in seconds.",
            )
            .buckets(vec![0.001, 0.01, 0.1, 1.0, 10.0]),
        )?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Metrics {
            scrape_duration: duration,
            interval_length: summary(
                "prometheus_target_interval_length_seconds",
                "Actual intervals between scrapes.",
                "interval",
            )?,
            sync_length: summary(
                "prometheus_target_sync_length_seconds",
                "Actual interval to sync the scrape pool.",
                "scrape_job",
            )?,
            pools: counter(
                "prometheus_target_scrape_pools_total",
                "Total number of scrape pool creation attempts.",
            )?,
            pools_failed: counter(
                "prometheus_target_scrape_pools_failed_total",
                "Total number of scrape pool creations that failed.",
            )?,
            pool_reloads: counter(
                "prometheus_target_scrape_pool_reloads_total",
                "Total number of scrape pool reloads.",
            )?,
            pool_reloads_failed: counter(
                "prometheus_target_scrape_pool_reloads_failed_total",
                "Total number of failed scrape pool reloads.",
            )?,
            pool_exceeded_label_limits: counter(
                "prometheus_target_scrape_pool_exceeded_label_limits_total",
                "Total number of times scrape pools hit the label limits.",
            )?,
            pool_exceeded_target_limit: counter(
                "prometheus_target_scrape_pool_exceeded_target_limit_total",
                "Total number of times scrape pools hit the target limit, during sync or config \
                 reload.",
            )?,
            pool_syncs: counter_per_job(
                "prometheus_target_scrape_pool_sync_total",
                "Total number of syncs that were executed on a scrape pool.",
            )?,
            pool_target_limit: gauge_per_job(
                "prometheus_target_scrape_pool_target_limit",
                "Maximum number of targets allowed in this scrape pool.",
            )?,
            pool_targets: gauge_per_job(
                "prometheus_target_scrape_pool_targets",
                "Current number of targets in this scrape pool.",
            )?,
            sync_failed: counter_per_job(
                "prometheus_target_sync_failed_total",
                "Total number of target sync failures.",
            )?,
            cache_flush_forced: counter(
                "prometheus_target_scrapes_cache_flush_forced_total",
                "How many times a scrape cache was flushed due to getting big while scrapes are \
                 failing.",
            )?,
            exceeded_body_size_limit: counter(
                "prometheus_target_scrapes_exceeded_body_size_limit_total",
                "Total number of scrapes that hit the body size limit.",
            )?,
            exceeded_sample_limit: counter(
                "prometheus_target_scrapes_exceeded_sample_limit_total",
                "Total number of scrapes that hit the sample limit and were rejected.",
            )?,
            exemplar_out_of_order: counter(
                "prometheus_target_scrapes_exemplar_out_of_order_total",
                "Total number of exemplars refused because they are older than another of their \
                 series.",
            )?,
            sample_duplicate_timestamp: counter(
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Total number of samples rejected due to duplicate timestamps but different \
                 values.",
            )?,
            sample_out_of_bounds: counter(
                "prometheus_target_scrapes_sample_out_of_bounds_total",
                "Total number of samples rejected due to timestamp falling outside of the time \
                 bounds.",
            )?,
            sample_out_of_order: counter(
                "prometheus_target_scrapes_sample_out_of_order_total",
                "Total number of samples rejected due to not being out of the expected order.",
            )?,
            scrapes_skipped: counter(
                "narthex_target_scrapes_skipped_total",
                "Total number of scrapes left out because an earlier one or the machine was too \
                 slow.",
            )?,
        })
    }

    /// The series of a job that is no more.
    pub(crate) fn forget_job(&self, job: &str) {
        // An error says that there was none.
        let _ = self.pool_syncs.remove_label_values(&[job]);
        let _ = self.pool_target_limit.remove_label_values(&[job]);
        let _ = self.pool_targets.remove_label_values(&[job]);
        let _ = self.sync_failed.remove_label_values(&[job]);
        self.sync_length.remove(job);
    }
}

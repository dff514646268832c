//! What the agent tells about its scraping, under Prometheus's names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

pub(crate) struct Metrics {
    pub interval_length: SummaryVec,
    pub interval_length_histogram: HistogramVec,
    pub scrape_duration: Histogram,
    pub sync_length: SummaryVec,
    pub sync_length_histogram: HistogramVec,
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
        let histogram = |name: &str, help: &str, label: &str| {
            let buckets = vec![0.01, 0.1, 1.0, 10.0, 60.0, 600.0];
            let opts = HistogramOpts::new(name, help).buckets(buckets);
            let histogram = HistogramVec::new(opts, &[label])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let summary = |name: &str, help: &str, label: &str| {
            let summary = SummaryVec::new(name, help, label)?;
            registry.register(Box::new(summary.clone()))?;
            Ok::<_, prometheus::Error>(summary)
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
            interval_length_histogram: histogram(
                "prometheus_target_interval_length_histogram_seconds",
                "Actual intervals between scrapes as a histogram.",
                "interval",
            )?,
            sync_length: summary(
                "prometheus_target_sync_length_seconds",
                "Actual interval to sync the scrape pool.",
                "scrape_job",
            )?,
            sync_length_histogram: histogram(
                "prometheus_target_sync_length_histogram_seconds",
                "Actual interval to sync the scrape pool as a histogram.",
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
        let _ = self.sync_length_histogram.remove_label_values(&[job]);
        self.sync_length.remove(job);
    }
}

/// Quantiles over the latest observations, by one label: the type that dashboards expect here and
/// that the metrics library lacks.
#[derive(Clone)]
pub(crate) struct SummaryVec {
    desc: Desc,
    label: String,
    state: Arc<Mutex<BTreeMap<String, Observations>>>,
}

#[derive(Default)]
struct Observations {
    count: u64,
    sum: f64,
    latest: VecDeque<f64>,
}

const KEPT_OBSERVATIONS: usize = 500;
const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

impl SummaryVec {
    fn new(name: &str, help: &str, label: &str) -> Result<Self, prometheus::Error> {
        let labels = vec![label.to_owned()];
        Ok(SummaryVec {
            desc: Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())?,
            label: label.to_owned(),
            state: Arc::default(),
        })
    }

    pub(crate) fn observe(&self, label: &str, value: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.contains_key(label) {
            state.insert(label.to_owned(), Observations::default());
        }
        if let Some(observations) = state.get_mut(label) {
            observations.count += 1;
            observations.sum += value;
            observations.latest.push_back(value);
            if observations.latest.len() > KEPT_OBSERVATIONS {
                observations.latest.pop_front();
            }
        }
    }

    fn remove(&self, label: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(label);
    }
}

impl Observations {
    fn summary(&self) -> Summary {
        let mut sorted: Vec<f64> = self.latest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quantiles = QUANTILES.iter().map(|&q| {
            let at = (q * sorted.len() as f64).ceil() as usize;
            let mut quantile = Quantile::default();
            quantile.set_quantile(q);
            quantile.set_value(
                sorted
                    .get(at.saturating_sub(1))
                    .copied()
                    .unwrap_or(f64::NAN),
            );
            quantile
        });
        let mut summary = Summary::default();
        summary.set_quantile(quantiles.collect());
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum);
        summary
    }
}

impl Collector for SummaryVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = state.iter().map(|(value, observations)| {
            let mut label = LabelPair::default();
            label.set_name(self.label.clone());
            label.set_value(value.clone());
            let mut metric = Metric::from_label(vec![label]);
            metric.set_summary(observations.summary());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_sums_up() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        for value in 1..=100 {
            metrics.interval_length.observe("15s", f64::from(value));
        }
        let families = registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "prometheus_target_interval_length_seconds")
            .unwrap();
        let summary = family.get_metric()[0].get_summary();
        assert_eq!(
            (summary.sample_count(), summary.sample_sum()),
            (100, 5050.0)
        );
        let values: Vec<f64> = summary.get_quantile().iter().map(Quantile::value).collect();
        assert_eq!(values, [1.0, 5.0, 50.0, 90.0, 99.0]);
        assert!(Metrics::new(&registry).is_err());
    }
}

//! What the ruler tells about itself, under Prometheus's names.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use narthex_telemetry::Summary;
use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

pub(crate) struct Metrics {
    pub(crate) evaluation_duration: Summary,
    pub(crate) group_duration: Summary,
    evaluations: IntCounterVec,
    evaluation_failures: IntCounterVec,
    group_interval: GaugeVec,
    group_iterations: IntCounterVec,
    group_iterations_missed: IntCounterVec,
    group_last_duration: GaugeVec,
    group_last_rule_duration_sum: GaugeVec,
    group_last_restore_duration: GaugeVec,
    group_last_evaluation_timestamp: GaugeVec,
    group_last_evaluation_samples: IntGaugeVec,
    group_rules: IntGaugeVec,
    /// How many workers each group has: two while one replaces the other.
    workers: Mutex<BTreeMap<String, usize>>,
}

/// One evaluation of a group, for its metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupEvaluation {
    pub(crate) started_ms: i64,
    pub(crate) seconds: f64,
    pub(crate) rule_seconds: f64,
    pub(crate) samples: usize,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Metrics {
            evaluation_duration: summary(
                registry,
                "prometheus_rule_evaluation_duration_seconds",
                "The duration for a rule to execute.",
            )?,
            group_duration: summary(
                registry,
                "prometheus_rule_group_duration_seconds",
                "The duration of rule group evaluations.",
            )?,
            evaluations: counters(
                registry,
                "prometheus_rule_evaluations_total",
                "The total number of rule evaluations.",
            )?,
            evaluation_failures: counters(
                registry,
                "prometheus_rule_evaluation_failures_total",
                "The total number of rule evaluation failures.",
            )?,
            group_interval: gauges(
                registry,
                "prometheus_rule_group_interval_seconds",
                "The interval of a rule group.",
            )?,
            group_iterations: counters(
                registry,
                "prometheus_rule_group_iterations_total",
                "The total number of scheduled rule group evaluations, whether executed or missed.",
            )?,
            group_iterations_missed: counters(
                registry,
                "prometheus_rule_group_iterations_missed_total",
                "The total number of rule group evaluations missed due to slow rule group \
                 evaluation.",
            )?,
            group_last_duration: gauges(
                registry,
                "prometheus_rule_group_last_duration_seconds",
                "The duration of the last rule group evaluation.",
            )?,
            group_last_rule_duration_sum: gauges(
                registry,
                "prometheus_rule_group_last_rule_duration_sum_seconds",
                "The sum of time in seconds it took to evaluate each rule in the group.",
            )?,
            group_last_restore_duration: gauges(
                registry,
                "prometheus_rule_group_last_restore_duration_seconds",
                "The duration of the last alert state restoration.",
            )?,
            group_last_evaluation_timestamp: gauges(
                registry,
                "prometheus_rule_group_last_evaluation_timestamp_seconds",
                "The timestamp of the last rule group evaluation in seconds.",
            )?,
            group_last_evaluation_samples: int_gauges(
                registry,
                "prometheus_rule_group_last_evaluation_samples",
                "The number of samples returned during the last rule group evaluation.",
            )?,
            group_rules: int_gauges(
                registry,
                "prometheus_rule_group_rules",
                "The number of rules.",
            )?,
            workers: Mutex::default(),
        })
    }

    /// A worker of the group starts: the series exist from now on, so that rates of them are right.
    pub(crate) fn worker_started(&self, group: &str, interval_ms: u64, rules: usize) {
        *self.workers().entry(group.to_owned()).or_default() += 1;
        let label = &[group];
        let rules = i64::try_from(rules).unwrap_or(i64::MAX);
        self.group_interval
            .with_label_values(label)
            .set(interval_ms as f64 / 1000.0);
        self.group_rules.with_label_values(label).set(rules);
        self.evaluations.with_label_values(label);
        self.evaluation_failures.with_label_values(label);
        self.group_iterations.with_label_values(label);
        self.group_iterations_missed.with_label_values(label);
    }

    /// A worker of the group has ended; with the last one the series go.
    pub(crate) fn worker_ended(&self, group: &str) {
        let mut workers = self.workers();
        let left = workers.get(group).map_or(0, |count| count - 1);
        if left > 0 {
            workers.insert(group.to_owned(), left);
            return;
        }
        workers.remove(group);
        self.forget_group(group);
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_group(&self, group: &str) {
        let label = &[group];
        // An error says that there was none.
        for counters in [
            &self.evaluations,
            &self.evaluation_failures,
            &self.group_iterations,
            &self.group_iterations_missed,
        ] {
            let _ = counters.remove_label_values(label);
        }
        for gauges in [
            &self.group_interval,
            &self.group_last_duration,
            &self.group_last_rule_duration_sum,
            &self.group_last_restore_duration,
            &self.group_last_evaluation_timestamp,
        ] {
            let _ = gauges.remove_label_values(label);
        }
        let _ = self
            .group_last_evaluation_samples
            .remove_label_values(label);
        let _ = self.group_rules.remove_label_values(label);
    }

    pub(crate) fn rule_evaluated(&self, group: &str, seconds: f64) {
        self.evaluations.with_label_values(&[group]).inc();
        self.evaluation_duration.observe(seconds);
    }

    pub(crate) fn rule_failed(&self, group: &str) {
        self.evaluation_failures.with_label_values(&[group]).inc();
    }

    pub(crate) fn iterations(&self, group: &str, missed: u64) {
        let label = &[group];
        self.group_iterations
            .with_label_values(label)
            .inc_by(missed.saturating_add(1));
        self.group_iterations_missed
            .with_label_values(label)
            .inc_by(missed);
    }

    pub(crate) fn restored(&self, group: &str, seconds: f64) {
        self.group_last_restore_duration
            .with_label_values(&[group])
            .set(seconds);
    }

    pub(crate) fn group_evaluated(&self, group: &str, evaluation: GroupEvaluation) {
        let label = &[group];
        self.group_duration.observe(evaluation.seconds);
        self.group_last_duration
            .with_label_values(label)
            .set(evaluation.seconds);
        self.group_last_rule_duration_sum
            .with_label_values(label)
            .set(evaluation.rule_seconds);
        self.group_last_evaluation_timestamp
            .with_label_values(label)
            .set(evaluation.started_ms as f64 / 1000.0);
        let samples = i64::try_from(evaluation.samples).unwrap_or(i64::MAX);
        self.group_last_evaluation_samples
            .with_label_values(label)
            .set(samples);
    }
}

const GROUP_LABEL: &str = "rule_group";

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    registered(
        registry,
        IntCounterVec::new(Opts::new(name, help), &[GROUP_LABEL])?,
    )
}

fn gauges(registry: &Registry, name: &str, help: &str) -> Result<GaugeVec, prometheus::Error> {
    registered(
        registry,
        GaugeVec::new(Opts::new(name, help), &[GROUP_LABEL])?,
    )
}

fn int_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntGaugeVec, prometheus::Error> {
    registered(
        registry,
        IntGaugeVec::new(Opts::new(name, help), &[GROUP_LABEL])?,
    )
}

fn summary(registry: &Registry, name: &str, help: &str) -> Result<Summary, prometheus::Error> {
    // The quantiles that Prometheus has for evaluations.
    Summary::register(registry, name, help, &[0.5, 0.9, 0.99])
}

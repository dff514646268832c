//! The numbers of notifying, under Alertmanager's names, and those of forwarding, under
//! Prometheus's.

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// The integrations that there are.
const INTEGRATIONS: [&str; 1] = ["webhook"];

const SUPPRESSIONS: [&str; 4] = [
    "active_time_interval",
    "inhibition",
    "mute_time_interval",
    "silence",
];

/// Why a notification failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    Other,
    ClientError,
    ServerError,
    ContextCanceled,
    ContextDeadlineExceeded,
    AuthError,
    RateLimited,
}

impl FailureReason {
    const ALL: [FailureReason; 7] = [
        FailureReason::Other,
        FailureReason::ClientError,
        FailureReason::ServerError,
        FailureReason::ContextCanceled,
        FailureReason::ContextDeadlineExceeded,
        FailureReason::AuthError,
        FailureReason::RateLimited,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            FailureReason::Other => "other",
            FailureReason::ClientError => "clientError",
            FailureReason::ServerError => "serverError",
            FailureReason::ContextCanceled => "contextCanceled",
            FailureReason::ContextDeadlineExceeded => "contextDeadlineExceeded",
            FailureReason::AuthError => "authError",
            FailureReason::RateLimited => "rateLimited",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) alerts: IntGaugeVec,
    pub(crate) alerts_received: IntCounterVec,
    pub(crate) alerts_invalid: IntCounterVec,
    pub(crate) groups: IntGauge,
    pub(crate) receivers: IntGauge,
    pub(crate) integrations: IntGauge,
    pub(crate) inhibition_rules: IntGauge,
    pub(crate) notifications: IntCounterVec,
    pub(crate) notifications_failed: IntCounterVec,
    pub(crate) notifications_suppressed: IntCounterVec,
    pub(crate) requests: IntCounterVec,
    pub(crate) requests_failed: IntCounterVec,
    pub(crate) latency_seconds: HistogramVec,
    pub(crate) reload_successful: IntGauge,
    pub(crate) reload_success_seconds: Gauge,
    pub(crate) external: ExternalMetrics,
}

/// Of the Alertmanagers elsewhere.
#[derive(Clone)]
pub(crate) struct ExternalMetrics {
    pub(crate) sent: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) dropped: IntCounterVec,
    pub(crate) queue_length: IntGaugeVec,
    pub(crate) queue_capacity: IntGauge,
    pub(crate) latency_seconds: HistogramVec,
    pub(crate) discovered: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let add = Adder {
            registry,
            prefix: "alertmanager",
        };
        let metrics = Metrics {
            alerts: add.gauges("alerts", "How many alerts by state.", &["state"])?,
            alerts_received: add.counters(
                "alerts_received_total",
                "The total number of received alerts.",
                &["status", "version"],
            )?,
            alerts_invalid: add.counters(
                "alerts_invalid_total",
                "The total number of received alerts that were invalid.",
                &["version"],
            )?,
            groups: add.gauge(
                "dispatcher_aggregation_groups",
                "Number of active aggregation groups",
            )?,
            receivers: add.gauge("receivers", "Number of configured receivers.")?,
            integrations: add.gauge("integrations", "Number of configured integrations.")?,
            inhibition_rules: add
                .gauge("inhibition_rules", "Number of configured inhibition rules.")?,
            notifications: add.counters(
                "notifications_total",
                "The total number of attempted notifications.",
                &["integration"],
            )?,
            notifications_failed: add.counters(
                "notifications_failed_total",
                "The total number of failed notifications.",
                &["integration", "reason"],
            )?,
            notifications_suppressed: add.counters(
                "notifications_suppressed_total",
                "The total number of notifications suppressed for being silenced, inhibited, \
                 outside of active time intervals or within muted time intervals.",
                &["reason"],
            )?,
            requests: add.counters(
                "notification_requests_total",
                "The total number of attempted notification requests.",
                &["integration"],
            )?,
            requests_failed: add.counters(
                "notification_requests_failed_total",
                "The total number of failed notification requests.",
                &["integration"],
            )?,
            latency_seconds: add.histograms(
                "notification_latency_seconds",
                "The latency of notifications in seconds.",
                &["integration"],
                &[1.0, 5.0, 10.0, 15.0, 20.0],
            )?,
            reload_successful: add.gauge(
                "config_last_reload_successful",
                "Whether the last configuration reload attempt was successful.",
            )?,
            reload_success_seconds: add.float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
            )?,
            external: ExternalMetrics::new(registry)?,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// Rates need a start: what has not happened yet is shown as 0.
    fn show_zeros(&self) {
        for state in ["active", "suppressed", "unprocessed"] {
            self.alerts.with_label_values(&[state]);
        }
        for status in ["firing", "resolved"] {
            self.alerts_received.with_label_values(&[status, "v2"]);
        }
        self.alerts_invalid.with_label_values(&["v2"]);
        for reason in SUPPRESSIONS {
            self.notifications_suppressed.with_label_values(&[reason]);
        }
        for integration in INTEGRATIONS {
            self.notifications.with_label_values(&[integration]);
            self.requests.with_label_values(&[integration]);
            self.requests_failed.with_label_values(&[integration]);
            self.latency_seconds.with_label_values(&[integration]);
            for reason in FailureReason::ALL {
                let labels = [integration, reason.as_str()];
                self.notifications_failed.with_label_values(&labels);
            }
        }
    }
}

impl ExternalMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let add = Adder {
            registry,
            prefix: "prometheus_notifications",
        };
        let alertmanager = &["alertmanager"];
        Ok(ExternalMetrics {
            sent: add.counters("sent_total", "Total number of alerts sent.", alertmanager)?,
            errors: add.counters(
                "errors_total",
                "Total number of sent alerts affected by errors.",
                alertmanager,
            )?,
            dropped: add.counters(
                "dropped_total",
                "Total number of alerts dropped due to errors when sending to Alertmanager.",
                alertmanager,
            )?,
            queue_length: add.gauges(
                "queue_length",
                "The number of alert notifications in the queue.",
                alertmanager,
            )?,
            queue_capacity: add.gauge(
                "queue_capacity",
                "The capacity of the alert notifications queue.",
            )?,
            latency_seconds: add.histograms(
                "latency_histogram_seconds",
                "Latency histogram for sending alert notifications.",
                alertmanager,
                &[0.01, 0.1, 1.0, 10.0],
            )?,
            discovered: add.gauge(
                "alertmanagers_discovered",
                "The number of alertmanagers discovered and active.",
            )?,
        })
    }

    pub(crate) fn show_zeros(&self, alertmanager: &str) {
        let labels = [alertmanager];
        self.sent.with_label_values(&labels);
        self.errors.with_label_values(&labels);
        self.dropped.with_label_values(&labels);
        self.queue_length.with_label_values(&labels);
    }

    /// An Alertmanager that is no longer served shows no numbers.
    pub(crate) fn forget(&self, alertmanager: &str) {
        let labels = [alertmanager];
        // They fail only for what isn't there.
        let _ = self.sent.remove_label_values(&labels);
        let _ = self.errors.remove_label_values(&labels);
        let _ = self.dropped.remove_label_values(&labels);
        let _ = self.queue_length.remove_label_values(&labels);
        let _ = self.latency_seconds.remove_label_values(&labels);
    }
}

/// Makes and registers metrics that share a prefix.
struct Adder<'a> {
    registry: &'a Registry,
    prefix: &'static str,
}

impl Adder<'_> {
    fn options(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("{}_{name}", self.prefix), help)
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(self.options(name, help))?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::with_opts(self.options(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(self.options(name, help), labels)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(self.options(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::from(self.options(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }
}

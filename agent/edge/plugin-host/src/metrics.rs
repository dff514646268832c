//! The host's own metrics. What the status tells of a plugin's use are the same numbers.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::host::Pool;
use crate::host::telemetry::{Page, Telemetry, Teller};
use crate::status::Usage;

#[derive(Clone)]
pub(crate) struct Metrics {
    telemetry: Arc<Telemetry>,
    state: IntGaugeVec,
    calls: IntCounterVec,
    call_seconds: CounterVec,
    call_seconds_peak: GaugeVec,
    http_requests: IntCounterVec,
    failures_in_a_row: IntGaugeVec,
    failures: IntCounterVec,
    restarts: IntCounterVec,
    limit_hits: IntCounterVec,
    refused_calls: IntCounterVec,
    log_lines_dropped: IntCounterVec,
    memory_peak_bytes: IntGaugeVec,
    series: IntGaugeVec,
    targets: IntGaugeVec,
    loads: IntCounterVec,
    load_seconds: GaugeVec,
}

/// The states, as the label `state` has them; exactly one is 1.
pub(crate) const STATES: [&str; 7] = [
    "loading",
    "running",
    "waiting-for-grant",
    "failed",
    "suspended",
    "broken",
    "disabled",
];

impl Metrics {
    pub(crate) fn new(registry: &Registry, pool: &Arc<Pool>) -> Result<Self, prometheus::Error> {
        registry.register(Box::new(TotalMemory::new(pool.clone())?))?;
        let telemetry = Arc::new(Telemetry::default());
        registry.register(Box::new(Page(telemetry.clone())))?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let call_seconds = CounterVec::new(
            Opts::new(
                "narthex_plugin_call_seconds_total",
                "Time spent in calls of the plugin, host calls included.",
            ),
            &["plugin"],
        )?;
        registry.register(Box::new(call_seconds.clone()))?;
        let call_seconds_peak = GaugeVec::new(
            Opts::new(
                "narthex_plugin_call_peak_seconds",
                "How long the longest call of the plugin took.",
            ),
            &["plugin"],
        )?;
        registry.register(Box::new(call_seconds_peak.clone()))?;
        let load_seconds = GaugeVec::new(
            Opts::new(
                "narthex_plugin_load_duration_seconds",
                "How long the last load of the plugin took, compiling included.",
            ),
            &["plugin"],
        )?;
        registry.register(Box::new(load_seconds.clone()))?;
        Ok(Metrics {
            telemetry,
            state: gauges(
                "narthex_plugin_state",
                "1 for the state the plugin is in, 0 for the others.",
                &["plugin", "state"],
            )?,
            calls: counters(
                "narthex_plugin_calls_total",
                "Calls of the plugin.",
                &["plugin"],
            )?,
            call_seconds,
            call_seconds_peak,
            http_requests: counters(
                "narthex_plugin_http_requests_total",
                "Requests that the plugin made, redirects not counted.",
                &["plugin"],
            )?,
            failures_in_a_row: gauges(
                "narthex_plugin_failures_in_a_row",
                "How often in a row an instance of the plugin was lost; the more, the longer it \
                 waits for the next one.",
                &["plugin"],
            )?,
            failures: counters(
                "narthex_plugin_failures_total",
                "Calls that failed, by what was to blame: plugin (it said so itself), trap, limit \
                 or invalid (its output).",
                &["plugin", "reason"],
            )?,
            restarts: counters(
                "narthex_plugin_restarts_total",
                "Instances started anew after one had trapped or ended.",
                &["plugin"],
            )?,
            limit_hits: counters(
                "narthex_plugin_limit_hits_total",
                "How often the plugin ran into one of plugins.limits.",
                &["plugin", "limit"],
            )?,
            refused_calls: counters(
                "narthex_plugin_refused_calls_total",
                "Calls of the host that were refused as the plugin has not declared what it asked \
                 for, or the user has not granted it.",
                &["plugin", "capability"],
            )?,
            log_lines_dropped: counters(
                "narthex_plugin_log_lines_dropped_total",
                "Log lines of the plugin beyond plugins.limits.log_lines.",
                &["plugin"],
            )?,
            memory_peak_bytes: gauges(
                "narthex_plugin_memory_peak_bytes",
                "The most linear memory that an instance of the plugin has had.",
                &["plugin"],
            )?,
            series: gauges(
                "narthex_plugin_series",
                "Series that the plugin gave at its last collection.",
                &["plugin"],
            )?,
            targets: gauges(
                "narthex_plugin_targets",
                "Targets that the discovery which published last has published.",
                &["plugin"],
            )?,
            loads: counters(
                "narthex_plugin_loads_total",
                "Files of the plugin that were loaded (success) or refused (failure).",
                &["plugin", "result"],
            )?,
            load_seconds,
        })
    }

    pub(crate) fn of(&self, plugin: &str) -> PluginMetrics {
        // Those that may stay at zero for ever are shown at zero.
        for limit in LIMITS {
            self.limit_hits.with_label_values(&[plugin, limit]);
        }
        for reason in FAILURES {
            self.failures.with_label_values(&[plugin, reason]);
        }
        for capability in CAPABILITIES {
            self.refused_calls.with_label_values(&[plugin, capability]);
        }
        PluginMetrics {
            plugin: plugin.to_owned(),
            calls: self.calls.with_label_values(&[plugin]),
            call_seconds: self.call_seconds.with_label_values(&[plugin]),
            call_seconds_peak: self.call_seconds_peak.with_label_values(&[plugin]),
            http_requests: self.http_requests.with_label_values(&[plugin]),
            failures_in_a_row: self.failures_in_a_row.with_label_values(&[plugin]),
            restarts: self.restarts.with_label_values(&[plugin]),
            log_lines_dropped: self.log_lines_dropped.with_label_values(&[plugin]),
            memory_peak_bytes: self.memory_peak_bytes.with_label_values(&[plugin]),
            series: self.series.with_label_values(&[plugin]),
            targets: self.targets.with_label_values(&[plugin]),
            all: self.clone(),
        }
    }
}

/// One plugin's numbers.
pub(crate) struct PluginMetrics {
    plugin: String,
    all: Metrics,
    calls: IntCounter,
    call_seconds: Counter,
    call_seconds_peak: Gauge,
    pub(crate) http_requests: IntCounter,
    failures_in_a_row: IntGauge,
    pub(crate) restarts: IntCounter,
    pub(crate) log_lines_dropped: IntCounter,
    memory_peak_bytes: IntGauge,
    pub(crate) series: IntGauge,
    pub(crate) targets: IntGauge,
}

const FAILURES: [&str; 4] = ["plugin", "trap", "limit", "invalid"];

/// As `wants` and `grants` name them.
const CAPABILITIES: [&str; 6] = ["files", "http", "dns", "env", "system", "query"];

pub(crate) const LIMITS: [&str; 13] = [
    "memory",
    "total_memory",
    "call_timeout",
    "series",
    "targets",
    "labels",
    "label_name_bytes",
    "label_value_bytes",
    "transfer_bytes",
    "file_bytes",
    "http_requests",
    "http_bytes",
    "subscriptions",
];

impl PluginMetrics {
    pub(crate) fn note_call(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.calls.inc();
        self.call_seconds.inc_by(seconds);
        if seconds > self.call_seconds_peak.get() {
            self.call_seconds_peak.set(seconds);
        }
    }

    pub(crate) fn note_failures(&self, in_a_row: u32) {
        self.failures_in_a_row.set(i64::from(in_a_row));
    }

    pub(crate) fn note_memory(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > self.memory_peak_bytes.get() {
            self.memory_peak_bytes.set(bytes);
        }
    }

    /// `limit` is one of [`LIMITS`].
    pub(crate) fn note_limit(&self, limit: &str) {
        self.all
            .limit_hits
            .with_label_values(&[self.plugin.as_str(), limit])
            .inc();
    }

    /// `capability` is one of [`CAPABILITIES`].
    pub(crate) fn note_refusal(&self, capability: &str) {
        self.all
            .refused_calls
            .with_label_values(&[self.plugin.as_str(), capability])
            .inc();
    }

    /// `reason` is one of the label's values.
    pub(crate) fn note_failure(&self, reason: &str) {
        self.all
            .failures
            .with_label_values(&[self.plugin.as_str(), reason])
            .inc();
    }

    pub(crate) fn usage(&self) -> Usage {
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let with = |label| [self.plugin.as_str(), label];
        let failures = |reason| self.all.failures.with_label_values(&with(reason)).get();
        let hits = |limit| self.all.limit_hits.with_label_values(&with(limit)).get();
        let refused = |of| self.all.refused_calls.with_label_values(&with(of)).get();
        Usage {
            memory_peak_bytes: unsigned(self.memory_peak_bytes.get()),
            calls: self.calls.get(),
            call_seconds: self.call_seconds.get(),
            call_seconds_peak: self.call_seconds_peak.get(),
            http_requests: self.http_requests.get(),
            failures_in_a_row: unsigned(self.failures_in_a_row.get()),
            failures: FAILURES.into_iter().map(failures).sum(),
            restarts: self.restarts.get(),
            series: unsigned(self.series.get()),
            targets: unsigned(self.targets.get()),
            log_lines_dropped: self.log_lines_dropped.get(),
            limit_hits: LIMITS
                .into_iter()
                .map(|limit| (limit, hits(limit)))
                .filter(|(_, hits)| *hits > 0)
                .collect(),
            refused_calls: CAPABILITIES
                .into_iter()
                .map(|capability| (capability, refused(capability)))
                .filter(|(_, refused)| *refused > 0)
                .collect(),
        }
    }

    pub(crate) fn note_load(&self, ok: bool, seconds: f64) {
        let result = if ok { "success" } else { "failure" };
        let plugin = self.plugin.as_str();
        self.all.loads.with_label_values(&[plugin, result]).inc();
        self.all
            .load_seconds
            .with_label_values(&[plugin])
            .set(seconds);
    }

    pub(crate) fn set_state(&self, state: &str) {
        for each in STATES {
            self.all
                .state
                .with_label_values(&[self.plugin.as_str(), each])
                .set(i64::from(each == state));
        }
    }

    /// For an instance that tells of its own work.
    pub(crate) fn teller(&self) -> Teller {
        self.all.telemetry.teller(&self.plugin)
    }

    /// A plugin that is gone leaves no series behind.
    pub(crate) fn remove(&self) {
        self.all.telemetry.remove(&self.plugin);
        let plugin = [self.plugin.as_str()];
        for vec in [
            &self.all.calls,
            &self.all.restarts,
            &self.all.log_lines_dropped,
            &self.all.http_requests,
        ] {
            let _ = vec.remove_label_values(&plugin);
        }
        for vec in [
            &self.all.memory_peak_bytes,
            &self.all.series,
            &self.all.targets,
            &self.all.failures_in_a_row,
        ] {
            let _ = vec.remove_label_values(&plugin);
        }
        let _ = self.all.call_seconds.remove_label_values(&plugin);
        let _ = self.all.call_seconds_peak.remove_label_values(&plugin);
        let _ = self.all.load_seconds.remove_label_values(&plugin);
        let with = |label| [self.plugin.as_str(), label];
        for state in STATES {
            let _ = self.all.state.remove_label_values(&with(state));
        }
        for limit in LIMITS {
            let _ = self.all.limit_hits.remove_label_values(&with(limit));
        }
        for capability in CAPABILITIES {
            let _ = self
                .all
                .refused_calls
                .remove_label_values(&with(capability));
        }
        for reason in FAILURES {
            let _ = self.all.failures.remove_label_values(&with(reason));
        }
        for result in ["success", "failure"] {
            let _ = self.all.loads.remove_label_values(&with(result));
        }
    }
}

/// The memory of all plugins, read when someone asks.
struct TotalMemory {
    pool: Arc<Pool>,
    gauge: IntGauge,
}

impl TotalMemory {
    fn new(pool: Arc<Pool>) -> Result<Self, prometheus::Error> {
        let gauge = IntGauge::new(
            "narthex_plugins_memory_bytes",
            "Linear memory and tables of all instances of all plugins.",
        )?;
        Ok(TotalMemory { pool, gauge })
    }
}

impl Collector for TotalMemory {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let bytes = i64::try_from(self.pool.used_bytes()).unwrap_or(i64::MAX);
        self.gauge.set(bytes);
        self.gauge.collect()
    }
}

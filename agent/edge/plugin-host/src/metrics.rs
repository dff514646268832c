//! The host's own metrics. What the status tells of a plugin's use are the same numbers.

use prometheus::{
    Counter, CounterVec, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::status::Usage;

#[derive(Clone)]
pub(crate) struct Metrics {
    state: IntGaugeVec,
    calls: IntCounterVec,
    call_seconds: CounterVec,
    failures: IntCounterVec,
    restarts: IntCounterVec,
    limit_hits: IntCounterVec,
    log_lines_dropped: IntCounterVec,
    memory_peak_bytes: IntGaugeVec,
    series: IntGaugeVec,
    targets: IntGaugeVec,
    loads: IntCounterVec,
    load_seconds: GaugeVec,
}

/// The states, as the label `state` has them; exactly one is 1.
pub(crate) const STATES: [&str; 6] = [
    "loading",
    "running",
    "waiting-for-grant",
    "failed",
    "broken",
    "disabled",
];

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
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
        let load_seconds = GaugeVec::new(
            Opts::new(
                "narthex_plugin_load_duration_seconds",
                "How long the last load of the plugin took, compiling included.",
            ),
            &["plugin"],
        )?;
        registry.register(Box::new(load_seconds.clone()))?;
        Ok(Metrics {
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
        PluginMetrics {
            plugin: plugin.to_owned(),
            calls: self.calls.with_label_values(&[plugin]),
            call_seconds: self.call_seconds.with_label_values(&[plugin]),
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
    pub(crate) calls: IntCounter,
    pub(crate) call_seconds: Counter,
    pub(crate) restarts: IntCounter,
    pub(crate) log_lines_dropped: IntCounter,
    memory_peak_bytes: IntGauge,
    pub(crate) series: IntGauge,
    pub(crate) targets: IntGauge,
}

const FAILURES: [&str; 4] = ["plugin", "trap", "limit", "invalid"];

pub(crate) const LIMITS: [&str; 10] = [
    "memory",
    "call_timeout",
    "series",
    "targets",
    "labels",
    "label_name_bytes",
    "label_value_bytes",
    "transfer_bytes",
    "file_bytes",
    "subscriptions",
];

impl PluginMetrics {
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
        Usage {
            memory_peak_bytes: unsigned(self.memory_peak_bytes.get()),
            calls: self.calls.get(),
            call_seconds: self.call_seconds.get(),
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

    /// A plugin that is gone leaves no series behind.
    pub(crate) fn remove(&self) {
        let plugin = [self.plugin.as_str()];
        for vec in [
            &self.all.calls,
            &self.all.restarts,
            &self.all.log_lines_dropped,
        ] {
            let _ = vec.remove_label_values(&plugin);
        }
        for vec in [
            &self.all.memory_peak_bytes,
            &self.all.series,
            &self.all.targets,
        ] {
            let _ = vec.remove_label_values(&plugin);
        }
        let _ = self.all.call_seconds.remove_label_values(&plugin);
        let _ = self.all.load_seconds.remove_label_values(&plugin);
        let with = |label| [self.plugin.as_str(), label];
        for state in STATES {
            let _ = self.all.state.remove_label_values(&with(state));
        }
        for limit in LIMITS {
            let _ = self.all.limit_hits.remove_label_values(&with(limit));
        }
        for reason in FAILURES {
            let _ = self.all.failures.remove_label_values(&with(reason));
        }
        for result in ["success", "failure"] {
            let _ = self.all.loads.remove_label_values(&with(result));
        }
    }
}

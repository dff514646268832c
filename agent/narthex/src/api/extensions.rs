//! Plugins and scripts for the API.

use std::sync::Arc;

use narthex_extension::{BoxFuture, Capabilities, HttpAccess};
use narthex_model::MetricFamily;
use narthex_plugin_host::{PluginStatus, Usage};
use narthex_script_host::{ScriptHost, ScriptStatus};
use narthex_web::backend::Extensions;
use serde_json::{Value, json};

pub(crate) struct ExtensionsView {
    pub(crate) plugins: narthex_plugin_host::Handle,
    pub(crate) scripts: Arc<ScriptHost>,
}

impl Extensions for ExtensionsView {
    fn plugins(&self) -> Value {
        self.plugins.status().iter().map(plugin).collect()
    }

    fn scripts(&self) -> Value {
        self.scripts.status().iter().map(script).collect()
    }

    fn collect(&self, plugin: &str) -> BoxFuture<'_, Option<Result<Vec<MetricFamily>, String>>> {
        let set = self.plugins.plugins().borrow().clone();
        // By the plugin's name, or by a job's where a plugin runs under several.
        let found = set
            .exporters
            .iter()
            .find(|handle| handle.job == plugin)
            .or_else(|| set.exporters.iter().find(|handle| handle.plugin == plugin))
            .map(|handle| handle.exporter.clone());
        Box::pin(async move { Some(found?.collect().await.map_err(|e| e.to_string())) })
    }
}

fn plugin(status: &PluginStatus) -> Value {
    let manifest = status.manifest.as_ref();
    json!({
        "name": status.name,
        "file": status.file.display().to_string(),
        "state": status.state.as_str(),
        "world": status.world.map(|world| world.to_string()),
        "contract": status.contract,
        "version": manifest.map(|manifest| &manifest.version),
        "description": manifest.map(|manifest| &manifest.description),
        "sha256": status.sha256,
        "jobs": status.jobs,
        "wants": manifest.map(|manifest| capabilities(&manifest.wants)),
        "optional": manifest.map(|manifest| capabilities(&manifest.optional)),
        "grants": capabilities(&status.grants),
        "missing": capabilities(&status.missing),
        "missingYaml": status.missing_yaml,
        "lastError": status.last_error,
        "lastErrorAtMs": status.last_error_at_ms,
        "limits": {
            "memoryBytes": status.limits.memory_bytes,
            "totalMemoryBytes": status.limits.total_memory_bytes,
            "callTimeoutMs": status.limits.call_timeout_ms,
            "series": status.limits.series,
            "targets": status.limits.targets,
            "labels": status.limits.labels,
            "labelNameBytes": status.limits.label_name_bytes,
            "labelValueBytes": status.limits.label_value_bytes,
            "transferBytes": status.limits.transfer_bytes,
            "fileBytes": status.limits.file_bytes,
            "httpRequests": status.limits.http_requests,
            "httpBytes": status.limits.http_bytes,
            "subscriptions": status.limits.subscriptions,
            "logLinesPerSecond": status.limits.log_lines_per_second,
        },
        "usage": usage(&status.usage),
    })
}

fn usage(usage: &Usage) -> Value {
    let counts = |counts: &[(&str, u64)]| -> Value {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect::<serde_json::Map<String, Value>>()
            .into()
    };
    json!({
        "memoryPeakBytes": usage.memory_peak_bytes,
        "calls": usage.calls,
        "callSeconds": usage.call_seconds,
        "callPeakSeconds": usage.call_seconds_peak,
        "httpRequests": usage.http_requests,
        "failuresInARow": usage.failures_in_a_row,
        "failures": usage.failures,
        "restarts": usage.restarts,
        "series": usage.series,
        "targets": usage.targets,
        "logLinesDropped": usage.log_lines_dropped,
        "limitHits": counts(&usage.limit_hits),
        "refusedCalls": counts(&usage.refused_calls),
    })
}

pub(crate) fn capabilities(capabilities: &Capabilities) -> Value {
    let files: Vec<&String> = capabilities.files.iter().map(|file| &file.path).collect();
    let http: Vec<Value> = capabilities.http.iter().map(requests).collect();
    json!({
        "files": files,
        "http": http,
        "dns": capabilities.dns,
        "env": capabilities.env,
        "system": capabilities.system,
        "query": capabilities.query,
    })
}

/// A URL, with its methods where not all are meant.
fn requests(access: &HttpAccess) -> Value {
    match access.methods.is_empty() {
        true => json!(access.url),
        false => json!({ "url": access.url, "methods": access.methods }),
    }
}

fn script(status: &ScriptStatus) -> Value {
    let limits = &status.limits;
    let usage = &status.usage;
    json!({
        "name": status.name,
        "file": status.file.display().to_string(),
        "state": status.state.as_str(),
        "lastError": status.load_error.as_ref().or(usage.last_error.as_ref()),
        "intervalMs": status.interval_ms,
        "limits": {
            "operations": limits.operations,
            "timeMs": limits.time_ms,
            "memoryBytes": limits.memory_bytes,
            "stringBytes": limits.string_bytes,
            "arrayItems": limits.array_items,
            "mapItems": limits.map_items,
            "callDepth": limits.call_depth,
            "variables": limits.variables,
            "alerts": limits.alerts,
            "stateBytes": limits.state_bytes,
        },
        "usage": {
            "evaluations": usage.evaluations,
            "failures": usage.failures,
            "lastDurationMs": usage.last_duration_ms,
            "lastAlerts": usage.last_alerts,
        },
        // Scripts reach nothing but what the evaluation hands them.
        "wants": { "query": true },
        "grants": { "query": true },
    })
}

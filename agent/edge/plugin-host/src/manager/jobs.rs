//! Which exporters run, with which configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ExporterInstance;
use crate::code::{Code, World};
use crate::exporter::{Runner, Slot, Worker};

use super::versions::missing;
use super::{Job, Manager, Plugin, Version, blocking};

impl Manager {
    /// The exporters that should be there: the configured ones, and each plugin that none of them
    /// names as a job of its own name.
    fn wanted_jobs(&self) -> Vec<ExporterInstance> {
        let mut wanted = self.config.exporters.clone();
        let named: BTreeSet<&str> = self
            .config
            .exporters
            .iter()
            .flat_map(|exporter| [exporter.plugin.as_str(), exporter.job.as_str()])
            .collect();
        for (name, plugin) in &self.plugins {
            let runs = plugin
                .active
                .as_ref()
                .is_some_and(|active| active.code.world() == World::Exporter);
            if runs && !named.contains(name.as_str()) {
                wanted.push(ExporterInstance {
                    job: name.clone(),
                    plugin: name.clone(),
                    interval_ms: None,
                    config: serde_json::Value::Object(serde_json::Map::new()),
                });
            }
        }
        wanted
    }

    pub(super) async fn reconcile_jobs(&mut self) {
        let wanted = self.wanted_jobs();
        self.jobs.retain(|name, job| {
            let keep = wanted
                .iter()
                .any(|wanted| wanted.job == *name && wanted.plugin == job.wanted.plugin);
            if !keep {
                job.slot.clear(format!("job {name} was removed"));
            }
            keep
        });
        for wanted in wanted {
            self.reconcile_job(wanted).await;
        }
    }

    /// The job's place, and whether it runs with this configuration if it runs at all.
    fn place(&mut self, wanted: &ExporterInstance, reason: &str) -> (bool, Arc<Slot>) {
        if let Some(job) = self.jobs.get_mut(&wanted.job) {
            let same = job.wanted.config == wanted.config;
            job.wanted = wanted.clone();
            return (same, job.slot.clone());
        }
        let slot = Arc::new(Slot::empty(&wanted.plugin, reason.to_owned()));
        let job = Job {
            wanted: wanted.clone(),
            slot: slot.clone(),
            refusal: None,
        };
        self.jobs.insert(wanted.job.clone(), job);
        (true, slot)
    }

    async fn reconcile_job(&mut self, wanted: ExporterInstance) {
        let plugin = self.plugins.get(&wanted.plugin);
        let disabled = self.config.disabled.contains(&wanted.plugin);
        let version = plugin
            .and_then(|plugin| plugin.active.clone())
            .filter(|active| active.code.world() == World::Exporter);
        let reason = idle_reason(&wanted.plugin, plugin, disabled);
        let (same, slot) = self.place(&wanted, &reason);
        let Some(version) = version else {
            slot.clear(reason);
            return;
        };
        let runs = slot.is_taken();
        if runs && same {
            return;
        }
        let refusal = match prepare(&version, &wanted, runs).await {
            Ok(worker) => {
                slot.take(worker);
                None
            }
            Err(error) => {
                tracing::error!(
                    job = wanted.job,
                    "the former configuration stays in force: {error}"
                );
                Some(error)
            }
        };
        if let Some(job) = self.jobs.get_mut(&wanted.job) {
            job.refusal = refusal;
        }
    }
}

/// What those are told who ask a job that has nothing to run.
pub(super) fn idle_reason(name: &str, plugin: Option<&Plugin>, disabled: bool) -> String {
    let Some(plugin) = plugin else {
        return format!("there is no plugin {name}: no file {name}.wasm in the plugin folder");
    };
    if disabled {
        return format!("plugin {name} is disabled");
    }
    match plugin.version() {
        Some(version) if version.code.world() == World::Discovery => {
            format!("plugin {name} is a discovery and gives no metrics")
        }
        Some(version) if !missing(version).is_empty() => format!(
            "plugin {name} waits until narthex.yml has under plugins.grants: {}",
            version.shared.permits.load().yaml_entry()
        ),
        _ => match &plugin.refusal {
            Some(refusal) => format!("plugin {name} cannot be loaded: {refusal}"),
            None => format!("plugin {name} is being loaded"),
        },
    }
}

/// A worker with a configured instance. One that is to replace another must have shown that it
/// works; the first one gets its chance whatever happens.
pub(super) async fn prepare(
    version: &Version,
    wanted: &ExporterInstance,
    replaces: bool,
) -> Result<Worker, String> {
    let Code::Exporter(code) = &version.code.code else {
        return Err(format!("plugin {} is a discovery", wanted.plugin));
    };
    let (code, shared, wanted) = (code.clone(), version.shared.clone(), wanted.clone());
    blocking(move || {
        let (mut runner, started) = Runner::start(code, shared, &wanted.job, &wanted.config);
        match started {
            Ok(()) if replaces => runner.try_out()?,
            Ok(()) => {}
            Err(error) if replaces => return Err(error.to_string()),
            Err(error) => tracing::error!(job = wanted.job, "{error}"),
        }
        Worker::spawn(runner)
    })
    .await
    .and_then(|worker| worker)
}

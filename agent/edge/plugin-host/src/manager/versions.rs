//! Which version of each plugin runs, and whether it may.

use std::sync::Arc;

use narthex_extension::Capabilities;

use crate::code::{Code, World};
use crate::config::Grant;
use crate::discovery::{self, Provider, Supply};
use crate::exporter::Worker;
use crate::grant::{Permits, Root};

use super::files::refuse;
use super::jobs::{idle_reason, prepare};
use super::{Manager, Version};

impl Manager {
    /// Starts what should run, stops what should not, and tells.
    pub(super) async fn settle(&mut self) {
        let names: Vec<String> = self.plugins.keys().cloned().collect();
        for name in &names {
            self.permit(name);
            self.activate(name).await;
        }
        self.reconcile_jobs().await;
        self.publish();
    }

    pub(super) fn grants(&self, name: &str) -> Grant {
        self.config.grants.get(name).cloned().unwrap_or_default()
    }

    /// Puts limits and grants in force, and stops what may no longer run.
    fn permit(&mut self, name: &str) {
        let grants = self.grants(name);
        let disabled = self.config.disabled.contains(name);
        let limits = self.limits.clone();
        let Some(plugin) = self.plugins.get_mut(name) else {
            return;
        };
        for version in [&plugin.active, &plugin.candidate].into_iter().flatten() {
            version.shared.limits.store(limits.clone());
            version.shared.permits.store(Arc::new(Permits {
                http: grants.http.clone(),
                plugin: name.to_owned(),
                wants: version.manifest.wants.clone(),
                optional: version.manifest.optional.clone(),
                grants: grants.capabilities.clone(),
                root: Root::default(),
            }));
        }
        let may_run = |version: &Version| !disabled && missing(version).is_empty();
        if plugin
            .active
            .as_ref()
            .is_some_and(|active| !may_run(active))
        {
            let stopped = plugin.active.take();
            if plugin.candidate.is_none() {
                plugin.candidate = stopped;
            }
            if let Some(provider) = &plugin.provider {
                provider.supply(Supply::Waiting);
            }
            for job in self.jobs.values().filter(|job| job.wanted.plugin == name) {
                job.slot.clear(idle_reason(name, Some(plugin), disabled));
            }
        }
    }

    /// Puts the candidate into its place, if it may run and does.
    async fn activate(&mut self, name: &str) {
        if self.config.disabled.contains(name) {
            return;
        }
        let Some(plugin) = self.plugins.get_mut(name) else {
            return;
        };
        let Some(candidate) = plugin.candidate.take() else {
            return;
        };
        if !missing(&candidate).is_empty() {
            plugin.tell_waiting(name, &candidate);
            if candidate.code.world() == World::Discovery {
                // Its runs wait for the grant.
                let provider = || Arc::new(Provider::new(name));
                plugin.provider.get_or_insert_with(provider);
            }
            plugin.candidate = Some(candidate);
            return;
        }
        match &candidate.code.code {
            Code::Discovery(code) => {
                let version = discovery::Version {
                    code: Arc::new(code.clone()),
                    shared: candidate.shared.clone(),
                };
                plugin
                    .provider
                    .get_or_insert_with(|| Arc::new(Provider::new(name)))
                    .supply(Supply::Ready(version));
                plugin.active = Some(candidate);
            }
            Code::Exporter(_) => {
                if let Some(provider) = plugin.provider.take() {
                    provider.supply(Supply::Gone);
                }
                let replaces = plugin.active.is_some();
                let prepared = self.prepare_all(name, &candidate, replaces).await;
                self.take_over(name, candidate, prepared);
            }
        }
    }

    /// A worker of this version for each of the plugin's jobs that run.
    async fn prepare_all(
        &self,
        name: &str,
        version: &Version,
        replaces: bool,
    ) -> Result<Vec<(String, Worker)>, String> {
        let mut workers = Vec::new();
        for (job, running) in &self.jobs {
            if running.wanted.plugin == name && (!replaces || running.slot.is_taken()) {
                let worker = prepare(version, &running.wanted, replaces).await?;
                workers.push((job.clone(), worker));
            }
        }
        Ok(workers)
    }

    fn take_over(
        &mut self,
        name: &str,
        version: Version,
        prepared: Result<Vec<(String, Worker)>, String>,
    ) {
        let Some(plugin) = self.plugins.get_mut(name) else {
            return;
        };
        match prepared {
            Ok(workers) => {
                plugin.active = Some(version);
                for (job, worker) in workers {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.slot.take(worker);
                        job.refusal = None;
                    }
                }
            }
            Err(error) => refuse(name, plugin, &error),
        }
    }
}

pub(super) fn missing(version: &Version) -> Capabilities {
    version.shared.permits.load().missing()
}

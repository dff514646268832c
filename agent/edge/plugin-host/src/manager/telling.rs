//! What is told of it all.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_extension::{DiscoveryProvider, ExporterHandle};

use crate::status::Notice;

use super::{Manager, Plugin, PluginSet};

impl Manager {
    /// Gives the set on if it differs, and brings the board up to date.
    pub(super) fn publish(&self) {
        let set = PluginSet {
            exporters: self.exporters(),
            providers: self.providers(),
        };
        self.set.send_if_modified(|former| {
            let differs = !former.is(&set);
            *former = set;
            differs
        });
        self.post();
    }

    /// Without those whose plugin is being loaded for the first time: asking them now would only
    /// show a failure that is over in a moment.
    fn exporters(&self) -> Vec<ExporterHandle> {
        let is_settled = |(_, job): &(&String, &super::Job)| {
            let plugin = self.plugins.get(&job.wanted.plugin);
            plugin.is_none_or(|plugin| plugin.version().is_some() || plugin.refusal.is_some())
        };
        let handle = |(name, job): (&String, &super::Job)| {
            let plugin = self.plugins.get(&job.wanted.plugin);
            let suggested = plugin
                .and_then(Plugin::version)
                .and_then(|version| version.manifest.interval_ms);
            ExporterHandle {
                job: name.clone(),
                plugin: job.wanted.plugin.clone(),
                interval_ms: job.wanted.interval_ms.or(suggested),
                exporter: job.slot.clone(),
            }
        };
        self.jobs.iter().filter(is_settled).map(handle).collect()
    }

    fn providers(&self) -> BTreeMap<String, Arc<dyn DiscoveryProvider>> {
        let mut providers: BTreeMap<String, Arc<dyn DiscoveryProvider>> = BTreeMap::new();
        for (name, plugin) in &self.plugins {
            if let Some(provider) = &plugin.provider
                && !self.config.disabled.contains(name)
            {
                providers.insert(name.clone(), provider.clone());
            }
        }
        providers
    }

    /// Brings the board up to date.
    pub(super) fn post(&self) {
        let notices: Vec<Notice> = self
            .plugins
            .iter()
            .map(|(name, plugin)| self.notice(name, plugin))
            .collect();
        self.board.send_replace(notices);
        self.refresh_states();
    }

    fn refresh_states(&self) {
        for notice in self.board.borrow().iter() {
            notice.metrics.set_state(notice.state().as_str());
        }
    }

    fn notice(&self, name: &str, plugin: &Plugin) -> Notice {
        let version = plugin.version();
        let waiting = plugin.candidate.as_ref().or(plugin.active.as_ref());
        let permits = waiting.map(|version| version.shared.permits.load_full());
        let missing = permits.as_ref().map(|permits| permits.missing());
        let missing = missing.unwrap_or_default();
        let missing_yaml = match missing.is_empty() {
            true => String::new(),
            false => permits.map_or_else(String::new, |permits| permits.yaml()),
        };
        let jobs = || {
            self.jobs
                .iter()
                .filter(|(_, job)| job.wanted.plugin == name)
        };
        let job_refusal = jobs().find_map(|(_, job)| job.refusal.clone());
        Notice {
            name: name.to_owned(),
            file: plugin.path.clone(),
            disabled: self.config.disabled.contains(name),
            active: plugin.active.is_some(),
            world: plugin.world(),
            manifest: version.map(|version| version.manifest.clone()),
            sha256: version.map(|version| version.digest.clone()),
            grants: self.grants(name).capabilities,
            contract: version.map(|version| version.code.contract.as_str()),
            missing,
            missing_yaml,
            refusal: plugin.refusal.clone().or(job_refusal),
            jobs: jobs().map(|(name, _)| name.clone()).collect(),
            limits: self.limits.clone(),
            metrics: plugin.metrics.clone(),
            health: plugin.health.clone(),
        }
    }
}

impl PluginSet {
    /// Whether both hold the very same exporters and providers.
    fn is(&self, other: &PluginSet) -> bool {
        let same_exporter = |(a, b): (&ExporterHandle, &ExporterHandle)| {
            a.job == b.job
                && a.plugin == b.plugin
                && a.interval_ms == b.interval_ms
                && Arc::ptr_eq(&a.exporter, &b.exporter)
        };
        let same_provider = |(name, provider): (&String, &Arc<dyn DiscoveryProvider>)| {
            other
                .providers
                .get(name)
                .is_some_and(|other| Arc::ptr_eq(provider, other))
        };
        self.exporters.len() == other.exporters.len()
            && self.providers.len() == other.providers.len()
            && self
                .exporters
                .iter()
                .zip(&other.exporters)
                .all(same_exporter)
            && self.providers.iter().all(same_provider)
    }
}

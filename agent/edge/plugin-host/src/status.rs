//! What is told of each plugin.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use narthex_extension::Capabilities;

use crate::code::{Manifest, World};
use crate::metrics::PluginMetrics;
use crate::shared::Health;
use crate::{Limits, metrics};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// Being read and compiled.
    Loading,
    Running,
    /// Wants what it has not been granted.
    WaitingForGrant,
    /// An instance failed and will be started again.
    Failed,
    /// An instance has failed so often in a row that it is tried only now and then.
    Suspended,
    /// Its file is no plugin that can run here.
    Broken,
    /// Switched off in the configuration.
    Disabled,
}

impl PluginState {
    pub fn as_str(self) -> &'static str {
        let [
            loading,
            running,
            waiting,
            failed,
            suspended,
            broken,
            disabled,
        ] = metrics::STATES;
        match self {
            PluginState::Loading => loading,
            PluginState::Running => running,
            PluginState::WaitingForGrant => waiting,
            PluginState::Failed => failed,
            PluginState::Suspended => suspended,
            PluginState::Broken => broken,
            PluginState::Disabled => disabled,
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct PluginStatus {
    pub name: String,
    pub file: PathBuf,
    pub state: PluginState,
    /// None as long as no version of the plugin could be loaded.
    pub world: Option<World>,
    /// The version of the contract that it was built for.
    pub contract: Option<&'static str>,
    /// Of the version that runs, else of the one that would.
    pub manifest: Option<Manifest>,
    /// Its file's SHA-256.
    pub sha256: Option<String>,
    pub grants: Capabilities,
    /// What is wanted and has not been granted at all.
    pub missing: Capabilities,
    /// The lines of `narthex.yml` that would grant it; empty where nothing is missing.
    pub missing_yaml: String,
    /// A refused file or configuration, while that lasts; else the latest failure of a call.
    pub last_error: Option<String>,
    /// When the latest failure of a call was.
    pub last_error_at_ms: Option<i64>,
    /// The jobs that run it.
    pub jobs: Vec<String>,
    pub limits: Limits,
    pub usage: Usage,
}

/// What the plugin has used since it was loaded, all its instances together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// The most memory one instance has had.
    pub memory_peak_bytes: u64,
    pub calls: u64,
    pub call_seconds: f64,
    /// The longest call.
    pub call_seconds_peak: f64,
    pub http_requests: u64,
    /// Of the instance that failed most often in a row, up to now.
    pub failures_in_a_row: u64,
    pub failures: u64,
    pub restarts: u64,
    /// Of the last collection.
    pub series: u64,
    /// Of the latest publication.
    pub targets: u64,
    pub log_lines_dropped: u64,
    /// The limits that it ran into, with how often.
    pub limit_hits: Vec<(&'static str, u64)>,
    /// The capabilities that it asked for in vain, with how often.
    pub refused_calls: Vec<(&'static str, u64)>,
}

/// What the manager posts of a plugin. The moving numbers are read when someone asks.
#[derive(Clone)]
pub(crate) struct Notice {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) disabled: bool,
    pub(crate) active: bool,
    pub(crate) world: Option<World>,
    pub(crate) contract: Option<&'static str>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) sha256: Option<String>,
    pub(crate) grants: Capabilities,
    pub(crate) missing: Capabilities,
    pub(crate) missing_yaml: String,
    pub(crate) refusal: Option<String>,
    pub(crate) jobs: Vec<String>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<PluginMetrics>,
    pub(crate) health: Arc<Health>,
}

impl Notice {
    pub(crate) fn state(&self) -> PluginState {
        if self.disabled {
            PluginState::Disabled
        } else if self.active {
            let condition = self.health.condition();
            if condition.is_suspended() {
                PluginState::Suspended
            } else if condition.is_well() {
                PluginState::Running
            } else {
                PluginState::Failed
            }
        } else if !self.missing.is_empty() {
            PluginState::WaitingForGrant
        } else if self.refusal.is_some() {
            PluginState::Broken
        } else {
            PluginState::Loading
        }
    }

    pub(crate) fn status(&self) -> PluginStatus {
        let failure = self.health.condition().last_error;
        PluginStatus {
            name: self.name.clone(),
            file: self.file.clone(),
            state: self.state(),
            world: self.world,
            contract: self.contract,
            manifest: self.manifest.clone(),
            sha256: self.sha256.clone(),
            grants: self.grants.clone(),
            missing: self.missing.clone(),
            missing_yaml: self.missing_yaml.clone(),
            last_error_at_ms: failure.as_ref().map(|failure| failure.at_ms),
            last_error: self
                .refusal
                .clone()
                .or_else(|| failure.map(|failure| failure.text)),
            jobs: self.jobs.clone(),
            limits: Limits::clone(&self.limits),
            usage: self.metrics.usage(),
        }
    }
}

//! One entry of a job's discovery: its groups, the runs that feed it, how it is doing.
//!
//! An entry has at most two runs: the active one, whose groups are shown, and a candidate that
//! takes over with its first publication. Groups of an earlier attempt stay for a grace period
//! after that, because a first publication need not be all there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use narthex_extension::DiscoveryProvider;
use narthex_model::TargetGroup;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::config::SdConfig;

/// How an entry is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// It runs, but has not published yet.
    Starting,
    Running,
    /// No plugin serves it.
    WaitingForPlugin,
    /// It ended and will be started again.
    Retrying,
    /// Its configuration is wrong: only a change of it, or of the plugin, helps. As a plugin's code
    /// may be swapped unseen, it is tried again all the same, at the longest pause.
    Failed,
}

impl EntryState {
    pub fn as_str(self) -> &'static str {
        match self {
            EntryState::Starting => "starting",
            EntryState::Running => "running",
            EntryState::WaitingForPlugin => "waiting for plugin",
            EntryState::Retrying => "retrying",
            EntryState::Failed => "failed",
        }
    }
}

/// For the API and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryStatus {
    pub job: String,
    /// `static`, or the plugin's name.
    pub provider: String,
    pub state: EntryState,
    /// What is wrong or missing, and what to do.
    pub message: Option<String>,
    pub targets: usize,
    pub last_update_ms: Option<i64>,
}

pub(crate) type Provider = Arc<dyn DiscoveryProvider>;

pub(crate) struct Entry {
    /// Tells entries apart, in the sources of their groups.
    pub id: u64,
    pub job: String,
    pub config: SdConfig,
    pub state: EntryState,
    pub message: Option<String>,
    pub last_update_ms: Option<i64>,
    /// What serves it now; None for static entries and where the plugin is missing.
    pub provider: Option<Provider>,
    groups: BTreeMap<String, Kept>,
    active: Option<Run>,
    candidate: Option<Run>,
    /// The attempt that published last, with the end of its grace period.
    grace: Option<(u64, Instant)>,
}

struct Kept {
    group: TargetGroup,
    attempt: u64,
}

/// A task that drives a provider; ends with this.
pub(crate) struct Run {
    pub id: u64,
    pub task: AbortHandle,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It came from a run that was replaced.
    Ignored,
    /// It should be passed on at once: the run is young.
    Urgent,
    Usual,
}

/// What an attempt's end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The run was replaced and need not go on.
    Ignored,
    New,
    /// As the time before.
    Known,
}

impl Entry {
    pub(crate) fn new(id: u64, job: &str, config: SdConfig) -> Self {
        let mut groups = BTreeMap::new();
        if let SdConfig::Static(given) = &config {
            for group in given {
                let kept = Kept {
                    group: group.clone(),
                    attempt: 0,
                };
                groups.insert(group.source.clone(), kept);
            }
        }
        let state = match &config {
            SdConfig::Static(_) => EntryState::Running,
            SdConfig::Provider { .. } => EntryState::WaitingForPlugin,
        };
        Entry {
            id,
            job: job.to_owned(),
            config,
            state,
            message: None,
            last_update_ms: None,
            provider: None,
            groups,
            active: None,
            candidate: None,
            grace: None,
        }
    }

    pub(crate) fn provider_name(&self) -> &str {
        match &self.config {
            SdConfig::Static(_) => "static",
            SdConfig::Provider { name, .. } => name,
        }
    }

    /// Shows the groups of an entry that this one replaces, until it has its own.
    pub(crate) fn inherit(&mut self, former: Entry) {
        self.groups = former.groups;
        for kept in self.groups.values_mut() {
            kept.attempt = 0;
        }
        self.last_update_ms = former.last_update_ms;
    }

    /// A run beside the active one, if that has published; else in its place.
    pub(crate) fn start(&mut self, provider: Provider, run: Run) {
        self.provider = Some(provider);
        if self.state != EntryState::Running {
            self.state = EntryState::Starting;
            self.message = None;
            self.active = None;
        }
        self.candidate = Some(run);
    }

    /// The plugin is gone; the groups stay.
    pub(crate) fn lose_provider(&mut self) {
        self.provider = None;
        self.active = None;
        self.candidate = None;
        self.grace = None;
        self.state = EntryState::WaitingForPlugin;
        self.explain_waiting();
    }

    pub(crate) fn explain_waiting(&mut self) {
        let name = self.provider_name();
        let kept = match self.groups.is_empty() {
            true => "",
            false => "; the targets it last found are kept",
        };
        self.message = Some(format!(
            "waiting for plugin \"{name}\": drop {name}.wasm into the plugin folder{kept}"
        ));
    }

    fn newest(&self) -> Option<u64> {
        let run = self.candidate.as_ref().or(self.active.as_ref());
        run.map(|run| run.id)
    }

    /// Takes groups from an attempt of a run.
    pub(crate) fn publish(
        &mut self,
        run: u64,
        attempt: u64,
        groups: Vec<TargetGroup>,
        now: Instant,
        grace: Duration,
    ) -> Published {
        if self.candidate.as_ref().is_some_and(|c| c.id == run) {
            self.active = self.candidate.take();
        }
        if self.active.as_ref().is_none_or(|active| active.id != run) {
            return Published::Ignored;
        }
        if self.grace.is_none_or(|(of, _)| of != attempt) {
            self.grace = Some((attempt, now + grace));
        }
        self.state = EntryState::Running;
        self.message = None;
        for group in groups {
            if group.targets.is_empty() {
                self.groups.remove(&group.source);
            } else {
                let kept = Kept { group, attempt };
                self.groups.insert(kept.group.source.clone(), kept);
            }
        }
        match self.grace {
            Some((_, end)) if now < end => Published::Urgent,
            _ => Published::Usual,
        }
    }

    /// When groups of earlier attempts are to go, if there are any.
    pub(crate) fn grace_end(&self) -> Option<Instant> {
        let (attempt, end) = self.grace?;
        let has_older = self.groups.values().any(|kept| kept.attempt != attempt);
        has_older.then_some(end)
    }

    /// Drops the groups of earlier attempts if their time is over; whether there were any.
    pub(crate) fn end_grace(&mut self, now: Instant) -> bool {
        match (self.grace_end(), self.grace) {
            (Some(end), Some((attempt, _))) if end <= now => {
                self.groups.retain(|_, kept| kept.attempt == attempt);
                true
            }
            _ => false,
        }
    }

    /// An attempt ended.
    pub(crate) fn fail(&mut self, run: u64, state: EntryState, message: String) -> Failure {
        if self.newest() != Some(run) {
            return Failure::Ignored;
        }
        let failure = match self.message.as_ref() == Some(&message) {
            true => Failure::Known,
            false => Failure::New,
        };
        let still_served = self.active.as_ref().is_some_and(|active| active.id != run);
        if !still_served {
            self.state = state;
        }
        self.message = Some(message);
        failure
    }

    pub(crate) fn targets(&self) -> usize {
        let groups = self.groups.values();
        groups.map(|kept| kept.group.targets.len()).sum()
    }

    /// The groups, with sources that no other entry has.
    pub(crate) fn named_groups(&self) -> impl Iterator<Item = TargetGroup> {
        let prefix = format!("{}/{}", self.provider_name(), self.id);
        self.groups.values().map(move |kept| TargetGroup {
            source: format!("{prefix}/{}", kept.group.source),
            ..kept.group.clone()
        })
    }

    pub(crate) fn status(&self) -> EntryStatus {
        EntryStatus {
            job: self.job.clone(),
            provider: self.provider_name().to_owned(),
            state: self.state,
            message: self.message.clone(),
            targets: self.targets(),
            last_update_ms: self.last_update_ms,
        }
    }
}

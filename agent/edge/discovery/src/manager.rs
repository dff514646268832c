//! The manager: starts and ends runs, gathers their groups, decides when to pass them on.
//!
//! Runs call in from their own tasks and only touch the shared state; a single task passes the
//! merged groups on, so the sink sees them in order and never two at once. There is no queue:
//! what comes faster than it is passed on is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use narthex_extension::{DiscoveryError, DiscoveryProvider, DiscoveryRequest, TargetSink};
use narthex_model::TargetGroup;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::config::{Config, SdConfig};
use crate::entry::{Entry, EntryState, EntryStatus, Failure, Provider, Published, Run};
use crate::metrics::Metrics;

/// Takes the groups of every job of the configuration, also of those that have none.
pub type Sink = Arc<dyn Fn(BTreeMap<String, Vec<TargetGroup>>) + Send + Sync>;

#[derive(Clone, Debug)]
pub struct Options {
    /// Tells managers apart in metrics and log: `scrape`, `notify`.
    pub name: String,
    /// Changes are passed on at most this often. The first one after a quiet time, and what a new
    /// run publishes at its start, does not wait for it.
    pub debounce_ms: u64,
    /// How long to wait before anything is passed on, so that what comes together goes together.
    pub settle_ms: u64,
    /// The pause before a provider that ended is started again; doubles each time up to the
    /// maximum.
    pub min_backoff_ms: u64,
    pub max_backoff_ms: u64,
}

impl Options {
    pub fn new(name: &str) -> Self {
        Options {
            name: name.to_owned(),
            debounce_ms: 5_000,
            settle_ms: 100,
            min_backoff_ms: 1_000,
            max_backoff_ms: 60_000,
        }
    }

    fn debounce(&self) -> Duration {
        Duration::from_millis(self.debounce_ms)
    }
}

/// Runs discoveries until it is dropped.
pub struct Manager {
    shared: Arc<Shared>,
    passing: AbortHandle,
}

struct Shared {
    options: Options,
    metrics: Metrics,
    state: Mutex<State>,
    /// Something is to be passed on, or a grace period began.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// In the order of jobs, and of entries within a job.
    entries: Vec<Entry>,
    jobs: BTreeSet<String>,
    providers: BTreeMap<String, Provider>,
    /// When to pass the groups on, if anything changed.
    due: Option<Instant>,
    last_passed: Option<Instant>,
    next_id: u64,
}

impl Manager {
    /// Must be called within a tokio runtime.
    pub fn new(sink: Sink, metrics: Metrics, options: Options) -> Manager {
        let shared = Arc::new(Shared {
            options,
            metrics,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let passing = tokio::spawn(pass_on(shared.clone(), sink)).abort_handle();
        Manager { shared, passing }
    }

    /// Takes up a configuration: entries that are the same go on as they are. Passes the result on
    /// at once.
    pub fn apply(&self, config: Config) {
        let mut state = self.shared.lock();
        let mut former = std::mem::take(&mut state.entries);
        state.jobs = config.jobs.keys().cloned().collect();
        let mut fresh = Vec::new();
        for (job, entries) in config.jobs {
            for config in entries {
                let same = |entry: &Entry| entry.job == job && entry.config == config;
                match former.iter().position(same) {
                    Some(at) => state.entries.push(former.remove(at)),
                    None => {
                        let id = state.new_id();
                        fresh.push(state.entries.len());
                        state.entries.push(Entry::new(id, &job, config));
                    }
                }
            }
        }
        for at in fresh {
            state.take_over(at, &mut former);
            self.shared.serve(&mut state, at);
        }
        state.due = Some(Instant::now());
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Takes up the providers that there are now, by the name that they serve. One that is another
    /// than before is started beside the old one and takes over when it has published; where one
    /// is gone, the targets that it found stay.
    pub fn set_providers(&self, providers: BTreeMap<String, Arc<dyn DiscoveryProvider>>) {
        let mut state = self.shared.lock();
        state.providers = providers;
        for at in 0..state.entries.len() {
            self.shared.serve(&mut state, at);
        }
        self.shared.count_failed(&state);
    }

    /// How each entry is doing, in the order of jobs.
    pub fn status(&self) -> Vec<EntryStatus> {
        self.shared
            .lock()
            .entries
            .iter()
            .map(Entry::status)
            .collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.passing.abort();
        self.shared.lock().entries.clear();
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// A new entry goes on from one of the same job and provider that is no longer configured.
    fn take_over(&mut self, at: usize, former: &mut Vec<Entry>) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        if matches!(entry.config, SdConfig::Static(_)) {
            return;
        }
        let alike =
            |old: &Entry| old.job == entry.job && old.provider_name() == entry.provider_name();
        if let Some(found) = former.iter().position(alike) {
            entry.inherit(former.remove(found));
        }
    }

    fn merged(&self) -> BTreeMap<String, Vec<TargetGroup>> {
        let mut merged: BTreeMap<String, Vec<TargetGroup>> = self
            .jobs
            .iter()
            .map(|job| (job.clone(), Vec::new()))
            .collect();
        for entry in &self.entries {
            if let Some(groups) = merged.get_mut(&entry.job) {
                groups.extend(entry.named_groups());
            }
        }
        merged
    }

    /// When the passing task has to look again.
    fn next_look(&self) -> Option<Instant> {
        let graces = self.entries.iter().filter_map(Entry::grace_end);
        graces.chain(self.due).min()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the entry runs on the provider that there is now.
    fn serve(self: &Arc<Self>, state: &mut State, at: usize) {
        let Some(entry) = state.entries.get(at) else {
            return;
        };
        let SdConfig::Provider { name, request } = &entry.config else {
            return;
        };
        let wanted = state.providers.get(name).cloned();
        let unchanged = match (&entry.provider, &wanted) {
            (Some(old), Some(new)) => Arc::as_ptr(old).addr() == Arc::as_ptr(new).addr(),
            _ => false,
        };
        if unchanged {
            return;
        }
        let request = request.clone();
        let entry_id = entry.id;
        let run_id = state.new_id();
        let Some(entry) = state.entries.get_mut(at) else {
            return;
        };
        match wanted {
            Some(provider) => {
                let drive = drive(
                    Arc::downgrade(self),
                    entry_id,
                    run_id,
                    provider.clone(),
                    request,
                );
                let task = tokio::spawn(drive).abort_handle();
                entry.start(provider, Run { id: run_id, task });
            }
            None if entry.provider.is_some() => {
                entry.lose_provider();
                tracing::warn!(manager = %self.options.name, job = %entry.job, "{}",
                    entry.message.as_deref().unwrap_or_default());
            }
            None => entry.explain_waiting(),
        }
    }

    fn publish(&self, entry: u64, run: u64, attempt: u64, groups: Vec<TargetGroup>) {
        let now = Instant::now();
        let name = self.options.name.as_str();
        self.metrics
            .received_updates
            .with_label_values(&[name])
            .inc();
        let mut state = self.lock();
        let debounce = self.options.debounce();
        let Some(found) = state.entry(entry) else {
            return;
        };
        let published = found.publish(run, attempt, groups, now, debounce);
        if published == Published::Ignored {
            return;
        }
        found.last_update_ms = Some(unix_ms());
        let soon = now + Duration::from_millis(self.options.settle_ms);
        let usual = state
            .last_passed
            .map_or(soon, |last| (last + debounce).max(soon));
        let due = match published {
            Published::Urgent => soon,
            _ => usual,
        };
        if due > soon {
            self.metrics
                .updates_delayed
                .with_label_values(&[name])
                .inc();
        }
        state.due = Some(state.due.map_or(due, |earlier| earlier.min(due)));
        self.count_failed(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// Whether to try again.
    fn failed(&self, entry: u64, run: u64, state_now: EntryState, message: String) -> bool {
        let mut state = self.lock();
        let Some(found) = state.entry(entry) else {
            return false;
        };
        let failure = found.fail(run, state_now, message);
        if failure == Failure::New {
            tracing::warn!(
                manager = %self.options.name,
                job = %found.job,
                provider = %found.provider_name(),
                targets_kept = found.targets(),
                "discovery failed: {}",
                found.message.as_deref().unwrap_or_default()
            );
        }
        self.count_failed(&state);
        failure != Failure::Ignored
    }

    fn count_failed(&self, state: &State) {
        let failed = state
            .entries
            .iter()
            .filter(|entry| !matches!(entry.state, EntryState::Running | EntryState::Starting))
            .count();
        self.metrics
            .failed_configs
            .with_label_values(&[self.options.name.as_str()])
            .set(i64::try_from(failed).unwrap_or(i64::MAX));
    }

    /// What is due now, if anything is.
    fn take_due(&self, now: Instant) -> Option<BTreeMap<String, Vec<TargetGroup>>> {
        let mut state = self.lock();
        let mut ended = false;
        for entry in &mut state.entries {
            ended |= entry.end_grace(now);
        }
        if !ended && state.due.is_none_or(|due| due > now) {
            return None;
        }
        state.due = None;
        state.last_passed = Some(now);
        self.count_failed(&state);
        Some(state.merged())
    }

    fn count_passed(
        &self,
        groups: &BTreeMap<String, Vec<TargetGroup>>,
        known: &mut BTreeSet<String>,
    ) {
        let name = self.options.name.as_str();
        self.metrics.updates.with_label_values(&[name]).inc();
        self.metrics
            .last_update
            .with_label_values(&[name])
            .set(unix_ms() as f64 / 1000.0);
        for (job, groups) in groups {
            let targets: usize = groups.iter().map(|group| group.targets.len()).sum();
            self.metrics
                .discovered_targets
                .with_label_values(&[name, job])
                .set(i64::try_from(targets).unwrap_or(i64::MAX));
        }
        for gone in known.iter().filter(|job| !groups.contains_key(*job)) {
            // It fails only where there is no such series, which is what is wanted.
            let _ = self
                .metrics
                .discovered_targets
                .remove_label_values(&[name, gone]);
        }
        *known = groups.keys().cloned().collect();
    }
}

/// Passes merged groups on when they are due.
async fn pass_on(shared: Arc<Shared>, sink: Sink) {
    let mut known = BTreeSet::new();
    loop {
        if let Some(groups) = shared.take_due(Instant::now()) {
            shared.count_passed(&groups, &mut known);
            sink(groups);
        }
        let next_look = shared.lock().next_look();
        match next_look {
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = shared.changed.notified() => {}
                }
            }
            None => shared.changed.notified().await,
        }
    }
}

/// Runs a provider, again and again, until it is replaced.
async fn drive(
    shared: Weak<Shared>,
    entry: u64,
    run: u64,
    provider: Provider,
    request: DiscoveryRequest,
) {
    let Some((min_ms, max_ms)) = shared
        .upgrade()
        .map(|shared| (shared.options.min_backoff_ms, shared.options.max_backoff_ms))
    else {
        return;
    };
    let mut backoff_ms = min_ms;
    loop {
        let attempt = match shared.upgrade() {
            Some(shared) => shared.lock().new_id(),
            None => return,
        };
        let sink = Arc::new(RunSink {
            shared: shared.clone(),
            entry,
            run,
            attempt,
        });
        let started = Instant::now();
        let (state, message) = match attempt_once(&provider, &request, sink).await {
            Err(DiscoveryError::Config(message)) => (EntryState::Failed, message),
            Err(DiscoveryError::Stopped(message)) => (EntryState::Retrying, message),
            Ok(()) => (
                EntryState::Retrying,
                "the discovery ended by itself".to_owned(),
            ),
        };
        let again = shared
            .upgrade()
            .is_some_and(|shared| shared.failed(entry, run, state, message));
        if !again {
            return;
        }
        if started.elapsed() >= Duration::from_millis(max_ms) {
            backoff_ms = min_ms;
        }
        if state == EntryState::Failed {
            backoff_ms = max_ms;
        }
        tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
        backoff_ms = backoff_ms.saturating_mul(2).min(max_ms);
    }
}

/// In a task of its own, so that a panic in it is one more way to stop.
async fn attempt_once(
    provider: &Provider,
    request: &DiscoveryRequest,
    sink: Arc<RunSink>,
) -> Result<(), DiscoveryError> {
    let (provider, request) = (provider.clone(), request.clone());
    // Dropping the set ends the task.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { provider.run(request, sink).await });
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(DiscoveryError::Stopped(error.to_string())),
        None => Ok(()),
    }
}

/// What one attempt of a run publishes through.
struct RunSink {
    shared: Weak<Shared>,
    entry: u64,
    run: u64,
    attempt: u64,
}

impl TargetSink for RunSink {
    fn publish(&self, groups: Vec<TargetGroup>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.publish(self.entry, self.run, self.attempt, groups);
        }
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;

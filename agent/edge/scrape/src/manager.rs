//! Which targets there are, and which loop runs for each.
//!
//! A pool per job. Everything is done by difference: a loop whose target and settings are the same
//! isn't touched, one whose settings changed takes them up between two scrapes, and one whose
//! target is the same under other labels of the kind that series don't show goes on as it was.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use narthex_extension::ExporterHandle;
use narthex_http_client::Client;
use narthex_model::{Labels, TargetGroup};
use narthex_storage::Appendable;
use xxhash_rust::xxh64::xxh64;

use crate::config::{Config, ExporterConfig, ExporterJob, JobConfig};
use crate::fetch::Fetcher;
use crate::ingest::Rules;
use crate::metrics::Metrics;
use crate::status::{DroppedTarget, TargetMetadata, Targets};
use crate::target::{self, Target};
use crate::task::{Common, Handle, Settings, Source};

/// What Prometheus does with a flag only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// OpenMetrics lines that say when a counter started are no samples of their own: the store is
    /// told of it.
    pub start_timestamps: bool,
    /// Series get the labels `__type__` and `__unit__`.
    pub type_and_unit_labels: bool,
}

/// What no configuration file holds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Tells this agent's scrapes from another's with the same configuration: the host name.
    pub spread_seed: String,
    /// A scrape that starts at most so late gets the time it was due at as its timestamp; at most
    /// a hundredth of the interval. 0 turns that off.
    pub timestamp_tolerance_ms: u64,
    pub features: Features,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            user_agent: concat!("Narthex/", env!("CARGO_PKG_VERSION")).to_owned(),
            spread_seed: String::new(),
            timestamp_tolerance_ms: 10,
            features: Features::default(),
        }
    }
}

/// A configuration that cannot be taken up; the former one stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scrape config {job:?}: {reason}")]
pub struct ConfigError {
    pub job: String,
    pub reason: String,
}

/// Owns all loops. Its calls are quick, and are to be made within a tokio runtime.
pub struct Manager {
    common: Arc<Common>,
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pools: BTreeMap<String, Pool>,
    exporter_config: Option<ExporterConfig>,
    exporter_handles: Vec<ExporterHandle>,
    /// By job.
    exporters: BTreeMap<String, Handle>,
    /// Loops that were told to end their series and may still do so.
    ending: Vec<Handle>,
    seed: u64,
}

struct Pool {
    job: Arc<JobConfig>,
    rules: Arc<Rules>,
    fetcher: Fetcher,
    groups: Vec<TargetGroup>,
    /// By the targets' identity.
    loops: HashMap<Labels, Handle>,
    /// Targets that have gone, until their next tick: they may come back.
    leaving: HashMap<Labels, Handle>,
    dropped: Vec<DroppedTarget>,
    dropped_count: usize,
}

impl Manager {
    pub fn new(
        store: Arc<dyn Appendable>,
        registry: &prometheus::Registry,
        options: Options,
    ) -> Result<Self, prometheus::Error> {
        Ok(Manager {
            common: Arc::new(Common {
                store,
                metrics: Metrics::new(registry)?,
                families: Arc::default(),
            }),
            options,
            state: Mutex::default(),
        })
    }

    /// Takes up a configuration, whole or not at all. Jobs that are new have no targets until
    /// [`Manager::set_targets`]; those of a removed job end at once.
    pub fn apply_config(&self, config: Config) -> Result<(), ConfigError> {
        let mut state = self.lock();
        let seed = xxh64(
            self.options.spread_seed.as_bytes(),
            config.external_labels.fingerprint(),
        );
        let mut pools = Vec::new();
        for job in config.jobs {
            pools.push(self.prepare(&state, job)?);
        }
        state.seed = seed;
        let mut former = std::mem::take(&mut state.pools);
        for (job, fetcher) in pools {
            let pool = former.remove(&job.job_name);
            let pool = self.renew(pool, job, fetcher, seed);
            state.pools.insert(pool.job.job_name.clone(), pool);
        }
        for (name, pool) in former {
            self.common.metrics.forget_job(&name);
            let handles = pool.loops.into_values().chain(pool.leaving.into_values());
            for handle in handles {
                handle.stop();
                state.ending.push(handle);
            }
        }
        if state.exporter_config.as_ref() != Some(&config.exporters) {
            state.exporter_config = Some(config.exporters);
            self.sync_exporters(&mut state);
        }
        state.ending.retain(|handle| !handle.is_finished());
        Ok(())
    }

    /// The targets that discovery now knows for a job: all of its groups. Unknown jobs are passed
    /// over, so the configuration has to come first.
    pub fn set_targets(&self, job: &str, groups: Vec<TargetGroup>) {
        let mut state = self.lock();
        let seed = state.seed;
        let Some(pool) = state.pools.get_mut(job) else {
            tracing::debug!(job, "targets for a job that is not configured");
            return;
        };
        if pool.groups != groups {
            pool.groups = groups;
            self.sync(pool, seed);
        }
    }

    /// The exporter plugins that now run: all of them. A new one is asked at once; the series of
    /// one that is gone end at once.
    pub fn set_exporters(&self, exporters: Vec<ExporterHandle>) {
        let mut state = self.lock();
        state.exporter_handles = exporters;
        self.sync_exporters(&mut state);
    }

    /// All targets, exporters among them, sorted by job and URL.
    pub fn targets(&self) -> Targets {
        let state = self.lock();
        let mut targets = Targets::default();
        for (name, pool) in &state.pools {
            targets
                .active
                .extend(pool.loops.values().map(Handle::status));
            targets.dropped.extend(pool.dropped.iter().cloned());
            targets
                .dropped_counts
                .insert(name.clone(), pool.dropped_count);
        }
        let exporters = state.exporters.values();
        targets.active.extend(exporters.map(Handle::status));
        targets.active.sort_by(|a, b| {
            let by_pool = a.scrape_pool.cmp(&b.scrape_pool);
            let by_url = || a.scrape_url.cmp(&b.scrape_url);
            by_pool
                .then_with(by_url)
                .then_with(|| a.labels.cmp(&b.labels))
        });
        targets
    }

    /// What the targets say about their metrics.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        let state = self.lock();
        let loops = state.pools.values().flat_map(|pool| pool.loops.values());
        loops
            .chain(state.exporters.values())
            .map(|handle| TargetMetadata {
                target: handle.settings.labels.clone(),
                scrape_pool: handle.settings.pool.clone(),
                metrics: handle.metadata(),
            })
            .collect()
    }

    /// Ends all loops and waits for them. The series stay as they are: after a restart they go on.
    pub async fn shutdown(&self) {
        let state = std::mem::take(&mut *self.lock());
        let mut handles = state.ending;
        for pool in state.pools.into_values() {
            handles.extend(pool.loops.into_values().chain(pool.leaving.into_values()));
        }
        handles.extend(state.exporters.into_values());
        for handle in handles {
            handle.abandon().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can fail about a job: its client.
    fn prepare(&self, state: &State, job: JobConfig) -> Result<(JobConfig, Fetcher), ConfigError> {
        let known = state.pools.get(&job.job_name);
        let client = match known.map(|pool| &pool.fetcher.client) {
            Some(client) if *client.config() == job.http => Ok(client.clone()),
            _ => Client::new(job.http.clone()),
        };
        match client {
            Ok(client) => {
                let fetcher = Fetcher::new(client, &job, &self.options.user_agent);
                Ok((job, fetcher))
            }
            Err(error) => {
                if known.is_some() {
                    self.common.metrics.pool_reloads_failed.inc();
                } else {
                    self.common.metrics.pools_failed.inc();
                }
                Err(ConfigError {
                    job: job.job_name,
                    reason: error.to_string(),
                })
            }
        }
    }

    fn renew(&self, pool: Option<Pool>, job: JobConfig, fetcher: Fetcher, seed: u64) -> Pool {
        let rules = Arc::new(rules_of(&job, self.options.features));
        match pool {
            Some(pool) if *pool.job == job => pool,
            Some(mut pool) => {
                self.common.metrics.pool_reloads.inc();
                pool.job = Arc::new(job);
                pool.rules = rules;
                pool.fetcher = fetcher;
                self.sync(&mut pool, seed);
                pool
            }
            None => {
                self.common.metrics.pools.inc();
                Pool {
                    job: Arc::new(job),
                    rules,
                    fetcher,
                    groups: Vec::new(),
                    loops: HashMap::new(),
                    leaving: HashMap::new(),
                    dropped: Vec::new(),
                    dropped_count: 0,
                }
            }
        }
    }

    /// Makes the pool's loops those of its groups' targets.
    fn sync(&self, pool: &mut Pool, seed: u64) {
        let started = Instant::now();
        let targets = self.populate(pool);
        let limit = pool.job.limits.targets;
        let source = if limit > 0 && targets.len() as u64 > limit {
            self.common.metrics.pool_exceeded_target_limit.inc();
            Source::TargetLimit {
                targets: targets.len(),
                limit,
            }
        } else {
            Source::Http(pool.fetcher.clone())
        };
        let mut former = std::mem::take(&mut pool.loops);
        let mut unmatched = Vec::new();
        for (identity, target) in targets {
            let settings = Arc::new(self.settings(pool, target, source.clone(), seed));
            let known = former
                .remove(&identity)
                .or_else(|| pool.leaving.remove(&identity));
            match known {
                Some(handle) => self.resume(pool, identity, handle, settings),
                None => unmatched.push((identity, settings)),
            }
        }
        let mut same_series: HashMap<Labels, Labels> = former
            .iter()
            .map(|(identity, handle)| (handle.settings.labels.clone(), identity.clone()))
            .collect();
        for (identity, settings) in unmatched {
            let known = same_series.remove(&settings.labels);
            match known.and_then(|known| former.remove(&known)) {
                Some(handle) => self.resume(pool, identity, handle, settings),
                None => self.start(pool, identity, settings),
            }
        }
        for (identity, handle) in former {
            handle.leave();
            pool.leaving.insert(identity, handle);
        }
        pool.leaving.retain(|_, handle| !handle.is_finished());
        self.observe_sync(pool, started);
    }

    /// The targets of the pool's groups by identity; notes those that are dropped.
    fn populate(&self, pool: &mut Pool) -> BTreeMap<Labels, Target> {
        let mut targets = BTreeMap::new();
        let mut failed = 0;
        pool.dropped.clear();
        pool.dropped_count = 0;
        let keep = pool.job.limits.keep_dropped_targets;
        for group in &pool.groups {
            for target in target::from_group(&pool.job, group) {
                let refused = match target {
                    Ok(target) => {
                        targets.insert(target.identity.clone(), target);
                        continue;
                    }
                    Err(refused) => refused,
                };
                if let Some(error) = &refused.error {
                    failed += 1;
                    let target = refused.discovered.to_string();
                    tracing::warn!(job = pool.job.job_name, target, error, "unusable target");
                }
                pool.dropped_count += 1;
                if keep == 0 || (pool.dropped.len() as u64) < keep {
                    pool.dropped.push(DroppedTarget {
                        discovered_labels: refused.discovered,
                        scrape_pool: pool.job.job_name.clone(),
                        error: refused.error,
                    });
                }
            }
        }
        self.common
            .metrics
            .sync_failed
            .with_label_values(&[&pool.job.job_name])
            .inc_by(failed);
        targets
    }

    fn settings(&self, pool: &Pool, target: Target, source: Source, seed: u64) -> Settings {
        Settings {
            pool: pool.job.job_name.clone(),
            spread: target.spread(seed),
            discovered: target.discovered,
            labels: target.labels,
            url: target.url,
            interval_ms: target.interval_ms,
            timeout_ms: target.timeout_ms,
            timestamp_tolerance_ms: self.options.timestamp_tolerance_ms,
            rules: pool.rules.clone(),
            extra_metrics: pool.job.extra_scrape_metrics,
            source,
        }
    }

    fn resume(
        &self,
        pool: &mut Pool,
        identity: Labels,
        mut handle: Handle,
        settings: Arc<Settings>,
    ) {
        if handle.resume(settings.clone()) {
            pool.loops.insert(identity, handle);
        } else {
            self.start(pool, identity, settings);
        }
    }

    fn start(&self, pool: &mut Pool, identity: Labels, settings: Arc<Settings>) {
        let handle = Handle::start(settings, self.common.clone(), false);
        pool.loops.insert(identity, handle);
    }

    fn observe_sync(&self, pool: &Pool, started: Instant) {
        let job = pool.job.job_name.as_str();
        let seconds = started.elapsed().as_secs_f64();
        self.common.metrics.sync_length.observe(job, seconds);
        self.common
            .metrics
            .pool_syncs
            .with_label_values(&[job])
            .inc();
        self.common
            .metrics
            .pool_targets
            .with_label_values(&[job])
            .set(pool.loops.len() as f64);
        self.common
            .metrics
            .pool_target_limit
            .with_label_values(&[job])
            .set(pool.job.limits.targets as f64);
    }

    fn sync_exporters(&self, state: &mut State) {
        let Some(config) = &state.exporter_config else {
            return;
        };
        let mut former = std::mem::take(&mut state.exporters);
        for exporter in &state.exporter_handles {
            if state.exporters.contains_key(&exporter.job) {
                let (job, plugin) = (&exporter.job, &exporter.plugin);
                tracing::warn!(
                    job,
                    plugin,
                    "another exporter has this job; this one is not asked"
                );
                continue;
            }
            let settings = Arc::new(self.exporter_settings(config, exporter, state.seed));
            let known = former.remove(&exporter.job);
            let resumed = known.and_then(|mut handle| {
                let same_series = handle.settings.labels == settings.labels;
                if same_series && handle.resume(settings.clone()) {
                    return Some(handle);
                }
                handle.stop();
                state.ending.push(handle);
                None
            });
            let handle =
                resumed.unwrap_or_else(|| Handle::start(settings, self.common.clone(), true));
            state.exporters.insert(exporter.job.clone(), handle);
        }
        for handle in former.into_values() {
            handle.stop();
            state.ending.push(handle);
        }
        state.ending.retain(|handle| !handle.is_finished());
    }

    fn exporter_settings(
        &self,
        config: &ExporterConfig,
        exporter: &ExporterHandle,
        seed: u64,
    ) -> Settings {
        let job = config.jobs.get(&exporter.job).unwrap_or(&config.defaults);
        let interval_ms = job
            .interval_ms
            .or(exporter.interval_ms)
            .unwrap_or(job.global_interval_ms)
            .max(1);
        let timeout_ms = job.timeout_ms.unwrap_or(job.global_timeout_ms);
        let labels = exporter_labels(config, job, exporter);
        let url = format!("plugin:{}", exporter.plugin);
        Settings {
            pool: exporter.job.clone(),
            discovered: labels.clone(),
            spread: xxh64(url.as_bytes(), labels.fingerprint() ^ seed),
            labels,
            url,
            interval_ms,
            timeout_ms: timeout_ms.clamp(1, interval_ms),
            timestamp_tolerance_ms: self.options.timestamp_tolerance_ms,
            rules: Arc::new(Rules {
                honor_labels: false,
                honor_timestamps: true,
                track_timestamps_staleness: false,
                legacy_names: false,
                limits: job.limits,
                metric_relabel: job.metric_relabel.clone(),
                features: self.options.features,
            }),
            extra_metrics: false,
            source: Source::Exporter(exporter.exporter.clone()),
        }
    }
}

fn exporter_labels(
    config: &ExporterConfig,
    job: &ExporterJob,
    exporter: &ExporterHandle,
) -> Labels {
    let mut labels = narthex_model::LabelsBuilder::default();
    labels.set("instance", config.instance.as_str());
    for label in job.labels.iter() {
        labels.set(label.name.clone(), label.value.clone());
    }
    labels.set("job", exporter.job.as_str());
    labels.build()
}

fn rules_of(job: &JobConfig, features: Features) -> Rules {
    Rules {
        honor_labels: job.honor_labels,
        honor_timestamps: job.honor_timestamps,
        track_timestamps_staleness: job.track_timestamps_staleness,
        legacy_names: job.legacy_names,
        limits: job.limits,
        metric_relabel: job.metric_relabel.clone(),
        features,
    }
}

//! Which groups and scripts run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use narthex_extension::AlertScript;
use narthex_promql::Engine;
use narthex_promql::syntax::ParserOptions;
use narthex_query_log::Queries;
use narthex_rules::{AlertNotice, Environment, GroupConfig, GroupStatus};
use narthex_storage::{Appendable, Queryable};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::worker::{Source, StatusCell, Worker};

/// Takes alerts to whoever routes them. It must not wait: a full queue is its own affair.
pub trait AlertSink: Send + Sync {
    fn send(&self, alerts: Vec<AlertNotice>);
}

/// What a reload may change without a group being started anew.
#[derive(Clone, Debug)]
pub struct Settings {
    pub engine: Arc<Engine>,
    /// For the queries of scripts and templates.
    pub parser: ParserOptions,
    pub environment: Environment,
    /// How long one rule may take.
    pub query_timeout_ms: u64,
    /// How long one run of a script may take, its queries included.
    pub script_timeout_ms: u64,
    /// How often scripts run that do not say so themselves: the global evaluation interval.
    pub script_interval_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            engine: Arc::new(Engine::default()),
            parser: ParserOptions::default(),
            environment: Environment::default(),
            query_timeout_ms: 120_000,
            script_timeout_ms: 30_000,
            script_interval_ms: 60_000,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) queryable: Arc<dyn Queryable>,
    pub(crate) appendable: Arc<dyn Appendable>,
    pub(crate) sink: Arc<dyn AlertSink>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) shutdown: CancellationToken,
    pub(crate) queries: OnceLock<Arc<Queries>>,
    settings: Mutex<Arc<Settings>>,
}

impl Shared {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Runs rule groups and scripts, each in a task of its own.
pub struct Manager {
    pub(crate) shared: Arc<Shared>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// By file and name.
    groups: BTreeMap<(String, String), RunningGroup>,
    /// By name.
    scripts: BTreeMap<String, RunningScript>,
    /// Groups and scripts of the first application take up the alerts from before the restart;
    /// later ones are new or take over from others.
    has_groups: bool,
    has_scripts: bool,
}

struct RunningGroup {
    config: GroupConfig,
    worker: Worker,
}

struct RunningScript {
    script: Arc<dyn AlertScript>,
    interval_ms: u64,
    worker: Worker,
}

impl Manager {
    /// Nothing runs until [`Manager::apply`] or [`Manager::set_scripts`].
    pub fn new(
        queryable: Arc<dyn Queryable>,
        appendable: Arc<dyn Appendable>,
        sink: Arc<dyn AlertSink>,
        registry: &Registry,
    ) -> Result<Manager, prometheus::Error> {
        Manager::with_clock(queryable, appendable, sink, registry, Arc::new(unix_now_ms))
    }

    pub(crate) fn with_clock(
        queryable: Arc<dyn Queryable>,
        appendable: Arc<dyn Appendable>,
        sink: Arc<dyn AlertSink>,
        registry: &Registry,
        clock: Clock,
    ) -> Result<Manager, prometheus::Error> {
        let shared = Shared {
            queryable,
            appendable,
            sink,
            metrics: Metrics::new(registry)?,
            clock,
            shutdown: CancellationToken::new(),
            queries: OnceLock::new(),
            settings: Mutex::default(),
        };
        Ok(Manager {
            shared: Arc::new(shared),
            running: Mutex::default(),
        })
    }

    /// Tells of every query from now on. To be called once, before anything runs.
    pub fn tell_queries(&self, queries: Arc<Queries>) {
        // A second one would find the first one still in its place.
        let _ = self.shared.queries.set(queries);
    }

    /// Sets the groups that run. One that has not changed keeps running; one that has is replaced
    /// and keeps the alerts of its rules; one that is gone has its series ended. Must be called
    /// within a tokio runtime.
    pub fn apply(&self, settings: Settings, groups: Vec<GroupConfig>) {
        *self
            .shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        let mut running = self.lock();
        let restores = !std::mem::replace(&mut running.has_groups, true);
        let mut old = std::mem::take(&mut running.groups);
        for config in groups {
            let key = (config.file.clone(), config.name.clone());
            let group = match old.remove(&key) {
                Some(same) if same.config == config => same,
                replaced => self.start_group(config, restores, replaced),
            };
            running.groups.insert(key, group);
        }
        for (_, gone) in old {
            gone.worker.remove(self.shared.clone());
        }
        // The interval of scripts may hang on the settings.
        let scripts = running.scripts.values().map(|s| s.script.clone()).collect();
        self.replace_scripts(&mut running, scripts);
    }

    /// Sets the scripts that run. A script that is the same object keeps running; another one of
    /// the same name takes over its alerts. Must be called within a tokio runtime.
    pub fn set_scripts(&self, scripts: Vec<Arc<dyn AlertScript>>) {
        let mut running = self.lock();
        self.replace_scripts(&mut running, scripts);
        running.has_scripts = true;
    }

    /// Rule groups sorted by file and name, then the scripts.
    pub fn groups(&self) -> Vec<Arc<GroupStatus>> {
        let running = self.lock();
        let groups = running.groups.values().map(|group| &group.worker.status);
        let scripts = running.scripts.values().map(|script| &script.worker.status);
        groups.chain(scripts).map(StatusCell::get).collect()
    }

    /// Stops everything and waits for it; running queries are canceled. No series is ended: the
    /// next start goes on with them.
    pub async fn shutdown(&self) {
        self.shared.shutdown.cancel();
        let running = std::mem::take(&mut *self.lock());
        for (_, group) in running.groups {
            group.worker.join().await;
        }
        for (_, script) in running.scripts {
            script.worker.join().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_group(
        &self,
        config: GroupConfig,
        restores: bool,
        replaced: Option<RunningGroup>,
    ) -> RunningGroup {
        let replaced = replaced.map(|group| group.worker);
        let source = Source::Rules(config.clone());
        let worker = Worker::start(self.shared.clone(), source, restores, replaced);
        RunningGroup { config, worker }
    }

    fn replace_scripts(&self, running: &mut Running, scripts: Vec<Arc<dyn AlertScript>>) {
        let restores = !running.has_scripts;
        let default_interval_ms = self.shared.settings().script_interval_ms;
        let mut old = std::mem::take(&mut running.scripts);
        for script in scripts {
            let name = script.name().to_owned();
            let interval_ms = script.interval_ms().unwrap_or(default_interval_ms);
            let is_same = |old: &RunningScript| {
                std::ptr::addr_eq(Arc::as_ptr(&old.script), Arc::as_ptr(&script))
                    && old.interval_ms == interval_ms
            };
            let started = match old.remove(&name) {
                Some(same) if is_same(&same) => same,
                replaced => {
                    let source = Source::Script {
                        script: script.clone(),
                        interval_ms,
                    };
                    let replaced = replaced.map(|script| script.worker);
                    RunningScript {
                        script,
                        interval_ms,
                        worker: Worker::start(self.shared.clone(), source, restores, replaced),
                    }
                }
            };
            running.scripts.insert(name, started);
        }
        for (_, gone) in old {
            gone.worker.remove(self.shared.clone());
        }
    }
}

fn unix_now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

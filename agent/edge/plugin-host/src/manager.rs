//! Keeps the plugins that run in step with the folder and the configuration.
//!
//! One task owns everything here and does one thing after the other: look at the folder, load what
//! is new, stop what is gone, start what should run. Reading, compiling and the plugins' own calls
//! happen on threads that may block.
//!
//! Keeps true: a file or a configuration that does not work leaves what worked in place and says
//! why; what did not change is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use narthex_extension::{Capabilities, DiscoveryProvider, ExporterHandle};
use narthex_watch::{Options, Watcher};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot, watch};

use crate::code::{self, Instantiable, Manifest, World};
use crate::discovery::{self, Provider, Supply};
use crate::engine::Machine;
use crate::exporter::{Runner, Slot, Worker};
use crate::folder::{self, Folder, Found, Stamp};
use crate::grant::Permits;
use crate::host::system::FileSystems;
use crate::instance;
use crate::metrics::{Metrics, PluginMetrics};
use crate::shared::{Health, Services, Shared};
use crate::status::{Notice, PluginStatus};
use crate::{Config, ExporterInstance, Limits};

/// Reloads that may wait for one that is under way; whoever asks waits for a place.
const COMMANDS: usize = 4;

/// How often the states in the metrics are brought up to date.
const REFRESH: Duration = Duration::from_secs(5);

/// The host did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("plugins: {0}")]
    Machine(String),
    #[error("plugins: cannot register the metrics: {0}")]
    Metrics(String),
}

/// The exporters and discoveries there are now.
#[derive(Clone, Default)]
pub struct PluginSet {
    pub exporters: Vec<ExporterHandle>,
    /// By the name that they serve: `file` for `file_sd_configs`.
    pub providers: BTreeMap<String, Arc<dyn DiscoveryProvider>>,
}

/// The running host. When the last clone of it is gone, it ends.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    set: watch::Receiver<PluginSet>,
    board: watch::Receiver<Vec<Notice>>,
}

/// Starts the host. Must be called within a tokio runtime. Loading goes on after it has returned:
/// the set fills as plugins are ready.
pub fn start(config: Config, registry: &Registry) -> Result<Handle, StartError> {
    let machine = Machine::new(&config.cache_directory, config.limits.memory_bytes)
        .map_err(StartError::Machine)?;
    let metrics = Metrics::new(registry).map_err(|error| StartError::Metrics(error.to_string()))?;
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (set, set_receiver) = watch::channel(PluginSet::default());
    let (board, board_receiver) = watch::channel(Vec::new());
    let manager = Manager {
        watcher: watcher(&config),
        limits: Arc::new(config.limits.clone()),
        config,
        services: Arc::new(Services {
            machine,
            file_systems: FileSystems::default(),
            runtime: tokio::runtime::Handle::current(),
        }),
        metrics,
        folder: Folder::default(),
        folder_error: None,
        plugins: BTreeMap::new(),
        jobs: BTreeMap::new(),
        set,
        board,
    };
    tokio::spawn(manager.run(receiver));
    Ok(Handle {
        commands,
        set: set_receiver,
        board: board_receiver,
    })
}

impl Handle {
    /// Puts a new configuration in force; returns when that is done. What is the same in both goes
    /// on undisturbed. The folder for compiled code stays what it was at the start.
    pub async fn apply(&self, config: Config) {
        self.command(|done| Command::Apply(Box::new(config), done))
            .await;
    }

    /// The exporters and discoveries there are, as they come and go.
    pub fn plugins(&self) -> watch::Receiver<PluginSet> {
        self.set.clone()
    }

    pub fn status(&self) -> Vec<PluginStatus> {
        self.board.borrow().iter().map(Notice::status).collect()
    }

    /// Ends every instance.
    pub async fn shutdown(&self) {
        self.command(Command::Shutdown).await;
    }

    async fn command(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, is_done) = oneshot::channel();
        // A manager that has ended has nothing left to do.
        if self.commands.send(command(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

enum Command {
    Apply(Box<Config>, oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
}

struct Manager {
    config: Config,
    limits: Arc<Limits>,
    services: Arc<Services>,
    metrics: Metrics,
    watcher: Watcher,
    folder: Folder,
    folder_error: Option<String>,
    plugins: BTreeMap<String, Plugin>,
    jobs: BTreeMap<String, Job>,
    set: watch::Sender<PluginSet>,
    board: watch::Sender<Vec<Notice>>,
}

/// One file of the folder.
struct Plugin {
    path: PathBuf,
    /// Of the file that was examined last.
    stamp: Option<Stamp>,
    /// The version that runs.
    active: Option<Version>,
    /// The version that should run and does not: it waits for a grant, or to be tried.
    candidate: Option<Version>,
    /// Why the latest file was refused.
    refusal: Option<String>,
    /// The lines that were logged last as missing.
    told: String,
    provider: Option<Arc<Provider>>,
    metrics: Arc<PluginMetrics>,
    health: Arc<Health>,
}

#[derive(Clone)]
struct Version {
    digest: String,
    code: Arc<Instantiable>,
    manifest: Manifest,
    shared: Arc<Shared>,
}

/// One exporter.
struct Job {
    wanted: ExporterInstance,
    slot: Arc<Slot>,
    /// Why the wanted configuration is not the one that runs.
    refusal: Option<String>,
}

impl Plugin {
    /// The version that runs, else the one that would.
    fn version(&self) -> Option<&Version> {
        self.active.as_ref().or(self.candidate.as_ref())
    }

    fn world(&self) -> Option<World> {
        self.version().map(|version| version.code.world())
    }

    /// Says once what is missing.
    fn tell_waiting(&mut self, name: &str, version: &Version) {
        let lines = version.shared.permits.load().yaml();
        if self.told == lines {
            return;
        }
        let meanwhile = match self.active {
            Some(_) => {
                "the new version waits, and the former one goes on, until narthex.yml grants"
            }
            None => "plugin waits until narthex.yml grants",
        };
        tracing::warn!(plugin = name, "{meanwhile}\n{lines}");
        self.told = lines;
    }
}

impl Manager {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut settled = self.rescan().await;
        loop {
            let pause = if settled { REFRESH } else { folder::REST };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Apply(config, done)) => {
                        self.apply(*config).await;
                        settled = self.rescan().await;
                        let _ = done.send(());
                    }
                    Some(Command::Shutdown(done)) => {
                        self.end();
                        let _ = done.send(());
                        return;
                    }
                    None => return self.end(),
                },
                _ = self.watcher.changed() => settled = self.rescan().await,
                () = tokio::time::sleep(pause) => match settled {
                    true => self.refresh_states(),
                    false => settled = self.rescan().await,
                },
            }
        }
    }

    fn end(&mut self) {
        for (name, plugin) in std::mem::take(&mut self.plugins) {
            remove(&name, &plugin);
        }
        for job in std::mem::take(&mut self.jobs).into_values() {
            job.slot.clear("the agent is shutting down".to_owned());
        }
        self.publish();
    }

    async fn apply(&mut self, config: Config) {
        if config.directory != self.config.directory {
            self.watcher = watcher(&config);
            for plugin in self.plugins.values_mut() {
                plugin.stamp = None;
            }
        }
        self.limits = Arc::new(config.limits.clone());
        self.config = config;
        self.settle().await;
    }

    /// Brings the plugins in step with the folder. Gives whether all files have come to rest.
    async fn rescan(&mut self) -> bool {
        let directory = self.config.directory.clone();
        let found = match blocking(move || folder::scan(&directory)).await {
            Ok(Ok(found)) => {
                self.folder_error = None;
                found
            }
            Ok(Err(error)) => {
                self.report_folder(error.to_string());
                return true;
            }
            Err(error) => {
                self.report_folder(error);
                return true;
            }
        };
        let view = self.folder.look(found, Instant::now(), SystemTime::now());
        let settled = view.is_settled();
        self.remove_all_but(&view.names);
        // What is gone is gone before anything new is compiled.
        self.settle().await;
        for (name, found) in view.settled {
            if self.examine(&name, found).await {
                self.settle().await;
            }
        }
        settled
    }

    /// Says once that the folder cannot be read; what runs goes on.
    fn report_folder(&mut self, error: String) {
        if self.folder_error.as_ref() != Some(&error) {
            tracing::error!(
                directory = %self.config.directory.display(),
                "cannot read the plugin folder: {error}"
            );
            self.folder_error = Some(error);
        }
    }

    fn remove_all_but(&mut self, names: &[String]) {
        let gone: Vec<String> = self
            .plugins
            .keys()
            .filter(|name| !names.contains(name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(plugin) = self.plugins.remove(&name) {
                tracing::info!(plugin = name, "plugin removed");
                for job in self.jobs.values().filter(|job| job.wanted.plugin == name) {
                    job.slot
                        .clear(format!("the file of plugin {name} was removed"));
                }
                remove(&name, &plugin);
            }
        }
    }

    /// Loads a file if it is another than the one that was loaded last. Gives whether it was.
    async fn examine(&mut self, name: &str, found: Found) -> bool {
        let plugin = self
            .plugins
            .entry(name.to_owned())
            .or_insert_with(|| Plugin {
                path: found.path.clone(),
                stamp: None,
                active: None,
                candidate: None,
                refusal: None,
                told: String::new(),
                provider: None,
                metrics: Arc::new(self.metrics.of(name)),
                health: Arc::default(),
            });
        if plugin.stamp.as_ref() == Some(&found.stamp) {
            return false;
        }
        plugin.path.clone_from(&found.path);
        let (metrics, health) = (plugin.metrics.clone(), plugin.health.clone());
        let known = [&plugin.active, &plugin.candidate].map(Clone::clone);
        self.post();
        let begun = Instant::now();
        let shared = self.shared(name, metrics.clone(), health);
        let loaded = blocking(move || load(&found.path, shared, known))
            .await
            .and_then(|loaded| loaded);
        let seconds = begun.elapsed().as_secs_f64();
        metrics.note_load(loaded.is_ok(), seconds);
        let Some(plugin) = self.plugins.get_mut(name) else {
            return false;
        };
        plugin.stamp = Some(found.stamp);
        match loaded {
            Ok(version) => {
                tracing::info!(
                    plugin = name,
                    world = %version.code.world(),
                    version = version.manifest.version,
                    seconds,
                    "plugin loaded"
                );
                plugin.refusal = None;
                let runs = plugin
                    .active
                    .as_ref()
                    .is_some_and(|active| active.digest == version.digest);
                plugin.candidate = (!runs).then_some(version);
            }
            Err(error) => refuse(name, plugin, &error),
        }
        true
    }

    fn shared(&self, name: &str, metrics: Arc<PluginMetrics>, health: Arc<Health>) -> Shared {
        Shared {
            name: name.to_owned(),
            limits: ArcSwap::new(self.limits.clone()),
            permits: ArcSwap::default(),
            metrics,
            health,
            services: self.services.clone(),
        }
    }

    /// Starts what should run, stops what should not, and tells.
    async fn settle(&mut self) {
        let names: Vec<String> = self.plugins.keys().cloned().collect();
        for name in &names {
            self.permit(name);
            self.activate(name).await;
        }
        self.reconcile_jobs().await;
        self.publish();
    }

    fn grants(&self, name: &str) -> Capabilities {
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
                plugin: name.to_owned(),
                wants: version.manifest.wants.clone(),
                optional: version.manifest.optional.clone(),
                grants: grants.clone(),
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
        match &*candidate.code {
            Instantiable::Discovery(pre) => {
                let version = discovery::Version {
                    pre: Arc::new(pre.clone()),
                    shared: candidate.shared.clone(),
                };
                plugin
                    .provider
                    .get_or_insert_with(|| Arc::new(Provider::new(name)))
                    .supply(Supply::Ready(version));
                plugin.active = Some(candidate);
            }
            Instantiable::Exporter(_) => {
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

    async fn reconcile_jobs(&mut self) {
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

    async fn reconcile_job(&mut self, wanted: ExporterInstance) {
        let plugin = self.plugins.get(&wanted.plugin);
        let disabled = self.config.disabled.contains(&wanted.plugin);
        let version = plugin
            .and_then(|plugin| plugin.active.clone())
            .filter(|active| active.code.world() == World::Exporter);
        let reason = idle_reason(&wanted.plugin, plugin, disabled);
        let job = self.jobs.get_mut(&wanted.job);
        let (same, slot) = match job {
            Some(job) => {
                let same = job.wanted.config == wanted.config;
                job.wanted = wanted.clone();
                (same, job.slot.clone())
            }
            None => {
                let slot = Arc::new(Slot::empty(&wanted.plugin, reason.clone()));
                let job = Job {
                    wanted: wanted.clone(),
                    slot: slot.clone(),
                    refusal: None,
                };
                self.jobs.insert(wanted.job.clone(), job);
                (true, slot)
            }
        };
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

    fn publish(&self) {
        let exporters = self
            .jobs
            .iter()
            .map(|(name, job)| {
                let suggested = self
                    .plugins
                    .get(&job.wanted.plugin)
                    .and_then(Plugin::version)
                    .and_then(|version| version.manifest.interval_ms);
                ExporterHandle {
                    job: name.clone(),
                    plugin: job.wanted.plugin.clone(),
                    interval_ms: job.wanted.interval_ms.or(suggested),
                    exporter: job.slot.clone(),
                }
            })
            .collect();
        let mut providers: BTreeMap<String, Arc<dyn DiscoveryProvider>> = BTreeMap::new();
        for (name, plugin) in &self.plugins {
            if let Some(provider) = &plugin.provider
                && !self.config.disabled.contains(name)
            {
                providers.insert(name.clone(), provider.clone());
            }
        }
        let set = PluginSet {
            exporters,
            providers,
        };
        self.set.send_if_modified(|former| {
            let differs = !former.is(&set);
            *former = set;
            differs
        });
        self.post();
    }

    /// Brings the board up to date.
    fn post(&self) {
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
            grants: self.grants(name),
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
        let same_provider = |((a, a_is), (b, b_is)): (
            (&String, &Arc<dyn DiscoveryProvider>),
            (&String, &Arc<dyn DiscoveryProvider>),
        )| a == b && Arc::ptr_eq(a_is, b_is);
        self.exporters.len() == other.exporters.len()
            && self.providers.len() == other.providers.len()
            && self
                .exporters
                .iter()
                .zip(&other.exporters)
                .all(same_exporter)
            && self
                .providers
                .iter()
                .zip(&other.providers)
                .all(same_provider)
    }
}

fn watcher(config: &Config) -> Watcher {
    Watcher::new(vec![config.directory.clone()], Options::default())
}

fn missing(version: &Version) -> Capabilities {
    version.shared.permits.load().missing()
}

fn remove(name: &str, plugin: &Plugin) {
    if let Some(provider) = &plugin.provider {
        provider.supply(Supply::Gone);
    }
    tracing::debug!(plugin = name, "its metrics end");
    plugin.metrics.remove();
}

fn refuse(name: &str, plugin: &mut Plugin, error: &str) {
    let text = match plugin.active {
        Some(_) => format!("the new file was refused and the former one goes on: {error}"),
        None => error.to_owned(),
    };
    tracing::error!(plugin = name, file = %plugin.path.display(), "{text}");
    plugin.candidate = None;
    plugin.refusal = Some(text);
}

/// What those are told who ask a job that has nothing to run.
fn idle_reason(name: &str, plugin: Option<&Plugin>, disabled: bool) -> String {
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
            "plugin {name} waits for a grant in narthex.yml:\n{}",
            version.shared.permits.load().yaml()
        ),
        _ => match &plugin.refusal {
            Some(refusal) => format!("plugin {name} cannot be loaded: {refusal}"),
            None => format!("plugin {name} is being loaded"),
        },
    }
}

/// A worker with a configured instance. One that is to replace another must have shown that it
/// works; the first one gets its chance whatever happens.
async fn prepare(
    version: &Version,
    wanted: &ExporterInstance,
    replaces: bool,
) -> Result<Worker, String> {
    let Instantiable::Exporter(pre) = &*version.code else {
        return Err(format!("plugin {} is a discovery", wanted.plugin));
    };
    let (pre, shared, wanted) = (pre.clone(), version.shared.clone(), wanted.clone());
    blocking(move || {
        let (mut runner, started) = Runner::start(pre, shared, &wanted.job, &wanted.config);
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

fn load(
    path: &std::path::Path,
    shared: Shared,
    known: [Option<Version>; 2],
) -> Result<Version, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("cannot read the file: {error}"))?
        .len();
    if size > code::MAX_FILE_BYTES {
        return Err(format!(
            "the file is too large: {size} bytes, and at most {} are read",
            code::MAX_FILE_BYTES
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let digest = code::digest(&bytes);
    // A file that was only touched, or came back.
    if let Some(version) = known
        .into_iter()
        .flatten()
        .find(|version| version.digest == digest)
    {
        return Ok(version);
    }
    let engine = &shared.services.machine.engine;
    let code = code::compile(engine, &bytes).map_err(|error| error.to_string())?;
    let shared = Arc::new(shared);
    let manifest = instance::describe(&code, &shared).map_err(|error| error.to_string())?;
    Ok(Version {
        digest,
        code: Arc::new(code),
        manifest,
        shared,
    })
}

/// Runs what may block on a thread that may.
async fn blocking<R: Send + 'static>(
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<R, String> {
    tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| format!("interrupted: {error}"))
}

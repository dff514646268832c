//! Keeps the plugins that run in step with the folder and the configuration.
//!
//! One task owns everything here and does one thing after the other: look at the folder, load what
//! is new, stop what is gone, start what should run. Reading, compiling and the plugins' own calls
//! happen on threads that may block.
//!
//! Keeps true: a file or a configuration that does not work leaves what worked in place and says
//! why; what did not change is not touched.

mod files;
mod jobs;
mod telling;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use narthex_extension::{DiscoveryProvider, ExporterHandle};
use narthex_watch::{Options, Watcher};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot, watch};

use crate::code::{Instantiable, Manifest, World};
use crate::discovery::Provider;
use crate::engine::Machine;
use crate::exporter::Slot;
use crate::folder::{self, Folder, Stamp};
use crate::host::Pool;
use crate::host::dns::Names;
use crate::host::system::FileSystems;
use crate::host::watching::Watching;
use crate::metrics::{Metrics, PluginMetrics};
use crate::shared::{Health, Services, Shared};
use crate::status::{Notice, PluginStatus};
use crate::{Config, ExporterInstance, Limits, Outside};

/// Reloads that may wait for one that is under way; whoever asks waits for a place.
const COMMANDS: usize = 4;

/// How often to look without having been told to. The watcher tells of what differs from what it
/// told before; a file that came and went in between is only seen by looking.
const LOOK: Duration = Duration::from_secs(5);

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
/// the set fills as plugins are ready, and [`Handle::status`] tells which are still loading.
pub fn start(config: Config, outside: Outside, registry: &Registry) -> Result<Handle, StartError> {
    let machine = Machine::new(&config.cache_directory, config.limits.memory_bytes)
        .map_err(StartError::Machine)?;
    let pool = Arc::new(Pool::default());
    let metrics = Metrics::new(registry, &pool);
    let metrics = metrics.map_err(|error| StartError::Metrics(error.to_string()))?;
    let names = Arc::new(Names::default());
    names.set_servers(config.dns_servers.clone());
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let (set, set_receiver) = watch::channel(PluginSet::default());
    let (board, board_receiver) = watch::channel(Vec::new());
    let mut manager = Manager {
        watcher: watcher(&config),
        limits: Arc::new(config.limits.clone()),
        config,
        services: Arc::new(Services {
            machine,
            file_systems: FileSystems::default(),
            watching: Arc::new(Watching::start()),
            names,
            pool,
            runtime: tokio::runtime::Handle::current(),
            outside,
        }),
        metrics,
        folder: Folder::default(),
        folder_error: None,
        plugins: BTreeMap::new(),
        jobs: BTreeMap::new(),
        set,
        board,
    };
    // So that whoever asks at once sees what is being loaded.
    let found = folder::scan(&manager.config.directory).unwrap_or_default();
    let paths = found.into_iter().map(|(name, found)| (name, found.path));
    manager.keep(&paths.collect());
    manager.post();
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
        let lines = version.shared.permits.load().yaml_entry();
        if self.told == lines {
            return;
        }
        let meanwhile = match self.active {
            Some(_) => "the new version waits, and the former one goes on",
            None => "the plugin waits",
        };
        tracing::warn!(
            plugin = name,
            "{meanwhile}, until narthex.yml has under plugins.grants: {lines}"
        );
        self.told = lines;
    }
}

impl Manager {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut settled = self.rescan().await;
        loop {
            let pause = if settled { LOOK } else { folder::REST };
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
                () = tokio::time::sleep(pause) => settled = self.rescan().await,
            }
        }
    }

    fn end(&mut self) {
        for (name, plugin) in std::mem::take(&mut self.plugins) {
            files::remove(&name, &plugin);
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
        self.services.names.set_servers(config.dns_servers.clone());
        self.config = config;
        self.settle().await;
    }
}

fn watcher(config: &Config) -> Watcher {
    Watcher::new(vec![config.directory.clone()], Options::default())
}

/// Runs what may block on a thread that may.
async fn blocking<R: Send + 'static>(
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<R, String> {
    tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| format!("interrupted: {error}"))
}

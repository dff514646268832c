//! One plugin by itself, for those who write it: loaded from its bytes, run against a recorded world
//! or the real one, measured.
//!
//! Everything is as in the agent (code, limits, grants, checks), but there is no folder, no task and
//! no restart: what is called here is called on the caller's thread, which may block.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use narthex_extension::{Capabilities, ExporterError};
use narthex_model::{MetricFamily, TargetGroup};
use prometheus::Registry;

use crate::bindings::targets::Request;
use crate::code::{self, Code, Instantiable, LoadError, Manifest, World};
use crate::config::Grant;
use crate::discovery::{self, Event};
use crate::engine::Machine;
use crate::exporter::Runner;
use crate::grant::{Permits, Root};
use crate::host::Pool;
use crate::host::dns::Names;
use crate::host::publisher::Publisher;
use crate::host::system::FileSystems;
use crate::host::watching::Watching;
use crate::instance::{self, new_store};
use crate::metrics::Metrics;
use crate::replay::{Entry, Exchange, Recording, Replay};
use crate::shared::{Health, Services, Shared};
use crate::{Limits, Outside, StartError, Usage};

/// Where plugins are loaded.
pub struct Workbench {
    services: Arc<Services>,
    limits: Arc<Limits>,
    metrics: Metrics,
}

/// What a plugin's file is.
#[derive(Clone, Debug)]
pub struct About {
    pub world: World,
    /// The version of the contract that it was built for.
    pub contract: &'static str,
    pub manifest: Manifest,
    /// The host's interfaces that it asks for.
    pub imports: Vec<String>,
    pub sha256: String,
    pub size_bytes: usize,
}

/// A plugin that was loaded.
pub struct Loaded {
    name: String,
    code: Arc<Instantiable>,
    about: About,
    services: Arc<Services>,
    limits: Arc<Limits>,
    metrics: Metrics,
}

/// A plugin that may do something, in a world.
pub struct Trial {
    code: Arc<Instantiable>,
    shared: Arc<Shared>,
}

/// A discovery at work, until this is dropped.
pub struct Running(discovery::Instance);

/// An exporter's instance.
pub struct Instance {
    runner: Runner,
    shared: Arc<Shared>,
}

impl Workbench {
    /// Must be called within a tokio runtime. `counts_fuel`: plugins are compiled so that what they
    /// compute is counted, which makes them slower.
    pub fn new(
        cache_directory: &Path,
        limits: Limits,
        outside: Outside,
        counts_fuel: bool,
    ) -> Result<Workbench, StartError> {
        let machine = match counts_fuel {
            true => Machine::counting_fuel(cache_directory, limits.memory_bytes),
            false => Machine::new(cache_directory, limits.memory_bytes),
        };
        let pool = Arc::new(Pool::default());
        let metrics = Metrics::new(&Registry::new(), &pool);
        Ok(Workbench {
            metrics: metrics.map_err(|error| StartError::Metrics(error.to_string()))?,
            services: Arc::new(Services {
                machine: machine.map_err(StartError::Machine)?,
                file_systems: FileSystems::default(),
                watching: Arc::new(Watching::start()),
                names: Arc::new(Names::default()),
                pool,
                runtime: tokio::runtime::Handle::current(),
                outside,
            }),
            limits: Arc::new(limits),
        })
    }

    /// Compiles a plugin, or takes its code from the cache, and asks it what it is.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Loaded, LoadError> {
        code::check_size(bytes.len() as u64)?;
        let code = code::compile(&self.services.machine.engine, bytes)?;
        let mut loaded = Loaded {
            name: name.to_owned(),
            about: About {
                world: code.world(),
                contract: code.contract.as_str(),
                manifest: Manifest::default(),
                imports: code.imports.clone(),
                sha256: code::digest(bytes),
                size_bytes: bytes.len(),
            },
            code: Arc::new(code),
            services: self.services.clone(),
            limits: self.limits.clone(),
            metrics: self.metrics.clone(),
        };
        let shared = Arc::new(loaded.shared(Permits::default(), None));
        loaded.about.manifest = instance::describe(&loaded.code, &shared)?;
        Ok(loaded)
    }
}

impl Loaded {
    pub fn about(&self) -> &About {
        &self.about
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that it wants or could make use of.
    pub fn all_wants(&self) -> Capabilities {
        let (wants, optional) = (&self.about.manifest.wants, &self.about.manifest.optional);
        Capabilities {
            files: [&wants.files[..], &optional.files].concat(),
            http: [&wants.http[..], &optional.http].concat(),
            dns: [&wants.dns[..], &optional.dns].concat(),
            env: [&wants.env[..], &optional.env].concat(),
            system: wants.system || optional.system,
            query: wants.query || optional.query,
        }
    }

    /// What it waits for, with these grants.
    pub fn missing(&self, grant: &Grant) -> Capabilities {
        self.permits(grant.clone(), None).missing()
    }

    /// The entry of `plugins.grants` in `narthex.yml` that grants all that it wants or could use,
    /// besides what is granted already; on one line.
    pub fn grant_entry(&self, grant: &Grant) -> String {
        self.permits(grant.clone(), None).yaml_entry()
    }

    /// Lets it do what it declares and this grants: in the recorded world, or in the real one.
    pub fn trial(&self, grant: Grant, recording: Option<Recording>) -> Trial {
        let replay = recording.map(|recording| Arc::new(Replay::new(recording)));
        let permits = self.permits(grant, replay.as_deref());
        Trial {
            code: self.code.clone(),
            shared: Arc::new(self.shared(permits, replay)),
        }
    }

    fn permits(&self, grant: Grant, replay: Option<&Replay>) -> Permits {
        Permits {
            plugin: self.name.clone(),
            wants: self.about.manifest.wants.clone(),
            optional: self.about.manifest.optional.clone(),
            grants: grant.capabilities,
            http: grant.http,
            root: Root(replay.map(|replay| replay.root().to_owned())),
        }
    }

    fn shared(&self, permits: Permits, replay: Option<Arc<Replay>>) -> Shared {
        Shared {
            name: self.name.clone(),
            limits: ArcSwap::new(self.limits.clone()),
            permits: ArcSwap::new(Arc::new(permits)),
            metrics: Arc::new(self.metrics.of(&self.name)),
            health: Arc::new(Health::default()),
            services: self.services.clone(),
            replay,
        }
    }
}

impl Trial {
    /// An exporter's instance with this configuration. The error says what the plugin has against
    /// it.
    pub fn exporter(&self, config: &serde_json::Value) -> Result<Instance, String> {
        let Code::Exporter(code) = &self.code.code else {
            return Err(format!("plugin {} is a discovery", self.shared.name));
        };
        let name = self.shared.name.clone();
        let (runner, started) = Runner::start(code.clone(), self.shared.clone(), &name, config);
        started.map_err(|error| error.to_string())?;
        Ok(Instance {
            runner,
            shared: self.shared.clone(),
        })
    }

    /// Lets a discovery run in its recorded world, until it waits for what comes after the end of
    /// that. What it publishes is in [`Trial::take_said`].
    pub fn run(&self, config: &serde_json::Value, base_directory: &str) -> Result<(), String> {
        let Code::Discovery(code) = &self.code.code else {
            return Err(format!("plugin {} is an exporter", self.shared.name));
        };
        let request = Request {
            config: config.to_string(),
            base_directory: base_directory.to_owned(),
        };
        let unwanted = tokio_util::sync::CancellationToken::new();
        let mut store = new_store(&self.shared, &unwanted);
        // In a recorded world nobody takes what is published; it is noted.
        let (groups, _) = tokio::sync::mpsc::channel(1);
        store.data_mut().publisher = Some(Publisher::new(groups));
        match discovery::live(code, &self.shared, store, &request) {
            _ if self.is_over() => Ok(()),
            Event::Refused(text) | Event::Ended(text) => Err(text),
            Event::Published(_) => Ok(()),
        }
    }

    /// Starts a discovery in the real world, on a thread of its own.
    pub fn start_run(
        &self,
        config: &serde_json::Value,
        base_directory: &str,
    ) -> Result<Running, String> {
        let Code::Discovery(code) = &self.code.code else {
            return Err(format!("plugin {} is an exporter", self.shared.name));
        };
        let version = discovery::Version {
            code: Arc::new(code.clone()),
            shared: self.shared.clone(),
        };
        let request = Request {
            config: config.to_string(),
            base_directory: base_directory.to_owned(),
        };
        discovery::Instance::start(version, request).map(Running)
    }

    fn is_over(&self) -> bool {
        let replay = self.shared.replay.as_ref();
        replay.is_some_and(|replay| replay.is_over())
    }

    /// Lets time pass in the recorded world.
    pub fn pass_ms(&self, time_ms: u64) {
        if let Some(replay) = &self.shared.replay {
            replay.pass(Duration::from_millis(time_ms));
        }
    }

    /// What the plugin logged and published in its recorded world, since this was asked last.
    pub fn take_said(&self) -> Vec<Entry> {
        let replay = self.shared.replay.as_ref();
        replay.map(|replay| replay.take_said()).unwrap_or_default()
    }

    /// What it asked of its recorded world and is not recorded.
    pub fn take_unknown(&self) -> Vec<String> {
        let replay = self.shared.replay.as_ref();
        replay
            .map(|replay| replay.take_unknown())
            .unwrap_or_default()
    }

    /// The answers that came from the world, where the recording is being made.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let replay = self.shared.replay.as_ref();
        replay.map(|replay| replay.exchanges()).unwrap_or_default()
    }

    pub fn usage(&self) -> Usage {
        self.shared.metrics.usage()
    }

    /// What the last call has computed, where that is counted.
    pub fn last_fuel(&self) -> u64 {
        self.shared.health.fuel.load(Ordering::Relaxed)
    }
}

impl Running {
    /// What it publishes next. An error is its end, and says why.
    pub async fn next(&mut self) -> Result<Vec<TargetGroup>, String> {
        match self.0.next().await {
            Event::Published(groups) => Ok(groups),
            Event::Refused(text) | Event::Ended(text) => Err(text),
        }
    }
}

impl Instance {
    pub fn collect(&mut self) -> Result<Vec<MetricFamily>, ExporterError> {
        self.runner.collect()
    }

    /// What the last call has computed, where that is counted.
    pub fn last_fuel(&self) -> u64 {
        self.shared.health.fuel.load(Ordering::Relaxed)
    }
}

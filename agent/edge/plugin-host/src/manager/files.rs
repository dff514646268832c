//! The files of the folder: which come, change and go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::discovery::Supply;
use crate::folder::{self, Found};
use crate::metrics::PluginMetrics;
use crate::shared::{Health, Shared};
use crate::{code, instance};

use super::{Manager, Plugin, Version, blocking};

/// Compiling cannot be interrupted; past this, nobody waits for it any longer.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);

impl Manager {
    /// Brings the plugins in step with the folder. Gives whether all files have come to rest.
    pub(super) async fn rescan(&mut self) -> bool {
        let directory = self.config.directory.clone();
        let scanned = blocking(move || folder::scan(&directory)).await;
        let found = match scanned.and_then(|scanned| scanned.map_err(|error| error.to_string())) {
            Ok(found) => found,
            Err(error) => {
                self.report_folder(error);
                return true;
            }
        };
        self.folder_error = None;
        let view = self.folder.look(found, Instant::now(), SystemTime::now());
        let settled = view.is_settled();
        self.keep(&view.paths);
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

    /// Knows of exactly these files.
    pub(super) fn keep(&mut self, paths: &BTreeMap<String, PathBuf>) {
        self.remove_all_but(paths);
        for (name, path) in paths {
            if !self.plugins.contains_key(name) {
                let plugin = Plugin::new(path, self.metrics.of(name));
                self.plugins.insert(name.clone(), plugin);
            }
        }
    }

    fn remove_all_but(&mut self, paths: &BTreeMap<String, PathBuf>) {
        let gone: Vec<String> = self
            .plugins
            .keys()
            .filter(|name| !paths.contains_key(*name))
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
        let Some(plugin) = self.plugins.get_mut(name) else {
            return false;
        };
        if plugin.stamp.as_ref() == Some(&found.stamp) {
            return false;
        }
        plugin.path.clone_from(&found.path);
        let (metrics, health) = (plugin.metrics.clone(), plugin.health.clone());
        let known = [&plugin.active, &plugin.candidate].map(Clone::clone);
        self.post();
        let begun = Instant::now();
        let shared = self.shared(name, metrics.clone(), health);
        let loading = blocking(move || load(&found.path, shared, known));
        let loaded = match tokio::time::timeout(LOAD_PATIENCE, loading).await {
            Ok(loaded) => loaded.and_then(|loaded| loaded),
            Err(_) => Err(format!(
                "compiling it takes longer than {} s; a smaller plugin is taken",
                LOAD_PATIENCE.as_secs()
            )),
        };
        let seconds = begun.elapsed().as_secs_f64();
        metrics.note_load(loaded.is_ok(), seconds);
        if let Some(plugin) = self.plugins.get_mut(name) {
            plugin.stamp = Some(found.stamp);
            match loaded {
                Ok(version) => plugin.take(name, version, seconds),
                Err(error) => refuse(name, plugin, &error),
            }
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
            replay: None,
        }
    }
}

impl Plugin {
    fn new(path: &Path, metrics: PluginMetrics) -> Self {
        Plugin {
            path: path.to_owned(),
            stamp: None,
            active: None,
            candidate: None,
            refusal: None,
            told: String::new(),
            provider: None,
            metrics: Arc::new(metrics),
            health: Arc::default(),
        }
    }

    /// A loaded version is a candidate, unless it is the one that runs already.
    fn take(&mut self, name: &str, version: Version, seconds: f64) {
        tracing::info!(
            plugin = name,
            world = %version.code.world(),
            version = version.manifest.version,
            seconds,
            "plugin loaded"
        );
        self.refusal = None;
        let runs = self
            .active
            .as_ref()
            .is_some_and(|active| active.digest == version.digest);
        self.candidate = (!runs).then_some(version);
    }
}

fn load(path: &Path, shared: Shared, known: [Option<Version>; 2]) -> Result<Version, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("cannot read the file: {error}"))?
        .len();
    code::check_size(size).map_err(|error| error.to_string())?;
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

pub(super) fn remove(name: &str, plugin: &Plugin) {
    if let Some(provider) = &plugin.provider {
        provider.supply(Supply::Gone);
    }
    tracing::debug!(plugin = name, "its metrics end");
    plugin.metrics.remove();
}

pub(super) fn refuse(name: &str, plugin: &mut Plugin, error: &str) {
    let text = match plugin.active {
        Some(_) => format!("the new file was refused and the former one goes on: {error}"),
        None => error.to_owned(),
    };
    tracing::error!(plugin = name, file = %plugin.path.display(), "{text}");
    plugin.candidate = None;
    plugin.refusal = Some(text);
}

//! The scripts in the folder: which are loaded, what is wrong with the others.
//!
//! Keeps true: a file that cannot be loaded never replaces a version that could; a script whose file
//! is gone is unloaded; a new version goes on with what the old one remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use narthex_extension::AlertScript;
use prometheus::Registry;

use crate::config::{Config, Limits};
use crate::context::Memory;
use crate::metrics::Metrics;
use crate::script::{Script, Usage};

/// One script file, for the API.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptStatus {
    pub name: String,
    pub file: PathBuf,
    pub state: ScriptState,
    /// Why the present content of the file is not what runs.
    pub load_error: Option<String>,
    pub interval_ms: Option<u64>,
    pub limits: Limits,
    pub usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptState {
    /// The file's present content is loaded.
    Loaded,
    /// The file's present content is broken; the version before it goes on.
    LoadedPrevious,
    /// Nothing to run: the file never had a content that could be loaded.
    Broken,
}

impl ScriptState {
    pub fn as_str(self) -> &'static str {
        match self {
            ScriptState::Loaded => "loaded",
            ScriptState::LoadedPrevious => "loaded_previous",
            ScriptState::Broken => "broken",
        }
    }
}

/// Holds the scripts. `sync` brings it up to date with the folder; whoever owns the host calls it
/// at the start and when the folder or the configuration has changed.
pub struct ScriptHost {
    entries: Mutex<BTreeMap<String, Entry>>,
    metrics: Metrics,
}

struct Entry {
    file: PathBuf,
    script: Option<Arc<Script>>,
    load_error: Option<String>,
    memory: Arc<Mutex<Memory>>,
    /// What the present state was made from, to leave alone what did not change.
    made_from: Option<(String, Limits, Option<serde_json::Value>)>,
    limits: Limits,
}

impl ScriptHost {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(ScriptHost {
            entries: Mutex::default(),
            metrics: Metrics::new(registry)?,
        })
    }

    /// Reads the folder and loads what is new or changed. Gives the scripts to run, and whether
    /// they are others than before.
    pub fn sync(&self, config: &Config) -> (Vec<Arc<dyn AlertScript>>, bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let before = running(&entries);
        let found = script_files(&config.directory);
        let gone: Vec<String> = entries
            .keys()
            .filter(|name| !found.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            tracing::info!(script = %name, "script unloaded: its file is gone");
            entries.remove(&name);
        }
        for (name, file) in found {
            let entry = entries
                .entry(name.clone())
                .or_insert_with(|| Entry::new(file.clone()));
            entry.file = file;
            entry.refresh(&name, config);
        }
        let after = running(&entries);
        let broken = entries
            .values()
            .filter(|entry| entry.load_error.is_some())
            .count();
        self.metrics
            .loaded
            .set(i64::try_from(after.len()).unwrap_or(i64::MAX));
        self.metrics
            .broken
            .set(i64::try_from(broken).unwrap_or(i64::MAX));
        let same = before.len() == after.len()
            && before.iter().zip(&after).all(|(a, b)| Arc::ptr_eq(a, b));
        (
            after
                .into_iter()
                .map(|script| script as Arc<dyn AlertScript>)
                .collect(),
            !same,
        )
    }

    pub fn status(&self) -> Vec<ScriptStatus> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|(name, entry)| entry.status(name))
            .collect()
    }
}

impl Entry {
    fn new(file: PathBuf) -> Self {
        Entry {
            file,
            script: None,
            load_error: None,
            memory: Arc::default(),
            made_from: None,
            limits: Limits::default(),
        }
    }

    fn refresh(&mut self, name: &str, config: &Config) {
        let params = config.params.get(name);
        let source = match fs::read_to_string(&self.file) {
            Ok(source) => source,
            Err(e) => return self.fail(name, format!("{}: {e}", self.file.display())),
        };
        let made_from = (source, config.limits.clone(), params.cloned());
        if self.made_from.as_ref() == Some(&made_from) {
            return;
        }
        self.limits = config.limits.clone();
        let memory = self.memory.clone();
        match Script::load(name, &made_from.0, &config.limits, params, memory) {
            Ok(script) => {
                tracing::info!(script = %name, "script loaded");
                self.script = Some(Arc::new(script));
                self.load_error = None;
            }
            Err(error) => self.fail(name, error),
        }
        self.made_from = Some(made_from);
    }

    fn fail(&mut self, name: &str, error: String) {
        if self.load_error.as_ref() == Some(&error) {
            return;
        }
        let kept = if self.script.is_some() {
            "; the version before it goes on"
        } else {
            ""
        };
        tracing::error!(script = %name, "script not loaded: {error}{kept}");
        self.load_error = Some(error);
    }

    fn status(&self, name: &str) -> ScriptStatus {
        let state = match (&self.script, &self.load_error) {
            (Some(_), None) => ScriptState::Loaded,
            (Some(_), Some(_)) => ScriptState::LoadedPrevious,
            (None, _) => ScriptState::Broken,
        };
        ScriptStatus {
            name: name.to_owned(),
            file: self.file.clone(),
            state,
            load_error: self.load_error.clone(),
            interval_ms: self.script.as_ref().and_then(|script| script.interval_ms()),
            limits: self.limits.clone(),
            usage: self
                .script
                .as_ref()
                .map(|script| script.usage())
                .unwrap_or_default(),
        }
    }
}

fn running(entries: &BTreeMap<String, Entry>) -> Vec<Arc<Script>> {
    entries
        .values()
        .filter_map(|entry| entry.script.clone())
        .collect()
}

/// `*.rhai` in the folder by name. A folder that isn't there holds none.
fn script_files(directory: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(listing) = fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let paths: BTreeSet<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rhai") && path.is_file())
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect()
}

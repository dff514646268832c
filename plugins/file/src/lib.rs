//! Finds targets in files: `file_sd_configs`.
//!
//! Keeps true: a file that cannot be read or is wrong keeps its last good groups and is named in
//! the log; a file that is gone has none. A group's source is its file and its place in it, so a
//! group that changes replaces itself.

mod content;

use std::collections::BTreeMap;

use futures_util::future::{Either, select};
use futures_util::stream::{self, SelectAll, StreamExt};
use narthex_plugin_sdk::events::{Watch, sleep_ms};
use narthex_plugin_sdk::{
    ConfigError, Discovery, Duration, Error, Manifest, TargetGroup, files, glob, publisher, tracing,
};
use serde::Deserialize;

narthex_plugin_sdk::discovery!(FileDiscovery);

/// An entry of `file_sd_configs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    files: Vec<String>,
    #[serde(default = "default_refresh_interval")]
    refresh_interval: Duration,
}

fn default_refresh_interval() -> Duration {
    Duration { ms: 300_000 }
}

pub struct FileDiscovery {
    /// Absolute, with a pattern at most in the last segment.
    paths: Vec<String>,
    refresh_interval_ms: u64,
    /// The last good groups of each file.
    known: BTreeMap<String, Vec<TargetGroup>>,
}

impl Discovery for FileDiscovery {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("finds targets in JSON and YAML files, and watches them").reads("/")
    }

    fn new(config: Config, base_directory: &str) -> Result<Self, ConfigError> {
        if config.files.is_empty() {
            return Err(ConfigError::new("files", "expected at least one path"));
        }
        for (at, path) in config.files.iter().enumerate() {
            check_path(path).map_err(|error| ConfigError::new(format!("files[{at}]"), error))?;
        }
        if config.refresh_interval.ms == 0 {
            return Err(ConfigError::new("refresh_interval", "must be more than 0"));
        }
        let paths = config.files.iter().map(|path| join(base_directory, path));
        Ok(FileDiscovery {
            paths: paths.collect(),
            refresh_interval_ms: config.refresh_interval.ms,
            known: BTreeMap::new(),
        })
    }

    async fn run(mut self) -> Result<(), Error> {
        let interval_ms = self.refresh_interval_ms;
        // Watched before they are read, so that no change falls between.
        // Where nothing can be watched, only the clock is left.
        let mut changes = self.watch().chain(stream::pending());
        let mut refresh = sleep_ms(interval_ms);
        publisher::publish(&self.refresh())?;
        loop {
            match select(changes.next(), refresh).await {
                Either::Left((_, rest)) => refresh = rest,
                Either::Right((slept, _)) => {
                    slept?;
                    refresh = sleep_ms(interval_ms);
                }
            }
            let changed = self.refresh();
            if !changed.is_empty() {
                publisher::publish(&changed)?;
            }
        }
    }
}

impl FileDiscovery {
    fn watch(&self) -> SelectAll<Watch> {
        let mut all = SelectAll::new();
        for path in &self.paths {
            match Watch::new(path) {
                Ok(watch) => all.push(watch),
                Err(error) => tracing::error!("cannot watch {path}: {error}"),
            }
        }
        all
    }

    /// Reads all files; gives the groups that are new, changed or gone.
    fn refresh(&mut self) -> Vec<TargetGroup> {
        let mut now = BTreeMap::new();
        let mut changed = Vec::new();
        for path in self.matching_files() {
            let former = self.known.remove(&path);
            match read(&path) {
                Ok(Some(groups)) => {
                    changed.extend(differences(former.as_deref().unwrap_or_default(), &groups));
                    now.insert(path, groups);
                }
                // Gone between the listing and the reading.
                Ok(None) => changed.extend(emptied(former.as_deref().unwrap_or_default())),
                Err(error) => {
                    tracing::error!("{path}: {error}");
                    if let Some(former) = former {
                        now.insert(path, former);
                    }
                }
            }
        }
        for former in self.known.values() {
            changed.extend(emptied(former));
        }
        self.known = now;
        changed
    }

    /// The files there are. A folder that cannot be listed keeps those that are known of it.
    fn matching_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for path in &self.paths {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if !glob::is_pattern(name) {
                found.push(path.clone());
                continue;
            }
            match files::entries(if folder.is_empty() { "/" } else { folder }) {
                Ok(entries) => {
                    let names = entries.into_iter().map(|entry| entry.name);
                    let matching = names.filter(|entry| glob::matches(name, entry));
                    found.extend(matching.map(|entry| format!("{folder}/{entry}")));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::error!("cannot list {folder}: {error}");
                    let in_folder = |path: &&String| {
                        path.rsplit_once('/')
                            .is_some_and(|(at, last)| at == folder && glob::matches(name, last))
                    };
                    found.extend(self.known.keys().filter(in_folder).cloned());
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// A file's groups; none if it is not there.
fn read(path: &str) -> Result<Option<Vec<TargetGroup>>, Error> {
    match files::read(path) {
        Ok(bytes) => content::parse(path, bytes).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The groups of `now` that are not in `former` as they are, and those that `now` lacks, emptied.
fn differences(former: &[TargetGroup], now: &[TargetGroup]) -> Vec<TargetGroup> {
    let mut changed: Vec<TargetGroup> = now
        .iter()
        .filter(|group| !former.contains(group))
        .cloned()
        .collect();
    // Sources are numbered, so what the longer list has more is at its end.
    changed.extend(emptied(former.get(now.len()..).unwrap_or_default()));
    changed
}

fn emptied(groups: &[TargetGroup]) -> impl Iterator<Item = TargetGroup> {
    groups.iter().map(|group| TargetGroup {
        source: group.source.clone(),
        targets: Vec::new(),
        labels: Vec::new(),
    })
}

/// A path ends in .json, .yml or .yaml; a `*` may stand in its last segment.
fn check_path(path: &str) -> Result<(), String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if content::Format::of(name).is_none() {
        return Err(format!(
            "{path:?} does not end in .json, .yml or .yaml, which says how to read it"
        ));
    }
    if folder.contains('*') {
        return Err(format!(
            "{path:?} has a * before the last /: only the file's name may have one"
        ));
    }
    Ok(())
}

fn join(base_directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{path}", base_directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;

//! Finds targets in files: `file_sd_configs`.
//!
//! Keeps true: a file that cannot be read or is wrong keeps its last good groups and is named in
//! the log; a file that is gone has none. A group's source is its file and its place in it, so a
//! group that changes replaces itself.

mod content;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{Either, select};
use futures_util::stream::{self, SelectAll, StreamExt};
use narthex_plugin_sdk::events::{Watch, sleep_ms};
use narthex_plugin_sdk::target_groups::Published;
use narthex_plugin_sdk::telemetry::{Counter, Gauge};
use narthex_plugin_sdk::{
    ConfigError, Discovery, Duration, Error, FileError, FileErrorCode, Manifest, TargetGroup,
    files, glob, tracing,
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

const READ_ERRORS: Counter = Counter::new(
    "prometheus_sd_file_read_errors_total",
    "Files with targets that could not be read or were wrong.",
);
const WATCHER_ERRORS: Counter = Counter::new(
    "prometheus_sd_file_watcher_errors_total",
    "Paths of files with targets that could not be watched.",
);
const MODIFIED: Gauge = Gauge::new(
    "prometheus_sd_file_mtime_seconds",
    "When the file was modified, as it was read last.",
);

/// So many watches may fire before the files are read again.
const CHANGES_AT_ONCE: usize = 64;

fn default_refresh_interval() -> Duration {
    Duration { ms: 300_000 }
}

pub struct FileDiscovery {
    /// Absolute; segments may be patterns, those with `*` only in the last one.
    paths: Vec<String>,
    refresh_interval_ms: u64,
    /// The last good groups of each file.
    known: BTreeMap<String, Vec<TargetGroup>>,
    /// When each file was modified, as it was read last.
    modified_ms: BTreeMap<String, i64>,
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
            modified_ms: BTreeMap::new(),
        })
    }

    async fn run(mut self) -> Result<(), Error> {
        READ_ERRORS.add(&[], 0.0);
        WATCHER_ERRORS.add(&[], 0.0);
        let interval_ms = self.refresh_interval_ms;
        let mut published = Published::new();
        // Watched before they are read, so that no change falls between. Where nothing can be
        // watched, only the clock is left.
        let changes = self.watch().chain(stream::pending());
        let mut changes = changes.ready_chunks(CHANGES_AT_ONCE);
        let mut refresh = sleep_ms(interval_ms);
        loop {
            self.read_all();
            let groups = self.known.values().flatten().cloned();
            if let Err(error) = published.set_all(groups) {
                tracing::error!("{error}");
            }
            match select(changes.next(), refresh).await {
                Either::Left((_, rest)) => refresh = rest,
                Either::Right((slept, _)) => {
                    slept?;
                    refresh = sleep_ms(interval_ms);
                }
            }
        }
    }
}

impl FileDiscovery {
    fn watch(&self) -> SelectAll<Watch> {
        let mut all = SelectAll::new();
        for path in &self.paths {
            // The host knows no pattern but `*`.
            let watched = match path.rsplit_once('/') {
                Some((folder, name)) if glob::is_pattern(name) && !name.contains('*') => {
                    format!("{folder}/*")
                }
                _ => path.clone(),
            };
            match Watch::new(&watched) {
                Ok(watch) => all.push(watch),
                Err(error) => {
                    WATCHER_ERRORS.add(&[], 1.0);
                    tracing::error!("cannot watch {watched}: {error}");
                }
            }
        }
        all
    }

    fn read_all(&mut self) {
        let mut now = BTreeMap::new();
        let mut modified_ms = BTreeMap::new();
        for path in self.matching_files() {
            let read = read(&path);
            if !matches!(read, Ok(None)) {
                let former = self.modified_ms.get(&path).copied();
                let found = files::stat(&path).map(|metadata| metadata.modified_ms);
                modified_ms.extend(found.ok().or(former).map(|ms| (path.clone(), ms)));
            }
            match read {
                Ok(Some(groups)) => {
                    now.insert(path, groups);
                }
                // Gone between the listing and the reading.
                Ok(None) => {}
                Err(error) => {
                    READ_ERRORS.add(&[], 1.0);
                    tracing::error!("{path}: {error}");
                    if let Some(former) = self.known.remove(&path) {
                        now.insert(path, former);
                    }
                }
            }
        }
        self.known = now;
        self.tell(modified_ms);
    }

    fn tell(&mut self, modified_ms: BTreeMap<String, i64>) {
        for (path, ms) in &modified_ms {
            if self.modified_ms.get(path) != Some(ms) {
                MODIFIED.set(&[("filename", path)], (ms / 1000) as f64);
            }
        }
        for path in self.modified_ms.keys() {
            if !modified_ms.contains_key(path) {
                MODIFIED.end(&[("filename", path)]);
            }
        }
        self.modified_ms = modified_ms;
    }

    /// The files there are. Where a folder cannot be listed, those that are known stay.
    fn matching_files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for path in &self.paths {
            match expand(path) {
                Ok(paths) => found.extend(paths),
                Err(error) => {
                    tracing::error!("cannot list {path}: {error}");
                    let known = self.known.keys().filter(|known| is_match(path, known));
                    found.extend(known.cloned());
                }
            }
        }
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

/// What a path with patterns in its segments stands for.
fn expand(path: &str) -> Result<Vec<String>, FileError> {
    let mut found = vec![String::new()];
    for segment in path.split('/').skip(1) {
        let mut deeper = Vec::new();
        for folder in found {
            if !glob::is_pattern(segment) {
                deeper.push(format!("{folder}/{segment}"));
                continue;
            }
            match files::entries(if folder.is_empty() { "/" } else { &folder }) {
                Ok(entries) => {
                    let names = entries.into_iter().map(|entry| entry.name);
                    let matching = names.filter(|name| glob::matches(segment, name));
                    deeper.extend(matching.map(|name| format!("{folder}/{name}")));
                }
                Err(error) if is_no_folder(&error) => {}
                Err(error) => return Err(error),
            }
        }
        found = deeper;
    }
    Ok(found)
}

fn is_no_folder(error: &FileError) -> bool {
    matches!(
        error.code,
        FileErrorCode::NotFound | FileErrorCode::NotADirectory
    )
}

fn is_match(pattern: &str, path: &str) -> bool {
    let (patterns, names) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == names.clone().count()
        && patterns.zip(names).all(|(pattern, name)| {
            pattern == name || (glob::is_pattern(pattern) && glob::matches(pattern, name))
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

/// Absolute, without `.` and `..`: it becomes the label `__meta_filepath`.
fn join(base_directory: &str, path: &str) -> String {
    let from_base = format!("{base_directory}/{path}");
    let whole = match path.starts_with('/') {
        true => path,
        false => &from_base,
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in whole.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests;

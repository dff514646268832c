//! Metrics that others have written into files.
//!
//! Keeps true: a file that is wrong in any way gives nothing and is told of; the others do.

mod merge;
mod parse;

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, Metrics, files, glob, tracing};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::read_many;
use merge::Merged;

const MODIFIED: Descriptor = gauge(
    "node_textfile_mtime_seconds",
    "Unixtime mtime of textfiles successfully read.",
);
const ERROR: Descriptor = gauge(
    "node_textfile_scrape_error",
    "1 if there was an error opening or reading a file, 0 otherwise",
);

pub(crate) struct TextFile {
    /// As configured: folders, or patterns of folders.
    directories: Vec<String>,
    /// What was logged last of each path, so that it is logged once.
    told: BTreeMap<String, String>,
}

impl TextFile {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        const NAME: &str = "collector.textfile.directory";
        let mut directories = options.texts(NAME)?;
        directories.retain(|directory| !directory.is_empty());
        if let Some(relative) = directories.iter().find(|path| !path.starts_with('/')) {
            let message = format!("expected an absolute path, not {relative:?}");
            return Err(ConfigError::new(NAME, message));
        }
        Ok(TextFile {
            directories,
            told: BTreeMap::new(),
        })
    }
}

impl Collector for TextFile {
    fn collect(&mut self, _: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut errors = BTreeMap::new();
        let mut merged = Merged::default();
        let mut modified: BTreeMap<String, f64> = BTreeMap::new();
        for path in self.find(&mut errors) {
            for (path, text) in path.read() {
                match take(&path, text, &mut merged, &mut errors) {
                    Ok(seconds) => {
                        modified.insert(path, seconds);
                    }
                    Err(error) => {
                        errors.insert(path, error);
                    }
                }
            }
        }
        merged.give(&[MODIFIED.name, ERROR.name], metrics, &mut errors);
        for (path, seconds) in &modified {
            MODIFIED.add(metrics, ["file"], [path], *seconds);
        }
        ERROR.set(metrics, f64::from(!errors.is_empty()));
        self.tell(errors);
        Ok(())
    }
}

impl TextFile {
    /// The folders, with the files in them.
    fn find(&self, errors: &mut BTreeMap<String, String>) -> Vec<Folder> {
        let mut folders = Vec::new();
        for path in self.directories.iter().flat_map(|pattern| expand(pattern)) {
            match files::entries(&path) {
                Ok(entries) => {
                    let names = entries.into_iter().map(|entry| entry.name);
                    let names = names.filter(|name| name.ends_with(".prom")).collect();
                    folders.push(Folder { path, names });
                }
                Err(error) => {
                    errors.insert(path, error.to_string());
                }
            }
        }
        folders
    }

    fn tell(&mut self, errors: BTreeMap<String, String>) {
        for (path, error) in &errors {
            if self.told.get(path) != Some(error) {
                tracing::error!("collector textfile: {path}: {error}");
            }
        }
        self.told = errors;
    }
}

struct Folder {
    path: String,
    names: Vec<String>,
}

impl Folder {
    fn read(&self) -> Vec<(String, Result<String, String>)> {
        let folder = self.path.trim_end_matches('/');
        let paths: Vec<String> = self
            .names
            .iter()
            .map(|name| format!("{folder}/{name}"))
            .collect();
        let texts = read_many(&paths).into_iter();
        let texts = texts.map(|text| text.map_err(|error| error.to_string()));
        paths.iter().cloned().zip(texts).collect()
    }
}

/// Adds what a file gives; says when it was written.
fn take(
    path: &str,
    text: Result<String, String>,
    merged: &mut Merged,
    errors: &mut BTreeMap<String, String>,
) -> Result<f64, String> {
    merged.add(path, parse::parse(&text?)?, errors);
    // Looked at last, so that a file that is wrong does not seem fresh.
    let metadata = files::stat(path).map_err(|error| error.to_string())?;
    Ok(metadata.modified_ms.div_euclid(1000) as f64)
}

/// The folders that a pattern stands for. One that stands for none is taken as it is, so that the
/// lack is told.
fn expand(pattern: &str) -> Vec<String> {
    if !glob::is_pattern(pattern) {
        return vec![pattern.to_owned()];
    }
    let mut paths = vec![String::new()];
    for segment in pattern.split('/').filter(|segment| !segment.is_empty()) {
        paths = paths
            .iter()
            .flat_map(|path| matching(path, segment))
            .collect();
    }
    paths.retain(|path| files::stat(path).is_ok());
    match paths.is_empty() {
        true => vec![pattern.to_owned()],
        false => paths,
    }
}

fn matching(folder: &str, segment: &str) -> Vec<String> {
    if !glob::is_pattern(segment) {
        return vec![format!("{folder}/{segment}")];
    }
    let entries = files::entries(if folder.is_empty() { "/" } else { folder });
    let names = entries
        .unwrap_or_default()
        .into_iter()
        .map(|entry| entry.name);
    names
        .filter(|name| glob::matches(segment, name))
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

#[cfg(test)]
mod tests;

//! Which folders the system must tell about, so that no change of a path goes unseen.
//!
//! A path can change its meaning in every folder that holds a symlink on its way, and in the folder
//! that holds its end (or where the way breaks off). All of them are found by walking the path as
//! the system does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::snapshot::{Snapshot, pattern_of};

/// As many as Linux follows.
const MAX_SYMLINKS: usize = 40;

/// The system's notifications for a changing set of folders.
pub(crate) struct Places {
    watcher: Option<RecommendedWatcher>,
    wake: mpsc::Sender<()>,
    /// With the identity each had when it was registered: a folder that was removed and made anew
    /// has to be registered anew.
    registered: BTreeMap<PathBuf, u64>,
    refused: BTreeSet<PathBuf>,
}

impl Places {
    /// `wake` gets an item when something happened; a full channel means the news is already there.
    pub(crate) fn new(wake: mpsc::Sender<()>) -> Places {
        let told = wake.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at the files is itself an access; only changes count.
            let access = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
            if !access {
                let _ = told.try_send(());
            }
        });
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no file notifications from the system; files are polled");
                None
            }
        };
        Places {
            watcher,
            wake,
            registered: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Registers what `paths` and the files they stand for need, and nothing else. Wakes once more
    /// if that was news: something may have happened in a folder since it was looked at.
    pub(crate) fn update(&mut self, paths: &[PathBuf], snapshot: &Snapshot) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = wanted_folders(paths, snapshot);
        let gone = |(folder, id): (&PathBuf, &u64)| {
            (wanted.get(folder) != Some(id)).then(|| folder.clone())
        };
        let gone: Vec<PathBuf> = self.registered.iter().filter_map(gone).collect();
        for folder in gone {
            // It fails for a folder that is no longer there, which is as good.
            let _ = watcher.unwatch(&folder);
            self.registered.remove(&folder);
        }
        for (folder, identity) in wanted {
            if self.registered.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.refused.remove(&folder);
                    self.registered.insert(folder, identity);
                    let _ = self.wake.try_send(());
                }
                Err(error) if self.refused.insert(folder.clone()) => {
                    let folder = folder.display();
                    tracing::warn!(%folder, %error, "no notifications for this folder; it is polled");
                }
                Err(_) => {}
            }
        }
    }
}

fn wanted_folders(paths: &[PathBuf], snapshot: &Snapshot) -> BTreeMap<PathBuf, u64> {
    let mut folders = BTreeSet::new();
    for path in paths {
        match pattern_of(path) {
            Some(pattern) => insert_pattern_folders(pattern, &mut folders),
            None => insert_folders(path, &mut folders),
        }
    }
    for path in snapshot.files() {
        insert_folders(path, &mut folders);
    }
    folders
        .into_iter()
        .filter_map(|folder| {
            let identity = identity(&folder)?;
            Some((folder, identity))
        })
        .collect()
}

#[cfg(unix)]
fn identity(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(folder).ok()?.ino())
}

#[cfg(not(unix))]
fn identity(folder: &Path) -> Option<u64> {
    fs::metadata(folder).ok().map(|_| 0)
}

/// The folders in which a new match may appear: each that the pattern's leading parts match.
fn insert_pattern_folders(pattern: &str, folders: &mut BTreeSet<PathBuf>) {
    for leading in Path::new(pattern).ancestors().skip(1) {
        match pattern_of(leading) {
            Some(pattern) => {
                let matches = glob::glob(pattern).into_iter().flatten();
                for folder in matches.filter_map(Result::ok).filter(|path| path.is_dir()) {
                    insert_folders(&folder, folders);
                }
            }
            None => {
                let here = Path::new(".");
                let leading = if leading.as_os_str().is_empty() {
                    here
                } else {
                    leading
                };
                insert_folders(leading, folders);
                return;
            }
        }
    }
}

/// Walks `path` as the system would, and adds each folder on which its meaning depends.
fn insert_folders(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else {
        return;
    };
    let mut at = PathBuf::new();
    let mut ahead = components(&path);
    let mut symlinks = 0;
    while let Some(component) = ahead.pop_front() {
        if component == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&component);
        match fs::read_link(&next) {
            Ok(target) if symlinks < MAX_SYMLINKS => {
                symlinks += 1;
                folders.insert(at.clone());
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                for component in components(&target).into_iter().rev() {
                    ahead.push_front(component);
                }
                continue;
            }
            Ok(_) => return,
            Err(_) => {}
        }
        let last = ahead.is_empty();
        if last || !next.is_dir() {
            folders.insert(at);
            if next.is_dir() {
                folders.insert(next);
            }
            return;
        }
        at = next;
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

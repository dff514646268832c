//! Tells when watched files change, however they change: written in place, replaced by a rename,
//! created later, removed, reached through symlinks that are re-pointed, or entries of a folder.
//!
//! What counts is the content. A [`Watcher`] fingerprints what each path leads to (metadata, and a
//! hash of the content where the file is not huge) and reports a path only when its fingerprint
//! differs from the last one reported and has been quiet for a moment. The operating system's
//! notifications only say when to look early; a look every `poll_ms` finds the rest, so network
//! file systems work too.
//!
//! The first fingerprints are taken inside [`Watcher::new`]: make the watcher before reading the
//! files, and no change falls between.
//!
//! Knows nothing of what the files mean. The one place that knows the `notify` crate, whose types
//! stay inside.

mod places;
mod snapshot;
mod task;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use snapshot::Snapshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a changed file must stay as it is before it is reported.
    pub debounce_ms: u64,
    /// A file that never stays as it is gets reported after this long all the same.
    pub max_delay_ms: u64,
    /// How often to look without having been told to.
    pub poll_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            debounce_ms: 250,
            max_delay_ms: 2000,
            poll_ms: 5000,
        }
    }
}

/// Watches a set of paths until it is dropped.
///
/// A path may name a file, a folder (its entries are watched, not what lies deeper) or, if nothing
/// has just that name and it contains `*`, `?` or `[`, whatever the pattern matches. None of them
/// has to exist.
pub struct Watcher {
    changes: Arc<Changes>,
    watched: watch::Sender<Watched>,
    task: AbortHandle,
}

/// What the task is to watch.
#[derive(Clone, Debug, Default)]
struct Watched {
    paths: Vec<PathBuf>,
    /// Each path as it was when it was named first.
    baseline: Snapshot,
}

/// What changed and has not been fetched yet. A set, so it never outgrows what is watched.
#[derive(Default)]
struct Changes {
    pending: Mutex<BTreeSet<PathBuf>>,
    added: Notify,
}

impl Watcher {
    /// Starts watching; must be called within a tokio runtime. Reads the files once, so that it
    /// knows what a change is.
    pub fn new(paths: Vec<PathBuf>, options: Options) -> Watcher {
        Self::start(paths, options, true)
    }

    fn start(paths: Vec<PathBuf>, options: Options, notifications: bool) -> Watcher {
        let changes = Arc::new(Changes::default());
        let watched = Watched::default().with_paths(paths);
        let (watched, receiver) = watch::channel(watched);
        let task = task::start(receiver, options, changes.clone(), notifications);
        Watcher {
            changes,
            watched,
            task,
        }
    }

    /// Waits for the next changes: the files that were written, created or removed, each under the
    /// name it is watched by (for a folder or a pattern, the entry's). May be dropped at any time
    /// without losing a change, so it fits into `select!`.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let pending = self.changes.take();
            if !pending.is_empty() {
                return pending.into_iter().collect();
            }
            self.changes.added.notified().await;
        }
    }

    /// Watches these paths from now on. Paths that were watched before keep what is known of them;
    /// new ones count as unchanged, and are read once for that.
    pub fn set_paths(&self, paths: Vec<PathBuf>) {
        self.watched.send_if_modified(|watched| {
            let differs = watched.paths != paths;
            if differs {
                *watched = watched.with_paths(paths);
            }
            differs
        });
    }
}

impl Watched {
    fn with_paths(&self, paths: Vec<PathBuf>) -> Watched {
        let is_new = |path: &&PathBuf| !self.paths.contains(path);
        let new: Vec<PathBuf> = paths.iter().filter(is_new).cloned().collect();
        let baseline =
            Snapshot::take(&new, &Snapshot::default()).with_known(&self.baseline, &paths);
        Watched { paths, baseline }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Changes {
    fn add(&self, paths: BTreeSet<PathBuf>) {
        self.lock().extend(paths);
        self.added.notify_one();
    }

    fn take(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

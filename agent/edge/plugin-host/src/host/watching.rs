//! One watcher for the files that all discoveries wait for: the system allows a process only so
//! many.
//!
//! Keeps true: a change after [`Watching::add`] has returned wakes the one who added. Someone may be
//! woken for a neighbour's change; that costs a look, no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use narthex_watch::{Options, Watcher};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::events::Wake;

/// Requests that may wait; whoever adds a watch waits for a place.
const COMMANDS: usize = 64;

/// How soon to try again to wake someone whose queue was full.
const AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct Watching {
    commands: mpsc::Sender<Command>,
}

/// A watch, until it is dropped.
pub(crate) struct Watch {
    key: u64,
    commands: mpsc::Sender<Command>,
}

enum Command {
    Add(Waiter, oneshot::Sender<u64>),
    Remove(u64),
}

/// Who is to be woken, and by which of his subscriptions.
struct Waiter {
    path: PathBuf,
    wake: mpsc::Sender<Wake>,
    subscription: u64,
}

impl Watching {
    /// Must be called within a tokio runtime.
    pub(crate) fn start() -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let task = Task {
            watcher: Watcher::new(Vec::new(), Options::default()),
            waiters: BTreeMap::new(),
            next_key: 0,
            unwoken: BTreeSet::new(),
        };
        tokio::spawn(task.run(receiver));
        Watching { commands }
    }

    /// Watches for this subscription. Blocks until it does: not for a thread of the runtime.
    /// None where the host is ending.
    pub(crate) fn add(
        &self,
        path: PathBuf,
        wake: mpsc::Sender<Wake>,
        subscription: u64,
    ) -> Option<Watch> {
        let (reply, key) = oneshot::channel();
        let waiter = Waiter {
            path,
            wake,
            subscription,
        };
        self.commands
            .blocking_send(Command::Add(waiter, reply))
            .ok()?;
        Some(Watch {
            key: key.blocking_recv().ok()?,
            commands: self.commands.clone(),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // One that cannot be removed now is removed when it fires and nobody is there.
        let _ = self.commands.try_send(Command::Remove(self.key));
    }
}

struct Task {
    watcher: Watcher,
    waiters: BTreeMap<u64, Waiter>,
    next_key: u64,
    /// Whose queue was full.
    unwoken: BTreeSet<u64>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                changed = self.watcher.changed() => self.changed(&changed),
                () = tokio::time::sleep(AGAIN), if !self.unwoken.is_empty() => self.wake(),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Add(waiter, reply) => {
                let key = self.next_key;
                self.next_key += 1;
                self.waiters.insert(key, waiter);
                self.watch();
                let _ = reply.send(key);
            }
            Command::Remove(key) => {
                self.waiters.remove(&key);
                self.unwoken.remove(&key);
                self.watch();
            }
        }
    }

    fn watch(&self) {
        let paths: BTreeSet<&PathBuf> = self.waiters.values().map(|w| &w.path).collect();
        self.watcher.set_paths(paths.into_iter().cloned().collect());
    }

    fn changed(&mut self, changed: &[PathBuf]) {
        let concerned = self
            .waiters
            .iter()
            .filter(|(_, waiter)| changed.iter().any(|path| concerns(&waiter.path, path)));
        self.unwoken.extend(concerned.map(|(key, _)| *key));
        self.wake();
    }

    fn wake(&mut self) {
        let waiters = &mut self.waiters;
        let before = waiters.len();
        self.unwoken.retain(|key| {
            let Some(waiter) = waiters.get(key) else {
                return false;
            };
            match waiter.wake.try_send(Wake::Fired(waiter.subscription)) {
                Ok(()) => false,
                Err(TrySendError::Full(_)) => true,
                Err(TrySendError::Closed(_)) => {
                    waiters.remove(key);
                    false
                }
            }
        });
        if self.waiters.len() != before {
            self.watch();
        }
    }
}

/// Whether a changed file is what is watched, or an entry of it, or may be matched by it.
fn concerns(watched: &Path, changed: &Path) -> bool {
    let is_pattern = || {
        let name = watched.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.contains(['*', '?', '[']))
    };
    watched == changed
        || changed.parent() == Some(watched)
        || (watched.parent() == changed.parent() && is_pattern())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_matches_concern_the_one_who_watches() {
        for (watched, changed, expected) in [
            ("/a/b", "/a/b", true),
            ("/a", "/a/b", true),
            ("/a", "/a/b/c", false),
            ("/a/*.json", "/a/b.json", true),
            ("/a/c.json", "/a/b.json", false),
            ("/b/*.json", "/a/b.json", false),
        ] {
            let concerned = concerns(Path::new(watched), Path::new(changed));
            assert_eq!(concerned, expected, "{watched} {changed}");
        }
    }
}

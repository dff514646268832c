//! What a discovery waits for: watched files and timers.
//!
//! Keeps true: as many subscriptions as the limit allows are open at once; ending the instance
//! wakes it from any wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use narthex_watch::{Options, Watcher};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::bindings::events::Host;
use crate::bindings::files::{ErrorCode, FileError};

use super::{State, Stop, file_error};

/// How many fired subscriptions may lie unread. A watch that finds the queue full tries again, so
/// nothing is lost.
const QUEUE: usize = 64;

/// A timer for longer than this is as good as none.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What wakes a waiting instance.
#[derive(Clone, Copy)]
pub(crate) enum Wake {
    Fired(u64),
    /// To end it.
    Unwanted,
}

/// One instance's subscriptions.
pub(crate) struct Events {
    runtime: Handle,
    next: u64,
    open: BTreeMap<u64, Open>,
    sender: SyncSender<Wake>,
    receiver: Receiver<Wake>,
}

enum Open {
    Watch(AbortHandle),
    Timer(Instant),
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Open::Watch(task) = self {
            task.abort();
        }
    }
}

impl Events {
    pub(crate) fn new(runtime: Handle) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        Events {
            runtime,
            next: 1,
            open: BTreeMap::new(),
            sender,
            receiver,
        }
    }

    /// By which the instance is woken to be ended.
    pub(crate) fn waker(&self) -> SyncSender<Wake> {
        self.sender.clone()
    }

    fn insert(&mut self, open: impl FnOnce(u64, &Self) -> Open) -> u64 {
        let id = self.next;
        self.next += 1;
        let open = open(id, self);
        self.open.insert(id, open);
        id
    }

    fn watch(&mut self, path: std::path::PathBuf) -> u64 {
        self.insert(|id, events| {
            let sender = events.sender.clone();
            // The watcher is made here, so that no change falls between this call and the first
            // look.
            let _entered = events.runtime.enter();
            let mut watcher = Watcher::new(vec![path], Options::default());
            let task = events.runtime.spawn(async move {
                loop {
                    watcher.changed().await;
                    while let Err(TrySendError::Full(_)) = sender.try_send(Wake::Fired(id)) {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
            Open::Watch(task.abort_handle())
        })
    }

    fn timer(&mut self, after_ms: u64) -> u64 {
        let after = Duration::from_millis(after_ms).min(LONGEST);
        self.insert(|_, _| Open::Timer(Instant::now() + after))
    }

    /// Sleeps until something fires.
    fn wait(&mut self) -> Result<Vec<u64>, Stop> {
        loop {
            let mut fired = self.take_due(Instant::now());
            while let Ok(wake) = self.receiver.try_recv() {
                self.take(wake, &mut fired)?;
            }
            if !fired.is_empty() {
                return Ok(fired.into_iter().collect());
            }
            match self.sleep() {
                Some(wake) => self.take(wake, &mut fired)?,
                None => continue,
            }
            if !fired.is_empty() {
                return Ok(fired.into_iter().collect());
            }
        }
    }

    /// Until something comes or the next timer is due.
    fn sleep(&self) -> Option<Wake> {
        let timers = self.open.values().filter_map(|open| match open {
            Open::Timer(at) => Some(*at),
            Open::Watch(_) => None,
        });
        match timers.min() {
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                match self.receiver.recv_timeout(left) {
                    Ok(wake) => Some(wake),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Wake::Unwanted),
                }
            }
            None => Some(self.receiver.recv().unwrap_or(Wake::Unwanted)),
        }
    }

    fn take(&self, wake: Wake, fired: &mut BTreeSet<u64>) -> Result<(), Stop> {
        match wake {
            Wake::Unwanted => return Err(Stop::Unwanted),
            // A watch that was closed meanwhile says nothing any more.
            Wake::Fired(id) if self.open.contains_key(&id) => {
                fired.insert(id);
            }
            Wake::Fired(_) => {}
        }
        Ok(())
    }

    fn take_due(&mut self, now: Instant) -> BTreeSet<u64> {
        let due: BTreeSet<u64> = self
            .open
            .iter()
            .filter(|(_, open)| matches!(open, Open::Timer(at) if *at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in &due {
            self.open.remove(id);
        }
        due
    }
}

impl State {
    /// The subscriptions, if there is room for another one.
    fn events_with_room(&mut self) -> Result<&mut Events, String> {
        let limit = self.shared.limits.load().subscriptions;
        let metrics = &self.shared.metrics;
        match &mut self.events {
            Some(events) if events.open.len() < limit => Ok(events),
            Some(_) => {
                metrics.note_limit("subscriptions");
                Err(format!(
                    "more than {limit} watches and timers are open (plugins.limits.subscriptions)"
                ))
            }
            None => Err("there is nothing to wait for outside of a run".to_owned()),
        }
    }
}

impl Host for State {
    fn watch(&mut self, path: String) -> Result<u64, FileError> {
        let path = self.shared.permits.load().resolve_place(&path)?;
        let events = self
            .events_with_room()
            .map_err(|message| file_error(ErrorCode::Limit, &message))?;
        Ok(events.watch(path))
    }

    fn timer(&mut self, after_ms: u64) -> Result<u64, String> {
        Ok(self.events_with_room()?.timer(after_ms))
    }

    fn close(&mut self, subscription: u64) {
        if let Some(events) = &mut self.events {
            events.open.remove(&subscription);
        }
    }

    fn wait(&mut self) -> wasmtime::Result<Vec<u64>> {
        self.rest();
        let fired = match &mut self.events {
            Some(events) => events.wait()?,
            None => return Err(Stop::Unwanted.into()),
        };
        self.begin();
        Ok(fired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn several_watches_and_timers_are_open_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        let runtime = Handle::current();
        let wait = move || {
            let mut events = Events::new(runtime);
            let (watch_a, watch_b) = (events.watch(a.clone()), events.watch(b.clone()));
            let never = events.timer(u64::MAX);
            let soon = events.timer(1);
            assert_eq!(events.wait().unwrap(), [soon]);
            std::fs::write(&b, "new").unwrap();
            assert_eq!(events.wait().unwrap(), [watch_b]);
            events.open.remove(&watch_b);
            std::fs::write(&b, "newer").unwrap();
            std::fs::write(&a, "2").unwrap();
            assert_eq!(events.wait().unwrap(), [watch_a]);
            assert!(events.open.contains_key(&never));
            let waker = events.waker();
            std::thread::spawn(move || waker.send(Wake::Unwanted));
            assert_eq!(events.wait(), Err(Stop::Unwanted));
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }
}

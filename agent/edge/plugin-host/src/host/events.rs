//! What a discovery waits for: watched files and timers.
//!
//! Keeps true: as many subscriptions as the limit allows are open at once; ending the instance
//! wakes it from any wait.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::bindings::events::Host;
use crate::bindings::files::{ErrorCode, FileError};

use super::watching::{Watch, Watching};
use super::{State, Stop, file_error};

/// How many fired subscriptions may lie unread. Who finds the queue full tries again, so nothing is
/// lost.
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
    watching: Arc<Watching>,
    next: u64,
    open: BTreeMap<u64, Open>,
    sender: SyncSender<Wake>,
    receiver: Receiver<Wake>,
}

enum Open {
    /// Held for as long as it is open.
    Watch(#[expect(dead_code, reason = "ends when it is dropped")] Watch),
    Timer(Instant),
}

impl Events {
    pub(crate) fn new(watching: Arc<Watching>) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        Events {
            watching,
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

    /// None where the host is ending.
    fn watch(&mut self, path: PathBuf) -> Option<u64> {
        let id = self.next;
        self.next += 1;
        let watch = self.watching.add(path, self.sender.clone(), id)?;
        self.open.insert(id, Open::Watch(watch));
        Some(id)
    }

    fn timer(&mut self, after_ms: u64) -> u64 {
        let after = Duration::from_millis(after_ms).min(LONGEST);
        let id = self.next;
        self.next += 1;
        self.open.insert(id, Open::Timer(Instant::now() + after));
        id
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
        let ending = || file_error(ErrorCode::Other, "the host is ending");
        events.watch(path).ok_or_else(ending)
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
        let watching = Arc::new(Watching::start());
        let wait = move || {
            let mut events = Events::new(watching);
            let watch_a = events.watch(a.clone()).unwrap();
            let watch_b = events.watch(b.clone()).unwrap();
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

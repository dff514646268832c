//! What an instance waits for: watched files, timers and answers to requests.
//!
//! Keeps true: as many subscriptions as the limit allows are open at once; ending the instance, and
//! the deadline of a call that has one, end any wait. A stream fires once for all that it has to
//! give, and again when `take` has said `pending` and there is more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::bindings::events::Host;
use crate::bindings::files::{ErrorCode, FileError};
use crate::bindings::plugin::CallError;
use crate::replay::Replay;

use crate::grant::Permits;

use super::http::Stream;
use super::watching::{Watch, Watching};
use super::{Patience, State, Stop, file_error};

/// How many fired subscriptions may lie unread. Who finds the queue full tries again, so nothing is
/// lost.
const QUEUE: usize = 64;

/// A timer for longer than this is as good as none.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What wakes a waiting instance.
#[derive(Clone, Copy)]
pub(crate) enum Wake {
    Fired(u64),
    /// A stream may have something. One that does not get through is no loss: whoever reads the
    /// queue looks at the streams anyway.
    Look,
}

/// One instance's subscriptions.
pub(crate) struct Events {
    watching: Arc<Watching>,
    next: u64,
    open: BTreeMap<u64, Open>,
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
}

enum Open {
    /// Held for as long as it is open.
    Watch(#[expect(dead_code, reason = "ends when it is dropped")] Watch),
    Timer(Instant),
    Stream(Stream),
}

impl Events {
    pub(crate) fn new(watching: Arc<Watching>) -> Self {
        let (sender, receiver) = channel(QUEUE);
        Events {
            watching,
            next: 1,
            open: BTreeMap::new(),
            sender,
            receiver,
        }
    }

    pub(super) fn waker(&self) -> Sender<Wake> {
        self.sender.clone()
    }

    pub(super) fn stream(&self, id: u64) -> Option<&Stream> {
        match self.open.get(&id) {
            Some(Open::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(super) fn add_stream(&mut self, stream: Stream) -> u64 {
        self.add(Open::Stream(stream))
    }

    pub(super) fn close(&mut self, id: u64) {
        self.open.remove(&id);
    }

    fn add(&mut self, open: Open) -> u64 {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, open);
        id
    }

    /// None where the host is ending.
    fn watch(&mut self, path: PathBuf) -> Option<u64> {
        let id = self.next;
        let watch = self.watching.add(path, self.sender.clone(), id)?;
        Some(self.add(Open::Watch(watch)))
    }

    fn timer(&mut self, after_ms: u64, now: Instant) -> u64 {
        let after = Duration::from_millis(after_ms).min(LONGEST);
        self.add(Open::Timer(now + after))
    }

    /// When the next timer fires.
    fn next_timer(&self) -> Option<Instant> {
        let timers = self.open.values().filter_map(|open| match open {
            Open::Timer(at) => Some(*at),
            Open::Watch(_) | Open::Stream(_) => None,
        });
        timers.min()
    }

    /// As [`Events::wait`] in a recorded world, where all that can come but a timer is there
    /// already.
    fn wait_in(&mut self, replay: &Replay, limit_ms: Option<u64>) -> Result<Vec<u64>, Stop> {
        loop {
            let mut fired = self.take_due(replay.now());
            fired.extend(self.take_streams());
            if !fired.is_empty() {
                return Ok(fired.into_iter().collect());
            }
            replay.wait_until(self.next_timer(), limit_ms)?;
        }
    }

    /// Sleeps until something fires.
    fn wait(&mut self, patience: &Patience) -> Result<Vec<u64>, Stop> {
        loop {
            let mut fired = self.take_due(Instant::now());
            while let Ok(wake) = self.receiver.try_recv() {
                self.take(wake, &mut fired);
            }
            fired.extend(self.take_streams());
            if !fired.is_empty() {
                return Ok(fired.into_iter().collect());
            }
            let next_timer = self.next_timer();
            let receiver = &mut self.receiver;
            let wake = patience.wait_for(async {
                match next_timer {
                    // The queue cannot end, as this side keeps a sender.
                    None => receiver.recv().await,
                    Some(at) => {
                        let wake = tokio::time::timeout_at(at.into(), receiver.recv()).await;
                        wake.ok().flatten()
                    }
                }
            })?;
            if let Some(wake) = wake {
                self.take(wake, &mut fired);
            }
            if !fired.is_empty() {
                return Ok(fired.into_iter().collect());
            }
        }
    }

    fn take(&self, wake: Wake, fired: &mut BTreeSet<u64>) {
        match wake {
            // A watch that was closed meanwhile says nothing any more.
            Wake::Fired(id) if self.open.contains_key(&id) => {
                fired.insert(id);
            }
            Wake::Fired(_) | Wake::Look => {}
        }
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

    /// Those that have something that was not told yet.
    fn take_streams(&self) -> impl Iterator<Item = u64> {
        self.open.iter().filter_map(|(id, open)| match open {
            Open::Stream(stream) if stream.tell() => Some(*id),
            _ => None,
        })
    }
}

impl State {
    /// The subscriptions, if there is room for another one.
    pub(super) fn events_with_room(&mut self) -> Result<&mut Events, String> {
        let limit = self.shared.limits.load().subscriptions;
        if self.events.open.len() < limit {
            return Ok(&mut self.events);
        }
        self.shared.metrics.note_limit("subscriptions");
        Err(format!(
            "more than {limit} watches, timers and streams are open \
             (plugins.limits.subscriptions)"
        ))
    }
}

impl Host for State {
    fn watch(&mut self, path: String) -> Result<u64, FileError> {
        let path = self.judged(&path, Permits::resolve_place)?;
        let (now, is_replayed) = (self.now(), self.shared.replay.is_some());
        let events = self
            .events_with_room()
            .map_err(|message| file_error(ErrorCode::Limit, &message))?;
        if is_replayed {
            // Recorded files stay as they are.
            return Ok(events.timer(u64::MAX, now));
        }
        let ending = || file_error(ErrorCode::Other, "the host is ending");
        events.watch(path).ok_or_else(ending)
    }

    fn timer(&mut self, after_ms: u64) -> Result<u64, CallError> {
        let now = self.now();
        let events = self.events_with_room().map_err(CallError::Limit)?;
        Ok(events.timer(after_ms, now))
    }

    fn close(&mut self, subscription: u64) {
        self.events.close(subscription);
    }

    fn wait(&mut self) -> wasmtime::Result<Vec<u64>> {
        self.rest();
        let mut patience = self.patience();
        if self.waits_freely {
            patience.deadline = None;
        }
        let fired = match &self.shared.replay {
            Some(replay) => {
                let limit_ms = patience.deadline.map(|_| patience.limit_ms);
                self.events.wait_in(replay, limit_ms)?
            }
            None => self.events.wait(&patience)?,
        };
        match self.waits_freely {
            true => self.begin(),
            false => self.compute(),
        }
        Ok(fired)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn several_watches_and_timers_are_open_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        let watching = Arc::new(Watching::start());
        let mut patience = Patience {
            runtime: tokio::runtime::Handle::current(),
            unwanted: CancellationToken::new(),
            deadline: None,
            limit_ms: 7,
        };
        let wait = move || {
            let mut events = Events::new(watching);
            let watch_a = events.watch(a.clone()).unwrap();
            let watch_b = events.watch(b.clone()).unwrap();
            let never = events.timer(u64::MAX, Instant::now());
            let soon = events.timer(1, Instant::now());
            assert_eq!(events.wait(&patience).unwrap(), [soon]);
            std::fs::write(&b, "new").unwrap();
            assert_eq!(events.wait(&patience).unwrap(), [watch_b]);
            events.close(watch_b);
            std::fs::write(&b, "newer").unwrap();
            std::fs::write(&a, "2").unwrap();
            assert_eq!(events.wait(&patience).unwrap(), [watch_a]);
            assert!(events.open.contains_key(&never));
            patience.deadline = Some(Instant::now() + Duration::from_millis(20));
            assert_eq!(events.wait(&patience), Err(Stop::Deadline(7)));
            patience.deadline = None;
            let unwanted = patience.unwanted.clone();
            std::thread::spawn(move || unwanted.cancel());
            assert_eq!(events.wait(&patience), Err(Stop::Unwanted));
        };
        tokio::task::spawn_blocking(wait).await.unwrap();
    }
}

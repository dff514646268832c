//! The thread that syncs the log to the disk, once a second.
//!
//! Keeps true: a write is synced at most one interval after it was made, unless the disk fails;
//! then the failure is counted, and the log counts as suspect until a checkpoint has replaced it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus::Histogram;

use super::disk::sync_folder;
use super::{OpenSegment, with_path};

pub(crate) struct Syncer {
    state: Mutex<State>,
    wake: Condvar,
    /// A sync failed: what it was to make safe may be lost in silence.
    suspect: AtomicBool,
    seconds: Histogram,
}

#[derive(Default)]
struct State {
    segments: Vec<Arc<OpenSegment>>,
    stopped: bool,
}

impl Syncer {
    /// `seconds` takes the time of each sync.
    pub(crate) fn new(seconds: Histogram) -> Self {
        Syncer {
            state: Mutex::default(),
            wake: Condvar::new(),
            suspect: AtomicBool::new(false),
            seconds,
        }
    }

    pub(crate) fn start(self: &Arc<Self>, interval: Duration) -> io::Result<JoinHandle<()>> {
        let syncer = self.clone();
        let thread = std::thread::Builder::new().name("tsdb-sync".to_owned());
        thread.spawn(move || {
            while syncer.wait(interval) {
                // The failure is logged and remembered there; the thread goes on.
                let _ = syncer.sync();
            }
        })
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Whether a sync failed since the last call.
    pub(crate) fn take_suspect(&self) -> bool {
        self.suspect.swap(false, Ordering::AcqRel)
    }

    /// Syncs what was written until now.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let segments = self.lock().segments.clone();
        let mut result = Ok(());
        for segment in &segments {
            if let Err(error) = self.sync_segment(segment) {
                tracing::error!(%error, "syncing the log failed; it will be written anew");
                self.suspect.store(true, Ordering::Release);
                result = Err(error);
            }
        }
        drop(segments);
        // A segment that only this list holds gets no more writes.
        let done =
            |s: &Arc<OpenSegment>| Arc::strong_count(s) == 1 && !s.dirty.load(Ordering::Acquire);
        self.lock().segments.retain(|segment| !done(segment));
        result
    }

    pub(super) fn watch(&self, segment: Arc<OpenSegment>) {
        self.lock().segments.push(segment);
    }

    fn sync_segment(&self, segment: &OpenSegment) -> io::Result<()> {
        // Cleared before the sync, so that a write meanwhile is not overlooked.
        if segment.dirty.swap(false, Ordering::AcqRel) {
            let start = Instant::now();
            let synced = segment.file.sync();
            self.seconds.observe(start.elapsed().as_secs_f64());
            synced.map_err(|e| with_path(&e, &segment.path))?;
        }
        if segment.fresh.swap(false, Ordering::AcqRel)
            && let Some(folder) = segment.path.parent()
        {
            sync_folder(folder).map_err(|e| with_path(&e, folder))?;
        }
        Ok(())
    }

    /// Sleeps for the interval; false if the thread is to end.
    fn wait(&self, interval: Duration) -> bool {
        let waited = self
            .wake
            .wait_timeout_while(self.lock(), interval, |s| !s.stopped);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

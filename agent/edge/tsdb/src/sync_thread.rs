//! The thread that syncs the log to the disk, once a second.
//!
//! Keeps true: a write is synced at most one interval after it was made, unless the disk fails;
//! then the failure is counted, and the log counts as suspect until a snapshot has replaced it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::log::Log;
use crate::metrics::Metrics;

pub(crate) struct SyncThread {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl SyncThread {
    pub(crate) fn start(
        log: Arc<Log>,
        metrics: Arc<Metrics>,
        interval: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            stopped: Mutex::new(false),
            wake: Condvar::new(),
        });
        let waiting = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tsdb-sync".to_owned())
            .spawn(move || {
                while waiting.wait(interval) {
                    // The failure is logged and remembered there; the thread goes on.
                    let _ = sync(&log, &metrics);
                }
            })?;
        Ok(SyncThread {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread, if it has not ended.
    pub(crate) fn stop(&self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Its end is all that is waited for; what it met is logged.
            let _ = thread.join();
        }
    }
}

/// Syncs what was written until now.
pub(crate) fn sync(log: &Log, metrics: &Metrics) -> io::Result<()> {
    let start = Instant::now();
    let synced = log.sync();
    let seconds = start.elapsed().as_secs_f64();
    match &synced {
        Ok(true) => metrics.wal_fsync_seconds.observe(seconds),
        Ok(false) => {}
        Err(error) => {
            metrics.wal_syncs_failed.inc();
            tracing::error!(%error, "syncing the log failed; it will be written anew");
        }
    }
    synced.map(|_| ())
}

impl Shared {
    /// Sleeps for the interval; false if the thread is to end.
    fn wait(&self, interval: Duration) -> bool {
        let waited = self
            .wake
            .wait_timeout_while(self.lock(), interval, |stopped| !*stopped);
        let (stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

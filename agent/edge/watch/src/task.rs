//! The task behind a watcher: when to look, and when what was seen is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout_at};

use crate::places::Places;
use crate::snapshot::Snapshot;
use crate::{Changes, Options, Watched};

/// Several notifications of one change come within this; it also bounds how often a folder full of
/// strangers' changes makes us look.
const COALESCE: Duration = Duration::from_millis(50);

pub(crate) fn start(
    watched: watch::Receiver<Watched>,
    options: Options,
    changes: Arc<Changes>,
    notifications: bool,
) -> AbortHandle {
    let (wake, woken) = mpsc::channel(1);
    let Watched { paths, baseline } = watched.borrow().clone();
    let places = notifications.then(|| {
        // Registered here and not in the task, so that no change between the two goes unnoticed.
        let mut places = Places::new(wake.clone());
        places.update(&paths, &baseline);
        places
    });
    let task = Task {
        watched,
        options,
        changes,
        woken,
        _wake: wake,
        paths,
        reported: baseline,
        places,
    };
    tokio::spawn(task.run()).abort_handle()
}

struct Task {
    watched: watch::Receiver<Watched>,
    options: Options,
    changes: Arc<Changes>,
    woken: mpsc::Receiver<()>,
    /// Keeps `woken` open where the system gives no notifications.
    _wake: mpsc::Sender<()>,
    paths: Vec<PathBuf>,
    /// The state of `paths` that is known outside.
    reported: Snapshot,
    /// None without notifications, and while a look is under way.
    places: Option<Places>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let next_poll = Instant::now() + Duration::from_millis(self.options.poll_ms.max(1));
            tokio::select! {
                _ = timeout_at(next_poll, self.woken.recv()) => sleep(COALESCE).await,
                changed = self.watched.changed() => match changed {
                    Ok(()) => self.take_new_paths(),
                    Err(_) => return,
                },
            }
            self.look_until_quiet().await;
        }
    }

    /// Tells what differs once two looks, a debounce apart, have seen the same.
    async fn look_until_quiet(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(self.options.max_delay_ms);
        let debounce = Duration::from_millis(self.options.debounce_ms);
        let mut seen = self.look(&self.reported.clone()).await;
        while !seen.differences(&self.reported).is_empty() {
            sleep(debounce).await;
            let again = self.look(&seen).await;
            let quiet = again.differences(&seen).is_empty();
            seen = again;
            if quiet || Instant::now() >= deadline {
                break;
            }
        }
        let differences = seen.differences(&self.reported);
        // Taken over even where nothing differs: it knows newer metadata.
        self.reported = seen;
        if !differences.is_empty() {
            self.changes.add(differences);
        }
    }

    /// Paths that were watched before keep what was last told of them, so that a change meanwhile
    /// is still seen.
    fn take_new_paths(&mut self) {
        let Watched { paths, baseline } = self.watched.borrow_and_update().clone();
        self.reported = baseline.with_known(&self.reported, &paths);
        self.paths = paths;
    }

    async fn look(&mut self, known: &Snapshot) -> Snapshot {
        let paths = self.paths.clone();
        let known = known.clone();
        let places = self.places.take();
        let looked = spawn_blocking(move || {
            let snapshot = Snapshot::take(&paths, &known);
            let places = places.map(|mut places| {
                places.update(&paths, &snapshot);
                places
            });
            (snapshot, places)
        });
        match looked.await {
            Ok((snapshot, places)) => {
                self.places = places;
                snapshot
            }
            // Only when the runtime shuts down; this task is about to end too.
            Err(_) => self.reported.clone(),
        }
    }
}

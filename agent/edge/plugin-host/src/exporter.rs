//! Exporter plugins at work.
//!
//! A [`Runner`] owns one instance; a [`Worker`] is a thread that owns a runner and does one
//! collection after the other, so a plugin that computes or blocks holds up nobody else. A [`Slot`]
//! is what scraping holds: it stays, while the worker behind it is replaced.
//!
//! Keeps true: collections of one instance never overlap; a collection that began before a swap is
//! finished by the code that began it; an instance that trapped is never called again.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use narthex_extension::{BoxFuture, Exporter as ExporterTrait, ExporterError};
use narthex_model::MetricFamily;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::backoff::Backoff;
use crate::guest::{Exporter, ExporterCode};
use crate::host::State;
use crate::instance::{CallError, call, new_store};
use crate::shared::{Pulse, Shared};
use crate::validate;

/// Collections that may wait for one that is under way. More means that someone asks faster than
/// the plugin can answer.
const MAILBOX: usize = 4;

/// What a call may take beyond its limit before it counts as stuck in a host call: the ticker's
/// grain, and the time to check and hand over the result.
const GRACE: Duration = Duration::from_secs(2);

type Answer = Result<Vec<MetricFamily>, ExporterError>;

/// One instance, from its configuration on.
pub(crate) struct Runner {
    code: ExporterCode,
    shared: Arc<Shared>,
    job: String,
    config: String,
    unwanted: CancellationToken,
    live: Option<Live>,
    backoff: Backoff,
    last_failure: Option<ExporterError>,
    pulse: Pulse,
}

struct Live {
    store: Store<State>,
    exporter: Exporter,
}

#[derive(Debug, thiserror::Error)]
enum CollectError {
    /// It said so itself.
    #[error("{0}")]
    Plugin(String),
    /// What it gave can't be taken.
    #[error("{text}")]
    Fault { text: String, is_limit: bool },
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<CollectError> for ExporterError {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Plugin(text) => ExporterError::Failed(text),
            CollectError::Fault { text, is_limit } => match is_limit {
                true => ExporterError::LimitExceeded(text),
                false => ExporterError::Failed(text),
            },
            CollectError::Call(error) => error.into(),
        }
    }
}

impl Runner {
    /// Instantiates and configures, which blocks for as long as the plugin takes. An error leaves
    /// a runner that tries again when it is asked, after a while.
    pub(crate) fn start(
        code: ExporterCode,
        shared: Arc<Shared>,
        job: &str,
        config: &serde_json::Value,
    ) -> (Runner, Result<(), ExporterError>) {
        let mut runner = Runner {
            code,
            pulse: Pulse::new(&shared.health),
            shared,
            job: job.to_owned(),
            config: config.to_string(),
            unwanted: CancellationToken::new(),
            live: None,
            backoff: Backoff::default(),
            last_failure: None,
        };
        let started = runner.bring_up();
        (runner, started)
    }

    pub(crate) fn collect(&mut self) -> Answer {
        if self.live.is_none() {
            self.restart()?;
        }
        let answer = self.collect_live();
        if let Err(error) = &answer {
            self.shared.health.note(&error.to_string());
        }
        let answer = answer.map_err(ExporterError::from);
        match &answer {
            Err(error) if self.live.is_none() => {
                self.lost(error);
                tracing::warn!(
                    job = self.job,
                    "{error}; started again in {} s",
                    self.backoff.left(Instant::now()).as_secs() + 1
                );
            }
            _ => {
                self.backoff.succeeded();
                self.shared.metrics.note_failures(0);
            }
        }
        answer
    }

    /// Collects once for a trial. What the plugin itself complains of may be the world's fault,
    /// which another version would meet too; all else is its own.
    pub(crate) fn try_out(&mut self) -> Result<(), String> {
        match self.collect_live() {
            Ok(_) | Err(CollectError::Plugin(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn collect_live(&mut self) -> Result<Vec<MetricFamily>, CollectError> {
        let plugin = &self.shared.name;
        let Some(Live { store, exporter }) = &mut self.live else {
            return Err(CallError::Unwanted.into());
        };
        let collected = call(store, |store| exporter.collect(store));
        let families = match collected {
            Ok(families) => families.map_err(|text| {
                self.shared.metrics.note_failure("plugin");
                CollectError::Plugin(format!("plugin {plugin}: {text}"))
            })?,
            Err(error) => {
                self.live = None;
                return Err(error.into());
            }
        };
        let limits = self.shared.limits.load();
        let (families, series) =
            validate::families(families, &limits).map_err(|fault| CollectError::Fault {
                text: self.shared.note_fault(&fault),
                is_limit: matches!(fault, validate::Fault::Limit { .. }),
            })?;
        let series = i64::try_from(series).unwrap_or(i64::MAX);
        self.shared.metrics.series.set(series);
        Ok(families)
    }

    /// A new instance after one was lost, unless it is too early for that.
    fn restart(&mut self) -> Result<(), ExporterError> {
        let left = self.backoff.left(Instant::now());
        if !left.is_zero() {
            let last = self.last_failure.as_ref().map(ToString::to_string);
            return Err(ExporterError::Unavailable(format!(
                "plugin {} failed {} times in a row and is started again in {} s; at last: {}",
                self.shared.name,
                self.backoff.failures(),
                left.as_secs() + 1,
                last.unwrap_or_default()
            )));
        }
        self.shared.metrics.restarts.inc();
        self.bring_up()
    }

    fn bring_up(&mut self) -> Result<(), ExporterError> {
        match self.instantiate() {
            Ok(live) => {
                self.live = Some(live);
                self.pulse.set_up();
                Ok(())
            }
            Err(error) => {
                self.lost(&error);
                Err(error)
            }
        }
    }

    /// There is no instance now, and there will not be one for a while.
    fn lost(&mut self, error: &ExporterError) {
        self.live = None;
        self.backoff.failed(Instant::now());
        self.last_failure = Some(error.clone());
        self.pulse.set_down(self.backoff.is_suspended());
        self.shared.metrics.note_failures(self.backoff.failures());
        if self.backoff.is_suspended() {
            tracing::error!(
                job = self.job,
                plugin = self.shared.name,
                "suspended after {} failures in a row: tried again every 5 minutes, and at once \
                 when its file or its configuration changes",
                self.backoff.failures()
            );
        }
    }

    fn instantiate(&self) -> Result<Live, ExporterError> {
        let mut store = new_store(&self.shared, &self.unwanted);
        let exporter = call(&mut store, |store| self.code.instantiate(store))?;
        let configured = call(&mut store, |store| exporter.configure(store, &self.config))?;
        configured.map_err(|error| {
            let field = match error.field.as_str() {
                "" => String::new(),
                field => format!(", field {field}"),
            };
            let text = format!(
                "plugin {} refuses the configuration of job {}{field}: {}",
                self.shared.name, self.job, error.message
            );
            self.shared.health.note(&text);
            ExporterError::Failed(text)
        })?;
        Ok(Live { store, exporter })
    }
}

/// A thread with a runner.
pub(crate) struct Worker {
    jobs: SyncSender<oneshot::Sender<Answer>>,
    unwanted: CancellationToken,
    shared: Arc<Shared>,
}

impl Worker {
    pub(crate) fn spawn(runner: Runner) -> Result<Worker, String> {
        let (jobs, receiver) = sync_channel(MAILBOX);
        let worker = Worker {
            jobs,
            unwanted: runner.unwanted.clone(),
            shared: runner.shared.clone(),
        };
        std::thread::Builder::new()
            .name(format!("plugin-{}", runner.shared.name))
            .spawn(move || work(runner, &receiver))
            .map_err(|error| format!("no thread for plugin {}: {error}", worker.shared.name))?;
        Ok(worker)
    }

    /// Ends what is under way, too.
    fn stop(&self) {
        self.unwanted.cancel();
    }
}

fn work(mut runner: Runner, jobs: &Receiver<oneshot::Sender<Answer>>) {
    while let Ok(reply) = jobs.recv() {
        // Whoever asked may have gone: then nobody wants the answer.
        if !reply.is_closed() {
            let _ = reply.send(runner.collect());
        }
    }
}

/// The place of one job.
pub(crate) struct Slot {
    plugin: String,
    place: Mutex<Place>,
}

enum Place {
    Taken(Worker),
    Empty(String),
}

impl Slot {
    /// A place without a worker; `reason` is what those are told who ask.
    pub(crate) fn empty(plugin: &str, reason: String) -> Slot {
        Slot {
            plugin: plugin.to_owned(),
            place: Mutex::new(Place::Empty(reason)),
        }
    }

    /// From now on this worker is asked. The former one finishes what it has.
    pub(crate) fn take(&self, worker: Worker) {
        *self.lock() = Place::Taken(worker);
    }

    /// Stops the worker at once.
    pub(crate) fn clear(&self, reason: String) {
        let place = std::mem::replace(&mut *self.lock(), Place::Empty(reason));
        if let Place::Taken(worker) = place {
            worker.stop();
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        matches!(*self.lock(), Place::Taken(_))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> Result<(oneshot::Receiver<Answer>, Duration), ExporterError> {
        let plugin = &self.plugin;
        let unavailable = |text: String| Err(ExporterError::Unavailable(text));
        let place = self.lock();
        let worker = match &*place {
            Place::Taken(worker) => worker,
            Place::Empty(reason) => return unavailable(reason.clone()),
        };
        let (reply, answer) = oneshot::channel();
        let limit_ms = worker.shared.limits.load().call_timeout_ms;
        // Those who wait before this one may each take as long as they may.
        let patience = Duration::from_millis(limit_ms) * (MAILBOX as u32 + 1) + GRACE;
        match worker.jobs.try_send(reply) {
            Ok(()) => Ok((answer, patience)),
            Err(TrySendError::Full(_)) => unavailable(format!(
                "plugin {plugin} is still busy with {MAILBOX} earlier collections"
            )),
            Err(TrySendError::Disconnected(_)) => {
                unavailable(format!("the thread of plugin {plugin} has ended"))
            }
        }
    }
}

impl ExporterTrait for Slot {
    fn collect(&self) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let (answer, patience) = self.ask()?;
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(ExporterError::Unavailable(format!(
                    "plugin {} was stopped during the collection",
                    self.plugin
                ))),
                Err(_) => Err(ExporterError::LimitExceeded(format!(
                    "plugin {} hangs in a call of the system and has not answered for {} s",
                    self.plugin,
                    patience.as_secs()
                ))),
            }
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear(String::new());
    }
}

//! What a plugin meets as its host: the imports of the contract, implemented on one instance's
//! [`State`].
//!
//! Everything here runs on the instance's own thread and may block there. What waits for the world
//! (http, dns, query, events) ends by the call's deadline and with the instance; what reads files
//! does not, and whoever waits for the instance gives up on it by his own clock.

#[cfg(target_os = "linux")]
mod clock_adjustment;
pub(crate) mod dns;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod log;
mod memory;
pub(crate) mod publisher;
mod query;
pub(crate) mod system;
pub(crate) mod telemetry;
pub(crate) mod wasi;
pub(crate) mod watching;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::bindings::files::{ErrorCode, FileError};
use crate::bindings::plugin::CallError;
use crate::bindings::{clock, environment, plugin, random};
use crate::engine::Tick;
use crate::shared::Shared;

use events::Events;
use http::Http;
use log::LogGate;
use memory::Held;
pub(crate) use memory::Pool;
use publisher::Publisher;
use telemetry::Teller;
use wasi::Wasi;

/// What an instance was stopped by, other than its own fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it ran for longer than {0} ms (the limit plugins.limits.call_timeout)")]
    Deadline(u64),
    #[error("it wanted {wanted} bytes of memory and may have {limit} (plugins.limits.memory)")]
    Memory { wanted: u64, limit: u64 },
    #[error(
        "it wanted {wanted} bytes more memory, and all plugins together may have {limit} \
         (plugins.limits.total_memory)"
    )]
    TotalMemory { wanted: u64, limit: u64 },
    /// Nobody wants it any longer.
    #[error("it was stopped")]
    Unwanted,
}

/// One instance's side of the host.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    /// Cancelled from outside to end the instance.
    pub(crate) unwanted: CancellationToken,
    deadline: Instant,
    /// Whether `wait` may take as long as it likes: in a discovery's run.
    pub(crate) waits_freely: bool,
    /// While the plugin computes.
    ticking: Option<Tick>,
    started: Instant,
    /// What the plugin logged last as an error during this call: after a trap, its last words.
    pub(crate) last_words: Option<String>,
    /// Requests and look-ups since the call began or the last wait ended.
    requests: usize,
    /// Where folders really lie that hold symbolic links in their paths, as the call has found.
    folders: RefCell<HashMap<String, String>>,
    log: LogGate,
    events: Events,
    http: Http,
    pub(crate) publisher: Option<Publisher>,
    /// Since something was told.
    teller: Option<Teller>,
    memory: Held,
    /// For components that import it.
    wasi: Option<Box<Wasi>>,
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>, unwanted: CancellationToken) -> Self {
        let now = now(&shared);
        State {
            unwanted,
            deadline: now,
            waits_freely: false,
            ticking: None,
            started: now,
            last_words: None,
            requests: 0,
            folders: RefCell::default(),
            log: LogGate::default(),
            events: Events::new(shared.services.watching.clone()),
            http: Http::default(),
            publisher: None,
            teller: None,
            memory: Held::default(),
            wasi: None,
            shared,
        }
    }

    /// The plugin computes from now on; the time that it may take begins.
    pub(crate) fn begin(&mut self) {
        let limit_ms = self.shared.limits.load().call_timeout_ms;
        self.deadline = Instant::now() + Duration::from_millis(limit_ms);
        self.requests = 0;
        self.folders.get_mut().clear();
        self.compute();
    }

    /// The plugin goes on computing, in the time that it has.
    fn compute(&mut self) {
        if self.ticking.is_none() {
            self.ticking = Some(self.shared.services.machine.tick());
        }
    }

    /// The plugin does not compute for a while.
    pub(crate) fn rest(&mut self) {
        self.ticking = None;
    }

    /// Looked at about every 10 ms while the plugin computes.
    pub(crate) fn may_go_on(&self) -> Result<(), Stop> {
        if self.unwanted.is_cancelled() {
            return Err(Stop::Unwanted);
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Deadline(self.shared.limits.load().call_timeout_ms));
        }
        Ok(())
    }

    /// As the plugin's own clock and timers have it.
    fn now(&self) -> Instant {
        now(&self.shared)
    }

    /// How and for how long this call may wait for something.
    fn patience(&self) -> Patience {
        Patience {
            runtime: self.shared.services.runtime.clone(),
            unwanted: self.unwanted.clone(),
            deadline: Some(self.deadline),
            limit_ms: self.shared.limits.load().call_timeout_ms,
        }
    }

    /// Waits for `work`, but not beyond the call's deadline nor the instance's end.
    fn wait_for<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        self.rest();
        let done = self.patience().wait_for(work);
        self.compute();
        done
    }

    /// Counts a request or a look-up; the error says that there were too many.
    fn count_request(&mut self) -> Result<(), String> {
        let limit = self.shared.limits.load().http_requests;
        if self.requests >= limit {
            self.shared.metrics.note_limit("http_requests");
            return Err(format!(
                "more than {limit} requests and look-ups in one call, or between two waits \
                 (plugins.limits.http_requests)"
            ));
        }
        self.requests += 1;
        Ok(())
    }
}

fn now(shared: &Shared) -> Instant {
    match &shared.replay {
        Some(replay) => replay.now(),
        None => Instant::now(),
    }
}

/// What ends a wait, apart from what is waited for.
struct Patience {
    runtime: tokio::runtime::Handle,
    unwanted: CancellationToken,
    deadline: Option<Instant>,
    limit_ms: u64,
}

impl Patience {
    fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let over = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.unwanted.cancelled() => Err(Stop::Unwanted),
                done = work => Ok(done),
                () = over => Err(Stop::Deadline(self.limit_ms)),
            }
        })
    }
}

impl plugin::Host for State {}

impl clock::Host for State {
    fn now_ns(&mut self) -> u64 {
        let since_1970 = match &self.shared.replay {
            Some(replay) => replay.wall(),
            None => std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
        };
        u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&mut self) -> u64 {
        let elapsed = self.now().saturating_duration_since(self.started);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl random::Host for State {
    fn next(&mut self) -> u64 {
        if let Some(replay) = &self.shared.replay {
            return replay.random();
        }
        let mut bytes = [0; 8];
        // Eight bytes are never cut short; before the system has gathered its randomness, this
        // waits.
        while let Err(error) =
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        {
            if error != rustix::io::Errno::INTR {
                tracing::error!(%error, "the system gives no random numbers");
                break;
            }
        }
        u64::from_le_bytes(bytes)
    }
}

impl environment::Host for State {
    fn get(&mut self, name: String) -> Result<Option<String>, CallError> {
        let permits = self.shared.permits.load();
        let refused = |_: &String| self.shared.metrics.note_refusal("env");
        let allowed = permits.environment(&name).inspect_err(refused);
        allowed.map_err(CallError::NotGranted)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            let text = format!("{name:?} is no name of an environment variable");
            return Err(CallError::Invalid(text));
        }
        if let Some(replay) = &self.shared.replay {
            return Ok(replay.environment(&name));
        }
        match std::env::var(&name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(CallError::Failed(format!(
                "the environment variable {name} is not UTF-8"
            ))),
        }
    }
}

/// What is said, without what kind of error it is.
pub(crate) fn call_error_text(error: CallError) -> String {
    match error {
        CallError::NotGranted(text)
        | CallError::Limit(text)
        | CallError::Invalid(text)
        | CallError::Failed(text) => text,
    }
}

pub(crate) fn file_error(code: ErrorCode, message: &str) -> FileError {
    FileError {
        code,
        message: message.to_owned(),
    }
}

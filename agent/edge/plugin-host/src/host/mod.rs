//! What a plugin meets as its host: the imports of the contract, implemented on one instance's
//! [`State`].
//!
//! Everything here runs on the instance's own thread and may block there. A blocked call is not
//! interrupted; whoever waits for the instance gives up on it by his own clock.

pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod log;
pub(crate) mod publisher;
pub(crate) mod system;
pub(crate) mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bindings::files::{ErrorCode, FileError};
use crate::bindings::{clock, environment, plugin, random};
use crate::engine::Tick;
use crate::shared::Shared;

use events::Events;
use log::LogGate;
use publisher::Publisher;

/// What an instance was stopped by, other than its own fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it ran for longer than {0} ms (the limit plugins.limits.call_timeout)")]
    Deadline(u64),
    #[error("it wanted {wanted} bytes of memory and may have {limit} (plugins.limits.memory)")]
    Memory { wanted: usize, limit: u64 },
    /// Nobody wants it any longer.
    #[error("it was stopped")]
    Unwanted,
}

/// One instance's side of the host.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    /// Set from outside to end the instance.
    pub(crate) unwanted: Arc<AtomicBool>,
    deadline: Instant,
    /// While the plugin computes.
    ticking: Option<Tick>,
    started: Instant,
    /// What the plugin logged last as an error during this call: after a trap, its last words.
    pub(crate) last_words: Option<String>,
    log: LogGate,
    pub(crate) events: Option<Events>,
    pub(crate) publisher: Option<Publisher>,
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>, unwanted: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        State {
            shared,
            unwanted,
            deadline: now,
            ticking: None,
            started: now,
            last_words: None,
            log: LogGate::default(),
            events: None,
            publisher: None,
        }
    }

    /// The plugin computes from now on; the time that it may take begins.
    pub(crate) fn begin(&mut self) {
        let limit_ms = self.shared.limits.load().call_timeout_ms;
        self.deadline = Instant::now() + Duration::from_millis(limit_ms);
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
        if self.unwanted.load(Ordering::Relaxed) {
            return Err(Stop::Unwanted);
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Deadline(self.shared.limits.load().call_timeout_ms));
        }
        Ok(())
    }
}

impl wasmtime::ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.shared.limits.load().memory_bytes;
        if desired as u64 > limit {
            // An allocation that merely fails would end in an abort that explains nothing.
            return Err(Stop::Memory {
                wanted: desired,
                limit,
            }
            .into());
        }
        self.shared.metrics.note_memory(desired as u64);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Tables hold functions, eight bytes each on the host's side.
        let limit = self.shared.limits.load().memory_bytes;
        Ok(desired as u64 <= limit / 64)
    }
}

impl plugin::Host for State {}

impl clock::Host for State {
    fn now_ns(&mut self) -> u64 {
        let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl random::Host for State {
    fn next(&mut self) -> u64 {
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
    fn get(&mut self, name: String) -> Result<Option<String>, String> {
        self.shared.permits.load().environment(&name)?;
        match std::env::var(&name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(format!("the environment variable {name} is not UTF-8"))
            }
        }
    }
}

pub(crate) fn file_error(code: ErrorCode, message: &str) -> FileError {
    FileError {
        code,
        message: message.to_owned(),
    }
}

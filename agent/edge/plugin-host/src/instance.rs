//! Calling a plugin: one instance's store, its limits, and what a failed call means.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use narthex_extension::ExporterError;
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, UpdateDeadline};

use crate::code::{Code, Instantiable, LoadError, Manifest, manifest};
use crate::host::{State, Stop};
use crate::shared::Shared;

/// Why a call came to no end. The instance is of no use afterwards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{0}")]
    Trapped(String),
    #[error("{0}")]
    Limit(String),
    #[error("the instance was stopped")]
    Unwanted,
}

impl From<CallError> for ExporterError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Trapped(text) => ExporterError::Trapped(text),
            CallError::Limit(text) => ExporterError::LimitExceeded(text),
            CallError::Unwanted => ExporterError::Unavailable(error.to_string()),
        }
    }
}

pub(crate) fn new_store(shared: &Arc<Shared>, unwanted: &CancellationToken) -> Store<State> {
    let engine = &shared.services.machine.engine;
    let mut store = Store::new(engine, State::new(shared.clone(), unwanted.clone()));
    store.limiter(|state| state);
    store.set_hostcall_fuel(shared.limits.load().transfer_bytes);
    store.epoch_deadline_callback(|store| {
        store.data().may_go_on()?;
        Ok(UpdateDeadline::Continue(1))
    });
    store
}

/// Calls the plugin within its limits.
pub(crate) fn call<R>(
    store: &mut Store<State>,
    run: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
) -> Result<R, CallError> {
    let shared = store.data().shared.clone();
    store.data_mut().begin();
    store.set_epoch_deadline(1);
    let counts_fuel = shared.services.machine.counts_fuel;
    if counts_fuel {
        // Without a bound: it is measured, not limited.
        store
            .set_fuel(u64::MAX)
            .map_err(|e| failure(&shared, None, &e))?;
    }
    let begun = Instant::now();
    let result = run(store);
    store.data_mut().rest();
    shared.metrics.note_call(begun.elapsed());
    if counts_fuel {
        let left = store.get_fuel().unwrap_or(u64::MAX);
        let used = u64::MAX.saturating_sub(left);
        shared.health.fuel.store(used, Ordering::Relaxed);
    }
    result.map_err(|error| failure(&shared, store.data_mut().last_words.take(), &error))
}

/// Asks a plugin what it is. At that it has no permits.
pub(crate) fn describe(code: &Instantiable, shared: &Arc<Shared>) -> Result<Manifest, LoadError> {
    let unwanted = CancellationToken::new();
    let mut store = new_store(shared, &unwanted);
    let described = call(&mut store, |store| match &code.code {
        Code::Exporter(code) => code.instantiate(store)?.describe(store),
        Code::Discovery(code) => code.instantiate(store)?.describe(store),
    });
    described
        .map(manifest)
        .map_err(|error| LoadError::Describe(format!("asked for its manifest, {error}")))
}

fn failure(shared: &Shared, last_words: Option<String>, error: &wasmtime::Error) -> CallError {
    let plugin = &shared.name;
    let limit = |name: &str, text: String| {
        shared.metrics.note_limit(name);
        shared.metrics.note_failure("limit");
        CallError::Limit(format!("plugin {plugin} was stopped: {text}"))
    };
    let call_error = match error.downcast_ref::<Stop>() {
        Some(Stop::Unwanted) => return CallError::Unwanted,
        Some(stop @ Stop::Deadline(_)) => limit("call_timeout", stop.to_string()),
        Some(stop @ Stop::Memory { .. }) => limit("memory", stop.to_string()),
        Some(stop @ Stop::TotalMemory { .. }) => limit("total_memory", stop.to_string()),
        None => match error.root_cause().to_string() {
            text if text.contains("allocated for hostcalls has been exhausted") => limit(
                "transfer_bytes",
                format!(
                    "it handed over more than {} bytes in one call (plugins.limits.transfer_bytes)",
                    shared.limits.load().transfer_bytes
                ),
            ),
            text => {
                shared.metrics.note_failure("trap");
                let text = match last_words {
                    Some(words) => format!("plugin {plugin} trapped: {words} ({text})"),
                    None => format!("plugin {plugin} trapped: {text}"),
                };
                CallError::Trapped(text)
            }
        },
    };
    shared.health.note(&call_error.to_string());
    call_error
}

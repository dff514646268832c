//! The sandbox: a Rhai engine with limits and without any way out.
//!
//! Keeps true: a run ends within its operations and its time, whatever the script does. There is no
//! `eval`, no `import`, no clock and no randomness; `print` and `debug` go to the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use narthex_model::{CancelReason, CancelToken};
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, EvalAltResult, Position};

use crate::config::Limits;
use crate::{context, memory, series};

/// Watches the run in progress; the engine looks at it as it goes.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Arc<Mutex<Option<Watch>>>);

struct Watch {
    deadline: Instant,
    cancel: CancelToken,
    /// The thread's balance that must not be reached.
    memory_bytes_max: isize,
}

impl Watchdog {
    /// Starts watching; what is given back stops it when dropped.
    pub(crate) fn start(&self, limits: &Limits, cancel: CancelToken) -> WatchdogGuard<'_> {
        let memory_bytes = isize::try_from(limits.memory_bytes).unwrap_or(isize::MAX);
        *self.lock() = Some(Watch {
            deadline: Instant::now() + Duration::from_millis(limits.time_ms),
            cancel,
            memory_bytes_max: memory::balance_bytes().saturating_add(memory_bytes),
        });
        WatchdogGuard(self)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the run must end now, if it must.
    fn stop_reason(&self) -> Option<&'static str> {
        let watch = self.lock();
        let watch = watch.as_ref()?;
        match watch.cancel.reason() {
            Some(CancelReason::Timeout) => Some(TIME),
            Some(CancelReason::Canceled) => Some(CANCELED),
            None if Instant::now() >= watch.deadline => Some(TIME),
            None if memory::balance_bytes() >= watch.memory_bytes_max => Some(MEMORY),
            None => None,
        }
    }
}

pub(crate) struct WatchdogGuard<'a>(&'a Watchdog);

impl Drop for WatchdogGuard<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

const TIME: &str = "time";
const MEMORY: &str = "memory";
const CANCELED: &str = "canceled";

/// An engine for one script.
pub(crate) fn build(script: &str, limits: &Limits, watchdog: Watchdog) -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(StandardPackage::new().as_shared_module());
    engine.disable_symbol("eval");
    engine
        .set_max_operations(limits.operations)
        .set_max_call_levels(limits.call_depth)
        .set_max_expr_depths(64, 64)
        .set_max_variables(limits.variables)
        .set_max_functions(200)
        .set_max_string_size(limits.string_bytes)
        .set_max_array_size(limits.array_items)
        .set_max_map_size(limits.map_items)
        .set_strict_variables(true);
    // Looked at after every 64th operation: one takes some tens of nanoseconds, and allocates at
    // most `string_bytes` or so.
    engine.on_progress(move |operations| {
        if !operations.is_multiple_of(64) {
            return None;
        }
        watchdog.stop_reason().map(Dynamic::from)
    });
    let name = script.to_owned();
    engine.on_print(move |text| tracing::info!(script = %name, "{text}"));
    let name = script.to_owned();
    engine.on_debug(move |text, _, position| {
        tracing::info!(script = %name, line = position.line().unwrap_or(0), "{text}");
    });
    context::register(&mut engine);
    series::register(&mut engine);
    engine
}

/// What went wrong in a run, in words for the user.
pub(crate) enum Fault {
    Failed(String),
    Limit(String),
}

/// Turns an engine's error into `file:line:column: what`, naming the limit where one was hit.
pub(crate) fn explain(file: &str, limits: &Limits, error: &EvalAltResult) -> Fault {
    let position = place(file, error.position());
    let inner = error.unwrap_inner();
    let position = if inner.position().is_none() {
        position
    } else {
        place(file, inner.position())
    };
    let setting = |what: String, setting: &str| {
        Fault::Limit(format!(
            "{position}: {what} (raise it with scripts.limits.{setting})"
        ))
    };
    match inner {
        EvalAltResult::ErrorTooManyOperations(_) => setting(
            format!("more than {} operations", limits.operations),
            "operations",
        ),
        EvalAltResult::ErrorStackOverflow(_) => setting(
            format!("calls nested deeper than {}", limits.call_depth),
            "call_depth",
        ),
        EvalAltResult::ErrorTooManyVariables(_) => setting(
            format!("more than {} variables at a time", limits.variables),
            "variables",
        ),
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            Fault::Limit(format!("{position}: {what} (see scripts.limits)"))
        }
        EvalAltResult::ErrorTerminated(reason, _) => {
            match reason.clone().into_string().as_deref() {
                Ok(CANCELED) => Fault::Failed(format!("{position}: canceled")),
                Ok(MEMORY) => setting(
                    format!("took more than {} bytes of memory", limits.memory_bytes),
                    "memory",
                ),
                _ => setting(format!("ran longer than {} ms", limits.time_ms), "time"),
            }
        }
        EvalAltResult::ErrorRuntime(value, _) => Fault::Failed(format!("{position}: {value}")),
        other => Fault::Failed(format!("{position}: {}", without_position(other))),
    }
}

/// `file:line:column`, or the file alone where the engine knows no place.
pub(crate) fn place(file: &str, position: Position) -> String {
    match (position.line(), position.position()) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        (Some(line), None) => format!("{file}:{line}"),
        _ => file.to_owned(),
    }
}

fn without_position(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

//! Loads Rhai scripts, limits them and calls their hooks. The one place that knows Rhai.
//!
//! A script is a file `name.rhai` with a function `evaluate(ctx)` that returns alerts. It is pure:
//! time, queries, parameters and memory come through `ctx`; see `scripts/README.md` for its
//! language. The rule engine evaluates it as it does rules in YAML.
//!
//! Doesn't know when scripts run ([`narthex_extension::AlertScript`] is called by the ruler) nor
//! that files change: the owner calls [`ScriptHost::sync`].

pub mod config;

mod alert;
mod context;
mod engine;
mod host;
mod memory;
mod metrics;
mod script;
mod series;

pub use host::{ScriptHost, ScriptState, ScriptStatus};
pub use memory::CountingAllocator;
pub use script::Usage;

#[cfg(test)]
mod tests;

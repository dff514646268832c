//! Write Narthex plugins: exporters and service discoveries as WebAssembly.
//!
//! A plugin is a type that implements [`Exporter`] or [`Discovery`], exported by the macro of the
//! same name. What it may use of the world are the modules of [`host`]; `wit/plugin.wit` is the
//! contract behind them. It logs by the macros of [`tracing`]. Compiled for your own machine, the
//! same modules talk to [`fake`], so a plugin's tests are ordinary tests. The guide walks through
//! a plugin.

pub mod bindings;
pub mod config;
pub mod discovery;
pub mod duration;
pub mod error;
pub mod executor;
pub mod exporter;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
pub mod glob;
#[doc(hidden)]
pub mod guest;
pub mod host;
mod logging;
pub mod manifest;
pub mod metrics;
pub mod target_groups;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use config::{NoConfig, WithHttp};
pub use discovery::{Discovery, TargetGroup};
pub use duration::Duration;
pub use error::{
    CallError, ConfigError, DnsError, DnsErrorCode, Error, FileError, FileErrorCode, HttpError,
    HttpErrorCode,
};
pub use executor::block_on;
pub use exporter::Exporter;
pub use host::{
    clock, dns, environment, events, files, http, log, publisher, query, random, system, telemetry,
};
pub use manifest::{Manifest, Wants};
pub use metrics::{
    Family, Histogram, Info, Metric, MetricType, Metrics, NativeHistogram, NativeRecorder, Summary,
    Value,
};
/// The crate whose macros (`info!`, `warn!`, …) write to the agent's log.
pub use tracing;

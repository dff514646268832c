//! Write Narthex plugins: exporters and service discoveries as WebAssembly.
//!
//! A plugin is a type that implements [`Exporter`] or [`Discovery`], exported by the macro of the
//! same name. What it may use of the world are the modules [`log`], [`clock`], [`random`],
//! [`environment`], [`files`], [`system`], and for discoveries [`events`] and [`publisher`];
//! `wit/plugin.wit` is the contract behind them. Compiled for your own machine, the same modules
//! are the [`fake`] host, so tests are ordinary `cargo test`s. The README walks through a plugin.

pub mod bindings;
pub mod config;
pub mod discovery;
pub mod duration;
pub mod error;
pub mod exporter;
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
pub mod glob;
#[doc(hidden)]
pub mod guest;
pub mod host;
pub mod manifest;
pub mod metrics;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use config::NoConfig;
pub use discovery::{Discovery, TargetGroup};
pub use duration::Duration;
pub use error::{ConfigError, Error, FileError, FileErrorCode};
pub use exporter::Exporter;
pub use host::{clock, environment, events, files, log, publisher, random, system};
pub use manifest::{Manifest, Wants};
pub use metrics::{Family, Histogram, Metric, MetricType, Metrics, Summary, Value};

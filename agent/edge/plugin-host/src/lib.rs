//! Loads WebAssembly plugins, limits them and calls them.

pub mod config;

pub use config::{Config, ExporterInstance, Limits};

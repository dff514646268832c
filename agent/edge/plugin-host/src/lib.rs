//! Loads WebAssembly plugins, limits them and calls them.
//!
//! [`start`] gives a [`Handle`] that keeps the plugins of a folder running: it takes up files as
//! they come, change and go, and new configurations ([`Handle::apply`]). What runs is told by
//! [`Handle::plugins`], a [`PluginSet`] of exporters for scraping and of discoveries by the name
//! they serve; [`Handle::status`] tells how each plugin is.
//!
//! Those who write a plugin have it by itself on a [`workbench`], in a recorded world ([`replay`]).
//!
//! Keeps true: a plugin can do nothing to the agent or to another plugin but fail; it may read only
//! what it declared and the user granted; a file or a configuration that does not work leaves what
//! worked in place. Knows nothing of scraping, of the store or of YAML. The only crate that knows
//! wasmtime, whose types stay inside.
//!
//! From the outside in: `manager` (what runs), `folder` (the files), `code` (from bytes to code),
//! `exporter` and `discovery` (instances at work), `instance` (one call and its limits), `host`
//! (what plugins may ask for), `grant` (whether they may), `validate` (what they give).

mod adapter;
mod backoff;
mod bindings;
mod bounds;
mod code;
pub mod config;
mod discovery;
mod engine;
mod exporter;
mod folder;
mod grant;
mod guest;
mod host;
mod instance;
mod manager;
mod metrics;
mod outside;
pub mod replay;
mod shared;
pub mod status;
#[cfg(test)]
mod tests;
mod validate;
pub mod workbench;

pub use code::{LoadError, Manifest, World};
pub use config::{Config, ExporterInstance, Grant, Limits};
pub use manager::{Handle, PluginSet, StartError, start};
pub use outside::{FieldFault, HttpConfigReader, Outside};
pub use status::{PluginState, PluginStatus, Usage};

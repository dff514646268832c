//! Target loops: fetch, parse, relabel, append. Exporter plugins enter here, after *parse*.
//!
//! A [`Manager`] is given a store, then a [`config::Config`], then what discovery finds
//! ([`Manager::set_targets`], all groups of a job at a time) and which exporter plugins run
//! ([`Manager::set_exporters`]). It runs one loop per target and keeps it through every change
//! that leaves its series the same.
//!
//! Keeps true: a loop never runs two scrapes at once, and its ticks don't drift; a scrape ends by
//! its timeout and holds a bounded body; a scrape is stored whole, or else its series become
//! stale; when a target goes, its series end. Knows nothing of how targets are found, how samples
//! are stored, or of YAML.

mod body;
mod cache;
pub mod config;
mod direct;
mod error;
mod fetch;
mod ingest;
mod manager;
mod metadata;
mod metrics;
mod schedule;
mod status;
mod target;
mod task;

#[cfg(test)]
mod tests;

pub use manager::{ConfigError, Features, Manager, Options};
pub use status::{DroppedTarget, Health, TargetMetadata, TargetStatus, Targets};

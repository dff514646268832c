//! Running discoverers and the merging of their target groups.
//!
//! A [`Manager`] is given a [`Config`] (per job, what finds its targets) and the providers that
//! plugins bring, runs every entry, and passes what they find on as one map from job to groups. It
//! serves scrape jobs, and a second one the Alertmanagers to notify.
//!
//! Keeps true: targets don't vanish because something else changed. An entry that is the same
//! after a reload goes on untouched. One that fails is started again, with growing pauses, and its
//! last groups stay. A swapped provider, or a changed entry of the same job and provider, starts
//! beside the old state and takes over once it has published. When a plugin is removed its last
//! targets stay, because a scrape job that loses all of its targets for a moved file surprises
//! everyone; [`EntryStatus`] says so, and a change of the configuration ends it.
//!
//! Doesn't know what the configuration of a provider means, what a plugin is, or what is done with
//! targets.

pub mod config;
mod entry;
mod manager;
pub mod metrics;

pub use config::{Config, SdConfig};
pub use entry::{EntryState, EntryStatus};
pub use manager::{Manager, Options, Sink};
pub use metrics::Metrics;

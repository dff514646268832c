//! Alert routing: which alerts are told to whom, together with which others, and when again.
//!
//! The way in: a plain [`config::Config`] is checked into a [`CheckedConfig`], a [`Router`] is made
//! of it, alerts are admitted ([`Alert::admit`]) and handed to [`Router::step`], which answers with
//! what to do. Everything that Alertmanager does between an alert's arrival and the moment of
//! sending is here; sending is not.
//!
//! Keeps true: no clock, no input or output; time is an argument everywhere. What Alertmanager
//! shows to the outside (fingerprints, group keys, the order of alerts, the reasons) is the same
//! here.
//!
//! Where it differs on purpose: a change of the configuration keeps the timers of groups whose route
//! is still there, and a `repeat_interval` that is a multiple of `group_interval` is met exactly.
//! In regular expressions `.` matches a line break, as everywhere in Prometheus; in Alertmanager it
//! does not.

mod alert;
mod checked;
pub mod config;
mod group;
mod inhibit;
mod log;
pub mod matchers;
mod router;
mod time_interval;
mod view;

pub use alert::{Alert, AlertError, PostedAlert, compare_labels, fingerprint, format_fingerprint};
pub use checked::{CheckedConfig, ConfigError};
pub use log::{LogEntry, LogKey, Reason};
pub use router::{Action, Event, Notification, NotificationId, NotifiedAlert, Router, Suppression};
pub use view::{AlertFilter, AlertState, AlertView, GroupView};

#[cfg(test)]
mod scenarios;

//! Runs rule groups and alert scripts on the clock.
//!
//! A [`Manager`] holds a task per group and per script. It is given what is to run
//! ([`Manager::apply`], [`Manager::set_scripts`]), evaluates at even times, writes the samples to
//! the store, hands alerts to an [`AlertSink`], and tells its state ([`Manager::groups`]).
//!
//! Keeps true: a group or script never overlaps itself; evaluations that were missed are counted,
//! not made up for; a query or script that takes too long is told to stop; what a reload does not
//! change keeps running. Doesn't know where alerts are routed, what a rule means
//! (`narthex_rules` does) or how scripts run.

mod account;
mod append;
mod manager;
mod metrics;
mod schedule;
mod script;
mod worker;

pub use manager::{AlertSink, Manager, Settings};
pub use narthex_rules::{AlertNotice, AlertOptions, Environment, GroupKind, GroupStatus};

#[cfg(test)]
mod tests;

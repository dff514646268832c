//! Notifying: the alert router on the clock, receivers that send, and the forwarding of alerts to
//! Alertmanagers elsewhere.
//!
//! [`Manager::start`] takes a [`Config`] (what `alertmanager.yml` says) and gives a [`Handle`].
//! Alerts of our own rules and scripts come in by [`Handle::send_alerts`], alerts from outside by
//! [`Handle::post_alerts`]; the API asks the handle; a reload calls [`Handle::apply`],
//! [`Handle::set_labelling`] and [`Handle::set_alertmanagers`].
//!
//! Keeps true: a receiver that is slow or away holds up nobody but itself; a notification is tried
//! until its group's next one is due; what was told before a restart is not told again, if there is
//! a [`StateStore`].
//!
//! Where it differs from Alertmanager on purpose: an answer 429 is tried again (after the time it
//! asks for), a receiver may have 64 attempts under way, a failed attempt whose receiver changes is
//! given up at once, and integrations are known by their address, so that their order may change.
//! Doesn't know YAML, where state is kept, or how targets are discovered.

pub mod config;
mod delivery;
mod expand;
mod external;
mod integration;
mod manager;
mod metrics;
mod payload;
mod state;
mod time;

pub use config::{
    AlertmanagerTarget, Config, Labelling, ReceiverConfig, WebhookConfig, WebhookUrl,
};
pub use manager::{ApplyError, Handle, Manager, Options, PostError, StartError};
pub use state::StateStore;

#[cfg(test)]
mod tests;

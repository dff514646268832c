//! Runs the alert router on the clock and sends its notifications.

pub mod config;

pub use config::{AlertmanagerTarget, Config, ReceiverConfig, WebhookConfig, WebhookUrl};

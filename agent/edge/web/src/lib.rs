//! The HTTP API: Prometheus's under `/api/v1`, Alertmanager's under `/api/v2`, and Narthex's own
//! under `/api/v1/narthex`. The one place that knows axum and the API's JSON.
//!
//! Knows the other parts only by the traits in [`backend`], which the binary implements.

pub mod backend;

mod admin;
mod alertmanager;
mod coding;
mod explain;
mod extensions;
mod federate;
mod json;
mod labels;
mod lifecycle;
mod metrics;
mod params;
mod query;
mod respond;
mod rules;
mod run;
mod server;
mod status;
mod stream;
mod targets;
mod time;

pub use params::parse_time_ms;
pub use server::{Listeners, Options, Starting, WebError, serve};

#[cfg(test)]
mod tests;

//! Tests that start the real binary, each in a folder of its own, on free ports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say what they saw"
)]

mod agent;
#[path = "../../plugins/kubernetes/tests/api_server/mod.rs"]
#[expect(dead_code, reason = "the plugin's own tests use the rest")]
mod api_server;
#[path = "../../agent/edge/plugin-host/src/tests/guest.rs"]
#[expect(dead_code, reason = "the host's own tests use the rest")]
mod guest;
mod server;

mod alerts;
mod bad_input;
mod guide;
mod hostile;
mod kubernetes;
mod plugin_tools;
mod plugins;
mod queries;
mod query_tools;
mod recovery;
mod reload;
mod scraping;
mod scripts;
mod store;
mod tools;

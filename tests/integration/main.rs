//! Tests that start the real binary, each in a folder of its own, on free ports.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say what they saw"
)]

mod agent;
mod server;

mod alerts;
mod bad_input;
mod plugins;
mod queries;
mod query_tools;
mod recovery;
mod reload;
mod scraping;
mod scripts;
mod store;
mod tools;

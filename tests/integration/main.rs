//! Tests that start the real binary, each in a folder of its own, on free ports.

mod agent;
mod server;

mod alerts;
mod bad_input;
mod plugins;
mod recovery;
mod reload;
mod scraping;
mod scripts;
mod tools;

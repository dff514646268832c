//! Loads Rhai scripts, limits them and calls their hooks.

pub mod config;

//! The store from the outside: what it holds after whatever may happen to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod common;
mod log;
mod model;
mod usage;

//! The format as its users see it: what is written is read, what Prometheus wrote is read, what is
//! written is read by Prometheus, and damage is noticed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests may fail the test, and one that is skipped says so"
)]

mod damage;
mod index;
mod matching;
mod model;
mod old_blocks;
mod promtool;
mod small_files;

//! What is written as Prometheus writes it comes back; what is damaged costs itself alone; and what
//! a real Prometheus left behind holds what its API said.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests may fail the test; one that is skipped says so, and one that fails names its seed"
)]

mod damage;
mod encode;
mod head_chunks;
mod mutation;
mod pages;
mod plan;
mod prometheus;
mod random;
mod records;
mod segments;
mod snapshot;
mod target;

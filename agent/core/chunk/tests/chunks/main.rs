//! Chunks from outside: what is written comes back, and what the encodings say bit by bit.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they measure"
)]

mod columns;
mod floats;
mod histogram_columns;
mod histograms;
mod mutations;
mod prometheus;
mod starts;
mod timing;
mod vectors;

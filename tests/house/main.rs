//! The house's rules, each kept by a test: who may know whom, which crate knows which foreign
//! world, what the core never touches, and that every file says what it is.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod dependencies;
mod sources;

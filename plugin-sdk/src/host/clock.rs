//! Time.

use super::backend::clock;

/// Nanoseconds since 1970, UTC.
pub fn now_ns() -> u64 {
    clock::now_ns()
}

/// Milliseconds since 1970, UTC: what queries and timestamps are in.
pub fn now_ms() -> i64 {
    i64::try_from(clock::now_ns() / 1_000_000).unwrap_or(i64::MAX)
}

/// Nanoseconds since some moment before the plugin started; never goes back.
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}

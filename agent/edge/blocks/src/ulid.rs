//! New names for blocks.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Ulid;

/// A name that no other block has: the time, and 80 random bits.
pub fn new_ulid() -> Ulid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as u64);
    // The standard library's hasher is keyed by the system's random numbers.
    let random = |what: u8| RandomState::new().hash_one((now_ms, what)).to_be_bytes();
    let mut bytes = [0; 10];
    let (first, rest) = bytes.split_at_mut(8);
    first.copy_from_slice(&random(1));
    let second = random(2);
    rest.copy_from_slice(second.first_chunk::<2>().unwrap_or(&[0; 2]));
    Ulid::new(now_ms, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        assert_ne!(new_ulid(), new_ulid());
    }
}

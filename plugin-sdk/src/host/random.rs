//! Random numbers from the operating system.

use super::backend::random;

pub fn next() -> u64 {
    random::next()
}

/// Evenly spread over 0 to `bound - 1`; 0 where `bound` is 0.
pub fn below(bound: u64) -> u64 {
    if bound == 0 {
        return 0;
    }
    // What lies above the last whole multiple of `bound` would favour the small numbers.
    let usable = u64::MAX - u64::MAX % bound;
    loop {
        let number = next();
        if number < usable {
            return number % bound;
        }
    }
}

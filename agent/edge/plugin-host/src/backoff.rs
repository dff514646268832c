//! When to try again after failures in a row: after 1 s, 2 s, 4 s, 8 s, 16 s; then it is suspended
//! and tried every 5 minutes. A plugin is never given up for good; someone may be waiting for it.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const SUSPENDED: Duration = Duration::from_secs(300);

/// From so many failures in a row on it is suspended.
const MANY: u32 = 6;

#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.is_suspended() {
            true => SUSPENDED,
            false => FIRST * (1 << (self.failures - 1)),
        };
        self.until = Some(now + pause);
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.failures >= MANY
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait yet.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_until_it_is_suspended_and_starts_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..40 {
            backoff.failed(now);
            waits.push(backoff.left(now).as_secs());
            now += backoff.left(now);
            assert_eq!(backoff.left(now), Duration::ZERO);
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 300]);
        assert!(waits[6..].iter().all(|&wait| wait == 300));
        assert!(backoff.is_suspended());
        backoff.succeeded();
        backoff.failed(now);
        assert_eq!(backoff.left(now).as_secs(), 1);
        assert!(!backoff.is_suspended());
    }
}

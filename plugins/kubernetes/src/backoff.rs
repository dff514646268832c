//! How long to wait before what has failed is tried again: longer each time, and never by the same
//! time for all, so that a server that comes back is not overrun.

use narthex_plugin_sdk::events::sleep_ms;
use narthex_plugin_sdk::random;

const FIRST_MS: u64 = 500;
const LONGEST_MS: u64 = 30_000;

#[derive(Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff { next_ms: FIRST_MS }
    }

    /// What was tried works.
    pub(crate) fn reset(&mut self) {
        self.next_ms = FIRST_MS;
    }

    /// At least as long as the server has asked for.
    pub(crate) async fn wait(&mut self, asked_ms: Option<u64>) {
        let base_ms = self.next_ms;
        self.next_ms = (base_ms * 2).min(LONGEST_MS);
        let wait_ms = base_ms / 2 + random::below(base_ms / 2 + 1);
        let wait_ms = wait_ms.max(asked_ms.unwrap_or(0).min(LONGEST_MS));
        // Without a timer there is nothing to wait for: only then it goes on at once.
        if let Err(error) = sleep_ms(wait_ms).await {
            narthex_plugin_sdk::tracing::error!("cannot wait: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::fake::Host;
    use narthex_plugin_sdk::{block_on, clock};

    use super::*;

    fn waited_ms(backoff: &mut Backoff, asked_ms: Option<u64>) -> u64 {
        let before = clock::monotonic_ns();
        block_on(backoff.wait(asked_ms));
        (clock::monotonic_ns() - before) / 1_000_000
    }

    #[test]
    fn grows_up_to_a_limit_and_is_never_the_same() {
        let _host = Host::install();
        let mut backoff = Backoff::new();
        let mut bases = vec![500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        for base in bases.drain(..) {
            let waited = waited_ms(&mut backoff, None);
            assert!((base / 2..=base).contains(&waited), "{base}: {waited}");
        }
        backoff.reset();
        let first: Vec<u64> = (0..20)
            .map(|_| {
                backoff.reset();
                waited_ms(&mut backoff, None)
            })
            .collect();
        assert!(first.iter().any(|ms| *ms != first[0]), "{first:?}");
        backoff.reset();
        assert!(waited_ms(&mut backoff, Some(7000)) >= 7000);
        assert!(waited_ms(&mut backoff, Some(u64::MAX)) <= LONGEST_MS);
    }
}

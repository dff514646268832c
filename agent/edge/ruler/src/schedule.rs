//! When a group is evaluated. Pure: the time is an argument.
//!
//! The times of a group are those that leave the same remainder, its offset, when divided by its
//! interval. So they don't drift, stay where they are over reloads and restarts, and different
//! groups spread over the interval.

use narthex_model::Labels;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval_ms: i64,
    offset_ms: i64,
}

/// The next evaluation, and how many before it are left out because their time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) tick_ms: i64,
    pub(crate) missed: u64,
}

impl Schedule {
    /// File and name decide the offset, as in Prometheus: the times are the same ones.
    pub(crate) fn of_group(file: &str, name: &str, interval_ms: u64) -> Schedule {
        let hash = Labels::from_pairs([("file", file), ("name", name)]).fingerprint();
        Schedule::new(interval_ms, hash)
    }

    fn new(interval_ms: u64, hash: u64) -> Schedule {
        const NS_PER_MS: u64 = 1_000_000;
        let interval_ms = interval_ms.max(1);
        let offset_ns = hash % interval_ms.saturating_mul(NS_PER_MS);
        Schedule {
            interval_ms: signed(interval_ms),
            offset_ms: signed(offset_ns / NS_PER_MS),
        }
    }

    /// The first time after `now_ms`.
    pub(crate) fn first(&self, now_ms: i64) -> i64 {
        let since_ms = now_ms
            .saturating_sub(self.offset_ms)
            .rem_euclid(self.interval_ms);
        now_ms.saturating_add(self.interval_ms - since_ms)
    }

    /// The time after `last_ms`. If it has passed already the evaluation is due at once; of
    /// several that have passed only the latest is.
    pub(crate) fn after(&self, last_ms: i64, now_ms: i64) -> Next {
        // The clock was set back.
        if now_ms < last_ms.saturating_sub(self.interval_ms) {
            return Next {
                tick_ms: self.first(now_ms),
                missed: 0,
            };
        }
        let passed = now_ms.saturating_sub(last_ms).div_euclid(self.interval_ms);
        let missed = passed.saturating_sub(1).max(0);
        Next {
            tick_ms: last_ms.saturating_add((missed + 1).saturating_mul(self.interval_ms)),
            missed: missed.unsigned_abs(),
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_even_and_missed_ones_counted() {
        let schedule = Schedule::new(1000, 5_300_000_000);
        for (now_ms, expected) in [(5000, 5300), (5299, 5300), (5300, 6300), (-100, 300)] {
            assert_eq!(schedule.first(now_ms), expected, "{now_ms}");
        }
        for (last_ms, now_ms, tick_ms, missed) in [
            (5300, 5310, 6300, 0),
            (5300, 5299, 6300, 0),
            // One has just passed: at once.
            (5300, 6301, 6300, 0),
            (5300, 7301, 7300, 1),
            (5300, 99_301, 99_300, 93),
            // The clock was set back by an hour.
            (5_000_300, 1_400_000, 1_400_300, 0),
        ] {
            assert_eq!(
                schedule.after(last_ms, now_ms),
                Next { tick_ms, missed },
                "{last_ms} {now_ms}"
            );
        }
    }

    #[test]
    fn the_first_time_is_within_one_interval() {
        for interval_ms in [1, 1000, 15_000, 3_600_000] {
            for name in ["a", "b", "c"] {
                let schedule = Schedule::of_group("rules.yml", name, interval_ms);
                let wait_ms = schedule.first(1_700_000_000_123) - 1_700_000_000_123;
                assert!((1..=signed(interval_ms)).contains(&wait_ms), "{wait_ms}");
            }
        }
    }
}

//! When a target is scraped. Pure: the time is an argument.
//!
//! The ticks of a target are the times that leave the same remainder (its phase) when divided by
//! the interval. So they don't drift, and stay where they are over a reload or a restart; the
//! phases of different targets spread over the interval by chance of their hash.

/// The ticks of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval_ms: i64,
    phase_ms: i64,
}

/// The next tick, and how many before it are left out because they are past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub tick_ms: i64,
    pub skipped: u64,
}

impl Schedule {
    pub(crate) fn new(interval_ms: u64, spread: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        Schedule {
            interval_ms: signed(interval_ms),
            phase_ms: signed(spread % interval_ms),
        }
    }

    /// The first tick at or after `now_ms`.
    pub(crate) fn first(&self, now_ms: i64) -> i64 {
        let since = (now_ms - self.phase_ms).rem_euclid(self.interval_ms);
        match since {
            0 => now_ms,
            since => now_ms + self.interval_ms - since,
        }
    }

    /// The tick after `last_ms`. One that has come while the last scrape still ran is due at once;
    /// those before it are skipped.
    pub(crate) fn after(&self, last_ms: i64, now_ms: i64) -> Due {
        let set_back = now_ms < last_ms - self.interval_ms;
        let on_schedule = (last_ms - self.phase_ms) % self.interval_ms == 0;
        if set_back || !on_schedule {
            return Due {
                tick_ms: self.first(now_ms + 1),
                skipped: 0,
            };
        }
        let latest_ms = now_ms - (now_ms - self.phase_ms).rem_euclid(self.interval_ms);
        let tick_ms = latest_ms.max(last_ms + self.interval_ms);
        let steps = (tick_ms - last_ms) / self.interval_ms;
        Due {
            tick_ms,
            skipped: u64::try_from(steps - 1).unwrap_or(0),
        }
    }

    /// The timestamp for a scrape that was due at `tick_ms` and started at `now_ms`: the tick, if
    /// it was nearly met. Even distances make samples smaller in the store.
    pub(crate) fn timestamp(&self, tick_ms: i64, now_ms: i64, tolerance_ms: u64) -> i64 {
        let tolerance_ms = signed(tolerance_ms).min(self.interval_ms / 100);
        if (now_ms - tick_ms).abs() <= tolerance_ms {
            tick_ms
        } else {
            now_ms
        }
    }
}

/// Milliseconds come from durations that were checked to fit.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_even_and_survive_restarts() {
        let schedule = Schedule::new(1000, 12_345_678_300);
        assert_eq!(schedule.first(5_000), 5_300);
        assert_eq!(schedule.first(5_300), 5_300);
        assert_eq!(schedule.first(5_301), 6_300);
        let due = |tick_ms, skipped| Due { tick_ms, skipped };
        for (last_ms, now_ms, expected) in [
            (5_300, 5_310, due(6_300, 0)),
            // Woken a little early by a clock that is being corrected.
            (5_300, 5_299, due(6_300, 0)),
            // The scrape took just longer than the interval: at once.
            (5_300, 6_301, due(6_300, 0)),
            // The machine slept.
            (5_300, 9_999, due(9_300, 3)),
            // The clock was set back by an hour.
            (5_000_300, 1_400_000, due(1_400_300, 0)),
            // The last tick was of another schedule.
            (5_000, 5_200, due(5_300, 0)),
        ] {
            assert_eq!(
                schedule.after(last_ms, now_ms),
                expected,
                "{last_ms} {now_ms}"
            );
        }
    }

    #[test]
    fn phases_lie_within_the_interval() {
        for spread in [0, 1, 999, 1000, u64::MAX] {
            let first_ms = Schedule::new(1000, spread).first(1_000_000);
            assert!((1_000_000..1_001_000).contains(&first_ms), "{spread}");
        }
    }

    #[test]
    fn timestamps_snap_within_the_tolerance() {
        let schedule = Schedule::new(15_000, 0);
        for (now_ms, tolerance_ms, expected) in [
            (30_000, 10, 30_000),
            (30_010, 10, 30_000),
            (29_999, 10, 30_000),
            (30_011, 10, 30_011),
            (30_001, 0, 30_001),
            // Never more than a hundredth of the interval.
            (30_150, 10_000, 30_000),
            (30_151, 10_000, 30_151),
        ] {
            assert_eq!(schedule.timestamp(30_000, now_ms, tolerance_ms), expected);
        }
    }
}

//! What the time at which a counter started tells about its resets.

/// A sample's time and when its counter started, 0 where that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Started {
    pub start_ms: i64,
    pub time_ms: i64,
}

/// Sample number `at` of a window or series; None if starts are not looked at.
pub(super) fn started(times_ms: &[i64], starts_ms: &[i64], at: usize) -> Option<Started> {
    Some(Started {
        start_ms: *starts_ms.get(at)?,
        time_ms: *times_ms.get(at)?,
    })
}

/// Whether two neighbouring samples, as far as their starts are known, are of different counters.
pub(super) fn starts_anew(before: Option<Started>, after: Option<Started>) -> bool {
    let pair = before.zip(after);
    pair.is_some_and(|(before, after)| is_reset(before, after))
}

/// Whether the counter began anew between two neighbouring samples.
pub(super) fn is_reset(before: Started, after: Started) -> bool {
    // Unknown, or so late that it says nothing: OpenTelemetry writes the sample's own time where it
    // doesn't know the start.
    if after.start_ms == 0 || after.start_ms >= after.time_ms {
        return false;
    }
    if after.start_ms != before.time_ms {
        return after.start_ms > before.time_ms;
    }
    // A start at the sample before is that of a delta, or it stands for an unknown one; then the
    // sample before has no start that makes sense.
    before.start_ms != 0 && before.start_ms < before.time_ms
}

/// Whether two neighbouring samples can't both be true: the later one started anew before the
/// time of the earlier one.
pub(super) fn overlap(before: Started, after: Started) -> bool {
    after.start_ms != 0 && after.start_ms < before.time_ms && after.start_ms != before.start_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_and_overlaps() {
        for (before, after, reset, overlaps) in [
            ((0, 10), (0, 20), false, false),
            ((5, 10), (5, 20), false, false),
            // Started anew between the samples.
            ((5, 10), (15, 20), true, false),
            ((0, 10), (15, 20), true, false),
            // A delta, and an unknown start written as the first sample's time or not at all.
            ((5, 10), (10, 20), true, false),
            ((10, 10), (10, 20), false, false),
            ((0, 10), (10, 20), false, false),
            ((12, 10), (10, 20), false, false),
            // Starts that can't be.
            ((5, 10), (20, 20), false, false),
            ((5, 10), (25, 20), false, false),
            ((5, 10), (7, 20), false, true),
        ] {
            let started = |(start_ms, time_ms)| Started { start_ms, time_ms };
            let (before, after) = (started(before), started(after));
            assert_eq!(is_reset(before, after), reset, "{before:?} {after:?}");
            assert_eq!(overlap(before, after), overlaps, "{before:?} {after:?}");
        }
    }
}

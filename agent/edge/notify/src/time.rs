//! Times as JSON has them: RFC 3339 in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// How Go writes a time that isn't set: the end of an alert that fires.
pub(crate) const ZERO: &str = "0001-01-01T00:00:00Z";

pub(crate) fn now_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        // A clock before 1970 is no clock; nothing is due then.
        Err(_) => 0,
    }
}

/// With as many digits of the second as there are, as Go's RFC3339Nano.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.to_string(),
        Err(_) => ZERO.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        for (at_ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_500, "2023-11-14T22:13:20.5Z"),
            (1_700_000_000_050, "2023-11-14T22:13:20.05Z"),
            (i64::MAX, ZERO),
        ] {
            assert_eq!(rfc3339(at_ms), expected);
        }
    }
}

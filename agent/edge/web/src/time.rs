//! Times in JSON.

/// Go's zero time: what clients read as "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 in UTC with the milliseconds that are there.
pub(crate) fn rfc3339(time_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(time_ms) {
        Ok(time) => time.to_string(),
        Err(_) => NEVER.to_owned(),
    }
}

pub(crate) fn rfc3339_or_never(time_ms: Option<i64>) -> String {
    time_ms.map_or_else(|| NEVER.to_owned(), rfc3339)
}

/// RFC 3339 with always three decimals, as the Alertmanager API has it.
pub(crate) fn rfc3339_millis(time_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(time_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => NEVER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times() {
        assert_eq!(rfc3339(1_435_781_451_000), "2015-07-01T20:10:51Z");
        assert_eq!(rfc3339(1_435_781_451_781), "2015-07-01T20:10:51.781Z");
        assert_eq!(
            rfc3339_millis(1_435_781_451_000),
            "2015-07-01T20:10:51.000Z"
        );
        assert_eq!(rfc3339_or_never(None), NEVER);
    }
}

//! Durations in Prometheus's form: `1h30m`, `500ms`, `2w`, `0`.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error(
        "not a valid duration string: {0:?} (expected numbers with the units y, w, d, h, m, s, ms, \
         largest first, as in 1h30m)"
    )]
    Invalid(String),
    #[error("duration out of range: {0:?}")]
    OutOfRange(String),
}

/// Units, largest first, in milliseconds. A year has 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: each unit at most once, largest first. `0` needs no unit.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    parse_ms(text).map(Duration::from_millis)
}

/// As [`parse`], in milliseconds.
pub fn parse_ms(text: &str) -> Result<u64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let out_of_range = || DurationError::OutOfRange(text.to_owned());
    let mut total_ms: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Err(invalid());
        }
        let count: u64 = rest[..digits].parse().map_err(|_| out_of_range())?;
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = rest.split_at(letters);
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        rest = after;
        total_ms = count
            .checked_mul(*unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .filter(|ms| i64::try_from(*ms).is_ok_and(|ms| ms <= i64::MAX / 1_000_000))
            .ok_or_else(out_of_range)?;
    }
    Ok(total_ms)
}

/// Writes milliseconds as Prometheus does: `1h30m`, `1d1h`, `1m500ms`, `0s`. Years and weeks are
/// used only where the duration is a whole number of them: 90d is easier to read than 12w6d.
pub fn format_ms(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms;
    for (unit, unit_ms) in UNITS {
        let whole_only = matches!(unit, "y" | "w");
        if whole_only && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        if rest >= unit_ms {
            out.push_str(&(rest / unit_ms).to_string());
            out.push_str(unit);
            rest %= unit_ms;
        }
    }
    out
}

pub fn format(duration: Duration) -> String {
    format_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, ms, canonical) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("500ms", 500, "500ms"),
            ("1d", 86_400_000, "1d"),
            ("8d", 8 * 86_400_000, "8d"),
            ("1w", 7 * 86_400_000, "1w"),
            ("25h", 90_000_000, "1d1h"),
            ("1y2w3d4h5m6s7ms", 33_019_506_007, "382d4h5m6s7ms"),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
            assert_eq!(format_ms(ms), canonical, "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "1",
            "-1s",
            "1s1m",
            "1m1m",
            "5x",
            "m",
            "1.5h",
            "1 s",
            "99999999999y",
        ] {
            assert!(parse_ms(text).is_err(), "{text}");
        }
    }
}

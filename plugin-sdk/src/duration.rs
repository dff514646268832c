//! Durations as Prometheus's configuration writes them: `1h30m`, `500ms`, `0`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

/// A field of a configuration that holds a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    pub ms: u64,
}

/// Largest first; a year has 365 days.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Duration {
    /// Reads numbers with units, largest first, each unit at most once.
    pub fn parse(text: &str) -> Result<Duration, String> {
        if text == "0" {
            return Ok(Duration { ms: 0 });
        }
        let invalid = || {
            format!(
                "not a valid duration: {text:?} (expected numbers with the units y, w, d, h, m, \
                 s, ms, largest first, as in 1h30m)"
            )
        };
        let mut units = UNITS.iter();
        let mut ms: u64 = 0;
        let mut rest = text;
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit());
            let (number, after) = rest.split_at(digits.ok_or_else(invalid)?);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic());
            let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
            let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
            ms = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(*unit_ms))
                .and_then(|more| ms.checked_add(more))
                .ok_or_else(invalid)?;
            rest = after;
        }
        Ok(Duration { ms })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (unit, unit_ms) in UNITS {
            if rest >= unit_ms {
                write!(f, "{}{unit}", rest / unit_ms)?;
                rest %= unit_ms;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Duration::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn reads_and_writes() {
        for (text, ms, written) in [
            ("0", 0, "0s"),
            ("5m", 300_000, "5m"),
            ("90s", 90_000, "1m30s"),
            ("1h500ms", 3_600_500, "1h500ms"),
            ("1d", 86_400_000, "1d"),
        ] {
            let duration = Duration::parse(text).unwrap();
            assert_eq!((duration.ms, duration.to_string().as_str()), (ms, written));
        }
        for text in [
            "",
            "5",
            "m",
            "1s1m",
            "1s1s",
            "-1s",
            "1.5h",
            "99999999999999y",
        ] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        let json = serde_json::from_str::<Duration>("\"1m\"").unwrap();
        assert_eq!(json.ms, 60_000);
    }
}

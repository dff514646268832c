//! What single values mean: numbers, sizes, yes and no, as Prometheus's YAML reader takes them.

/// `true` and `false`, with YAML 1.1's other words for them.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// A whole number, decimal, `0x…`, `0o…` or `0b…`; one that is written as `1e3` counts.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        let rest = digits.strip_prefix(prefix)?;
        i64::from_str_radix(rest, radix).ok()
    };
    let plain = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse::<i64>().ok())
        .flatten();
    let magnitude = plain
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| exact(&digits));
    magnitude.map(|magnitude| sign * magnitude)
}

/// The whole number that a float's text stands for.
fn exact(text: &str) -> Option<i64> {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= LARGEST_EXACT).then_some(value as i64)
}

pub(crate) fn float(text: &str) -> Option<f64> {
    let starts_number = text
        .trim_start_matches(['-', '+', '.'])
        .starts_with(|c: char| c.is_ascii_digit());
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ if starts_number => text
            .parse()
            .ok()
            .or_else(|| whole(text).map(|whole| whole as f64)),
        _ => None,
    }
}

/// `512MB`, `1.5GiB`, `0`: powers of 1024, the unit is required.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 13] = [
        ("KIB", 1),
        ("MIB", 2),
        ("GIB", 3),
        ("TIB", 4),
        ("PIB", 5),
        ("EIB", 6),
        ("KB", 1),
        ("MB", 2),
        ("GB", 3),
        ("TB", 4),
        ("PB", 5),
        ("EB", 6),
        ("B", 0),
    ];
    let wanted = || {
        format!(
            "expected a size with its unit (B, KB, MB, GB, TB, PB, EB), as in 512MB, got `{text}`"
        )
    };
    if text == "0" {
        return Ok(0);
    }
    let upper = text.to_uppercase();
    let (number, power) = UNITS
        .iter()
        .find_map(|(unit, power)| Some((upper.strip_suffix(unit)?, *power)))
        .ok_or_else(wanted)?;
    let number: f64 = number
        .trim()
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or_else(wanted)?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).unwrap_or(0));
    if bytes > i64::MAX as f64 {
        return Err(format!("the size `{text}` is too large"));
    }
    Ok(bytes as u64)
}

/// As [`size_bytes`], where a plain number of bytes is fine too: for our own fields.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    match whole(text) {
        Some(bytes) => u64::try_from(bytes).map_err(|_| format!("`{text}` is less than nothing")),
        None => size_bytes(text),
    }
}

/// What may be given as a size or as a percentage of something larger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    Bytes(u64),
    Percent(f64),
}

/// `6GiB` or `25%`; never nothing, never more than all.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    let Some(number) = text.strip_suffix('%') else {
        return match bytes(text) {
            Ok(0) => Err("must be larger than 0".to_owned()),
            Ok(bytes) => Ok(Share::Bytes(bytes)),
            Err(_) => Err(format!(
                "expected a size with its unit, as in 6GiB, or a percentage of the machine's \
                 memory, as in 25%, got `{text}`"
            )),
        };
    };
    match number.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Share::Percent(percent)),
        _ => Err(format!(
            "expected a percentage above 0% and up to 100%, got `{text}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("1", Some(1)),
            ("-7", Some(-7)),
            ("1_000", Some(1000)),
            ("0x10", Some(16)),
            ("0o17", Some(15)),
            ("1e3", Some(1000)),
            ("1.5", None),
            ("", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1.5", Some(1.5)),
            (".5", Some(0.5)),
            ("0x10", Some(16.0)),
            (".inf", Some(f64::INFINITY)),
            ("inf", None),
            ("nan", None),
            ("1x", None),
        ] {
            assert_eq!(float(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10B", Some(10)),
            ("10MB", Some(10 << 20)),
            ("1.5KiB", Some(1536)),
            ("1gb", Some(1 << 30)),
            ("100", None),
            ("MB", None),
            ("-1MB", None),
            ("1XB", None),
            ("99999EB", None),
        ] {
            assert_eq!(size_bytes(text).ok(), expected, "{text}");
        }
    }
    #[test]
    fn shares() {
        for (text, expected) in [
            ("6GiB", Some(Share::Bytes(6 << 30))),
            ("1000", Some(Share::Bytes(1000))),
            ("25%", Some(Share::Percent(25.0))),
            ("12.5 %", Some(Share::Percent(12.5))),
            ("100%", Some(Share::Percent(100.0))),
            ("0", None),
            ("0%", None),
            ("-1%", None),
            ("101%", None),
            ("NaN%", None),
            ("x%", None),
            ("6GX", None),
        ] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
    }
}

//! How numbers are read and written: as Go does it, because that is what users and tools compare.

use crate::float_text::{push_exponent, push_json, push_plain};

/// Shortest decimal form that reads back as the same value, without exponent (Go's `'f', -1`).
pub fn format_plain(value: f64) -> String {
    text(push_plain, value)
}

/// Go's `'g', -1` form: exponent below 1e-4 and from 1e6 on, as text formats, label values and
/// templates have it.
pub fn format_general(value: f64) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        text(push_plain, value)
    } else {
        text(push_exponent, value)
    }
}

/// Sample values in the JSON of the HTTP API: plain, but with an exponent below 1e-6 and from 1e21.
pub fn format_json(value: f64) -> String {
    text(push_json, value)
}

/// Go's `'e', -1` form: `1e+00`, `1.5e-07`.
pub fn format_exponent(value: f64) -> String {
    text(push_exponent, value)
}

fn text(push: fn(&mut Vec<u8>, f64), value: f64) -> String {
    let mut out = Vec::new();
    push(&mut out, value);
    // All of it is ASCII.
    String::from_utf8(out).unwrap_or_default()
}

/// A decimal float as Go's `ParseFloat` reads it in metric texts: `1`, `-1.5e3`, `.5`, `+Inf`,
/// `inf`, `NaN`, `infinity`; no hexadecimal, no underscores.
pub fn parse_float(text: &str) -> Option<f64> {
    // Rust reads exactly this set, in any case.
    let value: f64 = text.parse().ok()?;
    // "-NaN" has no meaning to Go; "+NaN" neither.
    if value.is_nan() && (text.starts_with('-') || text.starts_with('+')) {
        return None;
    }
    Some(if value.is_nan() {
        f64::from_bits(NORMAL_NAN_BITS)
    } else {
        value
    })
}

/// The NaN that is an ordinary value, to be told from the stale marker.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        for (value, plain, general, json, exponent) in [
            (1.0, "1", "1", "1", "1e+00"),
            (0.0, "0", "0", "0", "0e+00"),
            (-0.0, "-0", "-0", "-0", "-0e+00"),
            (1.5e-5, "0.000015", "1.5e-05", "0.000015", "1.5e-05"),
            (1e-7, "0.0000001", "1e-07", "1e-07", "1e-07"),
            (
                1e20,
                "100000000000000000000",
                "1e+20",
                "100000000000000000000",
                "1e+20",
            ),
            (999999.5, "999999.5", "999999.5", "999999.5", "9.999995e+05"),
            (
                1234567.0,
                "1234567",
                "1.234567e+06",
                "1234567",
                "1.234567e+06",
            ),
            (1e21, "1000000000000000000000", "1e+21", "1e+21", "1e+21"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN", "NaN", "NaN"),
        ] {
            assert_eq!(format_plain(value), plain);
            assert_eq!(format_general(value), general);
            assert_eq!(format_json(value), json);
            assert_eq!(format_exponent(value), exponent);
        }
    }

    #[test]
    fn reads_as_go_does() {
        for (text, value) in [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+1e3", 1e3),
            ("-Inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_float(text), Some(value), "{text}");
        }
        assert_eq!(parse_float("nan").map(f64::to_bits), Some(NORMAL_NAN_BITS));
        for text in ["", "0x1", "1_0", "e", "-NaN", " 1"] {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}

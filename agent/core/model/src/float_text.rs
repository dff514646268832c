//! Floats as text: the shortest digits that read back as the same value, laid out as Go does it.
//!
//! Where two such texts are equally near, the one with the even last digit is taken, as Go does and
//! the standard library does not.

/// In the JSON of the HTTP API: plain where the magnitude is from 1e-6 to below 1e21, with an
/// exponent otherwise.
pub fn push_json(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        push_plain(out, value);
    } else {
        push_exponent(out, value);
    }
}

/// Without an exponent (Go's `'f', -1`).
pub fn push_plain(out: &mut Vec<u8>, value: f64) {
    // Beyond this, neighbours of a whole number are whole too, and its digits need not be all.
    const WHOLE_MAX: f64 = 1e15;
    let whole = value as i64;
    let is_whole = whole as f64 == value && value.abs() < WHOLE_MAX;
    // -0 has a sign that the integer lacks.
    if is_whole && (whole != 0 || value.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        return;
    }
    if let Some(text) = special(value) {
        out.extend_from_slice(text);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    match split_exponent(text) {
        None => out.extend_from_slice(without_empty_fraction(text).as_bytes()),
        Some((mantissa, exponent)) => {
            let mantissa = without_empty_fraction(mantissa);
            push_shifted(out, mantissa, exponent.parse().unwrap_or(0));
        }
    }
}

/// With an exponent of at least two digits (Go's `'e', -1`).
pub fn push_exponent(out: &mut Vec<u8>, value: f64) {
    if let Some(text) = special(value) {
        out.extend_from_slice(text);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let Some((mantissa, exponent)) = split_exponent(text) else {
        push_plain_as_exponent(out, text);
        return;
    };
    out.extend_from_slice(without_empty_fraction(mantissa).as_bytes());
    let digits = exponent.trim_start_matches(['+', '-']);
    push_exponent_sign(out, exponent.starts_with('-'), digits.len());
    out.extend_from_slice(digits.as_bytes());
}

fn special(value: f64) -> Option<&'static [u8]> {
    if value.is_finite() {
        None
    } else if value.is_nan() {
        Some(b"NaN")
    } else if value > 0.0 {
        Some(b"+Inf")
    } else {
        Some(b"-Inf")
    }
}

fn without_empty_fraction(digits: &str) -> &str {
    digits.strip_suffix(".0").unwrap_or(digits)
}

/// `1.5e-12` into `1.5` and `-12`.
fn split_exponent(text: &str) -> Option<(&str, &str)> {
    const LONGEST: usize = "e-324".len();
    let from_end = text.bytes().rev().take(LONGEST).position(|b| b == b'e')?;
    let at = text.len() - 1 - from_end;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn push_exponent_sign(out: &mut Vec<u8>, is_negative: bool, digits: usize) {
    out.extend_from_slice(if is_negative { b"e-" } else { b"e+" });
    if digits < 2 {
        out.push(b'0');
    }
}

/// `-0.0123` as `-1.23e-02`.
fn push_plain_as_exponent(out: &mut Vec<u8>, text: &str) {
    let unsigned = text.strip_prefix('-');
    if unsigned.is_some() {
        out.push(b'-');
    }
    let (whole, fraction) = match unsigned.unwrap_or(text).split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (unsigned.unwrap_or(text), ""),
    };
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let Some((first, rest)) = digits.get(zeros..).and_then(<[u8]>::split_first) else {
        out.extend_from_slice(b"0e+00");
        return;
    };
    out.push(*first);
    let length = rest.iter().rposition(|digit| *digit != b'0');
    let rest = rest
        .get(..length.map_or(0, |last| last + 1))
        .unwrap_or(rest);
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    let (exponent, is_negative) = match whole.len().checked_sub(zeros + 1) {
        Some(exponent) => (exponent, false),
        None => (zeros + 1 - whole.len(), true),
    };
    let mut buffer = itoa::Buffer::new();
    let exponent = buffer.format(exponent);
    push_exponent_sign(out, is_negative, exponent.len());
    out.extend_from_slice(exponent.as_bytes());
}

/// The mantissa with its point moved.
fn push_shifted(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    let unsigned = mantissa.strip_prefix('-');
    if unsigned.is_some() {
        out.push(b'-');
    }
    let digits = unsigned.unwrap_or(mantissa).bytes().filter(|b| *b != b'.');
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        out.extend(std::iter::repeat_n(b'0', zeros));
        out.extend(digits);
        return;
    }
    let before_point = usize::try_from(exponent).unwrap_or(0) + 1;
    for (index, digit) in digits.clone().enumerate() {
        if index == before_point {
            out.push(b'.');
        }
        out.push(digit);
    }
    let zeros = before_point.saturating_sub(digits.count());
    out.extend(std::iter::repeat_n(b'0', zeros));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_as_go_does() {
        for (value, json, exponent) in [
            (0.0, "0", "0e+00"),
            (-0.0, "-0", "-0e+00"),
            (1.0, "1", "1e+00"),
            (-1.5, "-1.5", "-1.5e+00"),
            (0.1, "0.1", "1e-01"),
            (100.25, "100.25", "1.0025e+02"),
            (0.00120, "0.0012", "1.2e-03"),
            (1e15, "1000000000000000", "1e+15"),
            (1e16, "10000000000000000", "1e+16"),
            (
                -123456789012345680.0,
                "-123456789012345680",
                "-1.2345678901234568e+17",
            ),
            // Just between two texts of 17 digits.
            (
                233_115_890_514_796.13,
                "233115890514796.12",
                "2.3311589051479612e+14",
            ),
            (1e20, "100000000000000000000", "1e+20"),
            (1e21, "1e+21", "1e+21"),
            (-1.25e300, "-1.25e+300", "-1.25e+300"),
            (1e-6, "0.000001", "1e-06"),
            (-1.5e-6, "-0.0000015", "-1.5e-06"),
            (9.99e-7, "9.99e-07", "9.99e-07"),
            (5e-324, "5e-324", "5e-324"),
            (
                f64::MAX,
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ] {
            assert_eq!(written(push_json, value), json);
            assert_eq!(written(push_exponent, value), exponent);
        }
    }

    /// Against the standard library, over all magnitudes and over everyday ones: the same but for
    /// the last digit where two texts are equally near.
    #[test]
    fn agrees_with_the_standard_library() {
        let same = |ours: &str, theirs: &str, value: f64| {
            if ours != theirs {
                let read: f64 = ours.parse().unwrap();
                assert_eq!((read, ours.len()), (value, theirs.len()), "{ours} {theirs}");
            }
        };
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..200_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = match round % 4 {
                0 => f64::from_bits(state),
                1 => (state >> 40) as f64 / 1000.0,
                2 => state as i64 as f64,
                _ => (state >> 11) as f64 / 1e21,
            };
            if value.is_finite() {
                same(&written(push_plain, value), &format!("{value}"), value);
                let theirs = format!("{value:e}");
                let (mantissa, exponent) = theirs.split_once('e').unwrap();
                let exponent: i32 = exponent.parse().unwrap();
                let sign = if exponent < 0 { '-' } else { '+' };
                let theirs = format!("{mantissa}e{sign}{:02}", exponent.abs());
                same(&written(push_exponent, value), &theirs, value);
            }
        }
    }
}

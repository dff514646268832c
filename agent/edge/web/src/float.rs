//! Sample values in JSON: the digits that Go writes, fast, as there are millions in one answer.

/// Plain where the magnitude is from 1e-6 to below 1e21, with an exponent otherwise.
pub(crate) fn push(out: &mut Vec<u8>, value: f64) {
    // Beyond this, neighbours of a whole number are whole too, and its digits need not be all.
    const WHOLE_MAX: f64 = 1e15;
    let whole = value as i64;
    let is_whole = whole as f64 == value && value.abs() < WHOLE_MAX;
    // -0 has a sign that the integer lacks.
    if is_whole && (whole != 0 || value.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if value.is_finite() {
        push_finite(out, value);
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

fn push_finite(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let Some((mantissa, exponent)) = split_exponent(text) else {
        let plain = text.strip_suffix(".0").unwrap_or(text);
        out.extend_from_slice(plain.as_bytes());
        return;
    };
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    if (1e-6..1e21).contains(&value.abs()) {
        push_plain(out, mantissa, exponent.parse().unwrap_or(0));
    } else {
        push_exponent(out, mantissa, exponent);
    }
}

/// `1.5e-12` into `1.5` and `-12`.
fn split_exponent(text: &str) -> Option<(&str, &str)> {
    const LONGEST: usize = "e-324".len();
    let from_end = text.bytes().rev().take(LONGEST).position(|b| b == b'e')?;
    let at = text.len() - 1 - from_end;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn push_exponent(out: &mut Vec<u8>, mantissa: &str, exponent: &str) {
    let digits = exponent.trim_start_matches(['+', '-']);
    out.extend_from_slice(mantissa.as_bytes());
    let is_negative = exponent.starts_with('-');
    out.extend_from_slice(if is_negative { b"e-" } else { b"e+" });
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

fn push_plain(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
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
    use narthex_model::number;

    use super::push;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_as_go_does() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (-123456789012345680.0, "-123456789012345680"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e300, "-1.25e+300"),
            (1e-6, "0.000001"),
            (-1.5e-6, "-0.0000015"),
            (9.99e-7, "9.99e-07"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    /// Against the standard library, over all magnitudes and over everyday ones. That one rounds the
    /// last digit up where two are equally near; Go, as this here, takes the even one.
    #[test]
    fn agrees_with_the_slow_way() {
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
            let (fast, slow) = (written(value), number::format_json(value));
            if fast != slow {
                let read: f64 = fast.parse().unwrap();
                assert_eq!((read, fast.len()), (value, slow.len()), "{state:x}");
            }
        }
    }
}

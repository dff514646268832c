//! Plainly written numbers, read at once: what nearly all samples are.
//!
//! Keeps true: what it reads is to the bit what the careful reader in `grammar` would read. What
//! it is not sure of it leaves to that one.

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Up to here every integer is a float.
const EXACT_LIMIT: u64 = 1 << 53;

/// So many digits fit into 64 bits, whatever they are.
const DIGITS_LIMIT: usize = 19;

/// A decimal float at the start of `text`, and what follows it.
///
/// Digits and exponent are read as integers. Where both are small enough to be floats themselves,
/// one multiplication or division gives the nearest float to the number, as it rounds only once.
#[inline]
pub(crate) fn float(text: &[u8]) -> Option<(f64, &[u8])> {
    let (negative, text) = sign(text);
    let (whole, after) = digits(text, 0);
    let whole_digits = text.len() - after.len();
    let (mantissa, fraction_digits, after) = match after.strip_prefix(b".") {
        Some(fraction) => {
            let (mantissa, after) = digits(fraction, whole);
            (mantissa, fraction.len() - after.len(), after)
        }
        None => (whole, 0, after),
    };
    if !(1..=DIGITS_LIMIT).contains(&(whole_digits + fraction_digits)) || mantissa > EXACT_LIMIT {
        return None;
    }
    let (exponent, after) = exponent(after)?;
    let exponent = exponent - fraction_digits as i32;
    let power = *POWERS.get(exponent.unsigned_abs() as usize)?;
    let magnitude = if exponent < 0 {
        mantissa as f64 / power
    } else {
        mantissa as f64 * power
    };
    Some((if negative { -magnitude } else { magnitude }, after))
}

/// An integer of digits alone at the start of `text`, and what follows it.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (number, after) = digits(text, 0);
    let digit_count = text.len() - after.len();
    if digit_count == 0 || digit_count > DIGITS_LIMIT {
        return None;
    }
    Some((i64::try_from(number).ok()?, after))
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

/// Reads on a number: `before` holds the digits that came before. What is too long wraps; the
/// caller counts the digits.
#[inline]
fn digits(text: &[u8], before: u64) -> (u64, &[u8]) {
    let mut number = before;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        rest = after;
    }
    (number, rest)
}

/// `e+06` and the like; 0 where there is none. None for one that has no or too many digits.
#[inline]
fn exponent(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'e' | b'E', rest)) = text.split_first() else {
        return Some((0, text));
    };
    let (negative, rest) = sign(rest);
    let (number, after) = digits(rest, 0);
    if !(1..=4).contains(&(rest.len() - after.len())) {
        return None;
    }
    let number = i32::try_from(number).ok()?;
    Some((if negative { -number } else { number }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use narthex_model::number::parse_float;
    use proptest::prelude::*;

    #[test]
    fn reads_what_is_plain_and_leaves_the_rest() {
        for (text, expected) in [
            ("0", Some(("0", ""))),
            ("-0 5", Some(("-0", " 5"))),
            ("+12.50\n", Some(("12.5", "\n"))),
            (".5", Some(("0.5", ""))),
            ("5.", Some(("5", ""))),
            ("5. x", Some(("5", " x"))),
            ("1.5e+06}", Some(("1500000", "}"))),
            ("1E-3", Some(("0.001", ""))),
            ("9007199254740992", Some(("9007199254740992", ""))),
            ("9007199254740993", None),
            ("00000000000000000001", None),
            ("0.30000000000000004", None),
            ("1e23", None),
            ("1e", None),
            ("1e+x", None),
            ("1e99999", None),
            ("", None),
            (".", None),
            ("-", None),
            ("-.e1", None),
            ("NaN", None),
            ("+Inf", None),
        ] {
            let read = float(text.as_bytes()).map(|(v, rest)| (v.to_string(), rest));
            let expected = expected.map(|(v, rest)| (v.to_owned(), rest.as_bytes()));
            assert_eq!(read, expected, "{text:?}");
        }
        for (text, expected) in [
            ("0", Some((0, ""))),
            ("1700000000000\n", Some((1_700_000_000_000, "\n"))),
            ("9223372036854775807", Some((i64::MAX, ""))),
            ("9223372036854775808", None),
            ("12345678901234567890", None),
            ("", None),
            ("-1", None),
        ] {
            let expected = expected.map(|(v, rest)| (v, rest.as_bytes()));
            assert_eq!(integer(text.as_bytes()), expected, "{text:?}");
        }
    }

    fn agrees(text: &str) -> Result<(), TestCaseError> {
        if let Some((value, [])) = float(text.as_bytes()) {
            let careful = parse_float(text);
            prop_assert_eq!(Some(value.to_bits()), careful.map(f64::to_bits), "{}", text);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, cases: 5000, ..ProptestConfig::default()
        })]

        #[test]
        fn reads_what_the_careful_reader_reads(
            text in "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{0,3})?"
        ) {
            agrees(&text)?;
        }

        #[test]
        fn reads_written_floats_as_they_were(bits in any::<u64>(), scaled in -1e15..1e15f64) {
            for value in [f64::from_bits(bits), scaled, (scaled / 1e9).round() / 1e3] {
                agrees(&value.to_string())?;
                agrees(&format!("{value:e}"))?;
            }
        }
    }
}

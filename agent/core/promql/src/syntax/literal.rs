//! Literals: what numbers, durations and strings in a query stand for.
//!
//! They follow Go: a number may be octal or hexadecimal and have underscores, a string has Go's
//! escapes.

use narthex_model::duration;

use super::ast::{DurationExpr, StringLiteral};

/// What stands in place of bytes that were no UTF-8 before they became text.
const INVALID: char = char::REPLACEMENT_CHARACTER;

/// The value of the string literal at the start of `text`, and its length with the quotes.
pub(crate) fn string(text: &str) -> Result<(StringLiteral, usize), String> {
    let Some(quote) = text.chars().next() else {
        return Err("unterminated quoted string".to_owned());
    };
    let body = text.get(1..).unwrap_or("");
    if quote == '`' {
        let end = body.find(['`', INVALID]).ok_or("unterminated raw string")?;
        let (value, rest) = body.split_at(end);
        refuse_invalid(rest)?;
        return Ok((StringLiteral::new(value.into()), end + 2));
    }
    let mut value = Vec::new();
    let mut rest = body;
    loop {
        // Plain text up to what may end the string or escape.
        let plain = rest
            .find([quote, '\\', '\n', INVALID])
            .ok_or("unterminated quoted string")?;
        let (before, special) = rest.split_at(plain);
        refuse_invalid(special)?;
        value.extend_from_slice(before.as_bytes());
        match special.strip_prefix('\\') {
            Some(escaped) => rest = escape(escaped, quote, &mut value)?,
            None if special.starts_with(quote) => break,
            None => return Err("unterminated quoted string".to_owned()),
        }
    }
    let length = text.len() - rest.len() + rest.find(quote).unwrap_or(0) + 1;
    Ok((StringLiteral::new(value), length))
}

fn refuse_invalid(text: &str) -> Result<(), String> {
    if text.starts_with(INVALID) {
        return Err("invalid UTF-8 rune".to_owned());
    }
    Ok(())
}

/// Appends what the escape sequence after a backslash stands for; returns the text behind it.
fn escape<'a>(text: &'a str, quote: char, value: &mut Vec<u8>) -> Result<&'a str, String> {
    let mut chars = text.chars();
    let Some(kind) = chars.next() else {
        return Err("escape sequence not terminated".to_owned());
    };
    let simple = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        // The quotes are ASCII.
        _ if kind == quote => u8::try_from(kind).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        value.push(byte);
        return Ok(chars.as_str());
    }
    let (digits, base, after) = match kind {
        '0'..='7' => (3, 8, text),
        'x' => (2, 16, chars.as_str()),
        'u' => (4, 16, chars.as_str()),
        'U' => (8, 16, chars.as_str()),
        _ => return Err(format!("unknown escape sequence {}", code_point(kind))),
    };
    let (code, rest) = escape_digits(after, digits, base)?;
    let invalid = "escape sequence is an invalid Unicode code point";
    if matches!(kind, 'u' | 'U') {
        let c = char::from_u32(code).ok_or(invalid)?;
        value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        value.push(u8::try_from(code).map_err(|_| invalid)?);
    }
    Ok(rest)
}

fn escape_digits(text: &str, count: usize, base: u32) -> Result<(u32, &str), String> {
    let mut code: u32 = 0;
    let mut chars = text.chars();
    for _ in 0..count {
        let c = chars.next().ok_or("escape sequence not terminated")?;
        let digit = c
            .to_digit(base)
            .ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
        code = code.wrapping_mul(base).wrapping_add(digit);
    }
    Ok((code, chars.as_str()))
}

/// `U+0071 'q'`
fn code_point(c: char) -> String {
    if c.is_control() {
        format!("U+{:04X}", u32::from(c))
    } else {
        format!("U+{:04X} '{c}'", u32::from(c))
    }
}

/// The value of a number that the lexer accepted.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let wrong =
        |why: &str| format!("error parsing number: strconv.ParseFloat: parsing {text:?}: {why}");
    if let Some(integer) = integer(text) {
        // As in Go, an integer is rounded to the nearest float.
        return Ok(integer as f64);
    }
    if !underscores_separate_digits(text) {
        return Err(wrong("invalid syntax"));
    }
    let value = narthex_model::number::parse_float(&text.replace('_', ""))
        .ok_or_else(|| wrong("invalid syntax"))?;
    let written_infinite = text
        .as_bytes()
        .iter()
        .any(|byte| matches!(byte, b'i' | b'I'));
    if value.is_infinite() && !written_infinite {
        return Err(wrong("value out of range"));
    }
    Ok(value)
}

/// Integers in Go's notation: a leading 0 means octal, 0x hexadecimal.
fn integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let digits = text.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    if let Some(hexadecimal) = lower.strip_prefix("0x") {
        return i64::from_str_radix(hexadecimal, 16).ok();
    }
    match digits.strip_prefix('0') {
        Some("") => Some(0),
        Some(octal) if octal.bytes().all(|byte| byte.is_ascii_digit()) => {
            i64::from_str_radix(octal, 8).ok()
        }
        Some(_) => None,
        None => digits.parse().ok(),
    }
}

/// Every underscore stands between digits, or behind the `0x`.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X'))
    };
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)))
}

/// A duration in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let ms = duration::parse_ms(text).map_err(|e| e.to_string())?;
    i64::try_from(ms).map_err(|_| "duration out of range".to_owned())
}

/// Seconds beyond what fits into 64 bits of nanoseconds are no duration, neither is NaN.
pub(crate) fn is_duration_out_of_range(seconds: f64) -> bool {
    seconds.is_nan() || seconds.abs() > DurationExpr::MAX_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_does() {
        for (text, value) in [
            ("0", 0.0),
            ("0755", 493.0),
            ("0_7", 7.0),
            ("089", 89.0),
            ("0755.5", 755.5),
            ("0x1F", 31.0),
            ("0X_1f", 31.0),
            ("1_000", 1000.0),
            ("1_000.5", 1000.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        assert!(number("nan").unwrap().is_nan());
        for text in ["0x", "1e400", "0xffffffffffffffffff", "1_.5"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_have_gos_escapes() {
        for (text, value, length) in [
            (r#""a" b"#, "a", 3),
            (r#"'a"b'"#, "a\"b", 5),
            (r#"'\''"#, "'", 4),
            (
                r#""\a\b\f\n\r\t\v\\\"""#,
                "\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"",
                20,
            ),
            (r#""\x41\101\u00e9\U0001F600""#, "AAé😀", 26),
            (r#""\xc3\xa9""#, "é", 10),
            ("`\\n\n`", "\\n\n", 5),
            ("\"üé\"", "üé", 6),
        ] {
            let value = StringLiteral::new(value.into());
            assert_eq!(string(text), Ok((value, length)), "{text}");
        }
    }

    #[test]
    fn wrong_strings_say_what_is_wrong() {
        for (text, message) in [
            ("\"a", "unterminated quoted string"),
            ("'a\n'", "unterminated quoted string"),
            ("`a", "unterminated raw string"),
            (r"'\", "escape sequence not terminated"),
            ("'\u{fffd}'", "invalid UTF-8 rune"),
            (r"'\q'", "unknown escape sequence U+0071 'q'"),
            (r"'\x0'", "illegal character U+0027 ''' in escape sequence"),
            (
                r"'\400'",
                "escape sequence is an invalid Unicode code point",
            ),
            (
                r"'\ud800'",
                "escape sequence is an invalid Unicode code point",
            ),
            (
                r"'\UFFFFFFFF'",
                "escape sequence is an invalid Unicode code point",
            ),
        ] {
            assert_eq!(string(text), Err(message.to_owned()), "{text}");
        }
    }
}

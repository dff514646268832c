//! Literals as Go writes them: strings, characters, numbers.

use std::sync::Arc;

use crate::ast::Number;

/// The text of a string literal with its quotes, raw or not.
pub(crate) fn unquote(source: &str) -> Option<String> {
    let quote = source.chars().next()?;
    let body = source.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        // Go drops carriage returns from raw strings.
        return Some(body.replace('\r', ""));
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => rest = unescape(rest, quote, &mut out)?,
            c if c == quote => return None,
            c => push_char(&mut out, c),
        }
    }
    // `\xff` may give what is no text; shown as the replacement character.
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The code of a character literal with its quotes.
fn unquote_char(source: &str) -> Option<i64> {
    let body = source.strip_prefix('\'')?.strip_suffix('\'')?;
    let first = body.chars().next()?;
    if first != '\\' {
        let alone = first.len_utf8() == body.len() && first != '\'';
        return alone.then_some(i64::from(first as u32));
    }
    let escape = &body[1..];
    // A byte escape is a code here, not a byte of a text.
    if let Some((value, rest)) = byte_escape(escape) {
        return rest.is_empty().then_some(i64::from(value));
    }
    let mut out = Vec::new();
    let rest = unescape(escape, '\'', &mut out)?;
    let text = String::from_utf8(out).ok()?;
    let c = text.chars().next()?;
    rest.is_empty().then_some(i64::from(c as u32))
}

/// Reads what follows a backslash; gives the rest.
fn unescape<'a>(rest: &'a str, quote: char, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let simple = match c {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' => Some(b'\\'),
        c if c == quote => u8::try_from(c).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Some(&rest[1..]);
    }
    if let Some((byte, after)) = byte_escape(rest) {
        out.push(byte);
        return Some(after);
    }
    let digits = match c {
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    push_char(out, char::from_u32(hex_value(rest.get(1..=digits)?)?)?);
    rest.get(1 + digits..)
}

/// `x41` or `101`.
fn byte_escape(rest: &str) -> Option<(u8, &str)> {
    if let Some(hex) = rest.strip_prefix('x') {
        let byte = u8::try_from(hex_value(hex.get(..2)?)?).ok()?;
        return Some((byte, hex.get(2..)?));
    }
    let octal = rest.get(..3)?;
    if !octal.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    let byte = u8::from_str_radix(octal, 8).ok()?;
    Some((byte, &rest[3..]))
}

/// Digits only: Rust's own reader would take a sign as well.
fn hex_value(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A number or character literal, or what is wrong with it.
pub(crate) fn parse_number(source: &str) -> Result<Number, String> {
    let quoted = || narthex_model::labels::quoted(source);
    let number = |int: Option<i64>, float: Option<f64>| Number {
        source: Arc::from(source),
        int,
        float,
    };
    if source.starts_with('\'') {
        if source == "''" {
            return Err("invalid syntax".to_owned());
        }
        let code = unquote_char(source)
            .ok_or_else(|| format!("malformed character constant: {source}"))?;
        return Ok(number(Some(code), Some(code as f64)));
    }
    match parse_int(source) {
        Some(Ok(int)) => return Ok(number(Some(int), Some(int as f64))),
        Some(Err(TooLarge)) => return Err(format!("integer overflow: {}", quoted())),
        None => {}
    }
    let float = parse_float(source)
        .filter(|float| float.is_finite())
        .ok_or_else(|| format!("illegal number syntax: {}", quoted()))?;
    let whole = float.fract() == 0.0 && float.abs() < i64::MAX as f64;
    Ok(number(whole.then_some(float as i64), Some(float)))
}

struct TooLarge;

/// A whole number in any of Go's bases; nothing if it is not written as one.
fn parse_int(source: &str) -> Option<Result<i64, TooLarge>> {
    let unsigned = source.trim_start_matches(['+', '-']);
    let negative = source.starts_with('-');
    if unsigned.len() + 1 < source.len() {
        return None;
    }
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let digits = plain_digits(digits, radix != 10)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    Some(i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| TooLarge))
}

/// Without the underscores, which may stand between digits (and after a base's prefix).
fn plain_digits(digits: &str, after_prefix: bool) -> Option<String> {
    let misplaced = digits.is_empty()
        || digits.ends_with('_')
        || digits.contains("__")
        || (digits.starts_with('_') && !after_prefix);
    (!misplaced).then(|| digits.replace('_', ""))
}

/// As Go's `ParseFloat`: decimal, hexadecimal (`0x1p-2`), `Inf`, `NaN`.
pub(crate) fn parse_float(source: &str) -> Option<f64> {
    let unsigned = source.strip_prefix(['+', '-']).unwrap_or(source);
    if let Some(hex) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        let value = parse_hex_float(hex)?;
        return Some(if source.starts_with('-') {
            -value
        } else {
            value
        });
    }
    let plain = if source.contains('_') {
        source.replace('_', "")
    } else {
        source.to_owned()
    };
    narthex_model::number::parse_float(&plain)
}

fn parse_hex_float(hex: &str) -> Option<f64> {
    let (mantissa, exponent) = hex.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2f64.powi(exponent.checked_sub(shift)?))
}

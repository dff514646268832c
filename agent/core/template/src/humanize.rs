//! Numbers, durations and names made readable: functions that both function sets have.

use std::net::IpAddr;

use narthex_model::Regexp;
use narthex_model::labels::quoted;

use crate::literal::parse_float;
use crate::printf::format_significant;
use crate::time::Time;
use crate::value::Value;

/// What replacing may come to before it is refused, in bytes.
const MAX_REPLACED_BYTES: usize = 64 << 20;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number, or a text that is one.
pub(crate) fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::DurationNs(ns) => Ok(*ns as f64 / 1e9),
        Value::String(text) => parse_float(text)
            .filter(|_| !text.contains('_'))
            .ok_or_else(|| {
                let text = quoted(text);
                format!("strconv.ParseFloat: parsing {text}: invalid syntax")
            }),
        Value::Nil => Err("can't convert <nil> to float".to_owned()),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// With the prefixes of the SI, four significant digits.
pub(crate) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    if value.abs() >= 1.0 {
        let (value, prefix) = scale_down(value, 1000.0, &LARGE);
        return format!("{}{prefix}", short(value));
    }
    let (value, prefix) = scale_up(value);
    format!("{}{prefix}", short(value))
}

/// With the prefixes of powers of 1024.
pub(crate) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    let (value, prefix) = scale_down(value, 1024.0, &LARGE_1024);
    format!("{}{prefix}", short(value))
}

pub(crate) fn humanize_percentage(value: f64) -> String {
    format!("{}%", short(value * 100.0))
}

/// Seconds as `1d 2h 3m 4s`; with fractions or a smaller unit only below a minute.
pub(crate) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return short(seconds);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        let (value, prefix) = scale_up(seconds);
        return format!("{}{prefix}s", short(value));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let total = seconds.abs() as u64;
    let (days, hours) = (total / 86_400, total / 3600 % 24);
    let (minutes, rest) = (total / 60 % 60, total % 60);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {rest}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {rest}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {rest}s")
    } else {
        format!("{sign}{}s", short(seconds.abs()))
    }
}

pub(crate) fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(short(seconds));
    }
    Ok(time_of_seconds(seconds)?.to_string())
}

/// A time from seconds since 1970, to the millisecond.
pub(crate) fn time_of_seconds(seconds: f64) -> Result<Time, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let ns = seconds * 1e9;
    let fits = (i64::MIN as f64..=i64::MAX as f64).contains(&ns);
    let time = Time::from_unix_ms(ns as i64 / 1_000_000);
    time.filter(|_| fits).ok_or_else(|| {
        let shown = narthex_model::number::format_general(seconds);
        format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64")
    })
}

/// Four significant digits.
fn short(value: f64) -> String {
    format_significant(value, 4)
}

fn scale_down<'a>(mut value: f64, base: f64, prefixes: &[&'a str]) -> (f64, &'a str) {
    let mut prefix = "";
    for larger in prefixes {
        if value.abs() < base {
            break;
        }
        prefix = larger;
        value /= base;
    }
    (value, prefix)
}

fn scale_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for smaller in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = smaller;
        value *= 1000.0;
    }
    (value, prefix)
}

/// Host and port as Go's `SplitHostPort`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (before, port) = text.rsplit_once(':')?;
    let host = match text.strip_prefix('[') {
        Some(after) => {
            let (host, rest) = after.split_once(']')?;
            (rest.len() == port.len() + 1).then_some(host)?
        }
        None => (!before.contains(':')).then_some(before)?,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

pub(crate) fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

/// The first label of a host name, with its port; addresses are left as they are.
pub(crate) fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or(host);
    match port {
        "" => host.to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    }
}

/// Each letter by itself, as Go does it: none becomes two.
pub(crate) fn to_upper(text: &str) -> String {
    text.chars().map(upper).collect()
}

pub(crate) fn to_lower(text: &str) -> String {
    text.chars().map(lower).collect()
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}

/// The first letter of each word in upper case, the others as they are.
pub(crate) fn title(text: &str) -> String {
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        out.push(if in_word { c } else { upper(c) });
        in_word = c == '_' || c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace());
    }
    out
}

/// The first letter of each word in upper case, the others in lower case; a point or apostrophe
/// within a word does not end it.
pub(crate) fn title_lowering(text: &str) -> String {
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(if in_word { lower(c) } else { upper(c) });
        let joins = in_word
            && matches!(c, '\'' | '.' | '’')
            && chars.peek().is_some_and(|next| next.is_alphanumeric());
        in_word = c == '_' || c.is_alphanumeric() || joins;
    }
    out
}

pub(crate) fn is_match(pattern: &str, text: &str) -> Result<bool, String> {
    let regexp = Regexp::unanchored(pattern).map_err(|e| e.to_string())?;
    Ok(regexp.is_match(text))
}

pub(crate) fn replace_all(pattern: &str, replacement: &str, text: &str) -> Result<String, String> {
    let regexp = Regexp::unanchored(pattern).map_err(|e| e.to_string())?;
    // Each character may match, and each group may bring the whole text.
    let worst = (text.len() + 1).saturating_mul(replacement.len() + 1);
    if worst > MAX_REPLACED_BYTES {
        return Err("text and replacement are too long".to_owned());
    }
    Ok(regexp.replace_all(text, replacement))
}

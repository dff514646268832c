//! The classic grammar: forgiving about braces, strict about names.
//!
//! One `{` in front and one `}` at the end are dropped, whether or not they pair. What is left is
//! split at commas outside quotes. Of escapes there are `\"`, `\\` and `\n`; any other backslash
//! stands for itself.

use narthex_model::Matcher;

use super::{MatcherError, operator};

/// Tried in this order, so that `=~~` is a regex of `~`.
const OPERATORS: [&str; 4] = ["=~", "=", "!=", "!~"];

pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    split(text).into_iter().map(parse_part).collect()
}

/// The parts between commas outside quotes; nothing after the last comma is no part.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

fn parse_part(part: &str) -> Result<Matcher, MatcherError> {
    let format_error = || MatcherError::Format(part.to_owned());
    let trimmed = part.trim_matches(is_space);
    let name_end = trimmed
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(name_end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format_error());
    }
    let rest = rest.trim_start_matches(is_space);
    let found = OPERATORS.iter().find_map(|text| {
        let value = rest.strip_prefix(text)?;
        Some((operator(text)?, value))
    });
    let (op, value) = found.ok_or_else(format_error)?;
    let value = unquote(value.trim_start_matches(is_space))?;
    Ok(Matcher::new(name, op, value)?)
}

/// What a Go regular expression calls `\s`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn unquote(raw: &str) -> Result<String, MatcherError> {
    let (inner, mut open) = match raw.strip_prefix('"') {
        Some(inner) => (inner, true),
        None => (raw, false),
    };
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
                None => value.push('\\'),
            },
            '"' if open && chars.peek().is_none() => open = false,
            '"' => return Err(MatcherError::UnbalancedQuote(raw.to_owned())),
            c => value.push(c),
        }
    }
    match open {
        true => Err(MatcherError::UnbalancedQuote(raw.to_owned())),
        false => Ok(value),
    }
}

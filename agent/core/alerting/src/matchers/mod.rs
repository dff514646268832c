//! Matchers as users write them: `severity=~"warning|critical"`, `{job="a", "my label"!=b}`.
//!
//! There are two grammars, the classic one and the UTF-8 one, and by default both are tried, so
//! that old configurations keep their meaning. Where the two read a text differently the classic
//! reading holds and a warning says how to write it unmistakably.
//!
//! Used for `matchers:` in `alertmanager.yml` and for the `filter` parameters of the API.

mod classic;
mod utf8;

use std::fmt::Write as _;

use narthex_model::labels::{is_legacy_label_name, quoted};
use narthex_model::regexp::RegexpError;
use narthex_model::{MatchOp, Matcher};

/// Which grammar to read matchers in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// Both, the classic one winning where they differ.
    #[default]
    Fallback,
    /// Feature `classic-mode`.
    Classic,
    /// Feature `utf8-strict-mode`.
    Utf8,
}

/// Matchers that all must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub matchers: Vec<Matcher>,
    /// Why the text should be written otherwise, though it was understood.
    pub warning: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    #[error("bad matcher format: {0} (expected name=\"value\", with =, !=, =~ or !~)")]
    Format(String),
    /// The grammar says what it expected and where, in bytes.
    #[error("{start}:{end}: {found}: expected {expected}")]
    Expected {
        start: usize,
        end: usize,
        found: String,
        expected: &'static str,
    },
    #[error("{start}:{end}: {reason}")]
    Quoting {
        start: usize,
        end: usize,
        reason: &'static str,
    },
    #[error("matcher value contains unescaped double quote: {0}")]
    UnbalancedQuote(String),
    #[error(transparent)]
    Regexp(#[from] RegexpError),
    #[error("no matchers")]
    None,
    #[error("expected 1 matcher, found {0}")]
    NotOne(usize),
    #[error("unexpected open or close brace: {0}")]
    Brace(String),
}

/// Reads a list of matchers, in braces or not; it may be empty.
pub fn parse(text: &str, syntax: Syntax) -> Result<Parsed, MatcherError> {
    let certain = |matchers| Parsed {
        matchers,
        warning: None,
    };
    match syntax {
        Syntax::Classic => classic::parse(text).map(certain),
        Syntax::Utf8 => utf8::parse(text).map(certain),
        Syntax::Fallback => choose(text, classic::parse(text), utf8::parse(text)),
    }
}

/// Reads exactly one matcher, without braces: what `filter` parameters and amtool take.
pub fn parse_one(text: &str, syntax: Syntax) -> Result<Matcher, MatcherError> {
    if text.starts_with('{') || text.ends_with('}') {
        return Err(MatcherError::Brace(text.to_owned()));
    }
    let mut matchers = parse(text, syntax)?.matchers;
    match (matchers.pop(), matchers.len()) {
        (None, _) => Err(MatcherError::None),
        (Some(matcher), 0) => Ok(matcher),
        (Some(_), others) => Err(MatcherError::NotOne(others + 1)),
    }
}

/// A matcher in the form that route keys are made of: the name is quoted only where it must be.
pub fn format(matcher: &Matcher) -> String {
    let mut out = String::new();
    let operator = matcher.op.as_str();
    if matcher.name.contains(is_reserved) {
        out.push_str(&quoted(&matcher.name));
        out.push_str(operator);
        out.push_str(&quoted(&matcher.value));
        return out;
    }
    // Writing into a String does not fail.
    let _ = write!(out, "{}{operator}\"", matcher.name);
    for c in matcher.value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Matchers in braces, in the form and order that route keys are made of.
pub fn format_all(matchers: &[Matcher]) -> String {
    let mut sorted: Vec<&Matcher> = matchers.iter().collect();
    sorted.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
    let texts: Vec<String> = sorted.into_iter().map(format).collect();
    format!("{{{}}}", texts.join(","))
}

/// Whether `text` is a label name in this syntax.
pub fn is_valid_name(name: &str, syntax: Syntax) -> bool {
    match syntax {
        Syntax::Classic => is_legacy_label_name(name),
        Syntax::Fallback | Syntax::Utf8 => !name.is_empty(),
    }
}

/// What can't stand in a name or a value without quotes.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

fn choose(
    text: &str,
    classic: Result<Vec<Matcher>, MatcherError>,
    utf8: Result<Vec<Matcher>, MatcherError>,
) -> Result<Parsed, MatcherError> {
    let (matchers, warning) = match (classic, utf8) {
        (Err(error), Err(_)) => return Err(error),
        (Err(_), Ok(utf8)) => (utf8, None),
        (Ok(classic), Ok(utf8)) if classic == utf8 => (classic, None),
        (Ok(classic), Ok(_)) => {
            let reason = "is read differently by the UTF-8 grammar";
            let warning = suggestion(text, reason, &classic);
            (classic, Some(warning))
        }
        (Ok(classic), Err(_)) => {
            let warning = suggestion(text, "is not understood by the UTF-8 grammar", &classic);
            (classic, Some(warning))
        }
    };
    Ok(Parsed { matchers, warning })
}

fn suggestion(text: &str, reason: &str, meant: &[Matcher]) -> String {
    let meant: Vec<String> = meant
        .iter()
        .map(|m| format!("{}{}{}", m.name, m.op.as_str(), quoted(&m.value)))
        .collect();
    format!("matcher {text} {reason}; write {}", meant.join(","))
}

fn operator(text: &str) -> Option<MatchOp> {
    match text {
        "=" => Some(MatchOp::Equal),
        "!=" => Some(MatchOp::NotEqual),
        "=~" => Some(MatchOp::Regex),
        "!~" => Some(MatchOp::NotRegex),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

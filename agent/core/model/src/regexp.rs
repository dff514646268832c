//! Regular expressions with Go's (RE2's) meaning, on the `regex` crate.
//!
//! The two dialects are close but not equal: `\d`, `\w`, `\s` and `\b` are ASCII in Go, `[` inside
//! a class and a `{` that starts no repetition are literals there. [`translate`] rewrites what
//! differs; everything else is passed on as it is.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::plain_pattern::PlainPattern;

/// Compiled programs above this are refused: memory that one expression may take, in bytes.
const SIZE_LIMIT_BYTES: usize = 16 << 20;

/// Longer expressions are refused: reading one takes up to a kilobyte for each of its bytes. Plain
/// choices of words, which variables of dashboards become, take less and may be longer.
const MAX_BYTES: usize = 64 << 10;
const MAX_PLAIN_BYTES: usize = 512 << 10;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct RegexpError {
    pub pattern: String,
    pub reason: String,
}

/// A compiled expression, cheap to clone.
#[derive(Clone)]
pub struct Regexp {
    pattern: Arc<str>,
    regex: Regex,
    /// Answers in the engine's place, where the expression is that simple.
    plain: Option<Arc<PlainPattern>>,
}

impl Regexp {
    /// Must match the whole text; `.` matches line breaks too: how matchers and relabelling do it.
    pub fn anchored(pattern: &str) -> Result<Self, RegexpError> {
        check_length(pattern)?;
        // Alone it would be refused, but not within the group that is put around it here.
        if shape(pattern).closes_unopened {
            return Err(RegexpError {
                pattern: shortened(pattern),
                reason: "unopened group".to_owned(),
            });
        }
        let translated = format!("^(?s:{})$", translate(pattern));
        Self::compile(pattern, &translated, PlainPattern::of(pattern))
    }

    /// May match anywhere: how templates do it.
    pub fn unanchored(pattern: &str) -> Result<Self, RegexpError> {
        check_length(pattern)?;
        Self::compile(pattern, &translate(pattern), None)
    }

    fn compile(
        pattern: &str,
        translated: &str,
        plain: Option<PlainPattern>,
    ) -> Result<Self, RegexpError> {
        let error = |reason: String| RegexpError {
            pattern: shortened(pattern),
            reason,
        };
        let regex = RegexBuilder::new(translated)
            .size_limit(SIZE_LIMIT_BYTES)
            .build()
            .map_err(|e| match e {
                regex::Error::CompiledTooBig(limit) => error(format!(
                    "expression of {} bytes is too large, compiled it takes more than {limit} bytes",
                    pattern.len()
                )),
                e => error(last_line(&e.to_string())),
            })?;
        Ok(Regexp {
            pattern: pattern.into(),
            regex,
            plain: plain.map(Arc::new),
        })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    pub fn is_match(&self, text: &str) -> bool {
        match &self.plain {
            Some(plain) => plain.matches(text),
            None => self.regex.is_match(text),
        }
    }

    /// The only strings that match, ascending, where that is known: lets a store look them up.
    pub fn literals(&self) -> Option<&[String]> {
        match self.plain.as_deref() {
            Some(PlainPattern::Words(words)) => Some(words),
            _ => None,
        }
    }

    /// What every text begins with that an anchored expression matches, as far as that is plain to
    /// see: lets a store look at fewer values.
    pub fn prefix(&self) -> String {
        if shape(&self.pattern).has_alternatives {
            return String::new();
        }
        literal_prefix(&self.pattern)
    }

    /// If `text` matches, `replacement` with `$1`, `${1}` and `${name}` filled in.
    pub fn expand(&self, text: &str, replacement: &str) -> Option<String> {
        let captures = self.regex.captures(text)?;
        let mut out = String::new();
        captures.expand(replacement, &mut out);
        Some(out)
    }

    /// Every match replaced, with `$1`, `${1}` and `${name}` filled in.
    pub fn replace_all(&self, text: &str, replacement: &str) -> String {
        self.regex.replace_all(text, replacement).into_owned()
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Regexp {}

impl fmt::Debug for Regexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.pattern)
    }
}

fn check_length(pattern: &str) -> Result<(), RegexpError> {
    if pattern.len() <= MAX_BYTES {
        return Ok(());
    }
    let limit = if is_choice_of_words(pattern) {
        MAX_PLAIN_BYTES
    } else {
        MAX_BYTES
    };
    if pattern.len() <= limit {
        return Ok(());
    }
    Err(RegexpError {
        pattern: shortened(pattern),
        reason: format!(
            "expression of {} bytes is too long, it may have {limit} bytes",
            pattern.len()
        ),
    })
}

/// Nothing but characters that stand for themselves, escaped punctuation, and `|`.
fn is_choice_of_words(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => chars.next().is_some_and(|c| c.is_ascii_punctuation()),
            c => !".+*?()[]{}^$".contains(c),
        };
        if !plain {
            return false;
        }
    }
    true
}

fn shortened(pattern: &str) -> String {
    const KEPT_CHARS: usize = 200;
    if pattern.chars().count() <= KEPT_CHARS {
        return pattern.to_owned();
    }
    pattern
        .chars()
        .take(KEPT_CHARS)
        .chain("…".chars())
        .collect()
}

/// The regex crate draws the pattern over several lines; the reason stands in the last one.
fn last_line(message: &str) -> String {
    let line = message
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}

/// The literals that a pattern without alternatives begins with.
fn literal_prefix(pattern: &str) -> String {
    let mut prefix = String::new();
    let mut chars = pattern.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            Some('\\') => match chars.next() {
                Some(c) if c.is_ascii_punctuation() => prefix.push(c),
                _ => break,
            },
            Some('*' | '?' | '+') => {
                prefix.pop();
                break;
            }
            Some('{') if repetition_length(rest).is_some() => {
                prefix.pop();
                break;
            }
            Some('.' | '(' | ')' | '[' | '^' | '$' | '|') | None => break,
            Some(c) => prefix.push(c),
        }
    }
    prefix
}

/// How the groups of a pattern lie.
#[derive(Default)]
struct Shape {
    /// There is a `|` outside of groups and classes, or something that might hide one.
    has_alternatives: bool,
    /// A `)` closes a group that wasn't opened.
    closes_unopened: bool,
}

fn shape(pattern: &str) -> Shape {
    let mut shape = Shape::default();
    let mut rest = pattern;
    let mut in_class = false;
    let mut depth = 0usize;
    let mut ignored = String::new();
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => translate_escape(rest, in_class, &mut ignored),
            '[' if !in_class => {
                in_class = true;
                open_class(rest, &mut ignored)
            }
            '[' => open_inside_class(rest, &mut ignored),
            ']' => {
                in_class = false;
                1
            }
            '|' if !in_class && depth == 0 => {
                shape.has_alternatives = true;
                1
            }
            '(' if !in_class => {
                depth += 1;
                shape.has_alternatives |= may_allow_comments(rest);
                1
            }
            ')' if !in_class => {
                shape.closes_unopened |= depth == 0;
                depth = depth.saturating_sub(1);
                1
            }
            c => c.len_utf8(),
        };
        rest = &rest[taken..];
    }
    shape
}

/// Whether the group that `rest` starts with may have the flag `x`: comments may hold anything.
fn may_allow_comments(rest: &str) -> bool {
    let flags = rest.strip_prefix("(?").unwrap_or_default().bytes();
    flags
        .take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
        .any(|byte| byte == b'x')
}

/// Rewrites a pattern in Go's dialect to one that means the same to the `regex` crate.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => translate_escape(rest, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(rest, &mut out)
            }
            '[' => open_inside_class(rest, &mut out),
            ']' => {
                in_class = false;
                out.push(']');
                1
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                1
            }
            // `--` is set difference to the regex crate; to Go it is a range or a literal.
            '-' if in_class && rest[1..].starts_with('-') => {
                out.push_str("\\-");
                1
            }
            '{' if !in_class => match repetition_length(rest) {
                Some(length) => {
                    out.push_str(&rest[..length]);
                    length
                }
                None => {
                    out.push_str("\\{");
                    1
                }
            },
            // That of a repetition or a name was taken with it.
            '}' if !in_class => {
                out.push_str("\\}");
                1
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// `rest` starts with a backslash; gives the bytes taken.
fn translate_escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(c) = rest[1..].chars().next() else {
        out.push('\\');
        return 1;
    };
    let ascii_class = match c {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some("\\t\\n\\f\\r "),
        _ => None,
    };
    let negated_class = match c {
        'D' => Some("[^0-9]"),
        'W' => Some("[^0-9A-Za-z_]"),
        'S' => Some("[^\\t\\n\\f\\r ]"),
        _ => None,
    };
    match (c, ascii_class, negated_class) {
        (_, Some(class), _) if in_class => out.push_str(class),
        (_, Some(class), _) => {
            out.push('[');
            out.push_str(class);
            out.push(']');
        }
        (_, _, Some(class)) => out.push_str(class),
        ('b' | 'B', ..) if !in_class => {
            out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
        }
        ('Q', ..) if !in_class => {
            let quoted = &rest[2..];
            let end = quoted.find("\\E").unwrap_or(quoted.len());
            out.push_str(&regex::escape(&quoted[..end]));
            return (2 + end + 2).min(rest.len());
        }
        // The braces of `\p{Greek}` and `\x{41}` are neither repetition nor literal.
        ('p' | 'P' | 'x', ..) if rest[2..].starts_with('{') => {
            let end = rest.find('}').map_or(rest.len(), |at| at + 1);
            out.push_str(&rest[..end]);
            return end;
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    1 + c.len_utf8()
}

/// A class opens; a `]` right after the opening (or after `^`) is a literal.
fn open_class(rest: &str, out: &mut String) -> usize {
    let mut taken = 1;
    out.push('[');
    if rest[taken..].starts_with('^') {
        out.push('^');
        taken += 1;
    }
    if rest[taken..].starts_with(']') {
        out.push_str("\\]");
        taken += 1;
    }
    taken
}

/// A `[` inside a class is a literal unless it starts a named class as in `[[:alpha:]]`.
fn open_inside_class(rest: &str, out: &mut String) -> usize {
    // Names are short, and a text full of beginnings must not be searched from each of them.
    const LONGEST_NAME_BYTES: usize = 16;
    let head = rest.as_bytes().get(..LONGEST_NAME_BYTES.min(rest.len()));
    let mut pairs = head.unwrap_or_default().windows(2).skip(2);
    if rest.starts_with("[:")
        && let Some(end) = pairs.position(|pair| pair == b":]")
    {
        let length = end + 4;
        out.push_str(&rest[..length]);
        return length;
    }
    out.push_str("\\[");
    1
}

/// The bytes of `{n}`, `{n,}` or `{n,m}` at the beginning of `rest`, if it is one.
fn repetition_length(rest: &str) -> Option<usize> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let after = rest.strip_prefix('{')?;
    let low = digits(after);
    let mut length = 1 + low;
    if low > 0 && rest[length..].starts_with(',') {
        length += 1;
        length += digits(&rest[length..]);
    }
    (low > 0 && rest[length..].starts_with('}')).then_some(length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_go_means() {
        for (pattern, text, expected) in [
            ("a.c", "a\nc", true),
            ("a|bc", "bc", true),
            ("a|bc", "abc", false),
            (r"\d+", "١", false),
            (r"[\d]+", "12", true),
            (r"\w+", "é", false),
            (r"[[]x", "[x", true),
            (r"[]a]+", "]a", true),
            (r"[^]]", "]", false),
            (r"a{b}", "a{b}", true),
            (r"a{2}", "aa", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{2,}", "aaa", true),
            (r"\{x\}", "{x}", true),
            (r"[[:alpha:]]+", "ab", true),
            (r"[a&&b]+", "&b", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\p{Greek}", "α", true),
            (r"\x{41}", "A", true),
            (r"(?i)ABC", "abc", true),
            (r".*\.(cpu|mem)", "x.cpu", true),
            ("", "", true),
        ] {
            let regexp = Regexp::anchored(pattern).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(regexp.is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn prefixes() {
        for (pattern, expected) in [
            ("", ""),
            ("abc", "abc"),
            ("node-1.*", "node-1"),
            (r"10\.0\.1\..+:9100", "10.0.1."),
            ("ab*", "a"),
            ("ab?c", "a"),
            ("ab+", "a"),
            ("ab+*", "a"),
            ("ab{2}", "a"),
            ("a{b}", "a{b}"),
            ("é*", ""),
            ("a|b", ""),
            ("ab|ac", ""),
            ("a(b|c)", "a"),
            ("a(b)|c", ""),
            ("a[(]|b", ""),
            ("a[]|]b", "a"),
            ("a[[:alpha:]|]", "a"),
            (r"a\(|b", ""),
            (r"a\|b", "a|b"),
            (r"a\Qb|c\E", "a"),
            (r"a\d", "a"),
            ("(?i)abc", ""),
            ("a(?i)bc", "a"),
            ("^abc", ""),
            ("a(?x)#(\n|b", ""),
        ] {
            let regexp = Regexp::anchored(pattern).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(regexp.prefix(), expected, "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_matches_has_the_prefix(
            pattern in r"[ab]{0,2}[ab|()\[\]\\*+?{}.^$2]{0,6}",
            texts in proptest::collection::vec("[ab|()2{]{0,4}", 20),
        ) {
            if let Ok(regexp) = Regexp::anchored(&pattern) {
                let prefix = regexp.prefix();
                for text in texts.iter().filter(|text| regexp.is_match(text)) {
                    proptest::prop_assert!(text.starts_with(&prefix), "{} on {}", pattern, text);
                }
            }
        }
    }

    #[test]
    fn errors_are_one_line() {
        let error = Regexp::anchored("a(").unwrap_err().to_string();
        assert_eq!(error, "invalid regular expression \"a(\": unclosed group");
        for pattern in ["a)?(", "a)|(b", "a)"] {
            let error = Regexp::anchored(pattern).unwrap_err();
            assert_eq!(error.reason, "unopened group");
        }
        assert!(Regexp::anchored(r"[)]\)\Q)\E()").is_ok());
    }

    #[test]
    fn a_huge_expression_is_refused() {
        assert!(Regexp::anchored("(a{1000}){1000}").is_err());
    }

    #[test]
    fn a_long_expression_is_refused_unless_it_is_a_choice_of_words() {
        let error = Regexp::anchored(&"[ab]".repeat(1 << 18)).unwrap_err();
        assert_eq!(
            error.reason,
            "expression of 1048576 bytes is too long, it may have 65536 bytes"
        );
        assert!(Regexp::unanchored(&"a*".repeat(MAX_BYTES)).is_err());
        let words: Vec<String> = (0..40_000).map(|i| format!("pod\\.{i}")).collect();
        let choice = words.join("|");
        assert!(choice.len() > MAX_BYTES);
        assert!(Regexp::anchored(&choice).unwrap().is_match("pod.39999"));
        assert!(Regexp::anchored(&"pod-1|".repeat(1 << 18)).is_err());
    }

    #[test]
    fn expands_groups() {
        let regexp = Regexp::anchored("(?P<host>[^:]+):([0-9]+)").unwrap();
        assert_eq!(regexp.expand("h:1", "${2}-$host").as_deref(), Some("1-h"));
        assert_eq!(regexp.expand("h", "x"), None);
    }
}

//! From text to tokens.
//!
//! Which characters mean what depends on where they stand: inside of braces every word is a label
//! name, after `[` only durations are expected, outside of brackets a colon is part of a name.
//! Reading never fails as a whole: the token list ends with [`TokenKind::Invalid`] where it can't
//! go on, so that a fault of the grammar before that place is reported first.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{recognize, value};
use nom::sequence::pair;
use nom::{IResult, Parser};

use super::ast::{BinaryOp, Span};
use super::error::Fault;
use super::literal;
use super::token::{Keyword, Token, TokenKind, duration_word, word_kind};

/// The tokens of an expression. The last one is `End` or `Invalid`, which occur nowhere else.
pub(crate) fn tokens(input: &str) -> Vec<Token> {
    Lexer::new(input).run(|_| false)
}

/// The tokens of the metric that a series description begins with; the values begin where the
/// last token does.
pub(crate) fn metric_tokens(input: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(input);
    lexer.skip(space);
    lexer.run(|lexer| {
        let next = lexer.rest().chars().next();
        match lexer.tokens.as_slice() {
            _ if lexer.brace_open => false,
            [] => !next.is_some_and(|c| is_alphabetic(c) || matches!(c, ':' | '{')),
            [name] if name.kind != TokenKind::LeftBrace => next != Some('{'),
            _ => true,
        }
    })
}

pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

pub(crate) fn is_alphabetic(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

pub(crate) fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// How far the number at the start of `text` goes; the error says how far what is no number goes.
/// In series descriptions an `x` may follow, so they have no hexadecimal numbers.
pub(crate) fn number_length(text: &str, in_series: bool) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let peek = |at: usize| bytes.get(at).copied();
    if !in_series && peek(0) == Some(b'0') && matches!(peek(1), Some(b'x' | b'X')) {
        let digits = bytes.iter().skip(2);
        let end = 2 + digits
            .take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'_')
            .count();
        return number_end(text, end, in_series);
    }
    let (mut at, mut dot, mut exponent) = (0, false, false);
    loop {
        // What can't stand behind the character read.
        let forbidden: &[u8] = match peek(at) {
            Some(b'0'..=b'9') => {
                at += 1;
                continue;
            }
            Some(b'.') if !dot => {
                dot = true;
                b"._"
            }
            Some(b'e' | b'E') if !exponent => {
                exponent = true;
                at += usize::from(matches!(peek(at + 1), Some(b'+' | b'-')));
                b"._eE"
            }
            Some(b'_') => b"._eE",
            Some(b'.' | b'e' | b'E') => return Err(at + 1),
            _ => return number_end(text, at, in_series),
        };
        let must_go_on = peek(at) != Some(b'.');
        at += 1;
        match peek(at) {
            Some(byte) if forbidden.contains(&byte) => return Err(at + 1),
            None if must_go_on => return Err(at),
            _ => {}
        }
    }
}

fn number_end(text: &str, at: usize, in_series: bool) -> Result<usize, usize> {
    match text.get(at..).and_then(|rest| rest.chars().next()) {
        Some('x') if in_series => Ok(at),
        Some(c) if is_alphanumeric(c) => Err(at),
        _ => Ok(at),
    }
}

/// How far the duration goes whose first number has `from` bytes; the error says how far what is
/// none goes. Units are checked for being units only.
fn duration_length(text: &str, from: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let peek = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut at = from;
    let mut units: &[u8] = b"smhdwy";
    loop {
        if !units.contains(&peek(at)) {
            return Err(at);
        }
        // A year comes first or not at all.
        units = b"smhdw";
        at += 1;
        at += usize::from(peek(at) == b's');
        if !peek(at).is_ascii_digit() {
            break;
        }
        while peek(at).is_ascii_digit() {
            at += 1;
        }
    }
    if is_alphanumeric(char::from(peek(at))) {
        Err(at + 1)
    } else {
        Ok(at)
    }
}

struct Lexer<'a> {
    input: &'a str,
    at: usize,
    tokens: Vec<Token>,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    /// A bracket was opened and no number has followed yet.
    bracket_fresh: bool,
    /// A colon has been seen in this bracket.
    colon_seen: bool,
    number_in_bracket_seen: bool,
}

/// None: something without meaning, as spaces, was skipped.
type Step = Result<Option<(TokenKind, usize)>, Fault>;

impl<'a> Lexer<'a> {
    fn new(input: &'a str) -> Self {
        Lexer {
            input,
            at: 0,
            tokens: Vec::new(),
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            bracket_fresh: false,
            colon_seen: false,
            number_in_bracket_seen: false,
        }
    }

    fn run(mut self, mut done: impl FnMut(&Self) -> bool) -> Vec<Token> {
        loop {
            let step = if done(&self) {
                Ok(Some((TokenKind::End, 0)))
            } else {
                self.step()
            };
            match step {
                Ok(None) => {}
                Ok(Some((kind, length))) => {
                    let last = kind == TokenKind::End;
                    self.push(kind, length);
                    if last {
                        return self.tokens;
                    }
                }
                Err(fault) => {
                    self.tokens.push(Token {
                        kind: TokenKind::Invalid(fault.message),
                        span: fault.span,
                    });
                    return self.tokens;
                }
            }
        }
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        let span = Span::new(self.at, self.at + length);
        self.tokens.push(Token { kind, span });
        self.at = span.end;
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or("")
    }

    fn skip(&mut self, parser: fn(&str) -> IResult<&str, &str>) {
        if let Ok((_, text)) = parser(self.rest()) {
            self.at += text.len();
        }
    }

    /// A fault from here to the end of the text.
    fn fault(&self, message: impl Into<String>) -> Step {
        self.fault_after(0, message)
    }

    /// The same, from `length` bytes further.
    fn fault_after(&self, length: usize, message: impl Into<String>) -> Step {
        let span = Span::new(self.at + length, self.input.len());
        Err(Fault::new(span, message))
    }

    fn step(&mut self) -> Step {
        let rest = self.rest();
        if !self.bracket_fresh && rest.starts_with('#') {
            self.skip(comment);
            return Ok(None);
        }
        if rest.starts_with(is_space) {
            self.skip(space);
            return Ok(None);
        }
        if self.brace_open {
            self.step_in_braces()
        } else if self.bracket_fresh {
            self.step_in_fresh_bracket()
        } else {
            self.step_outside()
        }
    }

    fn step_in_braces(&mut self) -> Step {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.fault("unexpected end of input inside braces");
        };
        match first {
            ',' => Ok(Some((TokenKind::Comma, 1))),
            '}' => {
                self.brace_open = false;
                Ok(Some((TokenKind::RightBrace, 1)))
            }
            '{' => self.fault("unexpected left brace '{'"),
            '"' | '\'' | '`' => self.string(),
            _ => {
                if let Ok((_, text)) = word(rest) {
                    return Ok(Some((TokenKind::Identifier, text.len())));
                }
                if let Ok((after, kind)) = match_operator(rest) {
                    return Ok(Some((kind, rest.len() - after.len())));
                }
                if first == '!' {
                    let next = quoted_char(rest.chars().nth(1));
                    return self.fault(format!(
                        "unexpected character after '!' inside braces: {next}"
                    ));
                }
                let first = quoted_char(Some(first));
                self.fault(format!("unexpected character inside braces: {first}"))
            }
        }
    }

    /// Between `[` and the first number: nothing but durations can stand here.
    fn step_in_fresh_bracket(&mut self) -> Step {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.fault("unexpected end of input in duration expression");
        };
        match first {
            ']' | '(' | ')' | ',' => self.punctuation(first),
            ':' if !self.number_in_bracket_seen => {
                self.fault_after(1, "unexpected colon before duration in duration expression")
            }
            ':' if self.colon_seen => {
                self.fault_after(1, "unexpected repeated colon in duration expression")
            }
            ':' => {
                self.colon_seen = true;
                Ok(Some((TokenKind::Colon, 1)))
            }
            _ if starts_number(rest) => {
                self.bracket_fresh = false;
                self.number_in_bracket_seen = true;
                self.number_or_duration()
            }
            _ => {
                if let Ok((_, op)) = arithmetic_operator(rest) {
                    return Ok(Some((TokenKind::Operator(op), 1)));
                }
                if let Some(token) = duration_word_at(rest) {
                    return Ok(Some(token));
                }
                let first = quoted_char(Some(first));
                self.fault(format!(
                    "unexpected character in duration expression: {first}"
                ))
            }
        }
    }

    fn step_outside(&mut self) -> Step {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.end();
        };
        match first {
            ',' | '(' | ')' | '[' | ']' | '{' | '@' => self.punctuation(first),
            '"' | '\'' | '`' => self.string(),
            _ if starts_number(rest) => self.number_or_duration(),
            _ if is_alphabetic(first) || first == ':' => {
                if self.bracket_open {
                    self.word_in_bracket(first)
                } else {
                    self.word()
                }
            }
            _ => self.operator(first),
        }
    }

    fn end(&mut self) -> Step {
        if self.paren_depth > 0 {
            self.fault("unclosed left parenthesis")
        } else if self.bracket_open {
            self.fault("unclosed left bracket")
        } else {
            Ok(Some((TokenKind::End, 0)))
        }
    }

    fn punctuation(&mut self, c: char) -> Step {
        let kind = match c {
            ',' => TokenKind::Comma,
            '@' => TokenKind::At,
            '(' => {
                self.paren_depth += 1;
                TokenKind::LeftParen
            }
            ')' => match self.paren_depth.checked_sub(1) {
                Some(depth) => {
                    self.paren_depth = depth;
                    TokenKind::RightParen
                }
                None => return self.fault_after(1, "unexpected right parenthesis ')'"),
            },
            '{' => {
                self.brace_open = true;
                TokenKind::LeftBrace
            }
            '[' if self.bracket_open => return self.fault("unexpected left bracket '['"),
            '[' => {
                self.bracket_open = true;
                self.bracket_fresh = true;
                self.colon_seen = false;
                TokenKind::LeftBracket
            }
            ']' if !self.bracket_open => return self.fault("unexpected right bracket ']'"),
            _ => {
                self.bracket_open = false;
                self.bracket_fresh = false;
                TokenKind::RightBracket
            }
        };
        Ok(Some((kind, 1)))
    }

    fn string(&mut self) -> Step {
        match literal::string(self.rest()) {
            Ok((value, length)) => Ok(Some((TokenKind::String(value), length))),
            Err(message) => self.fault(message),
        }
    }

    fn number_or_duration(&mut self) -> Step {
        let rest = self.rest();
        let (kind, length) = match number_length(rest, false) {
            Ok(length) => (TokenKind::Number, Ok(length)),
            Err(digits) => (TokenKind::Duration, duration_length(rest, digits)),
        };
        match length {
            Ok(length) => Ok(Some((kind, length))),
            Err(length) => {
                let text = narthex_model::labels::quoted(rest.get(..length).unwrap_or(rest));
                self.fault(format!("bad number or duration syntax: {text}"))
            }
        }
    }

    fn word(&mut self) -> Step {
        let rest = self.rest();
        let (after, text) = metric_word(rest).unwrap_or((rest, ""));
        let mut kind = word_kind(text);
        // So that `fill` stays a good name of a metric.
        if matches!(
            kind,
            TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)
        ) && !after.trim_start_matches(is_space).starts_with('(')
        {
            kind = TokenKind::Identifier;
        }
        Ok(Some((kind, text.len())))
    }

    fn word_in_bracket(&mut self, first: char) -> Step {
        if first == ':' {
            if self.colon_seen {
                return self.fault("unexpected colon ':'");
            }
            self.colon_seen = true;
            return Ok(Some((TokenKind::Colon, 1)));
        }
        match duration_word_at(self.rest()) {
            Some(token) => Ok(Some(token)),
            None => self.fault(format!(
                "unexpected character: {}, expected ':'",
                quoted_char(Some(first))
            )),
        }
    }

    fn operator(&mut self, first: char) -> Step {
        let rest = self.rest();
        if let Ok((after, op)) = alt((comparison_operator, arithmetic_operator)).parse(rest) {
            let length = rest.len() - after.len();
            return Ok(Some((TokenKind::Operator(op), length)));
        }
        match first {
            '=' if rest.starts_with("=~") => self.fault("unexpected character after '=': '~'"),
            '=' => Ok(Some((TokenKind::Assign, 1))),
            '!' => {
                let next = quoted_char(rest.chars().nth(1));
                self.fault(format!("unexpected character after '!': {next}"))
            }
            _ => {
                let first = quoted_char(Some(first));
                self.fault(format!("unexpected character: {first}"))
            }
        }
    }
}

fn space(text: &str) -> IResult<&str, &str> {
    take_while1(is_space).parse(text)
}

fn comment(text: &str) -> IResult<&str, &str> {
    recognize(pair(char('#'), take_till(|c| c == '\n' || c == '\r'))).parse(text)
}

fn word(text: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(is_alphabetic), take_while(is_alphanumeric))).parse(text)
}

fn metric_word(text: &str) -> IResult<&str, &str> {
    take_while1(|c| is_alphanumeric(c) || c == ':').parse(text)
}

fn match_operator(text: &str) -> IResult<&str, TokenKind> {
    alt((
        value(TokenKind::RegexMatch, tag("=~")),
        value(TokenKind::RegexNotMatch, tag("!~")),
        value(TokenKind::Operator(BinaryOp::NotEqual), tag("!=")),
        value(TokenKind::Assign, tag("=")),
    ))
    .parse(text)
}

fn comparison_operator(text: &str) -> IResult<&str, BinaryOp> {
    alt((
        value(BinaryOp::Equal, tag("==")),
        value(BinaryOp::NotEqual, tag("!=")),
        value(BinaryOp::LessOrEqual, tag("<=")),
        value(BinaryOp::TrimUpper, tag("</")),
        value(BinaryOp::Less, tag("<")),
        value(BinaryOp::GreaterOrEqual, tag(">=")),
        value(BinaryOp::TrimLower, tag(">/")),
        value(BinaryOp::Greater, tag(">")),
    ))
    .parse(text)
}

fn arithmetic_operator(text: &str) -> IResult<&str, BinaryOp> {
    alt((
        value(BinaryOp::Add, tag("+")),
        value(BinaryOp::Sub, tag("-")),
        value(BinaryOp::Mul, tag("*")),
        value(BinaryOp::Div, tag("/")),
        value(BinaryOp::Mod, tag("%")),
        value(BinaryOp::Pow, tag("^")),
    ))
    .parse(text)
}

fn duration_word_at(text: &str) -> Option<(TokenKind, usize)> {
    let (_, name) = take_while1::<_, _, nom::error::Error<&str>>(is_alphabetic)
        .parse(text)
        .ok()?;
    let word = duration_word(&name.to_ascii_lowercase())?;
    Some((TokenKind::Word(word), name.len()))
}

fn starts_number(text: &str) -> bool {
    let digits = text.strip_prefix('.').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

/// A character in single quotes, as messages show it; None is the end of the text.
pub(crate) fn quoted_char(c: Option<char>) -> String {
    match c {
        None => "'\u{fffd}'".to_owned(),
        Some('\'') => r"'\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        Some(c) => {
            let quoted = narthex_model::labels::quoted(c.encode_utf8(&mut [0; 4]));
            let bare = quoted.trim_matches('"');
            format!("'{bare}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tokens: &[Token], input: &str) -> String {
        let words: Vec<String> = tokens.iter().map(|t| t.description(input)).collect();
        words.join(" ")
    }

    #[test]
    fn words_depend_on_where_they_stand() {
        for (input, expected) in [
            ("SUM by", r#"<aggr:SUM> <by> end of input"#),
            ("a:b", r#"metric identifier "a:b" end of input"#),
            (
                "x[5m:step()]",
                r#"identifier "x" "[" duration "5m" ":" "step" "(" ")" "]" end of input"#,
            ),
            (
                "{sum!~'a'}",
                r#""{" identifier "sum" <op:!~> string "'a'" "}" end of input"#,
            ),
            (
                "fill + fill (",
                r#"identifier "fill" <op:+> <fill> "(" unclosed left parenthesis"#,
            ),
            (
                "a # b\n-inf",
                r#"identifier "a" <op:-> number "inf" end of input"#,
            ),
            (">/</<=", "<op:>/> <op:</> <op:<=> end of input"),
        ] {
            assert_eq!(shown(&tokens(input), input), expected, "{input}");
        }
    }

    #[test]
    fn metrics_of_series_end_where_values_begin() {
        for (input, at) in [
            ("a 1 2", 1),
            ("a{b='c'} 1", 8),
            ("{b='c'}", 7),
            ("a {b='c'} 1", 1),
            (" a:b{} ", 6),
            ("", 0),
            ("1 2", 0),
            ("{a='b'}{{}}", 7),
        ] {
            let tokens = metric_tokens(input);
            let last = tokens.last().unwrap();
            assert_eq!(
                (&last.kind, last.span.start),
                (&TokenKind::End, at),
                "{input}"
            );
        }
    }

    #[test]
    fn extents_of_numbers() {
        for (text, expected) in [
            ("5 ", Ok(1)),
            ("1.5e-3)", Ok(6)),
            ("0x1F", Ok(4)),
            ("1_000", Ok(5)),
            ("5m", Err(1)),
            ("1__0", Err(3)),
            ("1._5", Err(3)),
            ("1.2.3", Err(4)),
            ("1e", Err(2)),
            ("1e+", Err(3)),
            ("1_", Err(2)),
        ] {
            assert_eq!(number_length(text, false), expected, "{text}");
        }
        assert_eq!(number_length("0x5", true), Ok(1));
    }
}

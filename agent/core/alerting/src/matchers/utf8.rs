//! The UTF-8 grammar: any text may be a name, quoted where needed, and every mistake has a place.

use narthex_model::{MatchOp, Matcher};

use super::{MatcherError, is_reserved, operator};

pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let mut parser = Parser { text, at: 0 };
    let braces = parser.accept('{');
    let matchers = parser.list()?;
    if braces && !parser.accept('}') {
        return Err(parser.unexpected("close brace"));
    }
    match parser.peek() {
        None => Ok(matchers),
        Some('}') => Err(parser.unexpected("opening brace")),
        Some(_) if braces => Err(parser.unexpected("end of input")),
        Some(_) => Err(parser.unexpected("a comma or the end of input")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn list(&mut self) -> Result<Vec<Matcher>, MatcherError> {
        let mut matchers = Vec::new();
        while !matches!(self.peek(), None | Some('}')) {
            matchers.push(self.matcher()?);
            if !self.accept(',') {
                break;
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let name_start = self.at;
        let name = self.word("label name")?;
        if name.is_empty() {
            return Err(MatcherError::Quoting {
                start: name_start,
                end: self.at,
                reason: "a label name can't be empty",
            });
        }
        let op = self.operator()?;
        let value = self.word("label value")?;
        Ok(Matcher::new(name, op, value)?)
    }

    fn operator(&mut self) -> Result<MatchOp, MatcherError> {
        self.skip_space();
        let rest = self.rest();
        for length in [2, 1] {
            if let Some(op) = rest.get(..length).and_then(operator) {
                self.at += length;
                return Ok(op);
            }
        }
        Err(self.unexpected("an operator such as '=', '!=', '=~' or '!~'"))
    }

    /// A quoted text or a run of characters that need no quotes.
    fn word(&mut self, expected: &'static str) -> Result<String, MatcherError> {
        self.skip_space();
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let end = rest.find(is_reserved).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected(expected));
        }
        let word = rest[..end].to_owned();
        self.at += end;
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let start = self.at;
        let rest = self.rest();
        let mut escaped = false;
        let end = rest[1..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let error = |end, reason| MatcherError::Quoting { start, end, reason };
        let Some(inner) = end.map(|end| &rest[1..1 + end]) else {
            return Err(error(self.text.len(), "missing end \""));
        };
        let end = start + inner.len() + 2;
        self.at = end;
        unquote(inner).ok_or_else(|| error(end, "invalid escape in the quoted text"))
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn unexpected(&mut self, expected: &'static str) -> MatcherError {
        let (found, length) = match self.peek() {
            None => ("end of input".to_owned(), 0),
            Some(c) => (format!("unexpected {c}"), c.len_utf8()),
        };
        MatcherError::Expected {
            start: self.at,
            end: self.at + length,
            found,
            expected,
        }
    }
}

/// The inside of a Go string literal in double quotes; None if Go would refuse it.
fn unquote(inner: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => return None,
            '\\' => unescape(&mut chars, &mut bytes)?,
            c => push(c, &mut bytes),
        }
    }
    String::from_utf8(bytes).ok()
}

/// What follows a backslash. Hexadecimal and octal escapes are bytes, the others characters.
fn unescape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let c = chars.next()?;
    match c {
        'a' => bytes.push(0x07),
        'b' => bytes.push(0x08),
        'f' => bytes.push(0x0c),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(0x0b),
        '\\' | '"' => push(c, bytes),
        'x' => bytes.push(u8::try_from(digits(chars, 0, 2, 16)?).ok()?),
        'u' => push(char::from_u32(digits(chars, 0, 4, 16)?)?, bytes),
        'U' => push(char::from_u32(digits(chars, 0, 8, 16)?)?, bytes),
        '0'..='7' => {
            let first = c.to_digit(8)?;
            bytes.push(u8::try_from(digits(chars, first, 2, 8)?).ok()?);
        }
        _ => return None,
    }
    Some(())
}

/// `first` followed by exactly `count` digits.
fn digits(chars: &mut std::str::Chars<'_>, first: u32, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(first, |value, _| {
        let digit = chars.next()?.to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

fn push(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

//! What is wrong with a text and where.

use std::fmt;

use super::ast::Span;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    pub message: String,
    /// Bytes of the text.
    pub span: Span,
    /// From 1; 0 where the text is empty and so has no position.
    pub line: usize,
    /// In bytes, from 1; 0 where the text is empty.
    pub column: usize,
}

impl ParseError {
    pub(crate) fn new(text: &str, fault: Fault) -> Self {
        let (line, column) = if text.is_empty() {
            (0, 0)
        } else {
            fault.span.line_and_column(text)
        };
        ParseError {
            message: fault.message,
            span: fault.span,
            line,
            column,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "unknown position: parse error: {}", self.message)
        } else {
            let ParseError {
                message,
                line,
                column,
                ..
            } = self;
            write!(f, "{line}:{column}: parse error: {message}")
        }
    }
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    /// From the start of `self` to the end of `last`.
    pub fn to(self, last: Span) -> Self {
        Span::new(self.start, last.end)
    }

    /// Line and column (in bytes) of the span's start in `text`, both from 1.
    pub fn line_and_column(self, text: &str) -> (usize, usize) {
        let before = text.as_bytes().get(..self.start).unwrap_or(text.as_bytes());
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let line_start = before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        (line, before.len() - line_start + 1)
    }
}

/// A [`ParseError`] before the text is at hand to work out line and column.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) span: Span,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_bytes_from_one() {
        let text = "ab\nüc\n";
        for (start, expected) in [
            (0, (1, 1)),
            (2, (1, 3)),
            (3, (2, 1)),
            (5, (2, 3)),
            (7, (3, 1)),
            (99, (3, 1)),
        ] {
            assert_eq!(Span::new(start, start).line_and_column(text), expected);
        }
    }
}

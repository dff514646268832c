//! The words of the language and how they are named in messages.

use narthex_model::labels::quoted;

use super::ast::{AggregateOp, BinaryOp, Span, StringLiteral};

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    End,
    /// The text can't be read on from here; always the last token.
    Invalid(String),
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`
    Assign,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexNotMatch,
    At,
    Operator(BinaryOp),
    Identifier,
    /// An identifier with a colon in it.
    MetricIdentifier,
    /// What stands between the quotes, escapes resolved.
    String(StringLiteral),
    Number,
    Duration,
    Aggregator(AggregateOp),
    Keyword(Keyword),
    Word(QueryWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Bool,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Offset,
    Smoothed,
    Anchored,
}

/// Words that stand for something of the query in `@` and durations, and are functions elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryWord {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// The meaning of a word, whatever its case.
pub(crate) fn word_kind(word: &str) -> TokenKind {
    // No keyword is longer; most words are names, which are spared the lower-casing.
    if word.len() > 12 {
        return identifier_kind(word);
    }
    let lower = word.to_ascii_lowercase();
    if let Some(op) = AggregateOp::from_word(&lower) {
        return TokenKind::Aggregator(op);
    }
    match lower.as_str() {
        "and" => TokenKind::Operator(BinaryOp::And),
        "or" => TokenKind::Operator(BinaryOp::Or),
        "unless" => TokenKind::Operator(BinaryOp::Unless),
        "atan2" => TokenKind::Operator(BinaryOp::Atan2),
        "inf" | "nan" => TokenKind::Number,
        "bool" => TokenKind::Keyword(Keyword::Bool),
        "by" => TokenKind::Keyword(Keyword::By),
        "without" => TokenKind::Keyword(Keyword::Without),
        "on" => TokenKind::Keyword(Keyword::On),
        "ignoring" => TokenKind::Keyword(Keyword::Ignoring),
        "group_left" => TokenKind::Keyword(Keyword::GroupLeft),
        "group_right" => TokenKind::Keyword(Keyword::GroupRight),
        "fill" => TokenKind::Keyword(Keyword::Fill),
        "fill_left" => TokenKind::Keyword(Keyword::FillLeft),
        "fill_right" => TokenKind::Keyword(Keyword::FillRight),
        "offset" => TokenKind::Keyword(Keyword::Offset),
        "smoothed" => TokenKind::Keyword(Keyword::Smoothed),
        "anchored" => TokenKind::Keyword(Keyword::Anchored),
        "start" => TokenKind::Word(QueryWord::Start),
        "end" => TokenKind::Word(QueryWord::End),
        _ => duration_word(&lower).map_or_else(|| identifier_kind(word), TokenKind::Word),
    }
}

/// The words that durations know; `lower` is in lower case.
pub(crate) fn duration_word(lower: &str) -> Option<QueryWord> {
    match lower {
        "step" => Some(QueryWord::Step),
        "range" => Some(QueryWord::Range),
        "max_of" => Some(QueryWord::MaxOf),
        "min_of" => Some(QueryWord::MinOf),
        _ => None,
    }
}

fn identifier_kind(word: &str) -> TokenKind {
    if word.contains(':') {
        TokenKind::MetricIdentifier
    } else {
        TokenKind::Identifier
    }
}

impl Token {
    pub(crate) fn text<'a>(&self, input: &'a str) -> &'a str {
        input.get(self.span.start..self.span.end).unwrap_or("")
    }

    /// How an "unexpected …" message calls the token.
    pub(crate) fn description(&self, input: &str) -> String {
        let text = self.text(input);
        match &self.kind {
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Invalid(message) => message.clone(),
            TokenKind::Identifier => format!("identifier {}", quoted(text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quoted(text)),
            TokenKind::String(_) => format!("string {}", shortened(text)),
            TokenKind::Number => format!("number {}", shortened(text)),
            TokenKind::Duration => format!("duration {}", shortened(text)),
            TokenKind::Keyword(_) => format!("<{text}>"),
            TokenKind::Aggregator(_) => format!("<aggr:{text}>"),
            TokenKind::Operator(_)
            | TokenKind::At
            | TokenKind::RegexMatch
            | TokenKind::RegexNotMatch => format!("<op:{text}>"),
            _ => shortened(text),
        }
    }

    /// May this word name a metric outside of braces?
    pub(crate) fn is_metric_name(&self) -> bool {
        match self.kind {
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregator(_)
            | TokenKind::Word(_) => true,
            TokenKind::Operator(op) => op.is_set_operator(),
            TokenKind::Keyword(keyword) => matches!(
                keyword,
                Keyword::By
                    | Keyword::Without
                    | Keyword::Offset
                    | Keyword::Smoothed
                    | Keyword::Anchored
                    | Keyword::Fill
                    | Keyword::FillLeft
                    | Keyword::FillRight
            ),
            _ => false,
        }
    }

    /// May this word be a label in a list as of `by (…)`?
    pub(crate) fn is_grouping_label(&self) -> bool {
        match self.kind {
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregator(_)
            | TokenKind::Word(_) => true,
            TokenKind::Operator(op) => op.is_set_operator() || op == BinaryOp::Atan2,
            TokenKind::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }

    pub(crate) fn starts_expression(&self) -> bool {
        self.is_metric_name()
            || matches!(
                self.kind,
                TokenKind::LeftParen
                    | TokenKind::LeftBrace
                    | TokenKind::String(_)
                    | TokenKind::Number
                    | TokenKind::Duration
                    | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
            )
    }
}

/// In quotes; of more than ten bytes the first ten characters.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return quoted(text);
    }
    let start: String = text.chars().take(10).collect();
    format!("{}...", quoted(&start))
}

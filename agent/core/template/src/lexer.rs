//! Splits a template into tokens; trims white space at `{{- ` and ` -}}` and leaves comments out.
//!
//! An error is a token as well, the last one, so that the parser meets it in its place.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Error,
    Eof,
    Text,
    LeftDelimiter,
    RightDelimiter,
    LeftParen,
    RightParen,
    Space,
    Pipe,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// Any other printable character.
    Char,
    CharConstant,
    Number,
    String,
    RawString,
    Bool,
    Dot,
    Nil,
    Field,
    Variable,
    Identifier,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) position: usize,
    pub(crate) line: usize,
    pub(crate) text: std::borrow::Cow<'a, str>,
}

impl TokenKind {
    fn is_keyword(self) -> bool {
        self as u8 >= TokenKind::Block as u8 || matches!(self, TokenKind::Dot | TokenKind::Nil)
    }

    fn of_word(word: &str) -> TokenKind {
        match word {
            "true" | "false" => TokenKind::Bool,
            "nil" => TokenKind::Nil,
            "block" => TokenKind::Block,
            "break" => TokenKind::Break,
            "continue" => TokenKind::Continue,
            "define" => TokenKind::Define,
            "else" => TokenKind::Else,
            "end" => TokenKind::End,
            "if" => TokenKind::If,
            "range" => TokenKind::Range,
            "template" => TokenKind::Template,
            "with" => TokenKind::With,
            _ => TokenKind::Identifier,
        }
    }
}

impl Token<'_> {
    /// The token as messages show it.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            TokenKind::Eof => "EOF".to_owned(),
            TokenKind::Error => self.text.to_string(),
            kind if kind.is_keyword() => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let start: String = self.text.chars().take(10).collect();
                format!("{}...", narthex_model::labels::quoted(&start))
            }
            _ => narthex_model::labels::quoted(&self.text),
        }
    }
}

/// All tokens; the last one is [`TokenKind::Eof`] or [`TokenKind::Error`].
pub(crate) fn tokenize(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        position: 0,
        start: 0,
        counted: 0,
        line: 1,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.run() {
        lexer.push_error(message);
    }
    lexer.tokens
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const COMMENT_OPEN: &str = "/*";
const COMMENT_CLOSE: &str = "*/";
/// The marker and its space.
const TRIM_MARKER_BYTES: usize = 2;

struct Lexer<'a> {
    source: &'a str,
    position: usize,
    /// Where the token that is being read begins.
    start: usize,
    /// Up to where `line` has counted.
    counted: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
}

/// The message of a fault in the source, at the token that is being read.
type Scan = Result<(), String>;

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Scan {
        while let Some(at) = self.rest().find(LEFT) {
            let open = self.position + at;
            let after = open + LEFT.len();
            let trims = has_left_trim_marker(&self.source[after..]);
            self.position = open;
            self.push_text(trims);
            let inside = after + if trims { TRIM_MARKER_BYTES } else { 0 };
            if self.source[inside..].starts_with(COMMENT_OPEN) {
                self.position = inside;
                self.start = inside;
                self.skip_comment()?;
            } else {
                self.position = after;
                self.push(TokenKind::LeftDelimiter);
                self.position = inside;
                self.start = inside;
                self.scan_action()?;
            }
        }
        self.position = self.source.len();
        self.push_text(false);
        self.push(TokenKind::Eof);
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.source[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let hit = self.peek().is_some_and(|c| set.contains(c));
        if hit {
            self.advance();
        }
        hit
    }

    fn accept_while(&mut self, test: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&test) {
            self.advance();
        }
    }

    /// The line of `self.start`; starts only grow.
    fn start_line(&mut self) -> usize {
        let passed = &self.source.as_bytes()[self.counted..self.start];
        self.line += passed.iter().filter(|b| **b == b'\n').count();
        self.counted = self.start;
        self.line
    }

    fn push(&mut self, kind: TokenKind) {
        let token = Token {
            kind,
            position: self.start,
            line: self.start_line(),
            text: self.source[self.start..self.position].into(),
        };
        self.tokens.push(token);
        self.start = self.position;
    }

    fn push_error(&mut self, message: String) {
        let token = Token {
            kind: TokenKind::Error,
            position: self.start,
            line: self.start_line(),
            text: message.into(),
        };
        self.tokens.push(token);
    }

    /// The text between `start` and `position`, if anything is left of it.
    fn push_text(&mut self, trim_end: bool) {
        let end = self.position;
        if trim_end {
            let text = &self.source[self.start..end];
            self.position = self.start + text.trim_end_matches(SPACES).len();
        }
        if self.position > self.start {
            self.push(TokenKind::Text);
        }
        self.position = end;
        self.start = end;
    }

    fn skip_comment(&mut self) -> Scan {
        let body = COMMENT_OPEN.len();
        let Some(at) = self.rest()[body..].find(COMMENT_CLOSE) else {
            return Err("unclosed comment".to_owned());
        };
        self.position += body + at + COMMENT_CLOSE.len();
        match right_delimiter(self.rest()) {
            Some(trims) => self.pass_right_delimiter(trims),
            None => return Err("comment ends before closing delimiter".to_owned()),
        }
        self.start = self.position;
        Ok(())
    }

    fn pass_right_delimiter(&mut self, trims: bool) {
        if trims {
            self.position += TRIM_MARKER_BYTES;
        }
        self.position += RIGHT.len();
        if trims {
            self.accept_while(|c| SPACES.contains(&c));
        }
    }

    /// Everything up to the right delimiter, which is included.
    fn scan_action(&mut self) -> Scan {
        let mut open_parens = 0usize;
        loop {
            if let Some(trims) = right_delimiter(self.rest()) {
                if open_parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.push_right_delimiter(trims);
                return Ok(());
            }
            self.scan_token(&mut open_parens)?;
        }
    }

    fn push_right_delimiter(&mut self, trims: bool) {
        if trims {
            self.start += TRIM_MARKER_BYTES;
        }
        self.position = self.start + RIGHT.len();
        self.push(TokenKind::RightDelimiter);
        if trims {
            self.accept_while(|c| SPACES.contains(&c));
            self.start = self.position;
        }
    }

    fn scan_token(&mut self, open_parens: &mut usize) -> Scan {
        let Some(c) = self.advance() else {
            return Err("unclosed action".to_owned());
        };
        match c {
            c if SPACES.contains(&c) => self.scan_space(),
            '=' => self.push(TokenKind::Assign),
            ':' if self.accept("=") => self.push(TokenKind::Declare),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.push(TokenKind::Pipe),
            '"' => self.scan_quoted('"', TokenKind::String, "quoted string")?,
            '\'' => self.scan_quoted('\'', TokenKind::CharConstant, "character constant")?,
            '`' => self.scan_raw_string()?,
            '$' => self.scan_name(TokenKind::Variable)?,
            '.' if self.peek().is_some_and(|c| !c.is_ascii_digit()) => {
                self.scan_name(TokenKind::Field)?;
            }
            '.' | '+' | '-' | '0'..='9' => self.scan_number()?,
            c if is_alphanumeric(c) => self.scan_word()?,
            '(' => {
                *open_parens += 1;
                self.push(TokenKind::LeftParen);
            }
            ')' => {
                *open_parens = open_parens
                    .checked_sub(1)
                    .ok_or_else(|| "unexpected right paren".to_owned())?;
                self.push(TokenKind::RightParen);
            }
            ' '..='~' => self.push(TokenKind::Char),
            c => {
                let shown = describe_char(c);
                return Err(format!("unrecognized character in action: {shown}"));
            }
        }
        Ok(())
    }

    /// A run of spaces; the last one is left where it belongs to ` -}}`.
    fn scan_space(&mut self) {
        self.accept_while(|c| SPACES.contains(&c));
        let last = self.position - 1;
        if right_delimiter(&self.source[last..]) == Some(true) {
            self.position = last;
        }
        if self.position > self.start {
            self.push(TokenKind::Space);
        }
    }

    fn scan_quoted(&mut self, quote: char, kind: TokenKind, what: &str) -> Scan {
        loop {
            match self.advance() {
                Some('\\') if !matches!(self.peek(), None | Some('\n')) => {
                    self.advance();
                }
                Some(c) if c == quote => break,
                None | Some('\\' | '\n') => return Err(format!("unterminated {what}")),
                Some(_) => {}
            }
        }
        self.push(kind);
        Ok(())
    }

    fn scan_raw_string(&mut self) -> Scan {
        self.accept_while(|c| c != '`');
        if self.advance().is_none() {
            return Err("unterminated raw quoted string".to_owned());
        }
        self.push(TokenKind::RawString);
        Ok(())
    }

    /// `.name` or `$name`; the sign has been read.
    fn scan_name(&mut self, kind: TokenKind) -> Scan {
        if self.at_terminator() {
            self.push(match kind {
                TokenKind::Field => TokenKind::Dot,
                kind => kind,
            });
            return Ok(());
        }
        self.accept_while(is_alphanumeric);
        self.check_terminator()?;
        self.push(kind);
        Ok(())
    }

    fn scan_word(&mut self) -> Scan {
        self.accept_while(is_alphanumeric);
        self.check_terminator()?;
        let word = &self.source[self.start..self.position];
        self.push(TokenKind::of_word(word));
        Ok(())
    }

    fn check_terminator(&self) -> Scan {
        if self.at_terminator() {
            return Ok(());
        }
        let c = self.peek().unwrap_or(char::REPLACEMENT_CHARACTER);
        Err(format!("bad character {}", describe_char(c)))
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) => {
                SPACES.contains(&c) || ".,|:)(".contains(c) || self.rest().starts_with(RIGHT)
            }
        }
    }

    /// Takes what may be a number; the parser says whether it is one. Complex numbers are none.
    fn scan_number(&mut self) -> Scan {
        self.position = self.start;
        self.take_number();
        let is_complex = self.peek().is_some_and(|c| "+-".contains(c));
        if is_complex {
            self.take_number();
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        } else if !is_complex {
            self.push(TokenKind::Number);
            return Ok(());
        }
        let text = &self.source[self.start..self.position];
        let shown = narthex_model::labels::quoted(text);
        Err(format!("bad number syntax: {shown}"))
    }

    fn take_number(&mut self) {
        self.accept("+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if self.accept("0") {
            if self.accept("xX") {
                (digits, exponent) = ("0123456789abcdefABCDEF_", "pP");
            } else if self.accept("oO") {
                (digits, exponent) = ("01234567_", "");
            } else if self.accept("bB") {
                (digits, exponent) = ("01_", "");
            }
        }
        self.accept_while(|c| digits.contains(c));
        if self.accept(".") {
            self.accept_while(|c| digits.contains(c));
        }
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_while(|c| c.is_ascii_digit() || c == '_');
        }
        self.accept("i");
    }
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn has_left_trim_marker(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|t| t.starts_with(SPACES))
}

/// Whether a right delimiter is at the start of the text, and if so whether it trims.
fn right_delimiter(text: &str) -> Option<bool> {
    if text.starts_with(RIGHT) {
        return Some(false);
    }
    let marked = text.strip_prefix(SPACES)?.strip_prefix('-')?;
    marked.starts_with(RIGHT).then_some(true)
}

/// As `U+0021 '!'`.
fn describe_char(c: char) -> String {
    let code = c as u32;
    if c.is_control() {
        format!("U+{code:04X}")
    } else {
        format!("U+{code:04X} '{c}'")
    }
}

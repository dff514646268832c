//! The value of a string literal: text, or any bytes, as escapes can build what is no UTF-8.
//!
//! Keeps true: what is printed reads back as the same bytes.

use std::fmt::{self, Write};
use std::sync::Arc;

use narthex_model::labels::quoted;

/// Small, as it stands in every token and every expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StringLiteral(Arc<Value>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Value {
    /// U+FFFD stands for what is no UTF-8.
    text: String,
    /// The bytes where they are not those of the text.
    bytes: Option<Vec<u8>>,
}

impl StringLiteral {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        StringLiteral(Arc::new(match String::from_utf8(bytes) {
            Ok(text) => Value { text, bytes: None },
            Err(error) => {
                let bytes = error.into_bytes();
                Value {
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                    bytes: Some(bytes),
                }
            }
        }))
    }

    /// With U+FFFD in place of what is no UTF-8.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the text is all of it.
    pub fn is_utf8(&self) -> bool {
        self.0.bytes.is_none()
    }
}

/// In double quotes with Go's escapes.
impl fmt::Display for StringLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.bytes {
            None => f.write_str(&readable(quoted(&self.0.text))),
            Some(bytes) => {
                f.write_char('"')?;
                for chunk in bytes.utf8_chunks() {
                    f.write_str(unquoted(&readable(quoted(chunk.valid()))))?;
                    for byte in chunk.invalid() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                }
                f.write_char('"')
            }
        }
    }
}

/// U+FFFD in a quoted text can be read as an escape only.
pub(crate) fn readable(quoted: String) -> String {
    match quoted.contains(char::REPLACEMENT_CHARACTER) {
        true => quoted.replace(char::REPLACEMENT_CHARACTER, "\\ufffd"),
        false => quoted,
    }
}

fn unquoted(quoted: &str) -> &str {
    let inner = quoted.strip_prefix('"');
    let inner = inner.and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_reads_back_as_the_same() {
        for (bytes, printed) in [
            (&b""[..], r#""""#),
            (b"a\"\n", r#""a\"\n""#),
            (b"a\xc5z", r#""a\xc5z""#),
            (b"\xff\xfe\"\xff", r#""\xff\xfe\"\xff""#),
            ("ü\u{fffd}".as_bytes(), r#""ü\ufffd""#),
            (b"\xef\xbf\xbd\xf0\x9f", r#""\ufffd\xf0\x9f""#),
        ] {
            let literal = StringLiteral::new(bytes.to_vec());
            assert_eq!(literal.to_string(), printed);
            let (read, length) = crate::syntax::literal::string(printed).unwrap();
            assert_eq!((read, length), (literal, printed.len()));
        }
    }
}

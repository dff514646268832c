//! Names that not every reader takes: Prometheus took only ASCII letters, digits, `_` and `:` once.

use std::borrow::Cow;
use std::fmt::Write;

use narthex_model::labels::is_legacy_metric_name;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// Names go as they are, quoted.
    Utf8,
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    pub(super) fn from_name(name: &str) -> Option<Escaping> {
        Some(match name {
            "allow-utf-8" => Escaping::Utf8,
            "underscores" => Escaping::Underscores,
            "dots" => Escaping::Dots,
            "values" => Escaping::Values,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Escaping::Utf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    pub(super) fn escape(self, name: &str) -> Cow<'_, str> {
        match self {
            Escaping::Utf8 => Cow::Borrowed(name),
            // With dots, underscores are escaped in all names.
            Escaping::Dots => Cow::Owned(dots(name)),
            _ if is_legacy_metric_name(name) => Cow::Borrowed(name),
            Escaping::Underscores => {
                let keep = |(at, c)| if is_legacy(at, c) { c } else { '_' };
                Cow::Owned(name.chars().enumerate().map(keep).collect())
            }
            Escaping::Values => Cow::Owned(values(name)),
        }
    }
}

fn is_legacy(at: usize, c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | ':') || (at > 0 && c.is_ascii_digit())
}

fn dots(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (at, c) in name.chars().enumerate() {
        match c {
            '.' => escaped.push_str("_dot_"),
            '_' => escaped.push_str("__"),
            c if is_legacy(at, c) => escaped.push(c),
            _ => escaped.push_str("__"),
        }
    }
    escaped
}

fn values(name: &str) -> String {
    let mut escaped = String::from("U__");
    for (at, c) in name.chars().enumerate() {
        match c {
            '_' => escaped.push_str("__"),
            c if is_legacy(at, c) => escaped.push(c),
            c => {
                // Writing into a String does not fail.
                let _ = write!(escaped, "_{:x}_", u32::from(c));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::Escaping;

    #[test]
    fn escapes_names() {
        for (name, underscores, dots, values) in [
            ("up", "up", "up", "up"),
            ("a_b:1", "a_b:1", "a__b:1", "a_b:1"),
            ("a.b_c", "a_b_c", "a_dot_b__c", "U__a_2e_b__c"),
            ("1é", "__", "____", "U___31__e9_"),
        ] {
            assert_eq!(Escaping::Utf8.escape(name), name);
            assert_eq!(Escaping::Underscores.escape(name), underscores);
            assert_eq!(Escaping::Dots.escape(name), dots);
            assert_eq!(Escaping::Values.escape(name), values);
        }
    }
}

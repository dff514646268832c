//! Label matchers: `name="value"`, `!=`, `=~`, `!~`.

use std::fmt;
use std::sync::Arc;

use crate::labels::{write_label_name, write_quoted};
use crate::regexp::{Regexp, RegexpError};
use crate::{Label, Labels};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl MatchOp {
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// One condition on one label. A label that a series lacks has the value "".
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: Arc<str>,
    pub op: MatchOp,
    pub value: Arc<str>,
    /// Present exactly for the two regex operators.
    regexp: Option<Regexp>,
}

impl Matcher {
    /// Fails if `op` is a regex operator and `value` no valid regular expression.
    pub fn new(
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, RegexpError> {
        let value = value.into();
        let regexp = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Regexp::anchored(&value)?),
        };
        Ok(Matcher {
            name: name.into(),
            op,
            value,
            regexp,
        })
    }

    pub fn equal(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Matcher {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            regexp: None,
        }
    }

    /// The compiled expression of a regex matcher.
    pub fn regexp(&self) -> Option<&Regexp> {
        self.regexp.as_ref()
    }

    pub fn matches(&self, value: &str) -> bool {
        let hit = match &self.regexp {
            Some(regexp) => regexp.is_match(value),
            None => *self.value == *value,
        };
        hit == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// Whether a series without this label matches.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value_or_empty(&self.name))
    }
}

/// Whether `labels` meets every matcher.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.matches_labels(labels))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl From<&Label> for Matcher {
    fn from(label: &Label) -> Self {
        Matcher::equal(label.name.clone(), label.value.clone())
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label_name(f, &self.name)?;
        f.write_str(self.op.as_str())?;
        write_quoted(f, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let labels = Labels::from_pairs([("job", "node\n1")]);
        for (name, op, value, expected) in [
            ("job", MatchOp::Equal, "node\n1", true),
            ("job", MatchOp::NotEqual, "node\n1", false),
            ("job", MatchOp::Regex, "node.1", true),
            ("job", MatchOp::Regex, "node", false),
            ("job", MatchOp::NotRegex, "x.*", true),
            ("none", MatchOp::Equal, "", true),
            ("none", MatchOp::Regex, ".+", false),
            ("none", MatchOp::NotRegex, ".+", true),
        ] {
            let matcher = Matcher::new(name, op, value).unwrap();
            assert_eq!(matcher.matches_labels(&labels), expected, "{matcher}");
        }
    }

    #[test]
    fn a_wrong_regex_is_refused() {
        assert!(Matcher::new("a", MatchOp::Regex, "a(").is_err());
    }
}

//! Relabelling: rules that rewrite, keep or drop label sets.
//!
//! Keeps true: a rule that passed [`RelabelRule::validate`] never fails when applied; rules run in
//! their order and the first that drops ends the matter. Knows nothing of where rules come from or
//! whose labels they are.

mod validate;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use md5::{Digest, Md5};
use narthex_model::{Label, Labels, LabelsBuilder, Regexp};

pub use validate::RelabelError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// One checked rule. Defaults: separator `;`, regex `(.*)`, replacement `$1`, action replace.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelRule {
    pub source_labels: Vec<Arc<str>>,
    pub separator: String,
    pub regex: Regexp,
    pub modulus: u64,
    pub target_label: String,
    pub replacement: String,
    pub action: Action,
}

pub const DEFAULT_SEPARATOR: &str = ";";
pub const DEFAULT_REGEX: &str = "(.*)";
pub const DEFAULT_REPLACEMENT: &str = "$1";

impl Action {
    pub const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In any case: `Keep` and `keep` are the same.
impl FromStr for Action {
    type Err = RelabelError;

    fn from_str(text: &str) -> Result<Self, RelabelError> {
        Action::ALL
            .into_iter()
            .find(|action| action.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| RelabelError::UnknownAction(text.to_owned()))
    }
}

/// Runs the rules over a label set. None means that one of them dropped it. What comes out may be
/// empty; the caller decides what that means.
pub fn apply(rules: &[RelabelRule], labels: Labels) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels);
    }
    let mut builder = LabelsBuilder::from(&labels);
    apply_to_builder(rules, &mut builder).then(|| builder.build())
}

/// As [`apply`], in place. False means that a rule dropped the set; what is left in the builder
/// then has no meaning.
pub fn apply_to_builder(rules: &[RelabelRule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl RelabelRule {
    /// False means that the label set is dropped.
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        match self.action {
            Action::Replace => self.replace(labels),
            Action::Keep => return self.regex.is_match(&self.source(labels)),
            Action::Drop => return !self.regex.is_match(&self.source(labels)),
            Action::KeepEqual => return self.source(labels) == self.target(labels),
            Action::DropEqual => return self.source(labels) != self.target(labels),
            Action::HashMod => {
                let shard = md5_tail(&self.source(labels)).checked_rem(self.modulus);
                self.set_target(labels, shard.unwrap_or(0).to_string());
            }
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => {
                labels.retain(|label| !self.regex.is_match(&label.name));
            }
            Action::LabelKeep => {
                labels.retain(|label| self.regex.is_match(&label.name));
            }
            Action::Lowercase => {
                let text = map_case(&self.source(labels), char::to_lowercase);
                self.set_target(labels, text);
            }
            Action::Uppercase => {
                let text = map_case(&self.source(labels), char::to_uppercase);
                self.set_target(labels, text);
            }
        }
        true
    }

    /// The values of the source labels, joined. A missing label counts as an empty one.
    fn source(&self, labels: &LabelsBuilder) -> String {
        let mut joined = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(name).unwrap_or(""));
        }
        joined
    }

    fn target<'a>(&self, labels: &'a LabelsBuilder) -> &'a str {
        labels.get(&self.target_label).unwrap_or("")
    }

    fn set_target(&self, labels: &mut LabelsBuilder, value: String) {
        labels.set(self.target_label.as_str(), value);
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let source = self.source(labels);
        let Some(value) = self.expand(&source, &self.replacement) else {
            return;
        };
        let Some(name) = self.expand(&source, &self.target_label) else {
            return;
        };
        if !name.is_empty() {
            labels.set(name, value);
        }
    }

    /// `template` with the groups of `source` filled in; None where the regex doesn't match.
    fn expand(&self, source: &str, template: &str) -> Option<String> {
        if template.contains('$') {
            self.regex.expand(source, template)
        } else {
            self.regex.is_match(source).then(|| template.to_owned())
        }
    }

    fn map_names(&self, labels: &mut LabelsBuilder) {
        let matching: Vec<Label> = labels
            .iter()
            .filter(|label| self.regex.is_match(&label.name))
            .cloned()
            .collect();
        for label in matching {
            match self.expand(&label.name, &self.replacement) {
                Some(name) if !name.is_empty() => labels.set(name, label.value),
                _ => continue,
            };
        }
    }
}

/// The last eight bytes of the MD5 sum as a big-endian number.
fn md5_tail(text: &str) -> u64 {
    let sum = Md5::digest(text.as_bytes());
    sum.iter()
        .skip(8)
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Maps character by character, as Go does: a character whose other case is more than one
/// character stays as it is.
fn map_case<I: Iterator<Item = char>>(text: &str, map: fn(char) -> I) -> String {
    let one = |c: char| {
        let mut mapped = map(c);
        match (mapped.next(), mapped.next()) {
            (Some(other), None) => other,
            _ => c,
        }
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(text.iter().copied())
    }

    /// A rule from `key=value` words; a value may not hold blanks.
    fn rule(text: &str) -> RelabelRule {
        let mut rule = RelabelRule::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "source" => rule.source_labels = value.split(',').map(Arc::from).collect(),
                "separator" => rule.separator = value.to_owned(),
                "regex" => rule.regex = Regexp::anchored(value).unwrap(),
                "modulus" => rule.modulus = value.parse().unwrap(),
                "target" => rule.target_label = value.to_owned(),
                "replacement" => rule.replacement = value.to_owned(),
                "action" => rule.action = value.parse().unwrap(),
                _ => panic!("{key}"),
            }
        }
        rule.validate(false).unwrap();
        rule
    }

    #[test]
    fn every_action() {
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a [&'a str],
            Option<&'a [(&'a str, &'a str)]>,
        );
        let abc: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];
        let cases: &[Case] = &[
            (
                abc,
                &["source=a regex=f(.*) target=d separator=; replacement=ch${1}-ch${1}"],
                Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "choo-choo")]),
            ),
            // A later rule sees what an earlier one did.
            (
                abc,
                &[
                    "source=a,b regex=f(.*);(.*)r target=a replacement=b${1}${2}m",
                    "source=c,a regex=(b).*b(.*)ba(.*) target=d replacement=$1$2$2$3",
                ],
                Some(&[("a", "boobam"), ("b", "bar"), ("c", "baz"), ("d", "boooom")]),
            ),
            (
                &[("a", "foo")],
                &[
                    "source=a regex=.*o.* action=drop",
                    "source=a regex=f(.*) target=d replacement=ch$1",
                ],
                None,
            ),
            (abc, &["source=a regex=no-match action=drop"], Some(abc)),
            // Whole values are matched, not parts.
            (
                &[("a", "foo")],
                &["source=a regex=f|o action=drop"],
                Some(&[("a", "foo")]),
            ),
            (
                &[("a", "foo")],
                &["source=a regex=no-match action=keep"],
                None,
            ),
            (
                &[("a", "foo")],
                &["source=a regex=f.* action=Keep"],
                Some(&[("a", "foo")]),
            ),
            // Nothing happens where the regex doesn't match.
            (
                &[("a", "boo")],
                &["source=a regex=f target=b replacement=bar"],
                Some(&[("a", "boo")]),
            ),
            // An empty result removes the target label.
            (
                &[("a", "foo"), ("f", "baz")],
                &["source=a regex=(f).* target=$1 replacement=$2"],
                Some(&[("a", "foo")]),
            ),
            // So does an empty source under the default regex.
            (
                &[("a", "foo"), ("b", "bar")],
                &["source=none target=b"],
                Some(&[("a", "foo")]),
            ),
            (
                abc,
                &["source=c target=d separator=; action=hashmod modulus=1000"],
                Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "976")]),
            ),
            (
                &[("a", "foo\nbar")],
                &["source=a target=b separator=; action=hashmod modulus=1000"],
                Some(&[("a", "foo\nbar"), ("b", "734")]),
            ),
            (
                &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
                &["regex=(b.*) replacement=bar_${1} action=labelmap"],
                Some(&[
                    ("a", "foo"),
                    ("b1", "bar"),
                    ("b2", "baz"),
                    ("bar_b1", "bar"),
                    ("bar_b2", "baz"),
                ]),
            ),
            (
                &[
                    ("a", "foo"),
                    ("__meta_my_bar", "aaa"),
                    ("__meta_my_baz", "bbb"),
                ],
                &["regex=__meta_(my.*) replacement=${1} action=labelmap"],
                Some(&[
                    ("a", "foo"),
                    ("__meta_my_bar", "aaa"),
                    ("__meta_my_baz", "bbb"),
                    ("my_bar", "aaa"),
                    ("my_baz", "bbb"),
                ]),
            ),
            // The target label may be made from groups; several groups, braces or not.
            (
                &[("a", "some-name-value")],
                &["source=a regex=some-([^-]+)-([^,]+) target=${1} replacement=${2}"],
                Some(&[("a", "some-name-value"), ("name", "value")]),
            ),
            (
                &[("a", "some-name-0")],
                &["source=a regex=some-([^-]+)-([^,]+) target=${3} replacement=${2}"],
                Some(&[("a", "some-name-0")]),
            ),
            (
                &[("__meta_sd_tags", "path:/secret,job:some-job,label:foo=bar")],
                &[
                    "source=__meta_sd_tags regex=(?:.+,|^)path:(/[^,]+).* target=__metrics_path__",
                    "source=__meta_sd_tags regex=(?:.+,|^)job:([^,]+).* target=job",
                    "source=__meta_sd_tags regex=(?:.+,|^)label:([^=]+)=([^,]+).* target=${1} replacement=${2}",
                ],
                Some(&[
                    ("__meta_sd_tags", "path:/secret,job:some-job,label:foo=bar"),
                    ("__metrics_path__", "/secret"),
                    ("job", "some-job"),
                    ("foo", "bar"),
                ]),
            ),
            (
                &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
                &["regex=b.* action=labeldrop"],
                Some(&[("a", "foo")]),
            ),
            (
                &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
                &["regex=b.* action=labelkeep"],
                Some(&[("b1", "bar"), ("b2", "baz")]),
            ),
            (
                &[("foo", "bAr123Foo")],
                &[
                    "source=foo action=uppercase target=foo_upper",
                    "source=foo action=lowercase target=foo_lower",
                ],
                Some(&[
                    ("foo", "bAr123Foo"),
                    ("foo_lower", "bar123foo"),
                    ("foo_upper", "BAR123FOO"),
                ]),
            ),
            // One character each: the sharp s has no single upper-case letter.
            (
                &[("a", "Straße")],
                &["source=a action=uppercase target=a"],
                Some(&[("a", "STRAßE")]),
            ),
            (
                &[("__port1", "1234"), ("__port2", "5678")],
                &["source=__port1 target=__port2 action=keepequal"],
                None,
            ),
            (
                &[("__port1", "1234"), ("__port2", "1234")],
                &["source=__port1 target=__port2 action=keepequal"],
                Some(&[("__port1", "1234"), ("__port2", "1234")]),
            ),
            (
                &[("__port1", "1234"), ("__port2", "1234")],
                &["source=__port1 target=__port2 action=dropequal"],
                None,
            ),
            (
                &[("__port1", "1234"), ("__port2", "5678")],
                &["source=__port1 target=__port2 action=dropequal"],
                Some(&[("__port1", "1234"), ("__port2", "5678")]),
            ),
            // Names that are not legacy ones.
            (
                &[("a", "line1\nline2")],
                &["source=a regex=line1.*line2 target=b.c replacement=x"],
                Some(&[("a", "line1\nline2"), ("b.c", "x")]),
            ),
            // An empty separator is a separator.
            (
                abc,
                &["source=a,b separator= target=d"],
                Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "foobar")]),
            ),
        ];
        for (input, rules, expected) in cases {
            let rules: Vec<RelabelRule> = rules.iter().map(|text| rule(text)).collect();
            let result = apply(&rules, labels(input));
            assert_eq!(result, expected.map(labels), "{rules:?}");
        }
    }

    #[test]
    fn actions_are_read_in_any_case() {
        for action in Action::ALL {
            assert_eq!(action.as_str().to_uppercase().parse(), Ok(action));
        }
        assert_eq!(
            "kep".parse::<Action>().unwrap_err().to_string(),
            "unknown relabel action \"kep\""
        );
    }
}

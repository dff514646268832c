//! Which fields of a rule go together: what each action requires and what it forbids.

use narthex_model::Regexp;
use narthex_model::labels::{is_legacy_label_name, is_valid_label_name_utf8};

use crate::{Action, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, RelabelRule};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    #[error("unknown relabel action {0:?}")]
    UnknownAction(String),
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    NoModulus,
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTargetLabel(Action),
    #[error("{label:?} is invalid 'target_label' for {action} action")]
    InvalidTargetLabel { label: String, action: Action },
    #[error("'replacement' can not be set for {0} action")]
    ReplacementForbidden(Action),
    #[error("{replacement:?} is invalid 'replacement' for {action} action")]
    InvalidReplacement { replacement: String, action: Action },
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlySourceAndTarget(Action),
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
}

impl Default for RelabelRule {
    fn default() -> Self {
        RelabelRule {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: default_regex(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::Replace,
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant, and a test compiles it")]
fn default_regex() -> Regexp {
    Regexp::anchored(DEFAULT_REGEX).expect("the default regex compiles")
}

impl RelabelRule {
    /// Whether the fields go together. A field at its default counts as not given.
    pub fn validate(&self, legacy_names: bool) -> Result<(), RelabelError> {
        let names = Names {
            legacy: legacy_names,
        };
        let action = self.action;
        if action == Action::HashMod && self.modulus == 0 {
            return Err(RelabelError::NoModulus);
        }
        match action {
            Action::Keep | Action::Drop => Ok(()),
            Action::LabelMap => self.check_replacement(&names),
            Action::LabelDrop | Action::LabelKeep if self.has_other_than_regex() => {
                Err(RelabelError::OnlyRegex(action))
            }
            Action::LabelDrop | Action::LabelKeep => Ok(()),
            Action::Replace => self.check_target(names.is_template(&self.target_label)),
            Action::HashMod => self.check_target(names.is_name(&self.target_label)),
            Action::Lowercase | Action::Uppercase => {
                self.check_target(names.is_name(&self.target_label))?;
                self.forbid_replacement()
            }
            Action::KeepEqual | Action::DropEqual => {
                self.check_target(names.is_name(&self.target_label))?;
                self.forbid_replacement()?;
                if self.has_other_than_source_and_target() {
                    return Err(RelabelError::OnlySourceAndTarget(action));
                }
                Ok(())
            }
        }
    }

    fn check_target(&self, valid: bool) -> Result<(), RelabelError> {
        if self.target_label.is_empty() {
            return Err(RelabelError::NoTargetLabel(self.action));
        }
        if !valid {
            return Err(RelabelError::InvalidTargetLabel {
                label: self.target_label.clone(),
                action: self.action,
            });
        }
        Ok(())
    }

    fn check_replacement(&self, names: &Names) -> Result<(), RelabelError> {
        if names.is_template(&self.replacement) {
            return Ok(());
        }
        Err(RelabelError::InvalidReplacement {
            replacement: self.replacement.clone(),
            action: self.action,
        })
    }

    fn forbid_replacement(&self) -> Result<(), RelabelError> {
        if self.replacement == DEFAULT_REPLACEMENT {
            return Ok(());
        }
        Err(RelabelError::ReplacementForbidden(self.action))
    }

    fn has_other_than_regex(&self) -> bool {
        !self.source_labels.is_empty()
            || !self.target_label.is_empty()
            || self.modulus != 0
            || self.separator != DEFAULT_SEPARATOR
            || self.replacement != DEFAULT_REPLACEMENT
    }

    fn has_other_than_source_and_target(&self) -> bool {
        self.regex.as_str() != DEFAULT_REGEX
            || self.modulus != 0
            || self.separator != DEFAULT_SEPARATOR
            || self.replacement != DEFAULT_REPLACEMENT
    }
}

/// Which names are valid, under the legacy or the UTF-8 scheme.
struct Names {
    legacy: bool,
}

impl Names {
    fn is_name(&self, text: &str) -> bool {
        if self.legacy {
            is_legacy_label_name(text)
        } else {
            is_valid_label_name_utf8(text)
        }
    }

    /// A name that may hold `$1`, `${1}` and `${name}`.
    fn is_template(&self, text: &str) -> bool {
        if self.legacy {
            is_legacy_template(text)
        } else {
            is_valid_label_name_utf8(text)
        }
    }
}

/// Letters, digits, `_` and references to groups; it starts with a letter, `_` or a reference.
fn is_legacy_template(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at_start = rest.len() == text.len();
        let after = match first {
            '$' => match rest[1..].strip_prefix('{') {
                Some(braced) => braced
                    .split_once('}')
                    .filter(|(name, _)| !name.is_empty() && name.chars().all(word))
                    .map(|(_, after)| after),
                None => rest[1..]
                    .starts_with(word)
                    .then(|| rest[1..].trim_start_matches(word)),
            },
            c if word(c) && !(at_start && c.is_ascii_digit()) => Some(&rest[1..]),
            _ => None,
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_and_forbids() {
        let rule = |action| RelabelRule {
            action,
            ..RelabelRule::default()
        };
        let with_target = |action| RelabelRule {
            target_label: "t".to_owned(),
            ..rule(action)
        };
        let regex = Regexp::anchored("x").unwrap();
        let cases = [
            (rule(Action::Keep), Ok(())),
            (
                rule(Action::Replace),
                Err("relabel configuration for replace action requires 'target_label' value"),
            ),
            (
                with_target(Action::HashMod),
                Err("relabel configuration for hashmod requires non-zero modulus"),
            ),
            (
                RelabelRule {
                    modulus: 2,
                    ..rule(Action::HashMod)
                },
                Err("relabel configuration for hashmod action requires 'target_label' value"),
            ),
            (
                RelabelRule {
                    replacement: "x".to_owned(),
                    ..with_target(Action::Lowercase)
                },
                Err("'replacement' can not be set for lowercase action"),
            ),
            (
                rule(Action::Uppercase),
                Err("relabel configuration for uppercase action requires 'target_label' value"),
            ),
            (with_target(Action::KeepEqual), Ok(())),
            (
                RelabelRule {
                    regex: regex.clone(),
                    ..with_target(Action::DropEqual)
                },
                Err(
                    "dropequal action requires only 'source_labels' and `target_label`, and no other fields",
                ),
            ),
            (
                RelabelRule {
                    regex,
                    ..rule(Action::LabelDrop)
                },
                Ok(()),
            ),
            (
                with_target(Action::LabelKeep),
                Err("labelkeep action requires only 'regex', and no other fields"),
            ),
            (
                RelabelRule {
                    replacement: String::new(),
                    ..rule(Action::LabelMap)
                },
                Err("\"\" is invalid 'replacement' for labelmap action"),
            ),
        ];
        for (rule, expected) in cases {
            let result = rule.validate(false).map_err(|e| e.to_string());
            assert_eq!(result, expected.map_err(str::to_owned), "{rule:?}");
        }
    }

    #[test]
    fn legacy_names_and_templates() {
        for (text, name, template) in [
            ("abc", true, true),
            ("a1_", true, true),
            ("1a", false, false),
            ("a.b", false, false),
            ("a-b", false, false),
            ("$1", false, true),
            ("${1}_x", false, true),
            ("a${name}b", false, true),
            ("${}", false, false),
            ("${1", false, false),
            ("$", false, false),
            ("$-", false, false),
            ("", false, false),
            ("é", false, false),
        ] {
            let names = Names { legacy: true };
            assert_eq!(names.is_name(text), name, "{text}");
            assert_eq!(names.is_template(text), template, "{text}");
        }
    }
}

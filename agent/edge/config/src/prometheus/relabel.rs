//! Relabel rules.

use narthex_model::Regexp;
use narthex_relabel::{Action, RelabelError, RelabelRule};

use crate::error::Faults;
use crate::yaml::Node;

/// The rules in the list at the field `name` of `node`.
pub(crate) fn rules(
    node: &Node,
    name: &str,
    legacy_names: bool,
    faults: &mut Faults,
) -> Vec<RelabelRule> {
    node.part(name)
        .items()
        .iter()
        .filter_map(|item| rule(item, legacy_names, faults))
        .collect()
}

fn rule(node: &Node, legacy_names: bool, faults: &mut Faults) -> Option<RelabelRule> {
    let names = node.strings("source_labels").into_iter();
    let mut rule = RelabelRule {
        source_labels: names.map(Into::into).collect(),
        modulus: node.whole("modulus").unwrap_or(0),
        ..RelabelRule::default()
    };
    // An empty separator, regex or replacement that is written out means just that.
    if let Some(text) = node.written("separator") {
        rule.separator = text.to_owned();
    }
    if let Some(text) = node.written("replacement") {
        rule.replacement = text.to_owned();
    }
    if let Some(text) = node.written("target_label") {
        rule.target_label = text.to_owned();
    }
    if let Some(text) = node.written("regex") {
        match Regexp::anchored(text) {
            Ok(regex) => rule.regex = regex,
            Err(error) => {
                faults.push(
                    node.place_of("regex"),
                    &node.field_of("regex"),
                    error.to_string(),
                );
                return None;
            }
        }
    }
    if let Some(text) = node.written("action") {
        match text.parse::<Action>() {
            Ok(action) => rule.action = action,
            Err(_) => {
                faults.push(
                    node.place_of("action"),
                    &node.field_of("action"),
                    "relabel action cannot be empty: leave it out for `replace`",
                );
                return None;
            }
        }
    }
    match rule.validate(legacy_names) {
        Ok(()) => Some(rule),
        Err(error) => {
            let field = field_at_fault(&error);
            faults.push(node.place_of(field), &node.path, error.to_string());
            None
        }
    }
}

fn field_at_fault(error: &RelabelError) -> &'static str {
    match error {
        RelabelError::NoModulus => "modulus",
        RelabelError::InvalidTargetLabel { .. } => "target_label",
        RelabelError::ReplacementForbidden(_) | RelabelError::InvalidReplacement { .. } => {
            "replacement"
        }
        _ => "action",
    }
}

//! What a rule file says, checked: groups of rules with their expressions parsed.
//!
//! Whoever reads the YAML fills a [`GroupDraft`] field by field; [`check_group`] turns it into a
//! [`GroupConfig`] or says what is wrong, by rule and field, so that the reader can add file and
//! line. Knows nothing of YAML and of files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use narthex_model::METRIC_NAME;
use narthex_model::labels::{
    is_legacy_label_name, is_legacy_metric_name, is_valid_label_name_utf8, quoted,
};
use narthex_promql::syntax::ast::Expr;

use crate::templates;

/// Which names are valid: `metric_name_validation_scheme` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameScheme {
    #[default]
    Utf8,
    Legacy,
}

/// A group of rules that are evaluated together, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    pub name: String,
    /// The file it stands in, as the API shows it. Name and file together identify a group.
    pub file: String,
    pub interval_ms: u64,
    /// How far back from now the rules are evaluated.
    pub query_offset_ms: u64,
    /// The most series or alerts a rule may give; 0: no limit.
    pub limit: usize,
    /// Labels that every rule of the group gets unless it has its own of that name. They are
    /// already merged into the rules' labels here; kept for display.
    pub labels: BTreeMap<String, String>,
    pub rules: Vec<RuleConfig>,
}

/// One rule. Two are equal if they say the same, whatever their position in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    pub kind: RuleKind,
    pub expr: RuleExpr,
    /// The rule's labels with the group's merged under them; templates in alerting rules.
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    Recording {
        record: String,
    },
    Alerting {
        alert: String,
        for_ms: u64,
        keep_firing_for_ms: u64,
        annotations: BTreeMap<String, String>,
    },
}

impl RuleConfig {
    /// The name of the recorded metric or of the alert.
    pub fn name(&self) -> &str {
        match &self.kind {
            RuleKind::Recording { record } => record,
            RuleKind::Alerting { alert, .. } => alert,
        }
    }

    pub fn is_alerting(&self) -> bool {
        matches!(self.kind, RuleKind::Alerting { .. })
    }
}

/// An expression as it was written, and its tree. Equal if the text is.
#[derive(Clone)]
pub struct RuleExpr {
    pub text: String,
    pub tree: Arc<Expr>,
}

impl PartialEq for RuleExpr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for RuleExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A group as it stands in a file, defaults filled in, nothing checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupDraft {
    pub name: String,
    pub file: String,
    pub interval_ms: u64,
    pub query_offset_ms: u64,
    pub limit: usize,
    pub labels: BTreeMap<String, String>,
    pub rules: Vec<RuleDraft>,
}

/// A rule as it stands in a file. What is missing there is empty or 0 here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleDraft {
    pub record: String,
    pub alert: String,
    pub expr: String,
    pub for_ms: u64,
    pub keep_firing_for_ms: u64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl RuleDraft {
    /// The name for messages: of the metric or the alert, whichever is there.
    pub fn name(&self) -> &str {
        if self.alert.is_empty() {
            &self.record
        } else {
            &self.alert
        }
    }
}

/// Where in a group a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlace {
    /// Index into the group's rules; none: the group itself.
    pub rule: Option<usize>,
    /// The YAML field; "" where a field is missing and the rule as a whole is meant.
    pub field: &'static str,
    /// The key within `labels` or `annotations`.
    pub key: Option<String>,
}

/// One thing that is wrong with a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct RuleFault {
    pub group: String,
    /// The name of the rule at `place.rule`.
    pub rule_name: String,
    pub place: FaultPlace,
    pub message: String,
}

impl RuleFault {
    fn describe(&self) -> String {
        match self.place.rule {
            None => format!("group {}: {}", quoted(&self.group), self.message),
            Some(index) => format!(
                "group {}, rule {}, {}: {}",
                quoted(&self.group),
                index + 1,
                quoted(&self.rule_name),
                self.message
            ),
        }
    }
}

/// Checks a group and parses its expressions with `parse`, which knows the options that the
/// server runs with and gives an error's text. All faults are found, not only the first.
pub fn check_group(
    draft: GroupDraft,
    scheme: NameScheme,
    parse: &dyn Fn(&str) -> Result<Expr, String>,
) -> Result<GroupConfig, Vec<RuleFault>> {
    let mut faults = group_faults(&draft, scheme);
    let mut rules = Vec::with_capacity(draft.rules.len());
    for (index, rule) in draft.rules.into_iter().enumerate() {
        let name = rule.name().to_owned();
        match check_rule(rule, &draft.labels, scheme, parse) {
            Ok(rule) => rules.push(rule),
            Err(found) => faults.extend(found.into_iter().map(|fault| RuleFault {
                group: draft.name.clone(),
                rule_name: name.clone(),
                place: FaultPlace {
                    rule: Some(index),
                    field: fault.field,
                    key: fault.key,
                },
                message: fault.message,
            })),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(GroupConfig {
        name: draft.name,
        file: draft.file,
        interval_ms: draft.interval_ms,
        query_offset_ms: draft.query_offset_ms,
        limit: draft.limit,
        labels: draft.labels,
        rules,
    })
}

/// Names that stand more than once among the groups of one file, in order of their second place.
pub fn repeated_group_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names
        .into_iter()
        .filter(|name| !seen.insert(*name))
        .collect()
}

/// Rules of the groups that have the same name and labels: allowed, but seldom meant.
pub fn duplicate_rules(groups: &[GroupConfig]) -> Vec<&RuleConfig> {
    let mut seen = std::collections::BTreeSet::new();
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules
        .filter(|rule| !seen.insert((rule.name(), &rule.labels)))
        .collect()
}

/// A fault before it is known which rule of which group it is in.
struct Fault {
    field: &'static str,
    key: Option<String>,
    message: String,
}

impl Fault {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Fault {
            field,
            key: None,
            message: message.into(),
        }
    }

    fn at_key(field: &'static str, key: &str, message: String) -> Self {
        Fault {
            field,
            key: Some(key.to_owned()),
            message,
        }
    }
}

fn group_faults(draft: &GroupDraft, scheme: NameScheme) -> Vec<RuleFault> {
    let mut faults = Vec::new();
    if draft.name.is_empty() {
        faults.push(Fault::new("name", "Groupname must not be empty"));
    }
    faults.extend(label_name_faults(&draft.labels, scheme));
    faults
        .into_iter()
        .map(|fault| RuleFault {
            group: draft.name.clone(),
            rule_name: String::new(),
            place: FaultPlace {
                rule: None,
                field: fault.field,
                key: fault.key,
            },
            message: fault.message,
        })
        .collect()
}

fn check_rule(
    draft: RuleDraft,
    group_labels: &BTreeMap<String, String>,
    scheme: NameScheme,
    parse: &dyn Fn(&str) -> Result<Expr, String>,
) -> Result<RuleConfig, Vec<Fault>> {
    let mut faults = name_faults(&draft);
    let tree = match draft.expr.as_str() {
        "" => Err(Fault::new("expr", "field 'expr' must be set in rule")),
        text => {
            parse(text).map_err(|e| Fault::new("expr", format!("could not parse expression: {e}")))
        }
    };
    if !draft.record.is_empty() {
        faults.extend(recording_faults(&draft, scheme));
    }
    faults.extend(label_name_faults(&draft.labels, scheme));
    faults.extend(annotation_name_faults(&draft.annotations, scheme));
    if !draft.alert.is_empty() {
        faults.extend(template_faults(
            &draft.alert,
            "labels",
            "label",
            &draft.labels,
        ));
        let annotations = &draft.annotations;
        faults.extend(template_faults(
            &draft.alert,
            "annotations",
            "annotation",
            annotations,
        ));
    }
    match tree {
        Ok(tree) if faults.is_empty() => Ok(finish_rule(draft, tree, group_labels)),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

fn finish_rule(
    draft: RuleDraft,
    tree: Expr,
    group_labels: &BTreeMap<String, String>,
) -> RuleConfig {
    let mut labels = group_labels.clone();
    labels.extend(draft.labels);
    let kind = if draft.alert.is_empty() {
        RuleKind::Recording {
            record: draft.record,
        }
    } else {
        RuleKind::Alerting {
            alert: draft.alert,
            for_ms: draft.for_ms,
            keep_firing_for_ms: draft.keep_firing_for_ms,
            annotations: draft.annotations,
        }
    };
    RuleConfig {
        kind,
        expr: RuleExpr {
            text: draft.expr,
            tree: Arc::new(tree),
        },
        labels,
    }
}

fn name_faults(draft: &RuleDraft) -> Vec<Fault> {
    match (draft.record.is_empty(), draft.alert.is_empty()) {
        (false, false) => vec![Fault::new(
            "record",
            "only one of 'record' and 'alert' must be set",
        )],
        (true, true) => vec![Fault::new("", "one of 'record' or 'alert' must be set")],
        _ => Vec::new(),
    }
}

fn recording_faults(draft: &RuleDraft, scheme: NameScheme) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (field, present) in [
        ("annotations", !draft.annotations.is_empty()),
        ("for", draft.for_ms != 0),
        ("keep_firing_for", draft.keep_firing_for_ms != 0),
    ] {
        if present {
            let message = format!("invalid field '{field}' in recording rule");
            faults.push(Fault::new(field, message));
        }
    }
    let record = &draft.record;
    if scheme == NameScheme::Legacy && !is_legacy_metric_name(record) {
        let message = format!("invalid recording rule name: {record}");
        faults.push(Fault::new("record", message));
    }
    // Any text is a name under the UTF-8 scheme; braces show that a selector was put here.
    if record.contains(['{', '}']) {
        let message =
            format!("braces present in the recording rule name; should it be in expr?: {record}");
        faults.push(Fault::new("record", message));
    }
    faults
}

fn label_name_faults(labels: &BTreeMap<String, String>, scheme: NameScheme) -> Vec<Fault> {
    let wrong = |name: &str| !is_valid_label_name(name, scheme) || name == METRIC_NAME;
    labels
        .keys()
        .filter(|name| wrong(name))
        .map(|name| Fault::at_key("labels", name, format!("invalid label name: {name}")))
        .collect()
}

fn annotation_name_faults(
    annotations: &BTreeMap<String, String>,
    scheme: NameScheme,
) -> Vec<Fault> {
    annotations
        .keys()
        .filter(|name| !is_valid_label_name(name, scheme))
        .map(|name| {
            let message = format!("invalid annotation name: {name}");
            Fault::at_key("annotations", name, message)
        })
        .collect()
}

/// Templates are parsed when the file is read: what is wrong with one is better known before an
/// alert needs it.
fn template_faults(
    alert: &str,
    field: &'static str,
    word: &str,
    texts: &BTreeMap<String, String>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, text) in texts {
        if let Err(error) = templates::check(alert, text) {
            let message = format!("{word} {}: {error}", quoted(key));
            faults.push(Fault::at_key(field, key, message));
        }
    }
    faults
}

fn is_valid_label_name(name: &str, scheme: NameScheme) -> bool {
    match scheme {
        NameScheme::Utf8 => is_valid_label_name_utf8(name),
        NameScheme::Legacy => is_legacy_label_name(name),
    }
}

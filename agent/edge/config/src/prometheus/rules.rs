//! Rule files: each one read, its groups checked, faults brought back to their lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use narthex_promql::syntax::{ParserOptions, parse as parse_expression};
use narthex_rules::{
    FaultPlace, GroupConfig, GroupDraft, NameScheme, RuleDraft, check_group, repeated_group_names,
};

use crate::error::{Faults, Position};
use crate::glob;
use crate::prometheus::Global;
use crate::reading::{Document, Reading, note};
use crate::schema::{Kind, rules::RULE_FILE};
use crate::yaml::Node;

/// The groups of all files that the patterns in `rule_files` match, in order.
pub(crate) fn groups(
    main: &Document,
    global: &Global,
    parser: &ParserOptions,
    reading: &mut Reading,
) -> Vec<GroupConfig> {
    let mut groups = Vec::new();
    let mut read = BTreeSet::new();
    for pattern in main.root.part("rule_files").items() {
        for path in matching(main, pattern, reading) {
            // A file that two patterns match is read once.
            if !read.insert(path.clone()) {
                continue;
            }
            groups.extend(file(&path, global, parser, reading));
        }
    }
    groups
}

/// The files of one pattern; the pattern itself is watched too, for files that come later.
pub(crate) fn matching(main: &Document, pattern: &Node, reading: &mut Reading) -> Vec<PathBuf> {
    let path = main.resolve(pattern.text().unwrap_or_default());
    let found = glob::expand(&path);
    if found.is_empty() {
        reading.build(&main.path, |_, notices| {
            note(notices, pattern, "matches no file");
        });
    }
    reading.watched.insert(path);
    found
}

/// The groups of one file; none if it has faults.
pub(crate) fn file(
    path: &Path,
    global: &Global,
    parser: &ParserOptions,
    reading: &mut Reading,
) -> Vec<GroupConfig> {
    let Some(document) = reading.document(path, Kind::Object(&RULE_FILE), "") else {
        return Vec::new();
    };
    reading.build(path, |faults, _| {
        let nodes = document.root.part("groups").items();
        check_names(nodes, faults);
        nodes
            .iter()
            .filter_map(|node| group(node, path, global, parser, faults))
            .collect()
    })
}

fn check_names(groups: &[Node], faults: &mut Faults) {
    let names = groups.iter().filter_map(|group| group.string("name"));
    for repeated in repeated_group_names(names) {
        let second = groups
            .iter()
            .filter(|group| group.string("name") == Some(repeated))
            .nth(1);
        if let Some(node) = second {
            faults.push(
                node.place_of("name"),
                &node.field_of("name"),
                format!("groupname: \"{repeated}\" is repeated in the same file"),
            );
        }
    }
}

fn group(
    node: &Node,
    path: &Path,
    global: &Global,
    parser: &ParserOptions,
    faults: &mut Faults,
) -> Option<GroupConfig> {
    let scheme = match global.legacy_names {
        true => NameScheme::Legacy,
        false => NameScheme::Utf8,
    };
    let draft = GroupDraft {
        name: node.string("name").unwrap_or_default().to_owned(),
        file: path.display().to_string(),
        interval_ms: node
            .duration_ms("interval")
            .filter(|ms| *ms > 0)
            .unwrap_or(global.evaluation_interval_ms),
        query_offset_ms: node
            .duration_ms("query_offset")
            .unwrap_or(global.rule_query_offset_ms),
        limit: usize::try_from(node.whole("limit").unwrap_or(0)).unwrap_or(usize::MAX),
        labels: map(node, "labels"),
        rules: node.part("rules").items().iter().map(rule).collect(),
    };
    let parse = |text: &str| parse_expression(text, parser).map_err(|error| error.to_string());
    match check_group(draft, scheme, &parse) {
        Ok(group) => Some(group),
        Err(found) => {
            for fault in found {
                let (at, field) = locate(node, &fault.place, parser);
                let name = match fault.rule_name.as_str() {
                    "" => String::new(),
                    name => format!("rule \"{name}\": "),
                };
                faults.push(at, &field, format!("{name}{}", fault.message));
            }
            None
        }
    }
}

fn rule(node: &Node) -> RuleDraft {
    let text = |name: &str| node.written(name).unwrap_or_default().to_owned();
    RuleDraft {
        record: text("record"),
        alert: text("alert"),
        expr: text("expr"),
        for_ms: node.duration_ms("for").unwrap_or(0),
        keep_firing_for_ms: node.duration_ms("keep_firing_for").unwrap_or(0),
        labels: map(node, "labels"),
        annotations: map(node, "annotations"),
    }
}

fn map(node: &Node, name: &str) -> BTreeMap<String, String> {
    node.pairs(name)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Line and field of a fault that names its rule by number.
fn locate(group: &Node, place: &FaultPlace, parser: &ParserOptions) -> (Position, String) {
    let rule = place
        .rule
        .and_then(|index| group.part("rules").items().get(index))
        .unwrap_or(group);
    let Some(field) = rule.get(place.field) else {
        return (rule.at, rule.path.clone());
    };
    if place.field == "expr"
        && let Some(at) = within_expression(field, parser)
    {
        return (at, field.path.clone());
    }
    let entry = place.key.as_deref().and_then(|key| {
        let mut entries = field.entries().iter();
        entries.find(|entry| entry.key == key)
    });
    match entry {
        Some(entry) => (entry.key_at, field.path.clone()),
        None => (field.at, field.path.clone()),
    }
}

/// Where in the file the expression's fault is, if its text stands there as it is.
fn within_expression(node: &Node, parser: &ParserOptions) -> Option<Position> {
    let error = parse_expression(node.text()?, parser).err()?;
    node.place_in_text(error.line, error.column)
}

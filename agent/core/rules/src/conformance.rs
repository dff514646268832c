//! Rule files that people run: every expression parses, and every template expands on an alert.
//!
//! Read from the folder that `CONFORMANCE_DIR` names; what is known not to work is listed in
//! `testdata/conformance_different.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use narthex_model::Labels;
use narthex_promql::syntax::{self, ParserOptions};
use narthex_template::prometheus_functions::{QuerySample, Surroundings, TemplateQuery, functions};
use serde::Deserialize;

use crate::templates::{self, Seen, Texts};
use crate::{GroupDraft, NameScheme, RuleDraft, check_group};

const DIFFERENT: &str = include_str!("testdata/conformance_different.txt");

#[derive(Deserialize)]
struct File {
    groups: Vec<YamlGroup>,
}

#[derive(Deserialize)]
struct YamlGroup {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<YamlRule>,
}

#[derive(Deserialize)]
struct YamlRule {
    #[serde(default)]
    record: String,
    #[serde(default)]
    alert: String,
    #[serde(default)]
    expr: String,
    #[serde(default, rename = "for")]
    wait: String,
    #[serde(default)]
    keep_firing_for: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl YamlGroup {
    fn draft(self) -> GroupDraft {
        let duration_ms = |text: &str| match text {
            "" => 0,
            text => narthex_model::duration::parse_ms(text).unwrap(),
        };
        let rules = self.rules.into_iter().map(|rule| RuleDraft {
            record: rule.record,
            alert: rule.alert,
            expr: rule.expr,
            for_ms: duration_ms(&rule.wait),
            keep_firing_for_ms: duration_ms(&rule.keep_firing_for),
            labels: rule.labels,
            annotations: rule.annotations,
        });
        GroupDraft {
            name: self.name,
            labels: self.labels,
            rules: rules.collect(),
            ..GroupDraft::default()
        }
    }
}

fn conformance_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("CONFORMANCE_DIR");
    if folder.is_none() {
        println!("skipped: CONFORMANCE_DIR is not set");
    }
    folder.map(PathBuf::from)
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml::from_str(&text).map_err(|e| e.to_string())
}

fn check(draft: GroupDraft, scheme: NameScheme) -> Result<(), String> {
    let parse =
        |text: &str| syntax::parse(text, &ParserOptions::default()).map_err(|e| e.to_string());
    let checked = check_group(draft, scheme, &parse);
    checked.map(|_| ()).map_err(|faults| faults[0].to_string())
}

/// Any query finds one series.
struct FindsOne;

impl TemplateQuery for FindsOne {
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String> {
        syntax::parse(expr, &ParserOptions::default()).map_err(|e| e.to_string())?;
        Ok(vec![QuerySample {
            labels: Labels::from_pairs([("__name__", "m"), ("instance", "h:9100")]),
            value: 2.0,
        }])
    }
}

/// The faults of a rule's templates on a plausible alert.
fn expansion_faults(rule: &RuleDraft) -> Vec<String> {
    let labels = Labels::from_pairs([
        ("__name__", "m"),
        ("cluster", "c"),
        ("instance", "h:9100"),
        ("job", "node"),
        ("namespace", "n"),
        ("pod", "p"),
    ]);
    let url = "http://localhost:9090";
    let data = templates::data(&labels, &12.5.into(), &Labels::empty(), url);
    let functions = functions(Surroundings {
        now_ms: 1_700_000_000_000,
        external_url: url,
        query: &FindsOne,
    });
    let seen = Seen {
        data: &data,
        functions: &functions,
    };
    let mut faults = Vec::new();
    for texts in [&rule.labels, &rule.annotations] {
        let parsed = Texts::parse(&rule.alert, texts);
        let expanded = parsed.expand(&rule.alert, &seen);
        let failed = expanded.filter(|(_, text)| text.contains("<error expanding template"));
        faults.extend(failed.map(|(key, text)| format!("{} {key}: {text}", rule.alert)));
    }
    faults
}

#[test]
fn rule_files_that_people_run() {
    let Some(folder) = conformance_folder() else {
        return;
    };
    let listed: BTreeSet<&str> = DIFFERENT
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let mut found = BTreeSet::new();
    let mut templates = 0;
    let files = yaml_files(&folder.join("rules"));
    assert!(!files.is_empty());
    for path in &files {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let file = match read(path) {
            Ok(file) => file,
            Err(error) => {
                found.insert(format!("{name}: {error}"));
                continue;
            }
        };
        for group in file.groups {
            let draft = group.draft();
            for rule in draft.rules.iter().filter(|rule| !rule.alert.is_empty()) {
                templates += rule.labels.len() + rule.annotations.len();
                let faults = expansion_faults(rule);
                found.extend(faults.iter().map(|fault| format!("{name}: {fault}")));
            }
            found.extend(
                check(draft, NameScheme::Utf8)
                    .err()
                    .map(|e| format!("{name}: {e}")),
            );
        }
    }
    println!("{} files, {templates} templates", files.len());
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty(), "not listed: {new:#?}");
    assert!(gone.is_empty(), "listed, but fine now: {gone:#?}");
}

#[test]
fn good_and_bad_rule_files() {
    let Some(folder) = conformance_folder() else {
        return;
    };
    let legacy = NameScheme::Legacy;
    let utf8 = NameScheme::Utf8;
    for (file, scheme, expected) in [
        ("test.yaml", utf8, None),
        ("test_aliases.yaml", utf8, None),
        ("utf-8_annotation.good.yaml", utf8, None),
        ("utf-8_lname.good.yaml", utf8, None),
        ("legacy_validation_annotation.good.yaml", legacy, None),
        (
            "legacy_validation_annotation.bad.yaml",
            legacy,
            Some("invalid annotation name: ins-tance"),
        ),
        (
            "bad_expr.bad.yaml",
            utf8,
            Some("could not parse expression: 1:6: parse error: "),
        ),
        (
            "invalid_label_name.bad.yaml",
            utf8,
            Some("invalid label name: __name__"),
        ),
        (
            "invalid_record_name.bad.yaml",
            utf8,
            Some("braces present in the recording rule name"),
        ),
        (
            "no_rec_alert.bad.yaml",
            utf8,
            Some("one of 'record' or 'alert' must be set"),
        ),
        (
            "noexpr.bad.yaml",
            utf8,
            Some("field 'expr' must be set in rule"),
        ),
        (
            "record_and_alert.bad.yaml",
            utf8,
            Some("only one of 'record' and 'alert' must be set"),
        ),
        (
            "record_and_for.bad.yaml",
            utf8,
            Some("invalid field 'for' in recording rule"),
        ),
        (
            "record_and_keep_firing_for.bad.yaml",
            utf8,
            Some("invalid field 'keep_firing_for' in recording rule"),
        ),
    ] {
        let groups = read(&folder.join("rulefmt").join(file)).unwrap().groups;
        let checked = groups
            .into_iter()
            .try_for_each(|group| check(group.draft(), scheme));
        match (checked, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{file}: {error}"),
            (checked, _) => panic!("{file}: {checked:?}"),
        }
    }
}

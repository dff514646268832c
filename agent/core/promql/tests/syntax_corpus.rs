//! Expressions that people run, and Prometheus's own test scripts: all of them parse, and what is
//! printed parses to the same print.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail on data that is not as expected"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use narthex_promql::syntax::{ParserOptions, parse, pretty};
use narthex_promql::testlang::{Command, EvalTimes, parse_script};

/// Where the data is, or None after saying that the test is skipped.
fn conformance_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("CONFORMANCE_DIR").map(PathBuf::from);
    if dir.is_none() {
        println!("skipped: CONFORMANCE_DIR is not set");
    }
    dir
}

fn files_below(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_below(&path, endings, found);
        } else if path
            .extension()
            .is_some_and(|ending| endings.iter().any(|e| ending == *e))
        {
            found.push(path);
        }
    }
}

fn assert_prints_stably(text: &str, place: &Path) {
    let options = ParserOptions::everything();
    let expr = parse(text, &options).unwrap_or_else(|e| panic!("{}: {e}\n{text}", place.display()));
    let printed = expr.to_string();
    for again in [&printed, &pretty(&expr)] {
        let reread = parse(again, &options)
            .unwrap_or_else(|e| panic!("{}: {e}\n{text}\n{again}", place.display()));
        assert_eq!(reread.to_string(), printed, "{}", place.display());
    }
}

#[test]
fn scripts_of_the_language_parse_whole() {
    let Some(dir) = conformance_dir() else { return };
    let mut files = Vec::new();
    files_below(&dir.join("promql"), &["test"], &mut files);
    let (mut instants, mut ranges, mut loads, mut clears) = (0, 0, 0, 0);
    for file in &files {
        let script = fs::read_to_string(file).unwrap();
        let commands = parse_script(&script).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for command in commands {
            match command {
                Command::Clear => clears += 1,
                Command::Load(_) => loads += 1,
                Command::Eval(eval) => {
                    match eval.times {
                        EvalTimes::Instant { .. } => instants += 1,
                        EvalTimes::Range(_) => ranges += 1,
                    }
                    assert_prints_stably(&eval.text, file);
                }
            }
        }
    }
    assert_eq!(
        (files.len(), instants, ranges, loads, clears),
        (21, 1885, 329, 310, 231)
    );
}

#[test]
fn rules_that_people_run_parse() {
    let Some(dir) = conformance_dir() else { return };
    let mut files = Vec::new();
    files_below(&dir.join("rules"), &["yaml", "yml"], &mut files);
    let mut count = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for expr in yaml_expressions(&text) {
            assert_prints_stably(&expr, file);
            count += 1;
        }
    }
    assert!(
        count > 1000,
        "only {count} expressions in {} files",
        files.len()
    );
}

/// The values of `expr` keys.
fn yaml_expressions(text: &str) -> BTreeSet<String> {
    let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let mut found = BTreeSet::new();
    collect_expressions(&value, &mut found);
    found
}

fn collect_expressions(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(expr) = fields.get("expr").and_then(|expr| expr.as_str()) {
                found.insert(expr.to_owned());
            }
            fields.values().for_each(|v| collect_expressions(v, found));
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|v| collect_expressions(v, found));
        }
        _ => {}
    }
}

/// What stands under `expr` in dashboards and is another language, or no expression before a
/// variable is filled in.
const NOT_PROMQL: [&str; 5] = ["|=", "|~", "| logfmt", "%(matchers)s", "$Inactive"];

#[test]
fn expressions_of_dashboards_parse() {
    let Some(dir) = conformance_dir() else { return };
    let mut files = Vec::new();
    files_below(&dir.join("dashboards"), &["json"], &mut files);
    let mut count = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut expressions = BTreeSet::new();
        collect_expressions(&value, &mut expressions);
        for expr in expressions {
            let other = NOT_PROMQL.iter().any(|part| expr.contains(part));
            if other || expr.is_empty() {
                continue;
            }
            // A variable may stand for a name, a number or a duration.
            let filled = ["x", "5"].map(|value| with_variables(&expr, value));
            let readable = filled
                .iter()
                .find(|text| parse(text, &ParserOptions::everything()).is_ok());
            assert_prints_stably(readable.unwrap_or(&expr), file);
            count += 1;
        }
    }
    assert!(
        count > 4000,
        "only {count} expressions in {} files",
        files.len()
    );
}

/// The text with `value` for `$name`, `${name:format}` and `[[name]]`, and a duration where one
/// must stand.
fn with_variables(text: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['$', '[']) {
        let (before, variable) = rest.split_at(start);
        out.push_str(before);
        let length = variable_length(variable);
        let name = &variable[..length];
        let is_duration = name.contains("interval")
            || name.contains("__r")
            || out.trim_end().ends_with(['[', ':']);
        out.push_str(match length {
            1 => name,
            _ if is_duration => "5m",
            _ => value,
        });
        rest = &variable[length..];
    }
    out + rest
}

/// 1 if there is no variable here.
fn variable_length(text: &str) -> usize {
    if text.starts_with("[[") {
        return text.find("]]").map_or(1, |end| end + 2);
    }
    if text.starts_with("${") {
        return text.find('}').map_or(1, |end| end + 1);
    }
    if text.starts_with('[') {
        return 1;
    }
    let name = text[1..].find(|c: char| !c.is_alphanumeric() && c != '_');
    1 + name.unwrap_or(text.len() - 1)
}

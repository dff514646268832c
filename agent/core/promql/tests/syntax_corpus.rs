//! Expressions that people run, and Prometheus's own test scripts: all of them parse, what is
//! printed parses to the same tree, and they evaluate over a store with nothing and over one with
//! what they ask for.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail on data that is not as expected"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use narthex_model::Labels;
use narthex_promql::syntax::ast::Expr;
use narthex_promql::syntax::{ParserOptions, parse, pretty, to_json};
use narthex_promql::testlang::{Command, EvalTimes, parse_script};
use narthex_promql::{Engine, QueryContext, QueryError, RangeParams};
use narthex_storage::Appendable;
use narthex_storage::memory::MemoryStore;

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
        assert_eq!(tree(&reread), tree(&expr), "{}", place.display());
    }
}

/// The tree as JSON. Matchers are printed in order, so their order is no part of it.
fn tree(expr: &Expr) -> serde_json::Value {
    fn sort_matchers(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(serde_json::Value::Array(matchers)) = fields.get_mut("matchers") {
                    matchers.sort_by_key(ToString::to_string);
                }
                fields.values_mut().for_each(sort_matchers);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(sort_matchers),
            _ => {}
        }
    }
    let mut tree = serde_json::from_str(&to_json(expr)).unwrap();
    sort_matchers(&mut tree);
    tree
}

const MINUTE_MS: i64 = 60_000;

/// An error is fine, as series made up need not fit an operator; a fault of the engine is not.
fn assert_evaluates(text: &str, place: &Path) {
    let expr = parse(text, &ParserOptions::everything()).unwrap();
    let engine = Engine::default();
    let context = QueryContext {
        text: text.to_owned(),
        ..QueryContext::default()
    };
    let range = RangeParams {
        start_ms: 0,
        end_ms: 20 * MINUTE_MS,
        step_ms: 5 * MINUTE_MS,
    };
    for store in [MemoryStore::default(), filled_store(&expr)] {
        let instant = engine.instant(&store, &expr, 10 * MINUTE_MS, &context);
        let range = engine.range(&store, &expr, range, &context);
        for error in [instant.err(), range.err()].into_iter().flatten() {
            let message = error.to_string();
            let ours = message.contains("internal")
                || matches!(
                    error,
                    QueryError::NotSupported(_) | QueryError::TooManySamples { .. }
                );
            assert!(!ours, "{}: {message}\n{text}", place.display());
        }
    }
}

/// Two series for each selector, some with a reset, a gap and a stale marker.
fn filled_store(expr: &Expr) -> MemoryStore {
    let store = MemoryStore::default();
    let mut appender = store.appender();
    for selector in expr.selectors() {
        for instance in ["a", "b"] {
            let mut labels = vec![("instance".to_owned(), instance.to_owned())];
            labels.push((
                "le".to_owned(),
                if instance == "a" { "1" } else { "+Inf" }.to_owned(),
            ));
            for matcher in &selector.matchers {
                let literals = matcher.regexp().and_then(|regexp| regexp.literals());
                let literal = literals.and_then(|literals| literals.first().cloned());
                let candidates = [matcher.value.to_string(), "x".to_owned(), "1".to_owned()];
                let mut candidates = literal.into_iter().chain(candidates);
                if let Some(value) = candidates.find(|value| matcher.matches(value)) {
                    labels.push((matcher.name.to_string(), value));
                }
            }
            let labels = Labels::from_pairs(labels);
            for minute in (0_i64..25).filter(|minute| *minute != 7) {
                let value = match minute {
                    12 => f64::from_bits(STALE_NAN_BITS),
                    _ => (minute % 9) as f64,
                };
                appender.append(&labels, minute * MINUTE_MS, value).unwrap();
            }
        }
    }
    appender.commit().unwrap();
    store
}

const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

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
fn rules_that_people_run_parse_and_evaluate() {
    let Some(dir) = conformance_dir() else { return };
    let mut files = Vec::new();
    files_below(&dir.join("rules"), &["yaml", "yml"], &mut files);
    let mut count = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for expr in yaml_expressions(&text) {
            assert_prints_stably(&expr, file);
            assert_evaluates(&expr, file);
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
fn expressions_of_dashboards_parse_and_evaluate() {
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
            assert_evaluates(readable.unwrap_or(&expr), file);
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

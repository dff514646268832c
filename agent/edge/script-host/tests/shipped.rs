//! The scripts that come with Narthex, each against its `.test.yml`: series over time, and the
//! alerts that fire at given times. The whole life of alerts is in it (`for`, keep-firing,
//! resolution), on a clock that the test moves.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use narthex_extension::{AlertScript, EvaluateContext, Query, QuerySeries};
use narthex_model::{CancelToken, Labels, SampleValue, duration};
use narthex_promql::syntax::ast::SequenceValue;
use narthex_promql::syntax::{self, ParserOptions};
use narthex_promql::{Engine, QueryContext, QueryOutput, QueryValue, RangeParams};
use narthex_rules::{AlertState, AppendReport, Environment, Group};
use narthex_script_host::ScriptHost;
use narthex_script_host::config::{Config, Limits};
use narthex_storage::Appendable;
use narthex_storage::memory::MemoryStore;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    script: String,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    interval: String,
    input_series: Vec<InputSeries>,
    alert_rule_test: Vec<Expectation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSeries {
    series: String,
    values: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    eval_time: String,
    alertname: String,
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    exp_labels: BTreeMap<String, String>,
    exp_annotations: BTreeMap<String, String>,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scripts")
}

fn milliseconds(text: &str) -> i64 {
    i64::try_from(duration::parse_ms(text).unwrap()).unwrap()
}

struct StoreQuery(Arc<MemoryStore>);

impl StoreQuery {
    fn run(
        &self,
        expr: &str,
        evaluate: impl FnOnce(
            &Engine,
            &syntax::ast::Expr,
        ) -> Result<QueryOutput, narthex_promql::QueryError>,
    ) -> Result<Vec<QuerySeries>, String> {
        let tree = syntax::parse(expr, &ParserOptions::default()).map_err(|e| e.to_string())?;
        let output = evaluate(&Engine::default(), &tree).map_err(|e| e.to_string())?;
        Ok(match output.value {
            QueryValue::Vector(samples) => samples
                .into_iter()
                .map(|s| QuerySeries {
                    labels: s.labels,
                    samples: vec![(s.timestamp_ms, s.value.as_float().unwrap())],
                })
                .collect(),
            QueryValue::Matrix(series) => {
                let one = |s: narthex_promql::MatrixSeries| QuerySeries {
                    labels: s.labels,
                    samples: s.points,
                };
                series.into_iter().map(one).collect()
            }
            other => return Err(format!("not series: {other:?}")),
        })
    }
}

impl Query for StoreQuery {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<QuerySeries>, String> {
        let context = QueryContext::default();
        self.run(expr, |engine, tree| {
            engine.instant(&*self.0, tree, at_ms, &context)
        })
    }

    fn range(
        &self,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<QuerySeries>, String> {
        let steps = RangeParams {
            start_ms,
            end_ms,
            step_ms,
        };
        let context = QueryContext::default();
        self.run(expr, |engine, tree| {
            engine.range(&*self.0, tree, steps, &context)
        })
    }
}

fn load_series(test: &Test) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let interval_ms = milliseconds(&test.interval);
    let mut appender = store.appender();
    for input in &test.input_series {
        let line = format!("{} {}", input.series, input.values);
        let description = syntax::parse_series_description(&line).unwrap();
        for (step, value) in (0..).zip(description.values) {
            if let SequenceValue::Value {
                value: SampleValue::Float(value),
                ..
            } = value
            {
                appender
                    .append(&description.labels, step * interval_ms, value)
                    .unwrap();
            }
        }
    }
    appender.commit().unwrap();
    store
}

/// The alerts that fire at `at_ms`, when the script has run at every interval since 0.
fn firing(
    script: &Arc<dyn AlertScript>,
    store: &Arc<MemoryStore>,
    times_ms: &[i64],
) -> BTreeMap<i64, Vec<(String, ExpectedAlert)>> {
    let interval_ms = i64::try_from(script.interval_ms().unwrap_or(60_000)).unwrap();
    let mut group = Group::for_script(script.name(), interval_ms.unsigned_abs(), false);
    let mut found = BTreeMap::new();
    let mut now_ms = 0;
    while now_ms <= *times_ms.iter().max().unwrap() {
        let query = Arc::new(StoreQuery(store.clone()));
        let result = script.evaluate(&EvaluateContext {
            now_ms,
            query,
            cancel: CancelToken::default(),
        });
        assert!(result.is_ok(), "at {now_ms}: {result:?}");
        group.evaluate_script(now_ms, result, &Environment::default());
        group.finish_rule(
            0,
            AppendReport {
                error: None,
                is_committed: true,
            },
            0.0,
        );
        group.finish(now_ms, 0.0);
        if times_ms.contains(&now_ms) {
            found.insert(now_ms, firing_now(&group));
        }
        now_ms += interval_ms;
    }
    found
}

fn firing_now(group: &Group) -> Vec<(String, ExpectedAlert)> {
    let status = group.status();
    let alerts = status
        .rules
        .into_iter()
        .filter_map(|rule| rule.alerting)
        .flat_map(|a| a.alerts);
    let mut firing: Vec<(String, ExpectedAlert)> = alerts
        .filter(|alert| alert.state == AlertState::Firing)
        .map(|alert| {
            let name = alert.labels.get("alertname").unwrap().to_owned();
            let labels = alert.labels.without("alertname");
            let expected = ExpectedAlert {
                exp_labels: label_map(&labels),
                exp_annotations: (*alert.annotations).clone(),
            };
            (name, expected)
        })
        .collect();
    firing.sort();
    firing
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|l| (l.name.to_string(), l.value.to_string()))
        .collect()
}

fn run(file: &str) {
    let text = std::fs::read_to_string(scripts().join(file)).unwrap();
    let tests: TestFile = serde_yaml::from_str(&text).unwrap();
    let host = ScriptHost::new(&prometheus::Registry::new()).unwrap();
    let config = Config {
        directory: scripts(),
        limits: Limits::default(),
        params: BTreeMap::new(),
    };
    for test in &tests.tests {
        let (loaded, _) = host.sync(&config);
        let name = tests.script.trim_end_matches(".rhai");
        let script = loaded.iter().find(|script| script.name() == name).unwrap();
        let store = load_series(test);
        let times: Vec<i64> = test
            .alert_rule_test
            .iter()
            .map(|e| milliseconds(&e.eval_time))
            .collect();
        let found = firing(script, &store, &times);
        for expectation in &test.alert_rule_test {
            let at = &expectation.eval_time;
            let mut expected = expectation.exp_alerts.clone();
            expected.sort();
            let found: Vec<ExpectedAlert> = found[&milliseconds(at)]
                .iter()
                .filter(|(name, _)| *name == expectation.alertname)
                .map(|(_, alert)| alert.clone())
                .collect();
            assert_eq!(found, expected, "{file}: {} at {at}", test.name);
        }
    }
}

#[test]
fn disk_forecast() {
    run("disk_forecast.test.yml");
}

#[test]
fn memory_pressure() {
    run("memory_pressure.test.yml");
}

#[test]
fn every_script_has_a_test() {
    let mut scripts_found = 0;
    for entry in std::fs::read_dir(scripts()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rhai") {
            scripts_found += 1;
            assert!(
                path.with_extension("test.yml").is_file(),
                "{} has no test",
                path.display()
            );
        }
    }
    assert!(scripts_found >= 2);
}

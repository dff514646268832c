//! The manager on a virtual clock, with the real engine and a store in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narthex_extension::{AlertScript, EvaluateContext, ScriptAlert, ScriptError};
use narthex_model::{CancelReason, CancelToken, Labels, Matcher, is_stale_nan};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_rules::{
    AlertState, GroupConfig, GroupDraft, NameScheme, RuleDraft, RuleHealth, check_group,
};
use narthex_storage::memory::MemoryStore;
use narthex_storage::{
    Appendable, Column, LabelQuery, Queryable, SelectQuery, Series, StorageError,
};
use prometheus::Registry;
use tokio::time::{Instant, advance, sleep};

use super::*;

const START_MS: i64 = 1_700_000_000_000;

#[derive(Default)]
struct Received(Mutex<Vec<AlertNotice>>);

impl AlertSink for Received {
    fn send(&self, alerts: Vec<AlertNotice>) {
        self.0.lock().unwrap().extend(alerts);
    }
}

impl Received {
    fn take(&self) -> Vec<AlertNotice> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct World {
    store: Arc<MemoryStore>,
    received: Arc<Received>,
    registry: Registry,
    manager: Manager,
}

/// Time stands still but for sleeps; the wall clock goes with it.
fn world() -> World {
    let store = Arc::new(MemoryStore::default());
    world_with(store.clone(), store)
}

fn world_with(queryable: Arc<dyn Queryable>, store: Arc<MemoryStore>) -> World {
    let received = Arc::new(Received::default());
    let registry = Registry::new();
    let begin = Instant::now();
    let clock = move || START_MS + i64::try_from(begin.elapsed().as_millis()).unwrap();
    let manager = Manager::with_clock(
        queryable,
        store.clone(),
        received.clone(),
        &registry,
        Arc::new(clock),
    );
    World {
        store,
        received,
        registry,
        manager: manager.unwrap(),
    }
}

impl World {
    fn append(&self, metric: &str, value: f64) {
        let mut appender = self.store.appender();
        let labels = Labels::from_pairs([("__name__", metric)]);
        appender.append(&labels, START_MS, value).unwrap();
        appender.commit().unwrap();
    }

    /// The samples of a metric: values, stale markers as nothing.
    fn stored(&self, metric: &str) -> Vec<Option<f64>> {
        let query = SelectQuery {
            matchers: &[Matcher::equal("__name__", metric)],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            cancel: CancelToken::default(),
        };
        let mut all = Vec::new();
        for series in self.store.select(&query).unwrap() {
            series
                .visit(&mut |column| {
                    if let Column::Floats { values, .. } = column {
                        all.extend(values.iter().map(|v| (!is_stale_nan(*v)).then_some(*v)));
                    }
                })
                .unwrap();
        }
        all
    }

    /// The value of a metric of a rule group, from the registry.
    fn metric(&self, name: &str) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().first()?;
        // A metric of another type has zero there.
        Some(metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

fn group(name: &str, rules: Vec<RuleDraft>) -> GroupConfig {
    let draft = GroupDraft {
        name: name.to_owned(),
        file: "rules.yml".to_owned(),
        interval_ms: 10_000,
        rules,
        ..GroupDraft::default()
    };
    let parse =
        |text: &str| syntax::parse(text, &ParserOptions::default()).map_err(|e| e.to_string());
    check_group(draft, NameScheme::Utf8, &parse).unwrap()
}

fn recording(name: &str, expr: &str) -> RuleDraft {
    RuleDraft {
        record: name.to_owned(),
        expr: expr.to_owned(),
        ..RuleDraft::default()
    }
}

fn alert(name: &str, expr: &str) -> RuleDraft {
    RuleDraft {
        alert: name.to_owned(),
        expr: expr.to_owned(),
        ..RuleDraft::default()
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn groups_record_and_alert_at_even_times() {
    let world = world();
    world.append("m", 2.0);
    let mut settings = Settings::default();
    settings.environment.external_labels = Labels::from_pairs([("cluster", "c"), ("own", "ext")]);
    let mut fires = alert("A", "twice > 3");
    fires.labels = BTreeMap::from([("own".to_owned(), "rule".to_owned())]);
    let groups = vec![group("g", vec![recording("twice", "m * 2"), fires])];
    world.manager.apply(settings, groups);
    let before = world.manager.groups();
    assert_eq!(before[0].last_evaluation_ms, None);
    assert_eq!(before[0].rules[0].health, RuleHealth::Unknown);

    seconds(11).await;
    let sent = world.received.take();
    let expected = [("alertname", "A"), ("cluster", "c"), ("own", "rule")];
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].labels, Labels::from_pairs(expected));

    seconds(30).await;
    assert_eq!(world.stored("twice"), [Some(4.0); 4]);
    assert_eq!(world.received.take(), []);
    let status = world.manager.groups().remove(0);
    let last_ms = status.last_evaluation_ms.unwrap();
    // The fingerprint of file and name decides the times.
    let hash = Labels::from_pairs([("file", "rules.yml"), ("name", "g")]).fingerprint();
    let offset_ms = i64::try_from(hash % 10_000_000_000 / 1_000_000).unwrap();
    assert_eq!(last_ms.rem_euclid(10_000), offset_ms);
    assert_eq!(status.rules[0].health, RuleHealth::Ok);
    let alerting = status.rules[1].alerting.as_ref().unwrap();
    assert_eq!(alerting.state, Some(AlertState::Firing));
    assert_eq!(alerting.alerts[0].value, 4.0);
    for (name, value) in [
        ("prometheus_rule_group_iterations_total", 4.0),
        ("prometheus_rule_group_iterations_missed_total", 0.0),
        ("prometheus_rule_evaluations_total", 8.0),
        ("prometheus_rule_evaluation_failures_total", 0.0),
        ("prometheus_rule_group_interval_seconds", 10.0),
        ("prometheus_rule_group_rules", 2.0),
    ] {
        assert_eq!(world.metric(name), Some(value), "{name}");
    }
    world.manager.shutdown().await;
    assert_eq!(world.stored("twice"), [Some(4.0); 4], "no series is ended");
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_only_what_differs() {
    let world = world();
    world.append("m", 2.0);
    let unchanged = || group("same", vec![alert("Same", "m")]);
    let first = vec![
        unchanged(),
        group(
            "changed",
            vec![alert("Kept", "m"), recording("dropped", "m")],
        ),
        group("removed", vec![recording("removed", "m")]),
    ];
    world.manager.apply(Settings::default(), first);
    seconds(45).await;
    world.received.take();
    let active_at_ms = |name: &str| {
        let groups = world.manager.groups();
        let group = groups.iter().find(|group| group.name == name).unwrap();
        group.rules[0].alerting.as_ref().unwrap().alerts[0].active_at_ms
    };
    let before = (active_at_ms("same"), active_at_ms("changed"));
    let removed_samples = world.stored("removed").len();

    let second = vec![
        unchanged(),
        group("changed", vec![alert("Kept", "m > 1")]),
        group("new", vec![recording("new", "m")]),
    ];
    world.manager.apply(Settings::default(), second);
    seconds(11).await;
    assert_eq!((active_at_ms("same"), active_at_ms("changed")), before);
    assert_eq!(world.stored("dropped").last(), Some(&None));
    assert_eq!(
        world.stored("new").len(),
        1,
        "its first time is within one interval"
    );
    // Nothing that fires already is sent anew.
    assert_eq!(world.received.take(), []);
    // The series of a removed group end two intervals later.
    assert_eq!(world.stored("removed").len(), removed_samples);
    seconds(10).await;
    assert_eq!(world.stored("removed").len(), removed_samples + 1);
    assert_eq!(world.stored("removed").last(), Some(&None));
    let names: Vec<String> = world
        .manager
        .groups()
        .iter()
        .map(|g| g.name.clone())
        .collect();
    assert_eq!(names, ["changed", "new", "same"]);
    let families = world.registry.gather();
    let iterations = families
        .iter()
        .find(|family| family.name() == "prometheus_rule_group_iterations_total");
    let labels = iterations.unwrap().get_metric().iter();
    let labels: Vec<&str> = labels.map(|metric| metric.get_label()[0].value()).collect();
    assert_eq!(
        labels,
        ["rules.yml;changed", "rules.yml;new", "rules.yml;same"]
    );
    world.manager.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_group_goes_on_with_its_series() {
    let world = world();
    world.append("m", 2.0);
    let rules = || vec![recording("kept", "m")];
    world
        .manager
        .apply(Settings::default(), vec![group("before", rules())]);
    seconds(15).await;
    world
        .manager
        .apply(Settings::default(), vec![group("after", rules())]);
    seconds(40).await;
    let stored = world.stored("kept");
    assert!(
        stored.len() >= 4 && stored.iter().all(Option::is_some),
        "{stored:?}"
    );
    world.manager.shutdown().await;
}

/// A store on which a query never ends by itself.
struct Stuck {
    asked: AtomicUsize,
    reasons: Mutex<Vec<Option<CancelReason>>>,
}

impl Queryable for Stuck {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while query.cancel.reason().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.reasons.lock().unwrap().push(query.cancel.reason());
        Err(StorageError::Canceled)
    }

    fn label_names(&self, _: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        Ok(Vec::new())
    }

    fn series(&self, _: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        Ok(Vec::new())
    }
}

fn stuck_world() -> (World, Arc<Stuck>) {
    let stuck = Arc::new(Stuck {
        asked: AtomicUsize::new(0),
        reasons: Mutex::default(),
    });
    (world_with(stuck.clone(), Arc::default()), stuck)
}

/// Real time, as blocking threads keep virtual time from passing.
#[tokio::test]
async fn a_rule_that_takes_too_long_is_told_to_stop() {
    let (world, stuck) = stuck_world();
    let settings = Settings {
        query_timeout_ms: 20,
        ..Settings::default()
    };
    let mut config = group("g", vec![recording("r", "m"), recording("s", "1")]);
    config.interval_ms = 100;
    world.manager.apply(settings, vec![config]);
    let failed = || world.metric("prometheus_rule_evaluation_failures_total") >= Some(1.0);
    wait_for(failed).await;
    wait_for(|| world.manager.groups()[0].rules[0].health == RuleHealth::Err).await;
    let status = world.manager.groups().remove(0);
    let error = status.rules[0].last_error.as_deref().unwrap();
    assert!(error.starts_with("query timed out"), "{error}");
    assert_eq!(status.rules[1].health, RuleHealth::Ok);
    assert_eq!(
        stuck.reasons.lock().unwrap()[0],
        Some(CancelReason::Timeout)
    );
    world.manager.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_ends_running_queries() {
    let (world, stuck) = stuck_world();
    let mut config = group("g", vec![recording("r", "m")]);
    config.interval_ms = 50;
    world.manager.apply(Settings::default(), vec![config]);
    wait_for(|| stuck.asked.load(Ordering::SeqCst) > 0).await;
    // Many intervals pass: it does not overlap itself.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(stuck.asked.load(Ordering::SeqCst), 1);
    world.manager.shutdown().await;
    assert_eq!(
        *stuck.reasons.lock().unwrap(),
        [Some(CancelReason::Canceled)]
    );
}

#[tokio::test]
async fn missed_evaluations_are_counted() {
    let (world, _) = stuck_world();
    let settings = Settings {
        query_timeout_ms: 500,
        ..Settings::default()
    };
    let mut config = group("g", vec![recording("r", "m")]);
    config.interval_ms = 100;
    world.manager.apply(settings, vec![config]);
    let missed = || world.metric("prometheus_rule_group_iterations_missed_total") >= Some(3.0);
    wait_for(missed).await;
    world.manager.shutdown().await;
}

async fn wait_for(mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to that within 20 seconds");
}

/// A script that alerts while a query finds something.
struct Finds {
    name: String,
    expr: String,
    interval_ms: Option<u64>,
    runs: AtomicUsize,
}

impl AlertScript for Finds {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval_ms(&self) -> Option<u64> {
        self.interval_ms
    }

    fn evaluate(&self, context: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let found = context.query.instant(&self.expr, context.now_ms);
        let found = found.map_err(ScriptError::Query)?;
        let alerts = found.into_iter().map(|series| ScriptAlert {
            name: "Found".to_owned(),
            labels: series.labels.without_metric_name(),
            annotations: BTreeMap::new(),
            value: series.samples[0].1,
            for_ms: 0,
            keep_firing_for_ms: 0,
        });
        Ok(alerts.collect())
    }
}

fn script(name: &str, expr: &str, interval_ms: Option<u64>) -> Arc<Finds> {
    Arc::new(Finds {
        name: name.to_owned(),
        expr: expr.to_owned(),
        interval_ms,
        runs: AtomicUsize::new(0),
    })
}

#[tokio::test(start_paused = true)]
async fn queries_of_rules_and_scripts_are_logged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries");
    let queries = Arc::new(narthex_query_log::Queries::new(&Registry::new(), 1).unwrap());
    queries.set_log_file(Some(&path)).unwrap();
    let world = world();
    world.manager.tell_queries(queries);
    world.append("m", 2.0);
    let rules = vec![recording("r", "m + 1")];
    world
        .manager
        .apply(Settings::default(), vec![group("g", rules)]);
    world
        .manager
        .set_scripts(vec![script("finds", "m > 1", Some(10_000))]);
    seconds(11).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (query, file, name) in [
        ("m + 1", "rules.yml", "g"),
        ("m > 1", "finds.rhai", "finds"),
    ] {
        let line = lines.iter().find(|line| line["params"]["query"] == query);
        let line = line.unwrap_or_else(|| panic!("{query} in {text}"));
        let group = serde_json::json!({ "file": file, "name": name });
        assert_eq!(line["ruleGroup"], group);
        assert_eq!(line["params"]["step"], 0);
        assert_eq!(line["stats"]["samples"]["totalQueryableSamples"], 1);
        assert!(line.get("httpRequest").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn scripts_run_like_groups() {
    let world = world();
    world.append("m", 2.0);
    world.manager.apply(
        Settings {
            script_interval_ms: 5000,
            ..Settings::default()
        },
        vec![],
    );
    let finds = script("finds", "m > 1", None);
    let fails = script("fails", "rate(", Some(20_000));
    world
        .manager
        .set_scripts(vec![finds.clone(), fails.clone()]);
    seconds(41).await;
    assert_eq!(finds.runs.load(Ordering::SeqCst), 8);
    assert_eq!(fails.runs.load(Ordering::SeqCst), 2);
    let groups = world.manager.groups();
    let shown = groups
        .iter()
        .map(|group| (group.kind, group.name.as_str(), group.file.as_str()));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            (GroupKind::Script, "fails", "fails.rhai"),
            (GroupKind::Script, "finds", "finds.rhai"),
        ]
    );
    assert_eq!(groups[0].rules[0].health, RuleHealth::Err);
    let error = groups[0].rules[0].last_error.as_deref().unwrap();
    assert!(error.contains("parse error"), "{error}");
    let alerts = &groups[1].rules[0].alerting.as_ref().unwrap().alerts;
    let active_at_ms = alerts[0].active_at_ms;
    assert_eq!(world.received.take().len(), 1);

    // The same script goes on; another object of the same name takes over its alerts.
    world.manager.set_scripts(vec![finds.clone(), fails]);
    let edited = script("finds", "m > 0", None);
    world.manager.set_scripts(vec![edited.clone()]);
    seconds(11).await;
    assert_eq!(finds.runs.load(Ordering::SeqCst), 8);
    assert!(edited.runs.load(Ordering::SeqCst) >= 2);
    let groups = world.manager.groups();
    assert_eq!(groups.len(), 1);
    let alerts = &groups[0].rules[0].alerting.as_ref().unwrap().alerts;
    assert_eq!(alerts[0].active_at_ms, active_at_ms);
    assert_eq!(world.received.take(), []);

    world.manager.set_scripts(vec![]);
    seconds(21).await;
    assert_eq!(world.stored("ALERTS").last(), Some(&None));
    world.manager.shutdown().await;
}

/// A script that goes on until it is told to stop.
struct Endless;

impl AlertScript for Endless {
    fn name(&self) -> &str {
        "endless"
    }

    fn interval_ms(&self) -> Option<u64> {
        Some(100)
    }

    fn evaluate(&self, context: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError> {
        while context.cancel.reason().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(ScriptError::LimitExceeded("it took too long".to_owned()))
    }
}

#[tokio::test]
async fn an_endless_script_is_told_to_stop() {
    let world = world();
    let settings = Settings {
        script_timeout_ms: 20,
        ..Settings::default()
    };
    world.manager.apply(settings, vec![]);
    world.manager.set_scripts(vec![Arc::new(Endless)]);
    wait_for(|| world.manager.groups()[0].rules[0].health == RuleHealth::Err).await;
    let status = world.manager.groups().remove(0);
    assert_eq!(
        status.rules[0].last_error.as_deref(),
        Some("it took too long")
    );
    world.manager.shutdown().await;
}

/// A script with a fault in itself.
struct Panics(AtomicUsize);

impl AlertScript for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn interval_ms(&self) -> Option<u64> {
        Some(1000)
    }

    fn evaluate(&self, _: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError> {
        assert!(
            self.0.fetch_add(1, Ordering::SeqCst) > 0,
            "the first run panics"
        );
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_neither_the_ruler_nor_the_script() {
    let world = world();
    world
        .manager
        .set_scripts(vec![Arc::new(Panics(AtomicUsize::new(0)))]);
    seconds(3).await;
    assert_eq!(world.manager.groups()[0].rules[0].health, RuleHealth::Ok);
    world.manager.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_clock_may_jump() {
    let world = world();
    world.append("m", 1.0);
    world.manager.apply(
        Settings::default(),
        vec![group("g", vec![recording("r", "m")])],
    );
    seconds(11).await;
    // The machine slept for most of the lookback.
    advance(Duration::from_secs(95)).await;
    seconds(1).await;
    let missed = world
        .metric("prometheus_rule_group_iterations_missed_total")
        .unwrap();
    assert!((7.0..=10.0).contains(&missed), "{missed}");
    let iterations = world
        .metric("prometheus_rule_group_iterations_total")
        .unwrap();
    assert_eq!(world.stored("r").len() as f64, iterations - missed);
    world.manager.shutdown().await;
}

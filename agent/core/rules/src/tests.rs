//! Tables on a virtual clock: a store, one group, and what each evaluation comes to.

use std::collections::BTreeMap;

use narthex_extension::{ScriptAlert, ScriptError};
use narthex_model::labels::quoted;
use narthex_model::{CancelToken, Labels, Matcher, STALE_NAN, SampleValue, is_stale_nan};
use narthex_promql::Engine;
use narthex_promql::syntax::{self, ParserOptions};
use narthex_storage::memory::MemoryStore;
use narthex_storage::{Appendable, Column, Queryable, SelectQuery};

use super::*;

fn parse(text: &str) -> Result<syntax::ast::Expr, String> {
    syntax::parse(text, &ParserOptions::default()).map_err(|e| e.to_string())
}

fn group_of(draft: GroupDraft) -> Group {
    Group::new(config_of(draft), false)
}

fn config_of(draft: GroupDraft) -> GroupConfig {
    match check_group(draft, NameScheme::Utf8, &parse) {
        Ok(config) => config,
        Err(faults) => panic!("{faults:?}"),
    }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn alert(name: &str, expr: &str, for_s: u64, keep_firing_for_s: u64) -> RuleDraft {
    RuleDraft {
        alert: name.to_owned(),
        expr: expr.to_owned(),
        for_ms: for_s * 1000,
        keep_firing_for_ms: keep_firing_for_s * 1000,
        ..RuleDraft::default()
    }
}

fn recording(name: &str, expr: &str) -> RuleDraft {
    RuleDraft {
        record: name.to_owned(),
        expr: expr.to_owned(),
        ..RuleDraft::default()
    }
}

fn draft(interval_s: u64, rules: Vec<RuleDraft>) -> GroupDraft {
    GroupDraft {
        name: "group".to_owned(),
        file: "rules.yml".to_owned(),
        interval_ms: interval_s * 1000,
        rules,
        ..GroupDraft::default()
    }
}

/// A store with the engine, in which a group is evaluated as the ruler does it.
#[derive(Default)]
struct World {
    store: MemoryStore,
    engine: Engine,
    environment: Environment,
}

impl World {
    fn append(&self, series: &str, at_s: i64, value: f64) {
        let labels = syntax::parse_metric(series).unwrap();
        let mut appender = self.store.appender();
        appender.append(&labels, at_s * 1000, value).unwrap();
        appender.commit().unwrap();
    }

    fn query(&self) -> RuleQuery<'_> {
        RuleQuery {
            engine: &self.engine,
            store: &self.store,
            parser: ParserOptions::default(),
            cancel: CancelToken::default(),
            account: None,
        }
    }

    /// Evaluates all rules and stores what they give.
    fn evaluate(&self, group: &mut Group, at_s: i64) -> Vec<RuleOutput> {
        let now_ms = at_s * 1000;
        let outputs = (0..group.rule_count())
            .map(|index| {
                let output = group.evaluate_rule(index, now_ms, &self.query(), &self.environment);
                self.finish(group, index, output)
            })
            .collect();
        let gone = group.finish(now_ms, 0.0);
        assert_eq!(self.append_all(&gone), None);
        if group.restoration_is_due() {
            group
                .restore(now_ms, &self.query(), &self.environment)
                .unwrap();
        }
        outputs
    }

    fn evaluate_script(
        &self,
        group: &mut Group,
        at_s: i64,
        result: Result<Vec<ScriptAlert>, ScriptError>,
    ) -> RuleOutput {
        let output = group.evaluate_script(at_s * 1000, result, &self.environment);
        let output = self.finish(group, 0, output);
        group.finish(at_s * 1000, 0.0);
        output
    }

    fn finish(&self, group: &mut Group, index: usize, output: RuleOutput) -> RuleOutput {
        let all: Vec<RuleSample> = output
            .samples
            .iter()
            .chain(&output.stale)
            .cloned()
            .collect();
        let report = AppendReport {
            error: self.append_all(&all),
            is_committed: true,
        };
        group.finish_rule(index, report, 0.0);
        output
    }

    fn append_all(&self, samples: &[RuleSample]) -> Option<String> {
        let mut appender = self.store.appender();
        for sample in samples {
            let value = sample.value.as_float().unwrap();
            appender
                .append(&sample.labels, sample.timestamp_ms, value)
                .unwrap();
        }
        let report = appender.commit().unwrap();
        let refused = report.refused.first();
        refused.map(|refused| refused.error.to_string())
    }

    /// The samples of a metric's series, as `{labels} 60=1 120=stale`.
    fn stored(&self, metric: &str) -> Vec<String> {
        let query = SelectQuery {
            matchers: &[Matcher::equal("__name__", metric)],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
            cancel: CancelToken::default(),
        };
        let series = self.store.select(&query).unwrap();
        let shown = series.iter().map(|series| {
            let mut text = series.labels().without_metric_name().to_string();
            series
                .visit(&mut |column| {
                    let Column::Floats {
                        timestamps_ms,
                        values,
                    } = column
                    else {
                        return;
                    };
                    for (ms, value) in timestamps_ms.iter().zip(values) {
                        let at_s = ms / 1000;
                        text += &if is_stale_nan(*value) {
                            format!(" {at_s}=stale")
                        } else {
                            format!(" {at_s}={value}")
                        };
                    }
                })
                .unwrap();
            text
        });
        shown.collect()
    }
}

/// The state of a group's rule and what it sends, as `firing sent 60..300`.
fn summary(group: &Group, output: &RuleOutput) -> String {
    let status = group.status();
    let mut text = status.rules[0]
        .alerting
        .as_ref()
        .map_or("recording", AlertingStatus::state_str)
        .to_owned();
    for notice in &output.notices {
        let (start_s, end_s) = (notice.starts_at_ms / 1000, notice.ends_at_ms / 1000);
        text += &format!(" sent {start_s}..{end_s}");
    }
    if let Some(failure) = &output.failure {
        text += &format!(" failed: {}", failure.message);
    }
    text
}

/// Time in seconds, the value of `m` (none: the series ends), and the summary.
type Step = (i64, Option<f64>, &'static str);

fn run_timeline(name: &str, rule: RuleDraft, interval_s: u64, steps: &[Step]) {
    let world = World::default();
    let mut group = group_of(draft(interval_s, vec![rule]));
    let before = group.status();
    let state = before.rules[0].alerting.as_ref().unwrap().state_str();
    assert_eq!(state, "unknown", "{name}");
    for (at_s, value, expected) in steps {
        world.append("m", *at_s, value.unwrap_or(STALE_NAN));
        let outputs = world.evaluate(&mut group, *at_s);
        assert_eq!(summary(&group, &outputs[0]), *expected, "{name} at {at_s}");
    }
}

#[test]
fn alerts_live_as_in_prometheus() {
    let one = Some(1.0);
    let zero = Some(0.0);
    run_timeline(
        "without for it fires at once, is sent once a minute, and is valid for four of them",
        alert("A", "m > 0", 0, 0),
        30,
        &[
            (0, zero, "inactive"),
            (30, one, "firing sent 30..270"),
            (60, one, "firing"),
            // A minute since, but not more than a minute.
            (90, one, "firing"),
            (120, one, "firing sent 30..360"),
            (150, zero, "inactive sent 30..150"),
            (180, zero, "inactive"),
            (240, zero, "inactive sent 30..150"),
        ],
    );
    run_timeline(
        "with for it waits, and begins anew when the condition ends",
        alert("A", "m > 0", 120, 0),
        60,
        &[
            (0, one, "pending"),
            (60, one, "pending"),
            (120, one, "firing sent 120..360"),
            (180, zero, "inactive sent 120..180"),
            (240, one, "pending"),
            (300, zero, "inactive"),
            (360, one, "pending"),
            (480, one, "firing sent 480..720"),
        ],
    );
    run_timeline(
        "a long interval decides how long a notice is valid",
        alert("A", "m > 0", 0, 0),
        300,
        &[
            (0, one, "firing sent 0..1200"),
            (300, one, "firing sent 0..1500"),
        ],
    );
    run_timeline(
        "keep_firing_for counts from the first evaluation without the condition",
        alert("A", "m > 0", 0, 120),
        60,
        &[
            (0, one, "firing sent 0..240"),
            (60, zero, "firing"),
            (120, zero, "firing sent 0..360"),
            // The condition is back: what has been waited is forgotten.
            (150, one, "firing"),
            (180, zero, "firing"),
            (240, zero, "firing sent 0..480"),
            (300, zero, "inactive sent 0..300"),
        ],
    );
    run_timeline(
        "keep_firing_for keeps nothing that only was pending",
        alert("A", "m > 0", 60, 600),
        60,
        &[
            (0, one, "pending"),
            (60, zero, "inactive"),
            (120, zero, "inactive"),
        ],
    );
    run_timeline(
        "a resolved alert is sent for a quarter of an hour, and a new one is a new one",
        alert("A", "m > 0", 0, 0),
        300,
        &[
            (0, one, "firing sent 0..1200"),
            (300, zero, "inactive sent 0..300"),
            (600, zero, "inactive sent 0..300"),
            (900, zero, "inactive sent 0..300"),
            (1200, zero, "inactive sent 0..300"),
            (1500, zero, "inactive"),
            (1800, one, "firing sent 1800..3000"),
            (2100, zero, "inactive sent 1800..2100"),
            (2400, one, "firing sent 2400..3600"),
        ],
    );
    run_timeline(
        "a series that ends resolves its alert",
        alert("A", "m > 0", 0, 0),
        60,
        &[
            (0, one, "firing sent 0..240"),
            (60, None, "inactive sent 0..60"),
        ],
    );
}

#[test]
fn a_failing_rule_changes_nothing_and_sends_nothing() {
    let world = World::default();
    let mut group = group_of(draft(60, vec![alert("A", "m * on () n > 0", 0, 0)]));
    world.append("m", 0, 1.0);
    world.append("n{a=\"1\"}", 0, 1.0);
    let output = world.evaluate(&mut group, 0).remove(0);
    assert_eq!(summary(&group, &output), "firing sent 0..240");
    world.append("n{a=\"2\"}", 60, 1.0);
    let output = world.evaluate(&mut group, 120).remove(0);
    let shown = summary(&group, &output);
    assert!(
        shown.starts_with("firing failed: found duplicate series"),
        "{shown}"
    );
    world.append("n{a=\"2\"}", 150, STALE_NAN);
    let output = world.evaluate(&mut group, 180).remove(0);
    assert_eq!(summary(&group, &output), "firing sent 0..420");
    assert_eq!(
        world.stored("ALERTS_FOR_STATE"),
        [r#"{alertname="A"} 0=0 180=0"#]
    );
}

#[test]
fn the_state_is_stored_and_ends_with_a_stale_marker() {
    let world = World::default();
    let mut rule = alert("A", "m > 0", 60, 0);
    rule.labels = texts(&[("severity", "page")]);
    let mut group = group_of(draft(60, vec![rule]));
    for (at_s, value) in [
        (0, 0.0),
        (60, 1.0),
        (120, 1.0),
        (180, 1.0),
        (240, 0.0),
        (300, 0.0),
    ] {
        world.append("m{job=\"x\"}", at_s, value);
        world.evaluate(&mut group, at_s);
    }
    assert_eq!(
        world.stored("ALERTS"),
        [
            r#"{alertname="A", alertstate="firing", job="x", severity="page"} 120=1 180=1 240=stale"#,
            r#"{alertname="A", alertstate="pending", job="x", severity="page"} 60=1 120=stale"#,
        ]
    );
    assert_eq!(
        world.stored("ALERTS_FOR_STATE"),
        [r#"{alertname="A", job="x", severity="page"} 60=60 120=60 180=60 240=stale"#]
    );
}

#[test]
fn labels_and_annotations_are_templates() {
    let mut world = World::default();
    world.environment.external_url = "http://host:9090".to_owned();
    world.environment.external_labels = Labels::from_pairs([("cluster", "c1")]);
    world.append("m{job=\"x\", instance=\"h:1\", secret=\"s\"}", 0, 7.5);
    world.append("other{job=\"x\"}", 0, 3.0);
    let mut rule = alert("A", "m > 5", 0, 0);
    rule.labels = texts(&[
        ("job", "{{ $labels.job }}-{{ $labels.__name__ }}"),
        ("secret", "{{ with $labels.none }}x{{ end }}"),
        ("alertname", "is not taken"),
        ("plain", "}} as it is"),
        ("broken", "{{ .Nope }}"),
    ]);
    rule.annotations = texts(&[
        (
            "summary",
            "{{ $labels.instance }} has {{ $value }} in {{ $externalLabels.cluster }}",
        ),
        (
            "queried",
            "{{ with query \"other\" }}{{ . | first | value }}{{ end }} {{ query \"2\" | first | value }}",
        ),
        ("link", "{{ externalURL }}{{ graphLink \"up\" }}"),
        ("failed", "{{ query \"rate(\" }}"),
        ("empty", ""),
    ]);
    let mut group = group_of(draft(60, vec![rule]));
    let output = world.evaluate(&mut group, 0).remove(0);
    let [notice] = output.notices.as_slice() else {
        panic!("{output:?}");
    };
    let broken = "<error expanding template: error executing template __alert_A: template: \
                  __alert_A:1:115: executing \"__alert_A\" at <.Nope>: can't evaluate field Nope \
                  in type struct { Labels map[string]string; ExternalLabels map[string]string; \
                  ExternalURL string; Value interface {} }>";
    let labels = [
        ("alertname", "A"),
        ("broken", broken),
        ("instance", "h:1"),
        ("job", "x-m"),
        ("plain", "}} as it is"),
    ];
    assert_eq!(notice.labels, Labels::from_pairs(labels));
    let annotation = |name: &str| notice.annotations[name].as_str();
    assert_eq!(annotation("summary"), "h:1 has 7.5 in c1");
    assert_eq!(annotation("queried"), "3 2");
    assert_eq!(
        annotation("link"),
        "http://host:9090/graph?g0.expr=up&g0.tab=0"
    );
    assert_eq!(annotation("empty"), "");
    let failed = annotation("failed");
    assert!(
        failed.starts_with("<error expanding template: error executing template __alert_A: ")
            && failed.contains("error calling query: "),
        "{failed}"
    );
    assert_eq!(
        notice.generator_url,
        "http://host:9090/graph?g0.expr=m+%3E+5&g0.tab=1"
    );
}

#[test]
fn rules_fail_for_what_prometheus_fails_them() {
    let with_labels = |mut rule: RuleDraft, labels: &[(&str, &str)]| {
        rule.labels = texts(labels);
        rule
    };
    for (limit, rule, expected) in [
        (
            0,
            with_labels(alert("A", "m", 0, 0), &[("a", "same")]),
            "vector contains metrics with the same labelset after applying alert labels",
        ),
        (
            0,
            with_labels(recording("r", "m"), &[("a", "same")]),
            "vector contains metrics with the same labelset after applying rule labels",
        ),
        (
            1,
            alert("A", "m", 0, 0),
            "exceeded limit of 1 with 2 alerts",
        ),
        (1, recording("r", "m"), "exceeded limit of 1 with 2 series"),
        (
            0,
            recording("r", "m[1m]"),
            "rule result is not a vector or scalar",
        ),
        (
            0,
            alert("A", "\"text\"", 0, 0),
            "rule result is not a vector or scalar",
        ),
    ] {
        let world = World::default();
        world.append("m{a=\"1\"}", 0, 1.0);
        world.append("m{a=\"2\"}", 0, 1.0);
        let mut group = group_of(GroupDraft {
            limit,
            ..draft(60, vec![rule.clone()])
        });
        let output = world.evaluate(&mut group, 0).remove(0);
        let failure = output.failure.as_ref().map(|f| f.message.as_str());
        assert_eq!(failure, Some(expected), "{rule:?}");
        assert!(output.samples.is_empty() && output.notices.is_empty());
        let status = &group.status().rules[0];
        assert_eq!(status.health, RuleHealth::Err);
        assert_eq!(status.last_error.as_deref(), Some(expected));
    }
}

#[test]
fn a_rule_over_its_limit_loses_its_alerts() {
    let world = World::default();
    let mut group = group_of(GroupDraft {
        limit: 1,
        ..draft(60, vec![alert("A", "m > 0", 0, 0)])
    });
    world.append("m{a=\"1\"}", 0, 1.0);
    let output = world.evaluate(&mut group, 0).remove(0);
    assert_eq!(summary(&group, &output), "firing sent 0..240");
    world.append("m{a=\"2\"}", 60, 1.0);
    let output = world.evaluate(&mut group, 60).remove(0);
    assert_eq!(
        summary(&group, &output),
        "inactive failed: exceeded limit of 1 with 2 alerts"
    );
}

#[test]
fn later_rules_see_what_earlier_ones_recorded() {
    let world = World::default();
    let mut doubled = recording("doubled", "m * 2");
    doubled.labels = texts(&[("job", "y"), ("gone", "")]);
    let rules = vec![
        doubled,
        recording("total", "sum(doubled)"),
        recording("one", "1"),
    ];
    let mut group = group_of(GroupDraft {
        labels: texts(&[("team", "t"), ("job", "group")]),
        ..draft(60, rules)
    });
    world.append("m{job=\"x\", gone=\"g\"}", 60, 4.0);
    world.evaluate(&mut group, 60);
    world.append("m{job=\"x\", gone=\"g\"}", 120, STALE_NAN);
    world.evaluate(&mut group, 120);
    world.evaluate(&mut group, 180);
    for (metric, expected) in [
        ("doubled", r#"{job="y", team="t"} 60=8 120=stale"#),
        ("total", r#"{job="group", team="t"} 60=8 120=stale"#),
        ("one", r#"{job="group", team="t"} 60=1 120=1 180=1"#),
    ] {
        assert_eq!(world.stored(metric), [expected]);
    }
}

#[test]
fn a_query_offset_shifts_queries_and_samples() {
    let world = World::default();
    let mut group = group_of(GroupDraft {
        query_offset_ms: 60_000,
        ..draft(60, vec![recording("r", "m"), alert("A", "m == 1", 0, 0)])
    });
    world.append("m", 60, 1.0);
    world.append("m", 120, 2.0);
    let output = world.evaluate(&mut group, 120).remove(1);
    assert_eq!(world.stored("r"), ["{} 60=1"]);
    assert_eq!(
        world.stored("ALERTS_FOR_STATE"),
        [r#"{alertname="A"} 60=120"#]
    );
    assert_eq!(output.notices[0].starts_at_ms, 120_000);
}

#[test]
fn a_reload_keeps_what_has_the_same_name_and_labels() {
    let world = World::default();
    world.append("m", 0, 1.0);
    let mut labelled = alert("C", "m > 0", 0, 0);
    labelled.labels = texts(&[("a", "1")]);
    let rules = vec![
        alert("A", "m > 0", 60, 0),
        alert("B", "m > 0", 0, 0),
        labelled.clone(),
        recording("r", "m"),
        recording("gone", "m"),
    ];
    let mut old = group_of(draft(60, rules));
    world.evaluate(&mut old, 0);
    world.evaluate(&mut old, 60);

    labelled.labels = texts(&[("a", "2")]);
    let rules = vec![
        recording("r", "m * 2"),
        labelled,
        alert("B", "m > 0", 600, 0),
        alert("A", "m >= 1", 60, 60),
    ];
    let mut new = group_of(draft(60, rules));
    new.take_over(old);
    let status = new.status();
    assert_eq!(status.last_evaluation_ms, Some(60_000));
    let outputs = world.evaluate(&mut new, 120);
    let states: Vec<(String, Vec<(AlertState, i64)>)> = new
        .status()
        .rules
        .iter()
        .filter_map(|rule| {
            let alerts = &rule.alerting.as_ref()?.alerts;
            let states = alerts.iter().map(|a| (a.state, a.active_at_ms / 1000));
            Some((rule.name.clone(), states.collect()))
        })
        .collect();
    assert_eq!(
        states,
        [
            // Its labels are others, so it is another alert.
            ("C".to_owned(), vec![(AlertState::Firing, 120)]),
            // Its `for` was raised: it waits, from where it began.
            ("B".to_owned(), vec![(AlertState::Pending, 0)]),
            ("A".to_owned(), vec![(AlertState::Firing, 0)]),
        ]
    );
    // A was sent when it began to fire, a minute ago.
    let sent: Vec<usize> = outputs.iter().map(|output| output.notices.len()).collect();
    assert_eq!(sent, [0, 1, 0, 0]);
    assert_eq!(world.stored("gone"), ["{} 0=1 60=1 120=stale"]);
    assert_eq!(world.stored("r"), ["{} 0=1 60=1 120=2"]);
    assert_eq!(
        world.stored("ALERTS"),
        [
            r#"{a="1", alertname="C", alertstate="firing"} 0=1 60=1 120=stale"#,
            r#"{a="2", alertname="C", alertstate="firing"} 120=1"#,
            r#"{alertname="A", alertstate="firing"} 60=1 120=1"#,
            r#"{alertname="A", alertstate="pending"} 0=1 60=stale"#,
            r#"{alertname="B", alertstate="firing"} 0=1 60=1 120=stale"#,
            r#"{alertname="B", alertstate="pending"} 120=1"#,
        ]
    );
}

#[test]
fn a_group_that_is_gone_ends_its_series() {
    let world = World::default();
    world.append("m", 0, 1.0);
    let mut group = group_of(draft(60, vec![recording("r", "m"), alert("A", "m", 0, 0)]));
    world.evaluate(&mut group, 0);
    let markers = group.end(30_000);
    assert!(markers.iter().all(|m| m.timestamp_ms == 30_000));
    assert!(
        markers
            .iter()
            .all(|m| matches!(m.value, SampleValue::Float(v) if is_stale_nan(v)))
    );
    let names: Vec<&str> = markers
        .iter()
        .filter_map(|m| m.labels.metric_name())
        .collect();
    assert_eq!(names, ["r", "ALERTS", "ALERTS_FOR_STATE"]);
}

/// `for`, when the alert became active, how long it was down, and since when it counts as active
/// after that.
#[test]
fn alerts_are_taken_up_after_a_restart() {
    const INTERVAL_S: i64 = 60;
    for (name, for_s, active_s, down_s, expected_active_s) in [
        // 15 of 30 minutes were left; the outage of 10 minutes does not count.
        ("remaining", 1800, 900, 600, Some(600 + 60)),
        // 5 minutes were left: the grace period of 10 begins at the restoration.
        ("grace", 1800, 1500, 600, None),
        // It fired: it does so again.
        ("fired", 1800, 2400, 600, Some(0)),
        // A `for` below the grace period starts anew.
        ("short", 300, 120, 120, None),
        // An outage above the tolerance is too long.
        ("long", 1800, 900, 4000, None),
    ] {
        let world = World::default();
        let rule = alert("A", "m > 0", for_s, 0);
        let mut old = group_of(draft(60, vec![rule.clone()]));
        let mut at_s = 0;
        while at_s <= active_s {
            world.append("m", at_s, 1.0);
            world.evaluate(&mut old, at_s);
            at_s += INTERVAL_S;
        }
        let down_at_s = at_s - INTERVAL_S;
        let first_s = down_at_s + down_s;
        let restored_s = first_s + INTERVAL_S;
        let mut new = Group::new(config_of(draft(60, vec![rule])), true);
        world.append("m", first_s, 1.0);
        world.evaluate(&mut new, first_s);
        assert!(!new.restoration_is_due());
        world.append("m", restored_s, 1.0);
        world.evaluate(&mut new, restored_s);
        let alerts = new.status().rules[0]
            .alerting
            .as_ref()
            .unwrap()
            .alerts
            .clone();
        let active_at_s = alerts[0].active_at_ms / 1000;
        let expected_s = match (name, expected_active_s) {
            ("grace", _) => restored_s + 600 - 1800,
            (_, Some(seconds)) => seconds,
            (_, None) => first_s,
        };
        assert_eq!(active_at_s, expected_s, "{name}");
        // Nothing of the alert is written before it is restored.
        let since_s =
            |at_s: i64| world.stored("ALERTS_FOR_STATE")[0].contains(&format!(" {at_s}="));
        assert!(!since_s(first_s) && !since_s(restored_s), "{name}");
        world.append("m", restored_s + 60, 1.0);
        world.evaluate(&mut new, restored_s + 60);
        assert!(since_s(restored_s + 60), "{name}");
        let state = new.status().rules[0].alerting.as_ref().unwrap().state_str();
        assert_eq!(
            state,
            if name == "fired" { "firing" } else { "pending" },
            "{name}"
        );
    }
}

#[test]
fn what_had_ended_before_the_restart_is_not_taken_up() {
    let world = World::default();
    let rule = alert("A", "m > 0", 1800, 0);
    let mut old = group_of(draft(60, vec![rule.clone()]));
    for (at_s, value) in [(0, 1.0), (60, 1.0), (120, 0.0)] {
        world.append("m", at_s, value);
        world.evaluate(&mut old, at_s);
    }
    let mut new = Group::new(config_of(draft(60, vec![rule])), true);
    for at_s in [300, 360] {
        world.append("m", at_s, 1.0);
        world.evaluate(&mut new, at_s);
    }
    let alerts = &new.status().rules[0]
        .alerting
        .as_ref()
        .unwrap()
        .alerts
        .clone();
    assert_eq!(alerts[0].active_at_ms, 300_000);
}

fn script_alert(name: &str, for_s: u64, keep_firing_for_s: u64) -> ScriptAlert {
    ScriptAlert {
        name: name.to_owned(),
        labels: Labels::from_pairs([("disk", "sda")]),
        annotations: texts(&[("summary", "{{ not a template }}")]),
        value: 3.0,
        for_ms: for_s * 1000,
        keep_firing_for_ms: keep_firing_for_s * 1000,
    }
}

#[test]
fn alerts_of_scripts_live_like_those_of_rules() {
    let world = World::default();
    let mut group = Group::for_script("disk", 60_000, false);
    let failed = || Err(ScriptError::Failed("line 3: oops".to_owned()));
    let waits = || script_alert("Waits", 60, 0);
    let kept = || script_alert("Kept", 0, 120);
    for (at_s, result, expected) in [
        (0, Ok(vec![waits()]), "pending"),
        (
            60,
            Ok(vec![waits(), kept()]),
            "firing sent 60..300 sent 60..300",
        ),
        // While it fails, its alerts stay and are still told of.
        (
            180,
            failed(),
            "firing sent 60..420 sent 60..420 failed: line 3: oops",
        ),
        (
            240,
            Ok(vec![waits(), waits()]),
            "firing failed: the script gave two alerts with the same labels",
        ),
        (300, Ok(vec![]), "firing sent 60..540 sent 60..300"),
        (420, Ok(vec![]), "inactive sent 60..420 sent 60..300"),
    ] {
        let output = world.evaluate_script(&mut group, at_s, result);
        assert_eq!(summary(&group, &output), expected, "at {at_s}");
    }
    assert_eq!(
        world.stored("ALERTS"),
        [
            r#"{alertname="Kept", alertstate="firing", disk="sda"} 60=1 180=1 240=1 300=1 420=stale"#,
            r#"{alertname="Waits", alertstate="firing", disk="sda"} 60=1 180=1 240=1 300=stale"#,
            r#"{alertname="Waits", alertstate="pending", disk="sda"} 0=1 60=stale"#,
        ]
    );
    let status = group.status();
    assert_eq!(
        (status.name.as_str(), status.file.as_str()),
        ("disk", "disk.rhai")
    );
    assert_eq!(status.rules[0].health, RuleHealth::Ok);
}

#[test]
fn a_script_notice_links_to_its_alert() {
    let mut world = World::default();
    world.environment.external_url = "http://h".to_owned();
    let mut group = Group::for_script("disk", 60_000, false);
    let output = world.evaluate_script(&mut group, 0, Ok(vec![script_alert("Full", 0, 0)]));
    let notice = &output.notices[0];
    assert_eq!(
        notice.generator_url,
        "http://h/graph?g0.expr=ALERTS%7Balertname%3D%22Full%22%7D&g0.tab=1"
    );
    assert_eq!(notice.annotations["summary"], "{{ not a template }}");
    assert_eq!(
        notice.labels,
        Labels::from_pairs([("alertname", "Full"), ("disk", "sda")])
    );
}

#[test]
fn faults_of_rules_are_told_in_upstreams_words() {
    let with = |mut rule: RuleDraft, change: fn(&mut RuleDraft)| {
        change(&mut rule);
        rule
    };
    let record = || recording("r", "1");
    let fires = || alert("A", "1", 0, 0);
    for (scheme, rule, place, message) in [
        (
            NameScheme::Utf8,
            with(record(), |r| r.alert = "A".into()),
            "record",
            "only one of 'record' and 'alert' must be set",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.record.clear()),
            "",
            "one of 'record' or 'alert' must be set",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.expr.clear()),
            "expr",
            "field 'expr' must be set in rule",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.expr = "rate(m)".into()),
            "expr",
            "could not parse expression: 1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.annotations = texts(&[("a", "b")])),
            "annotations",
            "invalid field 'annotations' in recording rule",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.for_ms = 1),
            "for",
            "invalid field 'for' in recording rule",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.keep_firing_for_ms = 1),
            "keep_firing_for",
            "invalid field 'keep_firing_for' in recording rule",
        ),
        (
            NameScheme::Legacy,
            with(record(), |r| r.record = "a-b".into()),
            "record",
            "invalid recording rule name: a-b",
        ),
        (
            NameScheme::Utf8,
            with(record(), |r| r.record = "a{b=\"c\"}".into()),
            "record",
            "braces present in the recording rule name; should it be in expr?: a{b=\"c\"}",
        ),
        (
            NameScheme::Utf8,
            with(fires(), |r| r.labels = texts(&[("__name__", "x")])),
            "labels",
            "invalid label name: __name__",
        ),
        (
            NameScheme::Legacy,
            with(fires(), |r| r.labels = texts(&[("a-b", "x")])),
            "labels",
            "invalid label name: a-b",
        ),
        (
            NameScheme::Legacy,
            with(fires(), |r| r.annotations = texts(&[("ins-tance", "x")])),
            "annotations",
            "invalid annotation name: ins-tance",
        ),
        (
            NameScheme::Utf8,
            with(fires(), |r| r.labels = texts(&[("a", "{{ $nope }}")])),
            "labels",
            "label \"a\": template: __alert_A:1: undefined variable \"$nope\"",
        ),
        (
            NameScheme::Utf8,
            with(fires(), |r| r.annotations = texts(&[("a", "{{ nope }}")])),
            "annotations",
            "annotation \"a\": template: __alert_A:1: function \"nope\" not defined",
        ),
    ] {
        let name = rule.name().to_owned();
        let faults = check_group(draft(60, vec![fires(), rule]), scheme, &parse).unwrap_err();
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}");
        };
        assert_eq!(
            (fault.place.rule, fault.place.field),
            (Some(1), place),
            "{message}"
        );
        assert_eq!(fault.message, message);
        assert_eq!(
            fault.to_string(),
            format!("group \"group\", rule 2, {}: {message}", quoted(&name))
        );
    }
    let legal = with(fires(), |r| {
        r.labels = texts(&[("a-b", "{{ $value }}")]);
        r.annotations = texts(&[("ins-tance", "x")]);
    });
    assert!(check_group(draft(60, vec![legal]), NameScheme::Utf8, &parse).is_ok());
    let nameless = GroupDraft {
        name: String::new(),
        labels: texts(&[("__name__", "x")]),
        ..draft(60, vec![])
    };
    let faults = check_group(nameless, NameScheme::Utf8, &parse).unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "group \"\": Groupname must not be empty",
            "group \"\": invalid label name: __name__"
        ]
    );
    assert_eq!(repeated_group_names(["a", "b", "a", "a"]), ["a", "a"]);
    let same = config_of(draft(60, vec![record(), fires(), record()]));
    assert_eq!(duplicate_rules(&[same]).len(), 1);
}

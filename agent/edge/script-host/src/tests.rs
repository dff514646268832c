//! Scripts as users write them, good and bad, against series given by the test.

use std::alloc::System;
use std::sync::Arc;

use narthex_extension::{
    AlertScript, EvaluateContext, Query, QuerySeries, ScriptAlert, ScriptError,
};
use narthex_model::{CancelToken, Labels};

use crate::CountingAllocator;
use crate::config::{Config, Limits};
use crate::host::{ScriptHost, ScriptState};
use crate::script::Script;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

/// Answers every query with the series it holds; an expression "fails" fails.
struct Fixed(Vec<QuerySeries>);

impl Query for Fixed {
    fn instant(&self, expr: &str, _at_ms: i64) -> Result<Vec<QuerySeries>, String> {
        if expr == "fails" {
            Err("1:1: parse error: no".to_owned())
        } else {
            Ok(self.0.clone())
        }
    }

    fn range(&self, expr: &str, _: i64, _: i64, _: i64) -> Result<Vec<QuerySeries>, String> {
        self.instant(expr, 0)
    }
}

fn load(source: &str) -> Result<Script, String> {
    let limits = Limits {
        time_ms: 2_000,
        ..Limits::default()
    };
    Script::load("test", source, &limits, None, Arc::default())
}

fn series(instance: &str, values: &[f64]) -> QuerySeries {
    let at_ms = (0..).map(|i| i * 60_000);
    QuerySeries {
        labels: Labels::from_pairs([("__name__", "m"), ("instance", instance)]),
        samples: at_ms.zip(values.iter().copied()).collect(),
    }
}

fn run(script: &Script, series: Vec<QuerySeries>) -> Result<Vec<ScriptAlert>, ScriptError> {
    script.evaluate(&EvaluateContext {
        now_ms: 600_000,
        query: Arc::new(Fixed(series)),
        cancel: CancelToken::default(),
    })
}

fn names_and_labels(alerts: &[ScriptAlert]) -> Vec<String> {
    alerts
        .iter()
        .map(|alert| format!("{}{}", alert.name, alert.labels))
        .collect()
}

#[test]
fn returns_alerts_with_labels_value_and_times() {
    let script = load(
        r#"
        const INTERVAL = "30s";
        fn evaluate(ctx) {
            ctx.query("m").above(5).map(|s| #{
                name: "High", series: s, labels: #{ severity: "warning", n: 1 },
                annotations: #{ summary: `${s.label("instance")} is at ${fixed(s.value, 1)}` },
                "for": "5m", keep_firing_for: "1m",
            })
        }"#,
    )
    .unwrap();
    assert_eq!(script.interval_ms(), Some(30_000));
    let alerts = run(&script, vec![series("a", &[9.0]), series("b", &[1.0])]).unwrap();
    assert_eq!(
        names_and_labels(&alerts),
        [r#"High{instance="a", n="1", severity="warning"}"#]
    );
    assert_eq!(alerts[0].annotations["summary"], "a is at 9.0");
    assert_eq!(
        (
            alerts[0].value,
            alerts[0].for_ms,
            alerts[0].keep_firing_for_ms
        ),
        (9.0, 300_000, 60_000)
    );
}

#[test]
fn helpers() {
    for (expression, expected) in [
        ("s.forecast(\"10m\")", "[14.0]"),
        ("s.slope()", "[0.016666666666666666]"),
        ("s.seconds_until(8)", "[240.0]"),
        ("s.seconds_until(-8)", "[]"),
        ("s.mean_over_time()", "[2.0]"),
        ("s.min_over_time()", "[0.0]"),
        ("s.max_over_time()", "[4.0]"),
        ("s.zscore()", "[1.414213562373095]"),
        ("s.thresholds(#{warning: 3, critical: 3.5})", "[4.0]"),
        ("s.filter(|x| x.label(\"instance\") == \"b\")", "[]"),
        ("s.with_label(\"x\", \"y\")", "[4.0]"),
    ] {
        let source = format!(
            "fn evaluate(ctx) {{ let s = ctx.query_range(\"m\", \"5m\", \"1m\"); \
             let values = ({expression}).map(|x| x.value); throw values.to_string() }}"
        );
        let script = load(&source).unwrap();
        let error = run(&script, vec![series("a", &[0.0, 1.0, 2.0, 3.0, 4.0])]).unwrap_err();
        assert!(
            error.to_string().ends_with(expected),
            "{expression}: {error}"
        );
    }
}

#[test]
fn thresholds_name_the_highest_level() {
    let script = load(
        r#"fn evaluate(ctx) {
            ctx.query("m").thresholds(#{ warning: 80, critical: 90 }).map(|s| #{ name: "X", series: s })
        }"#,
    )
    .unwrap();
    let given = vec![
        series("a", &[85.0]),
        series("b", &[95.0]),
        series("c", &[10.0]),
    ];
    assert_eq!(
        names_and_labels(&run(&script, given).unwrap()),
        [
            r#"X{instance="a", severity="warning"}"#,
            r#"X{instance="b", severity="critical"}"#
        ]
    );
}

#[test]
fn hysteresis_holds_between_the_two_bounds_and_survives_a_new_version() {
    let source = r#"fn evaluate(ctx) {
        ctx.hysteresis("h", ctx.query("m"), 80, 70).map(|s| #{ name: "X", series: s })
    }"#;
    let memory = Arc::default();
    let load = || Script::load("t", source, &Limits::default(), None, Arc::clone(&memory)).unwrap();
    let mut script = load();
    for (step, (value, active)) in [
        (75.0, 0),
        (81.0, 1),
        (75.0, 1),
        (71.0, 1),
        (69.0, 0),
        (75.0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            run(&script, vec![series("a", &[value])]).unwrap().len(),
            active,
            "step {step}"
        );
        script = load();
    }
}

#[test]
fn state_is_kept_only_if_the_evaluation_succeeds() {
    let script = load(
        r#"fn evaluate(ctx) {
            if !("n" in ctx.state) { ctx.state.n = 0; }
            ctx.state.n += 1;
            if ctx.state.n == 3 && ctx.query("m").is_empty() { throw "third"; }
            [#{ name: "N", value: ctx.state.n }]
        }"#,
    )
    .unwrap();
    let values: Vec<_> = (0..3)
        .map(|_| run(&script, vec![]).map(|alerts| alerts[0].value))
        .collect();
    assert_eq!(values[..2], [Ok(1.0), Ok(2.0)]);
    assert_eq!(
        values[2],
        Err(ScriptError::Failed("test.rhai:4:64: third".to_owned()))
    );
    assert_eq!(
        run(&script, vec![series("a", &[1.0])]).unwrap()[0].value,
        3.0
    );
}

#[test]
fn what_cannot_be_loaded_is_told_with_its_place() {
    for (source, expected) in [
        ("fn evaluate(ctx) {\n  let x = ;\n}", "test.rhai:2:11: "),
        (
            "fn other(ctx) { }",
            "test.rhai: no function `evaluate(ctx)`",
        ),
        (
            "const INTERVAL = \"5x\"; fn evaluate(ctx) { }",
            "const INTERVAL: not a valid duration",
        ),
        (
            "const INTERVAL = 5; fn evaluate(ctx) { }",
            "const INTERVAL: expected a duration",
        ),
        ("fn evaluate(ctx) { eval(\"1\") }", "test.rhai:1:"),
        ("import \"x\" as x; fn evaluate(ctx) { }", "test.rhai:1:"),
    ] {
        let error = load(source)
            .err()
            .unwrap_or_else(|| panic!("loaded: {source}"));
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn every_limit_ends_the_run_and_is_named() {
    for (body, expected) in [
        ("loop { }", "operations"),
        ("let i = 0; while true { i += 1; }", "operations"),
        ("fn f(x) { f(x + 1) } f(0)", "call_depth"),
        ("let s = \"x\"; loop { s += s; }", "Length of string"),
        ("let a = []; loop { a.push(1); }", "Size of array"),
        (
            "let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }",
            "",
        ),
        (
            "let a = []; let s = \"x\"; while s.len < 100000 { s += s; } loop { a.push(s + a.len); }",
            "",
        ),
        (
            "ctx.state.x = \"y\".to_string(); ctx.state.x.pad(100000, 'x'); []",
            "ctx.state",
        ),
        (
            "let a = []; while a.len < 2000 { a.push(#{name: `a${a.len}`}); } a",
            "scripts.limits.alerts",
        ),
    ] {
        // A function inside a function is no Rhai: the helper goes to the top.
        let (top, body) = body
            .split_once("} f(0)")
            .map_or(("", body), |(f, _)| (f, "f(0)"));
        let top = if top.is_empty() {
            String::new()
        } else {
            format!("{top}}}")
        };
        let script = load(&format!("{top} fn evaluate(ctx) {{ {body} }}")).unwrap();
        let text = match run(&script, vec![]) {
            Err(ScriptError::LimitExceeded(text) | ScriptError::Failed(text)) => text,
            other => panic!("{body}: {other:?}"),
        };
        assert!(text.contains(expected), "{body}: {text}");
    }
}

#[test]
fn a_canceled_run_ends() {
    let cancel = CancelToken::default();
    cancel.cancel(narthex_model::CancelReason::Canceled);
    let limits = Limits {
        operations: 0,
        ..Limits::default()
    };
    let script = Script::load(
        "t",
        "fn evaluate(ctx) { loop { } }",
        &limits,
        None,
        Arc::default(),
    )
    .unwrap();
    let context = EvaluateContext {
        now_ms: 0,
        query: Arc::new(Fixed(vec![])),
        cancel,
    };
    assert!(
        script
            .evaluate(&context)
            .unwrap_err()
            .to_string()
            .contains("canceled")
    );
}

#[test]
fn what_is_no_alert_is_told() {
    for (returned, expected) in [
        ("42", "must return an array"),
        ("[1]", "alert 0: expected a map"),
        ("[#{ }]", "the field name is missing"),
        ("[#{ name: \"a\", nmae: \"b\" }]", "unknown field \"nmae\""),
        ("[#{ name: \"a\", \"for\": 5 }]", "for: expected a string"),
        ("[#{ name: \"a\", \"for\": \"5 minutes\" }]", "for: "),
        (
            "[#{ name: \"a\" }, #{ name: \"a\" }]",
            "alerts 0 and 1 are both a",
        ),
        (
            "[#{ name: \"a\", labels: #{ alertname: \"x\" } }]",
            "cannot be set here",
        ),
        ("ctx.query(\"fails\")", "query failed: 1:1: parse error"),
        ("unknown_function()", "test.rhai:1:"),
    ] {
        let script = load(&format!("fn evaluate(ctx) {{ {returned} }}")).unwrap();
        let error = run(&script, vec![]).unwrap_err().to_string();
        assert!(error.contains(expected), "{returned}: {error}");
    }
}

#[test]
fn params_of_the_configuration_go_over_the_scripts_own() {
    let source = "const PARAMS = #{ a: 1, b: 2 }; \
                  fn evaluate(ctx) { [#{ name: \"x\", value: ctx.params.a * 10 + ctx.params.b }] }";
    let params = serde_json::json!({ "b": 5 });
    let script = Script::load(
        "t",
        source,
        &Limits::default(),
        Some(&params),
        Arc::default(),
    )
    .unwrap();
    assert_eq!(run(&script, vec![]).unwrap()[0].value, 15.0);
}

#[test]
fn the_host_follows_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.rhai");
    let config = Config {
        directory: folder.path().to_owned(),
        limits: Limits::default(),
        params: Default::default(),
    };
    let host = ScriptHost::new(&prometheus::Registry::new()).unwrap();
    let sync = || {
        let (scripts, changed) = host.sync(&config);
        (scripts.len(), changed)
    };
    assert_eq!(sync(), (0, false));
    std::fs::write(&file, "fn evaluate(ctx) { [] }").unwrap();
    assert_eq!(sync(), (1, true));
    assert_eq!(sync(), (1, false));
    std::fs::write(&file, "fn evaluate(ctx) { [ }").unwrap();
    assert_eq!(sync(), (1, false));
    let status = host.status().remove(0);
    assert_eq!(status.state, ScriptState::LoadedPrevious);
    assert!(status.load_error.unwrap().starts_with("a.rhai:1:"));
    std::fs::write(&file, "fn evaluate(ctx) { () }").unwrap();
    assert_eq!(sync(), (1, true));
    assert_eq!(host.status()[0].load_error, None);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(sync(), (0, true));
}

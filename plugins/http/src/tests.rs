//! Servers, good and bad, as the plugin meets them.

use narthex_plugin_sdk::fake::{Host, Level, Reply};
use narthex_plugin_sdk::testing::{self, Outcome};
use narthex_plugin_sdk::{CallError, HttpErrorCode};

use super::*;

const URL: &str = "http://list/targets";

fn run(host: &Host, config: &str) -> Vec<Vec<String>> {
    let discovery: HttpDiscovery = testing::discovery(config, "/etc/narthex").unwrap();
    assert_eq!(testing::run(discovery), Outcome::Waits);
    assert_eq!(host.open_subscriptions(), 0);
    let publications = host.published();
    publications.iter().map(|groups| lines(groups)).collect()
}

/// `source: addresses {labels}` for each group.
fn lines(groups: &[TargetGroup]) -> Vec<String> {
    let line = |group: &TargetGroup| {
        let targets: Vec<&str> = group.targets.iter().map(|t| t[0].1.as_str()).collect();
        let labels = group
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let labels: Vec<String> = labels.collect();
        format!(
            "{}: {} {}",
            group.source,
            targets.join(","),
            labels.join(",")
        )
    };
    groups.iter().map(line).collect()
}

fn errors(host: &Host) -> Vec<String> {
    let errors = host.logged().into_iter();
    let errors = errors.filter(|(level, _)| *level == Level::Error);
    errors.map(|(_, message)| message).collect()
}

fn config(rest: &str) -> String {
    format!(r#"{{"url": "{URL}"{rest}}}"#)
}

#[test]
fn configurations_are_checked() {
    let host = Host::install();
    for (json, expected) in [
        (r#"{"url": "http://a"}"#, ""),
        (
            r#"{"url": "HTTPS://u:p@a:1/x?y", "refresh_interval": "10s"}"#,
            "",
        ),
        (
            r#"{"url": "http://a", "basic_auth": {"username": "u"}, "follow_redirects": false}"#,
            "",
        ),
        ("{}", "missing field `url`"),
        (
            r#"{"url": ""}"#,
            "url: expected the URL of the server to ask",
        ),
        (
            r#"{"url": "ftp://a"}"#,
            "url: \"ftp://a\" does not begin with http:// or https://",
        ),
        (r#"{"url": "a/b"}"#, "url: \"a/b\" does not begin with http"),
        (r#"{"url": "http:///x"}"#, "url: \"http:///x\" has no host"),
        (
            r#"{"url": "http://u@/x"}"#,
            "url: \"http://u@/x\" has no host",
        ),
        (
            r#"{"url": "http://a", "refresh_interval": "1"}"#,
            "refresh_interval: not a valid duration: \"1\"",
        ),
        (
            r#"{"url": "http://a", "refresh_interval": "0s"}"#,
            "refresh_interval: must be more than 0",
        ),
        (
            r#"{"url": "http://a", "refresh": "1m"}"#,
            "refresh: unknown field `refresh`, expected `url` or `refresh_interval`",
        ),
    ] {
        let made = testing::discovery::<HttpDiscovery>(json, "/");
        let error = made.err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.starts_with(expected), "{json}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
    }
    host.fail_clients(Some(ConfigError::new("tls_config.ca_file", "no such file")));
    let config = r#"{"url": "http://a", "tls_config": {"ca_file": "x"}}"#;
    let made = testing::discovery::<HttpDiscovery>(config, "/");
    let error = made.err().unwrap().to_string();
    assert_eq!(error, "tls_config.ca_file: no such file");
}

#[test]
fn asks_as_prometheus_does() {
    let host = Host::install();
    host.answer("GET", URL, Reply::json("[]"));
    let config = config(r#", "refresh_interval": "1500ms", "bearer_token": "x""#);
    assert_eq!(run(&host, &config), [[""; 0]]);
    let asked = &host.asked()[0];
    assert_eq!(asked.header("Accept"), Some("application/json"));
    assert_eq!(
        asked.header("X-Prometheus-Refresh-Interval-Seconds"),
        Some("1.5")
    );
    assert_eq!(
        asked.options,
        Some(serde_json::json!({"bearer_token": "x"}))
    );
}

#[test]
fn follows_what_the_server_says() {
    let host = Host::install();
    for body in [
        r#"[{"targets": ["a:1", "b:1"], "labels": {"env": "x", "__meta_url": "y"}}, {"targets": ["c:1"]}]"#,
        // The same again: nothing to tell.
        r#"[{"targets": ["a:1", "b:1"], "labels": {"env": "x"}}, {"targets": ["c:1"]}]"#,
        r#"[{"targets": ["a:1"]}]"#,
        "null",
    ] {
        host.answer("GET", URL, Reply::json(body));
    }
    host.then_pass_ms(3 * 60_000);
    assert_eq!(
        run(&host, &config("")),
        [
            vec![
                format!("{URL}:0: a:1,b:1 __meta_url={URL},env=x"),
                format!("{URL}:1: c:1 __meta_url={URL}"),
            ],
            vec![
                format!("{URL}:0: a:1 __meta_url={URL}"),
                format!("{URL}:1:  "),
            ],
            vec![format!("{URL}:0:  ")],
        ]
    );
    assert_eq!(errors(&host), [""; 0]);
    assert_eq!(host.asked().len(), 4);
}

#[test]
fn what_is_wrong_keeps_the_last_good_groups() {
    let good = |address: &str| Reply::json(format!(r#"[{{"targets": ["{address}"]}}]"#));
    let typed = |content_type: &str| {
        Reply::new(200)
            .header("content-type", content_type)
            .body("[]")
    };
    let cases = [
        (
            Reply::new(503),
            "the server answered with status 503, not 200",
        ),
        (
            Reply::new(204),
            "the server answered with status 204, not 200",
        ),
        (
            Reply::new(200).body("[]"),
            "the answer's content type is \"\"",
        ),
        (
            typed("text/plain"),
            "the answer's content type is \"text/plain\"",
        ),
        (
            typed("application/json; charset=latin1"),
            "the answer's content type",
        ),
        (typed("application/json;"), "the answer's content type"),
        (Reply::json("[{"), "EOF while parsing"),
        (Reply::json("{}"), "invalid type: map, expected a sequence"),
        (Reply::json("[null]"), "group 0 is null"),
        (Reply::json(r#"[{"target": []}]"#), "unknown field `target`"),
        (Reply::json("[] []"), "trailing characters"),
        (Reply::json(b"[\xff]"), ""),
        (
            Reply::fails(HttpErrorCode::Connection, "connection refused"),
            "connection refused",
        ),
        (
            Reply::json("[").then_fails(HttpErrorCode::Connection, "reset"),
            "reset",
        ),
        (good("late:1").after_ms(60_001), "no answer within 1m"),
        (Reply::json("[").stays_open(), "no answer within 1m"),
    ];
    for (bad, expected) in cases {
        let host = Host::install();
        host.answer("GET", URL, good("a:1"))
            .answer("GET", URL, bad.clone())
            .answer("GET", URL, good("b:1"));
        host.then_pass_ms(121_000);
        let publication = |address: &str| vec![format!("{URL}:0: {address} __meta_url={URL}")];
        assert_eq!(
            run(&host, &config("")),
            [publication("a:1"), publication("b:1")],
            "{bad:?}"
        );
        let errors = errors(&host);
        assert_eq!(errors.len(), 1, "{bad:?}: {errors:?}");
        let text = errors[0].strip_prefix("http://list/targets: ").unwrap();
        assert!(text.starts_with(expected), "{bad:?}: {text}");
        let failures = [
            ("prometheus_sd_http_failures_total".to_owned(), 1.0),
            ("prometheus_sd_refresh_failures_total".to_owned(), 1.0),
        ];
        assert_eq!(host.telemetry(), failures.into());
    }
}

#[test]
fn content_types() {
    for (content_type, expected) in [
        ("application/json", true),
        (" Application/JSON ", true),
        ("application/json;charset=utf-8", true),
        ("application/json; charset=\"UTF-8\"", true),
        ("application/json; charset=utf-16", false),
        ("application/jsonl", false),
        ("text/json", false),
    ] {
        assert_eq!(is_json(content_type), expected, "{content_type}");
    }
}

/// The host keeps the targets of the run before until something is published.
#[test]
fn nothing_is_said_before_the_first_good_answer() {
    let host = Host::install();
    host.answer("GET", URL, Reply::new(500));
    host.then_pass_ms(30_000);
    assert_eq!(run(&host, &config("")), [[""; 0]; 0]);
    assert_eq!(errors(&host).len(), 1);
}

#[test]
fn what_the_host_refuses_is_tried_again() {
    let host = Host::install();
    host.answer("GET", URL, Reply::json(r#"[{"targets": ["a:1"]}]"#));
    host.fail_publishing(Some(CallError::Limit("too many targets".to_owned())));
    host.then(|host| {
        host.fail_publishing(None);
    });
    host.then_pass_ms(60_000);
    assert_eq!(run(&host, &config("")).len(), 1);
    assert_eq!(errors(&host), ["http://list/targets: too many targets"]);
}

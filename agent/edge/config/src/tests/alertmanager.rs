//! `alertmanager.yml`: what is refused, what is inherited, what is only noted.

use narthex_model::MatchOp;
use narthex_notify::WebhookUrl;

use super::load_files;
use crate::{ConfigError, Loaded};

fn load(text: &str) -> Result<Loaded, ConfigError> {
    load_files(&[("prometheus.yml", ""), ("alertmanager.yml", text)])
}

const RECEIVERS: &str = "receivers: [{name: a}, {name: b}]\n";

#[test]
fn refused() {
    for (text, expected) in [
        ("", "1:1: no route provided in config"),
        (
            "route:\nreceivers: [{name: a}]\n",
            "1:1: route: no routes provided",
        ),
        (
            "route: {}\nreceivers: [{name: a}]\n",
            "root route must specify a default receiver",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n- name: a\n",
            "4:9: receivers[1].name: notification config name \"a\" is not unique",
        ),
        (
            "route: {receiver: x}\nreceivers: [{name: a}]\n",
            "1:19: route.receiver: undefined receiver \"x\" used in route",
        ),
        (
            "route:\n  receiver: a\n  routes:\n  - routes:\n    - receiver: x\nreceivers: [{name: a}]\n",
            "5:17: route.routes[0].routes[0].receiver: undefined receiver \"x\" used in route",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}, {}]\n",
            "2:24: receivers[1]: `name` is missing",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a, labels: {name: other}}]\n",
            "2:38: receivers[0].labels.name: the label `name`",
        ),
        (
            "route: {receiver: a, routes: [{mute_time_intervals: [x]}]}\nreceivers: [{name: a}]\n",
            "undefined time interval \"x\" used in route",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{}]\n",
            "3:18: time_intervals[0]: `name` is missing",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x}]\nmute_time_intervals: [{name: x}]\n",
            "4:30: mute_time_intervals[0].name: mute time interval \"x\" is not unique",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{times: [{start_time: '17:00', end_time: '09:00'}]}]}]\n",
            "3:54: time_intervals[0].time_intervals[0].times[0]: start_time 17:00 must be before",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: x, time_intervals: [{location: Nowhere/Atall}]}]\n",
            "3:56: time_intervals[0].time_intervals[0].location: unknown time zone",
        ),
        (
            "route: {receiver: a, group_by: [a, b, a]}\nreceivers: [{name: a}]\n",
            "duplicated label \"a\" in group_by",
        ),
        (
            "route: {receiver: a, group_by: ['...', a]}\nreceivers: [{name: a}]\n",
            "cannot have wildcard group_by",
        ),
        (
            "route: {receiver: a, matchers: [a=b]}\nreceivers: [{name: a}]\n",
            "root route must not have any matchers",
        ),
        (
            "route: {receiver: a, match: {a: b}}\nreceivers: [{name: a}]\n",
            "root route must not have any matchers",
        ),
        (
            "route: {receiver: a, continue: true}\nreceivers: [{name: a}]\n",
            "cannot have continue in root route",
        ),
        (
            "route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]\n",
            "group_interval cannot be zero",
        ),
        (
            "route: {receiver: a, repeat_interval: 0s}\nreceivers: [{name: a}]\n",
            "repeat_interval cannot be zero",
        ),
        (
            "route: {receiver: a, routes: [{matchers: ['a=~(']}]}\nreceivers: [{name: a}]\n",
            "1:43: route.routes[0].matchers[0]: invalid regular expression",
        ),
        (
            "route: {receiver: a, routes: [{matchers: ['a']}]}\nreceivers: [{name: a}]\n",
            "1:43: route.routes[0].matchers[0]: bad matcher format",
        ),
        (
            "route: {receiver: a, routes: [{match_re: {a: '('}}]}\nreceivers: [{name: a}]\n",
            "1:46: route.routes[0].match_re.a: invalid regular expression",
        ),
        (
            "rout: {receiver: a}\n",
            "1:1: rout: unknown field; did you mean `route`?",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs: [null]\n",
            "4:21: receivers[0].webhook_configs[0]: empty entry: expected webhook_config",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs: [{}]\n",
            "one of `url`, `url_file` must be set",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs: [{url: 'ftp://x'}]\n",
            "4:27: receivers[0].webhook_configs[0].url: expected a URL",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n  webhook_configs: [{url: 'http://x/{{ .A'}]\n",
            "4:27: receivers[0].webhook_configs[0].url: template: ",
        ),
        (
            "route: {receiver: a}\nreceivers:\n- name: a\n  slack_configs: [{channel: c}]\n",
            "no global Slack API URL or app token set",
        ),
        (
            "global: {smtp_smarthost: localhost}\nroute: {receiver: a}\nreceivers: [{name: a}]\n",
            "expected host:port",
        ),
        (
            "global: {smtp_smarthost: 'localhost:'}\nroute: {receiver: a}\nreceivers: [{name: a}]\n",
            "expected host:port",
        ),
    ] {
        let error = load(text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn accepted() {
    for text in [
        "route: {receiver: a, group_by: [b], routes: [{group_by: []}]}\n",
        "route: {receiver: a, group_by: ['-not-legacy-']}\n",
        "route: {receiver: a, routes: [{matchers: a=b}]}\n",
        "route: {receiver: a}\nglobal: {smtp_smarthost: '[fd12::1]:25'}\n",
        "route: {receiver: a}\nglobal: {smtp_smarthost: ':25'}\n",
        "route: {receiver: a}\ninhibit_rules: [null]\n",
        "route: {receiver: a}\ntemplates: [none/*.tmpl]\n",
        "route: {receiver: a, routes: [{active_time_intervals: [x]}]}\ntime_intervals: [{name: x, time_intervals: [{weekdays: ['monday:friday'], location: Europe/Berlin, years: [2020], days_of_month: ['1:-1']}]}]\n",
    ] {
        if let Err(error) = load(&format!("{text}{RECEIVERS}")) {
            panic!("{text}\n{error}");
        }
    }
}

#[test]
fn routes_and_webhooks() {
    let loaded = load(
        "
global:
  resolve_timeout: 7m
  http_config: {follow_redirects: false}
route:
  receiver: a
  group_wait: 1s
  routes:
  - match: {severity: page}
    match_re: {job: 'n.*'}
    matchers: ['a!=\"b\"']
    continue: true
    receiver: b
receivers:
- name: a
  webhook_configs:
  - url: http://127.0.0.1:5001/{{ .GroupLabels.a }}
    max_alerts: 3
    timeout: 2s
- name: b
  webhook_configs:
  - url_file: url.txt
    send_resolved: false
    http_config: {}
    payload: {a: b}
  email_configs: []
  pagerduty_configs:
  - routing_key: hush
inhibit_rules:
- source_matchers: [a=b]
  equal: [c]
",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let notify = loaded.notify.unwrap();
    assert_eq!(notify.routing.resolve_timeout_ms, 7 * 60_000);
    assert_eq!(notify.routing.route.group_wait_ms, Some(1_000));
    let child = &notify.routing.route.routes[0];
    assert!(child.continue_matching);
    let mut matchers: Vec<(&str, MatchOp)> = child
        .matchers
        .iter()
        .map(|matcher| (&*matcher.name, matcher.op))
        .collect();
    matchers.sort();
    assert_eq!(
        matchers,
        [
            ("a", MatchOp::NotEqual),
            ("job", MatchOp::Regex),
            ("severity", MatchOp::Equal)
        ]
    );
    let first = &notify.receivers[0].webhooks[0];
    assert!(
        matches!(&first.url, WebhookUrl::Inline(url) if url.0.ends_with("{{ .GroupLabels.a }}"))
    );
    assert!(first.send_resolved && !first.http.follow_redirects);
    assert_eq!((first.max_alerts, first.timeout_ms), (3, 2_000));
    let second = &notify.receivers[1].webhooks[0];
    assert!(matches!(&second.url, WebhookUrl::File(path) if path.ends_with("url.txt")));
    // A block of its own replaces the global one as a whole.
    assert!(!second.send_resolved && second.http.follow_redirects);
    assert_eq!(notify.routing.inhibit_rules[0].source_matchers.len(), 1);

    assert!(!notify.original.contains("hush") && !notify.original.contains("5001"));
    let notices = loaded.notices.join("\n");
    for part in [
        "receivers[1].pagerduty_configs: pagerduty is not supported yet: the receiver \"b\" sends nothing",
        "receivers[1].webhook_configs[0].payload: a payload of one's own is not supported yet",
    ] {
        assert!(notices.contains(part), "{part} in {notices}");
    }
    assert!(!notices.contains("email"), "{notices}");
}

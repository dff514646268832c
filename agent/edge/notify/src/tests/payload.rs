//! The JSON that webhooks get.

use narthex_alerting::config::{Integration, Receiver};
use narthex_alerting::{Action, Alert, CheckedConfig, Event, Notification, Router};

use super::*;
use crate::expand::Expander;
use crate::payload::Data;

const START_MS: i64 = 1_700_000_000_000;

/// The notification that these alerts give, grouped by `alertname`, at their start.
fn notification(alerts: Vec<PostedAlert>, route_labels: &[(&str, &str)]) -> Notification {
    let mut routing = config(Vec::new()).routing;
    routing.route.receiver = Some("team.a".to_owned());
    routing.route.group_wait_ms = Some(0);
    let labels = route_labels.iter();
    routing.route.labels = labels
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    let receivers = vec![Receiver {
        name: "team.a".to_owned(),
        integrations: vec![Integration {
            kind: "webhook".to_owned(),
            identity: "w".to_owned(),
            revision: 0,
            send_resolved: true,
        }],
    }];
    let checked = CheckedConfig::new(&routing, receivers, &|_| None).unwrap();
    let mut router = Router::new(checked, START_MS, START_MS);
    let (timeout_ms, names) = (router.resolve_timeout_ms(), router.label_names());
    let admit = |alert| Alert::admit(alert, START_MS, timeout_ms, names).unwrap();
    let alerts = alerts.into_iter().map(admit).collect();
    let actions = router.step(START_MS, Event::Alerts(alerts));
    match actions.into_iter().next() {
        Some(Action::Notify(notification)) => notification,
        other => panic!("no notification but {other:?}"),
    }
}

fn posted(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> PostedAlert {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    };
    PostedAlert {
        labels: map(labels),
        annotations: map(annotations),
        generator_url: "http://prometheus.example/graph".to_owned(),
        ..PostedAlert::default()
    }
}

fn two_alerts() -> Vec<PostedAlert> {
    let shared = [("alertname", "Down"), ("job", "node")];
    let with = |instance, severity, times: (i64, Option<i64>)| PostedAlert {
        starts_at_ms: Some(START_MS - times.0),
        ends_at_ms: times.1.map(|ago| START_MS - ago),
        ..posted(
            &[
                shared[0],
                shared[1],
                ("instance", instance),
                ("severity", severity),
            ],
            &[("runbook", "http://r"), ("summary", instance)],
        )
    };
    vec![
        with("b", "warning", (1500, None)),
        with("a", "critical", (3000, Some(10))),
    ]
}

fn json(notification: &Notification, max_alerts: u64) -> String {
    let (mut data, truncated) = Data::new(notification, "http://narthex.example", max_alerts);
    let expander = Expander::new(&data, &notification.route_labels, START_MS);
    data.route_labels = expander.route_labels().unwrap();
    let bytes = data
        .webhook_json(&notification.group_key, truncated)
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_webhook_is_version_4_to_the_letter() {
    let notification = notification(two_alerts(), &[("team", "{{ .GroupLabels.alertname }}s")]);
    let expected = concat!(
        r#"{"receiver":"team\\.a","status":"firing","alerts":["#,
        r#"{"status":"resolved","labels":{"alertname":"Down","instance":"a","job":"node","severity":"critical"},"#,
        r#""annotations":{"runbook":"http://r","summary":"a"},"#,
        r#""startsAt":"2023-11-14T22:13:17Z","endsAt":"2023-11-14T22:13:19.99Z","#,
        r#""generatorURL":"http://prometheus.example/graph","fingerprint":"42bbed5f33d35da7"},"#,
        r#"{"status":"firing","labels":{"alertname":"Down","instance":"b","job":"node","severity":"warning"},"#,
        r#""annotations":{"runbook":"http://r","summary":"b"},"#,
        r#""startsAt":"2023-11-14T22:13:18.5Z","endsAt":"0001-01-01T00:00:00Z","#,
        r#""generatorURL":"http://prometheus.example/graph","fingerprint":"05413f90d0646e99"}],"#,
        r#""notification_reason":"first notification","#,
        r#""groupLabels":{"alertname":"Down"},"#,
        r#""commonLabels":{"alertname":"Down","job":"node"},"#,
        r#""commonAnnotations":{"runbook":"http://r"},"#,
        r#""routeLabels":{"team":"Downs"},"#,
        r#""externalURL":"http://narthex.example","version":"4","#,
        r#""groupKey":"{}:{alertname=\"Down\"}","truncatedAlerts":0}"#,
    );
    assert_eq!(json(&notification, 0), expected);
}

#[test]
fn what_is_too_much_is_left_out() {
    let notification = notification(two_alerts(), &[]);
    let body: Value = serde_json::from_str(&json(&notification, 1)).unwrap();
    assert_eq!(body["truncatedAlerts"], 1);
    assert_eq!(body["alerts"].as_array().unwrap().len(), 1);
    // Only the resolved one is left, and the rest speaks of it alone.
    assert_eq!(body["status"], "resolved");
    assert_eq!(body["commonLabels"]["instance"], "a");
    assert_eq!(body["routeLabels"], serde_json::json!({}));
}

#[test]
fn fields_are_templates() {
    let labels = [
        ("plain", "text"),
        ("group", "{{ .GroupLabels.alertname | toLower }}"),
        (
            "nested",
            "{{ routeLabels \"group\" }}-{{ routeLabels \"none\" }}{{ .Status }}",
        ),
    ];
    let notification = notification(two_alerts(), &labels);
    let (data, _) = Data::new(&notification, "http://n", 0);
    let expander = Expander::new(&data, &notification.route_labels, START_MS);
    for (text, expected) in [
        ("no template } {", "no template } {"),
        ("/{{ routeLabels \"nested\" }}", "/down-firing"),
        ("{{ len .Alerts }} {{ len .Alerts.Firing }}", "2 1"),
        ("{{ .CommonLabels.job }}{{ .CommonLabels.none }}", "node"),
        (
            "{{ range .Alerts }}{{ .Labels.instance }}{{ .EndsAt.IsZero }} {{ end }}",
            "afalse btrue ",
        ),
        (
            "{{ .NotificationReason }} {{ .ExternalURL }}",
            "first notification http://n",
        ),
    ] {
        assert_eq!(
            expander.expand("url", text).as_deref(),
            Ok(expected),
            "{text}"
        );
    }
    assert!(
        expander
            .expand("url", "{{ .Nope")
            .unwrap_err()
            .contains("template: url:1")
    );
}

#[test]
fn route_labels_in_a_circle_are_an_error() {
    let labels = [
        ("a", "{{ routeLabels \"b\" }}"),
        ("b", "{{ routeLabels \"a\" }}"),
    ];
    let notification = notification(two_alerts(), &labels);
    let (data, _) = Data::new(&notification, "", 0);
    let expander = Expander::new(&data, &notification.route_labels, START_MS);
    let error = expander.route_labels().unwrap_err();
    assert!(
        error.contains("route labels refer to each other: a -> b -> a"),
        "{error}"
    );
}

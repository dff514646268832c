//! From a rule to a webhook and back.

use crate::agent::Agent;
use crate::server::{Answer, Receiver, Target};

/// A target with one gauge, a rule file (empty at first) and a webhook receiver.
fn agent(target: &Target, receiver: &Receiver) -> Agent {
    Agent::new()
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms }}\n\
                 rule_files: [\"rules/*.yml\"]\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .with(
            "alertmanager.yml",
            &format!(
                "route:\n  receiver: hook\n  group_by: [alertname]\n  group_wait: 100ms\n  \
                 group_interval: 500ms\n  repeat_interval: 1h\n\
                 receivers:\n- name: hook\n  webhook_configs: [{{ url: \"{}\" }}]\n",
                receiver.url()
            ),
        )
        .with("rules/first.yml", "groups: []\n")
}

fn queue(length: u32) -> Answer {
    Answer::Metrics(format!("queue_length{{queue=\"mail\"}} {length}\n"))
}

#[test]
fn a_rule_that_is_added_fires_reaches_the_webhook_and_resolves() {
    let (target, receiver) = (Target::start(queue(50)), Receiver::start());
    let agent = agent(&target, &receiver).start();
    agent.until("a sample", |a| a.query("queue_length").len() == 1);
    agent.write(
        "rules/first.yml",
        "groups:\n- name: g\n  rules:\n  - record: queue:length:max\n    expr: max(queue_length)\n  \
         - alert: QueueLong\n    expr: queue_length > 10\n    labels: { severity: page }\n    \
         annotations: { summary: \"{{ $labels.queue }} has {{ $value }} messages\" }\n",
    );
    agent.until("the notification", |_| {
        receiver.find("firing", "QueueLong").is_some()
    });
    let payload = receiver.find("firing", "QueueLong").unwrap();
    assert_eq!(payload["version"], "4");
    assert_eq!(payload["receiver"], "hook");
    assert_eq!(payload["groupKey"], "{}:{alertname=\"QueueLong\"}");
    assert_eq!(payload["groupLabels"]["alertname"], "QueueLong");
    assert_eq!(payload["commonLabels"]["severity"], "page");
    assert_eq!(payload["truncatedAlerts"], 0);
    let alert = &payload["alerts"][0];
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["annotations"]["summary"], "mail has 50 messages");
    assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(alert["fingerprint"].as_str().unwrap().len(), 16);
    assert!(
        alert["generatorURL"]
            .as_str()
            .unwrap()
            .contains("queue_length")
    );

    assert_eq!(
        agent.value("ALERTS{alertname=\"QueueLong\",alertstate=\"firing\"}"),
        Some(1.0)
    );
    assert_eq!(agent.query("ALERTS_FOR_STATE").len(), 1);
    assert_eq!(agent.value("queue:length:max"), Some(50.0));
    assert_eq!(
        agent.get("/api/v1/alerts")["data"]["alerts"][0]["state"],
        "firing"
    );
    assert_eq!(agent.get("/api/v2/alerts")[0]["status"]["state"], "active");

    target.set(queue(5));
    agent.until("the resolved notification", |_| {
        receiver.find("resolved", "QueueLong").is_some()
    });
    let payload = receiver.find("resolved", "QueueLong").unwrap();
    assert_eq!(payload["alerts"][0]["status"], "resolved");
    assert_ne!(payload["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    agent.until("no alert", |a| a.query("ALERTS").is_empty());
    // Each notification was sent once: nothing has changed in between.
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn a_rule_with_for_is_pending_first() {
    let (target, receiver) = (Target::start(queue(50)), Receiver::start());
    let agent = agent(&target, &receiver)
        .with(
            "rules/first.yml",
            "groups:\n- name: g\n  rules:\n  - alert: Later\n    expr: queue_length > 10\n    for: 2s\n",
        )
        .start();
    agent.until("pending", |a| {
        a.query("ALERTS{alertstate=\"pending\"}").len() == 1
    });
    assert!(receiver.received().is_empty());
    agent.until("firing", |a| {
        a.query("ALERTS{alertstate=\"firing\"}").len() == 1
    });
    agent.until("notified", |_| receiver.find("firing", "Later").is_some());
}

#[test]
fn posted_alerts_are_routed_and_listed() {
    let (target, receiver) = (Target::start(queue(1)), Receiver::start());
    let agent = agent(&target, &receiver).start();
    let (status, text) = agent.post(
        "/api/v2/alerts",
        r#"[{"labels": {"alertname": "Posted", "x": "y"}, "annotations": {"a": "b"}}]"#,
    );
    assert_eq!((status, text.as_str()), (200, ""));
    agent.until("notified", |_| receiver.find("firing", "Posted").is_some());
    let listed = agent.get("/api/v2/alerts?filter=alertname%3D%22Posted%22");
    assert_eq!(listed[0]["labels"]["x"], "y");
    assert_eq!(listed[0]["receivers"][0]["name"], "hook");
    assert!(
        agent
            .get("/api/v2/alerts?filter=x%3D%22other%22")
            .as_array()
            .unwrap()
            .is_empty()
    );

    for (body, expected) in [
        ("[{}]", "labels"),
        ("{", "parsing"),
        (r#"[{"labels": {}}]"#, "label"),
        ("[1]", "parsing"),
    ] {
        let (status, text) = agent.post("/api/v2/alerts", body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.contains(expected), "{body}: {text}");
    }
}

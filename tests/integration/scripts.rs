//! Rhai scripts in the running agent.

use crate::agent::Agent;
use crate::server::{Answer, Receiver, Target};

#[test]
fn a_script_that_is_dropped_in_fires_resolves_and_goes() {
    let target = Target::start(Answer::Metrics("disk_used 95\n".to_owned()));
    let receiver = Receiver::start();
    let agent = Agent::new()
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms }}\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .with(
            "alertmanager.yml",
            &format!(
                "route: {{ receiver: hook, group_wait: 100ms, group_interval: 500ms }}\n\
                 receivers:\n- name: hook\n  webhook_configs: [{{ url: \"{}\" }}]\n",
                receiver.url()
            ),
        )
        .start();
    agent.until("a sample", |a| a.query("disk_used").len() == 1);
    agent.write(
        "scripts/disk.rhai",
        r#"fn evaluate(ctx) {
            ctx.query("disk_used").thresholds(#{ warning: 80, critical: 90 })
                .map(|s| #{ name: "Disk", series: s, annotations: #{ summary: `at ${s.value}` } })
        }"#,
    );
    agent.until("the notification", |_| {
        receiver.find("firing", "Disk").is_some()
    });
    let payload = receiver.find("firing", "Disk").unwrap();
    assert_eq!(payload["alerts"][0]["labels"]["severity"], "critical");
    assert_eq!(payload["alerts"][0]["labels"]["job"], "app");
    assert_eq!(
        agent
            .query("ALERTS{alertname=\"Disk\",alertstate=\"firing\"}")
            .len(),
        1
    );

    // A broken version changes nothing but the status.
    agent.write("scripts/disk.rhai", "fn evaluate(ctx) { [ }");
    agent.until("the error is told", |a| {
        a.get("/api/v1/narthex/scripts")["data"]
            .to_string()
            .contains("disk.rhai:1:")
    });
    assert_eq!(
        agent
            .query("ALERTS{alertname=\"Disk\",alertstate=\"firing\"}")
            .len(),
        1
    );

    target.set(Answer::Metrics("disk_used 5\n".to_owned()));
    agent.until("resolved", |_| receiver.find("resolved", "Disk").is_some());

    std::fs::remove_file(agent.path("scripts/disk.rhai")).unwrap();
    agent.until("gone", |a| {
        !a.get("/api/v1/narthex/scripts")
            .to_string()
            .contains("disk")
    });
}

#[test]
fn a_script_that_never_ends_is_stopped_and_told() {
    let agent = Agent::new()
        .with("prometheus.yml", "global: { evaluation_interval: 500ms }\n")
        .with("scripts/endless.rhai", "fn evaluate(ctx) { loop { } }")
        .with(
            "scripts/good.rhai",
            "fn evaluate(ctx) { [#{ name: \"Good\", value: 1 }] }",
        )
        .start();
    agent.until("the limit is named", |a| {
        a.get("/api/v1/narthex/scripts")
            .to_string()
            .contains("scripts.limits.operations")
    });
    agent.until("the other one fires", |a| {
        a.query("ALERTS{alertname=\"Good\",alertstate=\"firing\"}")
            .len()
            == 1
    });
}

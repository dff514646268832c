//! Every configuration file is taken up as it changes; what did not change goes on.

use crate::agent::Agent;
use crate::server::{Answer, Target};

fn config(jobs: &[(&str, &Target)]) -> String {
    let mut text =
        "global: { scrape_interval: 500ms, scrape_timeout: 400ms }\nscrape_configs:\n".to_owned();
    for (job, target) in jobs {
        text += &format!(
            "- job_name: {job}\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
            target.address()
        );
    }
    text
}

fn target(metric: &str) -> Target {
    Target::start(Answer::Metrics(format!("{metric} 1\n")))
}

#[test]
fn a_changed_file_a_signal_and_a_request_reload() {
    let (first, second, third) = (target("first"), target("second"), target("third"));
    let agent = Agent::new()
        .with("prometheus.yml", &config(&[("one", &first)]))
        .start();
    agent.until("first", |a| a.query("first").len() == 1);

    // By the file alone.
    agent.write(
        "prometheus.yml",
        &config(&[("one", &first), ("two", &second)]),
    );
    agent.until("second", |a| a.query("second").len() == 1);
    assert_eq!(
        agent.value("prometheus_config_last_reload_successful"),
        None
    );

    // By request, at once.
    agent.write(
        "prometheus.yml",
        &config(&[("one", &first), ("three", &third)]),
    );
    assert_eq!(agent.post("/-/reload", "").0, 200);
    assert!(
        agent
            .get("/api/v1/status/config")
            .to_string()
            .contains("three")
    );
    agent.until("third", |a| a.query("third").len() == 1);
    agent.until("second stale", |a| a.query("second").is_empty());

    // By signal.
    agent.write("prometheus.yml", &config(&[("one", &first)]));
    agent.signal("HUP");
    agent.until("third stale", |a| a.query("third").is_empty());

    // The job that stood in every version was never interrupted.
    let range = agent.value("count_over_time(up{job=\"one\"}[5m])").unwrap();
    let span = agent.value("max_over_time(timestamp(up{job=\"one\"})[5m:500ms]) - min_over_time(timestamp(up{job=\"one\"})[5m:500ms])").unwrap();
    // A machine that is busy may skip a few; a loop that was started anew would lose seconds.
    assert!(
        range - 1.0 >= 0.8 * (span * 2.0),
        "{range} scrapes in {span} s"
    );
}

#[test]
fn a_broken_file_keeps_the_last_good_state_and_is_told() {
    let first = target("first");
    let good = config(&[("one", &first)]);
    let agent = Agent::new().with("prometheus.yml", &good).start();
    agent.until("first", |a| a.query("first").len() == 1);
    let metric = |a: &Agent| {
        let (_, text) = a.text("/metrics");
        let line = text
            .lines()
            .find(|l| l.starts_with("prometheus_config_last_reload_successful"));
        line.unwrap().to_owned()
    };
    for (broken, expected) in [
        (
            good.replace("scrape_configs:", "scrape_configs: ["),
            "prometheus.yml",
        ),
        (good.replace("job_name", "job_nmae"), "job_name"),
        (good.replace("500ms", "500"), "prometheus.yml:1"),
    ] {
        agent.write("prometheus.yml", &broken);
        let (code, text) = agent.post("/-/reload", "");
        assert_eq!(code, 500, "{text}");
        assert!(text.contains(expected), "{text}");
        assert_eq!(metric(&agent), "prometheus_config_last_reload_successful 0");
    }
    assert_eq!(agent.value("up"), Some(1.0));
    agent.write("prometheus.yml", &good);
    agent.until("good again", |a| {
        metric(a) == "prometheus_config_last_reload_successful 1"
    });
}

#[test]
fn a_broken_rule_file_changes_nothing_at_all() {
    let (first, second) = (target("first"), target("second"));
    let rules = "rule_files: [rules.yml]\n";
    let agent = Agent::new()
        .with(
            "prometheus.yml",
            &format!("{rules}{}", config(&[("one", &first)])),
        )
        .with(
            "rules.yml",
            "groups:\n- name: g\n  interval: 500ms\n  rules:\n  - { record: a, expr: first + 1 }\n",
        )
        .start();
    agent.until("the rule's series", |a| a.value("a") == Some(2.0));
    agent.write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - { record: a, expr: \"first +\" }\n",
    );
    agent.write(
        "prometheus.yml",
        &format!("{rules}{}", config(&[("two", &second)])),
    );
    let (code, text) = agent.post("/-/reload", "");
    assert_eq!(code, 500);
    assert!(text.contains("rules.yml:4"), "{text}");
    // Neither the rules nor the jobs have changed.
    assert!(agent.query("second").is_empty());
    assert_eq!(agent.query("first").len(), 1);
    let groups = agent.get("/api/v1/rules");
    assert_eq!(
        groups["data"]["groups"][0]["rules"][0]["query"],
        "first + 1"
    );
}

#[test]
fn a_part_that_refuses_leaves_every_part_as_it_was() {
    let (first, second) = (target("first"), target("second"));
    let agent = Agent::new()
        .with("prometheus.yml", &config(&[("one", &first)]))
        .start();
    agent.until("first", |a| a.query("first").len() == 1);
    // Only whoever builds the client finds that the certificate is missing.
    agent.write(
        "alertmanager.yml",
        "route: { receiver: hook }\nreceivers:\n- name: hook\n  webhook_configs:\n  \
         - url: https://127.0.0.1:1/\n    http_config: { tls_config: { ca_file: missing.pem } }\n",
    );
    agent.write("prometheus.yml", &config(&[("two", &second)]));
    let (code, text) = agent.post("/-/reload", "");
    assert_eq!(code, 500, "{text}");
    assert!(text.contains("missing.pem"), "{text}");
    assert!(agent.query("second").is_empty());
    let targets = agent.get("/api/v1/targets").to_string();
    assert!(targets.contains(&first.address()) && !targets.contains(&second.address()));
    assert_eq!(agent.get("/api/v2/receivers")[0]["name"], "none");
}

#[test]
fn a_file_behind_a_symlink_is_followed() {
    let (first, second) = (target("first"), target("second"));
    let agent = Agent::new()
        .with("v1/prometheus.yml", &config(&[("one", &first)]))
        .with("v2/prometheus.yml", &config(&[("two", &second)]));
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, agent.path(name)).unwrap();
    std::fs::remove_file(agent.path("prometheus.yml")).unwrap();
    link("v1", "..data");
    link("..data/prometheus.yml", "prometheus.yml");
    link("v2", "..data_tmp");
    let agent = agent.start();
    agent.until("first", |a| a.query("first").len() == 1);
    std::fs::rename(agent.path("..data_tmp"), agent.path("..data")).unwrap();
    agent.until("second", |a| a.query("second").len() == 1);
}

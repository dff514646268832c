//! What is refused at start: the exit code, and a message that names file, line and field.

use crate::agent::Agent;

fn refused(agent: Agent, expected: &[&str]) {
    let (status, log) = agent.run_to_end();
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {log}");
    assert!(!log.contains("panicked"), "{log}");
    for text in expected {
        assert!(log.contains(text), "{text:?} is not in:\n{log}");
    }
}

#[test]
fn broken_configuration_files() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("prometheus.yml", "global: [", &["prometheus.yml:"]),
        (
            "prometheus.yml",
            "global:\n  evalutaion_interval: 5s\n",
            &[
                "prometheus.yml:2",
                "evalutaion_interval",
                "evaluation_interval",
            ],
        ),
        (
            "prometheus.yml",
            "global:\n\tscrape_interval: 5s\n",
            &["prometheus.yml:2", "tab"],
        ),
        (
            "prometheus.yml",
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - regex: \"a(\"\n",
            &["prometheus.yml:4", "regex"],
        ),
        (
            "prometheus.yml",
            "scrape_configs:\n- job_name: a\n- job_name: a\n",
            &["prometheus.yml:3", "job_name"],
        ),
        (
            "prometheus.yml",
            "global: { scrape_interval: 5s, scrape_timeout: 10s }\n",
            &["prometheus.yml:1", "scrape_timeout"],
        ),
        (
            "alertmanager.yml",
            "route: { receiver: nobody }\nreceivers: [{ name: hook }]\n",
            &["alertmanager.yml:1", "nobody"],
        ),
        (
            "alertmanager.yml",
            "rout: { receiver: a }\n",
            &["alertmanager.yml:1", "route"],
        ),
        (
            "narthex.yml",
            "plugins: { directroy: x }\n",
            &["narthex.yml:1", "directory"],
        ),
    ];
    for (file, content, expected) in cases {
        refused(Agent::new().with(file, content), expected);
    }
}

#[test]
fn broken_rule_files() {
    let cases: &[(&str, &[&str])] = &[
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n",
            &["rules.yml:5", "expr"],
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    exrp: up\n",
            &["rules.yml:5", "expr"],
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: a b{\n    expr: up\n",
            &["rules.yml:4", "record"],
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: { x: \"{{ $labels.\" }\n",
            &["rules.yml:6"],
        ),
    ];
    for (content, expected) in cases {
        let agent = Agent::new()
            .with("prometheus.yml", "rule_files: [rules.yml]\n")
            .with("rules.yml", content);
        refused(agent, expected);
    }
}

#[test]
fn missing_files() {
    let agent = Agent::new();
    std::fs::remove_file(agent.path("prometheus.yml")).unwrap();
    refused(agent, &["prometheus.yml"]);
    refused(
        Agent::new().flag("--alertmanager.config.file=/nowhere/am.yml"),
        &["/nowhere/am.yml"],
    );
}

#[test]
fn a_port_and_a_data_folder_that_are_in_use() {
    let running = Agent::new().start();
    let address = format!("--web.listen-address={}", running.address());
    refused(
        Agent::new().flag(&address),
        &[&running.address(), "in use", "--web.listen-address"],
    );
    refused(
        Agent::new().data(running.path("data")),
        &["data", "another process"],
    );
    assert_eq!(running.text("/-/healthy").0, 200);
}

#[test]
fn wrong_flags() {
    for flag in [
        "--no-such-flag",
        "--storage.tsdb.retention.time=5x",
        "--log.level=loud",
    ] {
        let (status, log) = Agent::new().flag(flag).run_to_end();
        assert_eq!(status.code(), Some(2), "{log}");
        let name = flag.split('=').next().unwrap();
        assert!(log.contains(name), "{log}");
    }
}

#[test]
fn wrong_requests() {
    let agent = Agent::new().start();
    for (path, code, expected) in [
        ("/api/v1/query?query=rate(x", 400, "1:7: parse error: "),
        (
            "/api/v1/query?query=up&time=x",
            400,
            "invalid parameter \\\"time\\\"",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=0&step=1",
            400,
            "end timestamp must not be before",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=1&step=0",
            400,
            "zero or negative",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=20000&step=1",
            400,
            "11,000 points",
        ),
        ("/api/v1/series", 400, "no match[] parameter provided"),
        ("/api/v1/series?match[]={}", 400, "non-empty matcher"),
        ("/api/v1/label//values", 400, "invalid label name"),
        (
            "/api/v1/label/%ff/values",
            400,
            "\"error\":\"invalid label name",
        ),
        ("/api/v1/nothing", 404, ""),
        ("/api/v2/alerts?filter=%7B%7B", 400, ""),
        ("/-/reload", 405, ""),
        ("/plugins/none/metrics", 404, "no exporter plugin"),
    ] {
        let (status, text) = agent.text(path);
        assert_eq!(status, code, "{path}: {text}");
        assert!(text.contains(expected), "{path}: {text}");
    }
}

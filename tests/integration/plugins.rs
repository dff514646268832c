//! Plugins that come, change and go while the agent runs.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, plugin};

fn status(agent: &Agent, name: &str) -> Value {
    let answer = agent.get("/api/v1/narthex/plugins");
    let plugins = answer["data"].as_array().cloned().unwrap_or_default();
    plugins
        .into_iter()
        .find(|plugin| plugin["name"] == name)
        .unwrap_or(Value::Null)
}

#[test]
fn an_exporter_is_dropped_in_replaced_by_garbage_and_removed() {
    let agent = Agent::new().start();
    let file = agent.path("plugins/custom-metric.wasm");
    let dropped = Instant::now();
    fs::copy(plugin("custom-metric"), &file).unwrap();
    agent.until("the metric", |a| {
        a.query("custom_metric_example").len() == 1
    });
    println!(
        "queryable {:?} after the file was dropped in",
        dropped.elapsed()
    );
    let sample = &agent.query("custom_metric_example")[0];
    assert_eq!(sample["metric"]["job"], "custom-metric");
    let value: f64 = sample["value"][1].as_str().unwrap().parse().unwrap();
    assert!((0.0..=99.0).contains(&value));
    assert_eq!(agent.value("up{job=\"custom-metric\"}"), Some(1.0));
    assert_eq!(status(&agent, "custom-metric")["state"], "running");

    let (code, text) = agent.text("/plugins/custom-metric/metrics");
    assert_eq!(code, 200);
    assert!(
        text.contains("# HELP custom_metric_example An example custom metric\n"),
        "{text}"
    );
    assert!(
        text.contains("# TYPE custom_metric_example gauge\ncustom_metric_example "),
        "{text}"
    );

    let garbage: Vec<u8> = (0..5000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(&file, garbage).unwrap();
    agent.until("the error is told", |a| {
        !status(a, "custom-metric")["lastError"].is_null()
    });
    assert_eq!(status(&agent, "custom-metric")["state"], "running");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(
        agent.query("custom_metric_example").len(),
        1,
        "the old one goes on"
    );

    fs::remove_file(&file).unwrap();
    let removed = Instant::now();
    agent.until("stale", |a| {
        a.query("custom_metric_example").is_empty()
            && a.query("up{job=\"custom-metric\"}").is_empty()
    });
    println!("stale {:?} after the file was removed", removed.elapsed());
    assert_eq!(agent.text("/plugins/custom-metric/metrics").0, 404);
}

#[test]
fn the_node_plugin_agrees_with_proc_and_waits_for_its_grant() {
    let agent = Agent::new();
    fs::copy(plugin("node"), agent.path("plugins/node.wasm")).unwrap();
    let agent = agent.start();
    agent.until("it waits", |a| {
        status(a, "node")["state"] == "waiting-for-grant"
    });
    let advice = status(&agent, "node").to_string();
    assert!(
        advice.contains("grants") && advice.contains("/proc"),
        "{advice}"
    );
    assert!(agent.query("node_memory_MemTotal_bytes").is_empty());

    agent.write(
        "narthex.yml",
        "plugins: { grants: { node: { files: [/proc, /sys, /etc, /usr/lib, /run], system: true } } }\n",
    );
    agent.until("memory", |a| {
        a.query("node_memory_MemTotal_bytes").len() == 1
    });
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let line = meminfo
        .lines()
        .find(|line| line.starts_with("MemTotal:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(
        agent.value("node_memory_MemTotal_bytes"),
        Some(kib * 1024.0)
    );
    assert_eq!(agent.value("up{job=\"node\"}"), Some(1.0));
    for metric in [
        "node_cpu_seconds_total",
        "node_load1",
        "node_filesystem_size_bytes",
        "node_boot_time_seconds",
        "node_network_receive_bytes_total",
        "node_uname_info",
    ] {
        assert!(!agent.query(metric).is_empty(), "{metric}");
    }
}

#[test]
fn files_that_are_no_plugins_are_named_and_harm_nobody() {
    let agent = Agent::new()
        .with("plugins/empty.wasm", "")
        .with("plugins/text.wasm", "this is no module")
        .with("plugins/notes.txt", "not looked at");
    fs::copy(
        plugin("custom-metric"),
        agent.path("plugins/custom-metric.wasm"),
    )
    .unwrap();
    let agent = agent.start();
    agent.until("the good one runs", |a| {
        a.query("custom_metric_example").len() == 1
    });
    for name in ["empty", "text"] {
        assert_eq!(status(&agent, name)["state"], "broken", "{name}");
        assert!(
            status(&agent, name)["lastError"].as_str().unwrap().len() > 10,
            "{name}"
        );
    }
    assert_eq!(status(&agent, "notes"), Value::Null);
}

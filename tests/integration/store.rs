//! The store as an operator meets it: the admin API, `narthex tsdb`, sealing.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::server::{Answer, Target};

fn scraping(page: &str) -> (Agent, Target) {
    let target = Target::start(Answer::Metrics(page.to_owned()));
    let agent = Agent::new()
        .flag("--web.enable-admin-api")
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .start();
    agent.until("some scrapes", |a| {
        a.value("count_over_time(a[1h])").is_some_and(|n| n >= 5.0)
    });
    (agent, target)
}

/// What `narthex tsdb` with these arguments prints; the second on its standard error.
fn tsdb(arguments: &[&str], folder: &Path) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .arg("tsdb")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_admin_api_deletes_snapshots_and_tells_blocks() {
    let (agent, _target) = scraping("a 1\nb{x=\"1\"} 2\nb{x=\"2\"} 3\n");
    let (status, body) = agent.post("/api/v1/admin/tsdb/snapshot", "");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let name = answer["data"]["name"].as_str().unwrap();
    let folder = agent.path("data/snapshots");
    let (good, listed, error) = tsdb(&["list", name], &folder);
    assert!(good && listed.lines().count() == 2, "{listed}{error}");
    let (good, verified, _) = tsdb(&["verify", name], &folder);
    assert!(good && verified.contains("good: "), "{verified}");
    let (good, dumped, _) = tsdb(&["dump", name, "--match", "b{x='1'}"], &folder);
    assert!(good && !dumped.is_empty());
    for line in dumped.lines() {
        assert!(line.starts_with(r#"{__name__="b", instance="#), "{line}");
    }

    let delete = "/api/v1/admin/tsdb/delete_series?match%5B%5D=b%7Bx%3D%221%22%7D";
    let before = agent.value("max(timestamp(a))").unwrap();
    let (status, body) = agent.post(delete, "");
    assert_eq!((status, body.as_str()), (204, ""));
    let older = format!("count_over_time(b[1h] @ {before:.3})");
    let left: Vec<Value> = agent.query(&older);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["metric"]["x"], json!("2"));
    // A new sample of the series is a new sample.
    agent.until("new samples", |a| {
        a.value("count_over_time(b{x=\"1\"}[1h])").is_some()
    });
    let (status, body) = agent.post("/api/v1/admin/tsdb/clean_tombstones", "");
    assert_eq!((status, body.as_str()), (204, ""));
    let blocks = agent.get("/api/v1/status/tsdb/blocks");
    assert_eq!(blocks["data"]["blocks"], json!([]));
    let replay = agent.get("/api/v1/status/walreplay");
    assert!(replay["data"]["current"].is_u64(), "{replay}");
    // Deletions survive a kill.
    let agent = agent.kill_and_restart();
    assert_eq!(agent.query(&older).len(), 1);
}

#[test]
fn what_is_sealed_is_in_blocks_and_goes_on() {
    let (mut agent, _target) = scraping("a 1\n");
    agent.write("narthex.yml", "storage: { seal_on_stop: true }\n");
    let before = agent.value("count_over_time(a[1h])").unwrap();
    agent.until("the new configuration", |a| {
        a.log().contains("the configuration was reloaded")
    });
    agent.signal("TERM");
    assert_eq!(agent.wait_for_end().code(), Some(0), "{}", agent.log());
    assert!(agent.log().contains("sealed"), "{}", agent.log());
    let folder = agent.path("");
    let (good, listed, error) = tsdb(&["list", "data"], &folder);
    assert!(good && listed.lines().count() == 2, "{listed}{error}");
    let agent = agent.start();
    assert!(agent.value("count_over_time(a[1h])").unwrap() >= before);
    agent.until("new samples", |a| {
        a.value("count_over_time(a[1h])")
            .is_some_and(|n| n > before + 3.0)
    });
    let running = tsdb(&["seal", "data"], &folder);
    assert!(!running.0 && running.2.contains("in use"), "{running:?}");
    // A dump needs no lock, and has the samples that are not in blocks.
    let (good, dumped, error) = tsdb(&["dump-openmetrics", "data", "--match", "a"], &folder);
    assert!(good && dumped.lines().count() as f64 > before, "{error}");
    assert!(dumped.ends_with("# EOF\n"));
}

#[test]
fn blocks_are_made_of_openmetrics() {
    let agent = Agent::new();
    let mut text = String::from("# TYPE requests counter\n");
    for code in ["200", "500"] {
        for minute in 0..300 {
            let time = 1_700_000_000 + minute * 60;
            text.push_str(&format!(
                "requests_total{{code=\"{code}\"}} {minute} {time}\n"
            ));
        }
    }
    text.push_str("# EOF\n");
    agent.write("in.om", &text);
    let folder = agent.path("");
    let make = ["create-blocks-from", "openmetrics", "in.om", "data"];
    let (good, made, error) = tsdb(&make, &folder);
    assert!(good && made.lines().count() == 4, "{made}{error}");
    let (good, dumped, _) = tsdb(&["dump", "data"], &folder);
    assert!(good);
    assert_eq!(dumped.lines().count(), 600);
    assert!(dumped.contains("{__name__=\"requests_total\", code=\"500\"} 299 1700017940000"));

    for (bad, expected) in [
        ("a 1\n# EOF\n", "in.om: line 1: the sample has no time"),
        ("a 1 1\n", "does not end with # EOF"),
        ("a{b=} 1 1\n# EOF\n", "in.om"),
        ("# EOF\n", "no samples"),
    ] {
        agent.write("in.om", bad);
        let (good, _, error) = tsdb(&make, &folder);
        assert!(!good && error.contains(expected), "{bad:?}: {error}");
    }
    // The blocks are there as they were, and the agent serves them.
    let agent = agent.flag("--storage.tsdb.retention.time=100y").start();
    let count = agent.value("count_over_time(requests_total{code=\"200\"}[1d] @ 1700020000)");
    assert_eq!(count, Some(300.0));
}

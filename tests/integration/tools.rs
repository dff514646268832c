//! Prometheus's and Alertmanager's own tools against the agent. They come from Debian's packages;
//! where they are not installed and cannot be had, the test says so and passes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::agent::Agent;

/// The tool from the PATH, or from the folder that NARTHEX_TEST_TOOLS names.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("NARTHEX_TEST_TOOLS")
        .into_iter()
        .chain(std::env::var_os("PATH"));
    let found = folders
        .flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        println!(
            "skipped: {name} is not installed (package prometheus or prometheus-alertmanager)"
        );
    }
    found
}

/// Whether it went well, and what was printed, then what was said beside.
pub(crate) fn run(tool: &PathBuf, args: &[&str], input: &str) -> (bool, String, String) {
    let mut process = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    let [printed, said] =
        [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    (output.status.success(), printed, said)
}

fn scrapes_itself() -> Agent {
    let agent = Agent::new();
    let config = format!(
        "global: {{ scrape_interval: 500ms, scrape_timeout: 400ms }}\n\
         scrape_configs:\n- job_name: narthex\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
        agent.address()
    );
    let agent = agent.with("prometheus.yml", &config).start();
    agent.until("up", |a| a.value("up") == Some(1.0));
    agent
}

#[test]
fn promtool_queries_and_finds_no_fault_in_the_metrics() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let agent = scrapes_itself();
    let (ok, text, said) = run(&promtool, &["query", "instant", &agent.url(""), "up"], "");
    assert!(ok && text.contains("up{instance="), "{text}{said}");
    let (ok, text, said) = run(&promtool, &["query", "range", &agent.url(""), "up"], "");
    assert!(ok && text.contains("up{instance="), "{text}{said}");
    let (ok, text, said) = run(
        &promtool,
        &["query", "series", "--match=up", &agent.url("")],
        "",
    );
    assert!(ok && text.contains("__name__=\"up\""), "{text}{said}");
    let (ok, text, said) = run(&promtool, &["query", "labels", &agent.url(""), "job"], "");
    assert!(ok && text.contains("narthex"), "{text}{said}");
    let (_, text, said) = run(&promtool, &["check", "metrics"], &agent.text("/metrics").1);
    // It minds names that Prometheus has come to have itself.
    let upstream = "prometheus_tsdb_head_native_histogram_";
    let faults = said.lines().filter(|line| !line.starts_with(upstream));
    let faults: Vec<&str> = faults.filter(|line| !line.is_empty()).collect();
    assert!(faults.is_empty(), "{text}{faults:?}");
}

#[test]
fn amtool_lists_and_adds_alerts() {
    let Some(amtool) = tool("amtool") else { return };
    let agent = scrapes_itself();
    let url = format!("--alertmanager.url={}", agent.url(""));
    let (ok, text, said) = run(
        &amtool,
        &["alert", "add", "alertname=ByTool", "a=b", &url],
        "",
    );
    assert!(ok, "{text}{said}");
    agent.until("listed", |_| {
        let (ok, text, _) = run(&amtool, &["alert", "query", &url], "");
        ok && text.contains("ByTool")
    });
    let (ok, text, said) = run(&amtool, &["alert", "query", "a=other", &url], "");
    assert!(ok && !text.contains("ByTool"), "{text}{said}");
    let (ok, text, said) = run(&amtool, &["config", "show", &url], "");
    assert!(ok, "{text}{said}");
}

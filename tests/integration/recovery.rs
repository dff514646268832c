//! What survives a kill.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use crate::agent::Agent;
use crate::server::{Answer, Target};

#[test]
fn sigkill_loses_nothing_that_was_scraped() {
    let target = Target::start(Answer::Metrics("m 1\n".to_owned()));
    let agent = Agent::new()
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
        a.value("count_over_time(m[1h])")
            .is_some_and(|count| count >= 20.0)
    });
    // A moment that is over, so that both counts look at the same samples.
    let at = agent.value("max(timestamp(m)) - 0.5").unwrap();
    let count = |agent: &Agent| {
        agent
            .value(&format!("count_over_time(m[1h] @ {at:.3})"))
            .unwrap()
    };
    let before = count(&agent);
    let agent = agent.kill_and_restart();
    assert_eq!(count(&agent), before);
    agent.until("new scrapes", |a| {
        a.value("count_over_time(m[1h])")
            .is_some_and(|now| now > before + 3.0)
    });
}

#[test]
fn a_stop_ends_cleanly_and_keeps_everything() {
    let target = Target::start(Answer::Metrics("m 1\n".to_owned()));
    let mut agent = Agent::new()
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .start();
    agent.until("a sample", |a| {
        a.value("count_over_time(m[1h])").is_some_and(|n| n >= 3.0)
    });
    let before = agent.value("count_over_time(m[1h])").unwrap();
    agent.signal("TERM");
    assert_eq!(agent.wait_for_end().code(), Some(0), "{}", agent.log());
    let agent = agent.start();
    assert!(agent.value("count_over_time(m[1h])").unwrap() >= before);
}

/// An agent that is starting and doesn't get on, as it reads its configuration from a pipe, and the
/// end of the pipe to write to.
fn starting() -> (Agent, File) {
    let mut agent = Agent::new();
    let path = agent.path("prometheus.yml");
    fs::remove_file(&path).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    agent.spawn();
    // Opens once somebody reads.
    let pipe = File::options().write(true).open(&path).unwrap();
    (agent, pipe)
}

#[test]
fn sigterm_while_starting_ends_cleanly() {
    let (mut agent, _pipe) = starting();
    agent.signal("TERM");
    assert_eq!(agent.wait_for_end().code(), Some(0), "{}", agent.log());
}

#[test]
fn sighup_while_starting_reloads_once_it_runs() {
    let (agent, mut pipe) = starting();
    agent.signal("HUP");
    agent.write(
        "next.yml",
        "global: { external_labels: { later: \"yes\" } }\n",
    );
    fs::rename(agent.path("next.yml"), agent.path("prometheus.yml")).unwrap();
    pipe.write_all(b"global: {}\n").unwrap();
    drop(pipe);
    let agent = agent.when_ready();
    agent.until("the reload", |a| {
        a.get("/api/v1/status/config")["data"]["yaml"]
            .as_str()
            .is_some_and(|yaml| yaml.contains("later"))
    });
}

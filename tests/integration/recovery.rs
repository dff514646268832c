//! What survives a kill.

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

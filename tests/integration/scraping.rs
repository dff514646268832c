//! Targets that behave and misbehave, and how the agent tells of them.

use crate::agent::{Agent, plugin};
use crate::server::{Answer, Target};

fn metrics(text: &str) -> Answer {
    Answer::Metrics(text.to_owned())
}

fn config(targets: &[&Target]) -> String {
    let mut text =
        "global: { scrape_interval: 1s, scrape_timeout: 500ms }\nscrape_configs:\n".to_owned();
    for (index, target) in targets.iter().enumerate() {
        text += &format!(
            "- job_name: job{index}\n  body_size_limit: 1MB\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
            target.address()
        );
    }
    text
}

#[test]
fn samples_labels_and_synthetic_series_are_stored() {
    let target = Target::start(metrics(
        "# HELP requests_total Requests.\n# TYPE requests_total counter\n\
         requests_total{code=\"200\",job=\"inner\"} 5\n",
    ));
    let agent = Agent::new()
        .with("prometheus.yml", &config(&[&target]))
        .start();
    agent.until("a sample", |a| a.value("requests_total") == Some(5.0));
    let series = &agent.query("requests_total")[0]["metric"];
    assert_eq!(series["exported_job"], "inner");
    assert_eq!(series["job"], "job0");
    assert_eq!(series["instance"], target.address());
    assert_eq!(agent.value("up"), Some(1.0));
    for name in [
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ] {
        assert_eq!(agent.query(name).len(), 1, "{name}");
    }
    let metadata = agent.get("/api/v1/metadata?metric=requests_total");
    assert_eq!(metadata["data"]["requests_total"][0]["type"], "counter");
    assert_eq!(metadata["data"]["requests_total"][0]["help"], "Requests.");
}

#[test]
fn a_series_a_target_and_a_scrape_that_go_away_are_stale() {
    let target = Target::start(metrics("a 1\nb 2\n"));
    let agent = Agent::new()
        .with("prometheus.yml", &config(&[&target]))
        .start();
    agent.until("both series", |a| a.query("{__name__=~\"a|b\"}").len() == 2);

    target.set(metrics("a 1\n"));
    agent.until("b stale", |a| a.query("b").is_empty());
    assert_eq!(agent.query("a").len(), 1);

    target.set(Answer::Status(500));
    agent.until("down", |a| a.value("up") == Some(0.0));
    assert!(agent.query("a").is_empty());

    target.set(metrics("a 1\n"));
    agent.until("up again", |a| a.query("a").len() == 1);
    // An emptied file looks like one that is being written; a request takes it up.
    agent.write("prometheus.yml", "");
    agent.until("the warning", |a| {
        a.log().contains("prometheus.yml is empty now")
    });
    assert_eq!(agent.query("a").len(), 1);
    assert_eq!(agent.post("/-/reload", "").0, 200);
    agent.until("all stale", |a| a.query("{job=\"job0\"}").is_empty());
}

#[test]
fn bad_targets_are_told_and_disturb_nobody() {
    let good = Target::start(metrics("good 1\n"));
    let bad = [
        (Target::start(Answer::Status(500)), "500"),
        (Target::start(Answer::Garbage), "line 2"),
        (Target::start(Answer::Never), "500ms"),
        (Target::start(Answer::Slow), "500ms"),
        (Target::start(Answer::Endless), "body_size_limit"),
    ];
    let targets: Vec<&Target> = std::iter::once(&good)
        .chain(bad.iter().map(|(t, _)| t))
        .collect();
    let agent = Agent::new()
        .with("prometheus.yml", &config(&targets))
        .start();
    agent.until("all were scraped", |a| a.query("up").len() == targets.len());
    agent.until("the good one is up", |a| {
        a.value("up{job=\"job0\"}") == Some(1.0)
    });
    let listed = agent.get("/api/v1/targets?state=active");
    for (index, (_, expected)) in bad.iter().enumerate() {
        let job = format!("job{}", index + 1);
        assert_eq!(
            agent.value(&format!("up{{job=\"{job}\"}}")),
            Some(0.0),
            "{job}"
        );
        let targets = listed["data"]["activeTargets"].as_array().unwrap();
        let target = targets.iter().find(|t| t["labels"]["job"] == *job).unwrap();
        let error = target["lastError"].as_str().unwrap();
        assert!(error.contains(expected), "{job}: {error}");
        assert_eq!(target["health"], "down");
    }
    agent.until("the good one is scraped again and again", |a| {
        a.value("count_over_time(up{job=\"job0\"}[1m])")
            .is_some_and(|n| n >= 4.0)
    });
    assert_eq!(
        agent.value("min_over_time(up{job=\"job0\"}[1m])"),
        Some(1.0)
    );
}

#[test]
fn a_target_added_to_a_file_is_scraped_and_no_other_misses_a_scrape() {
    let first = Target::start(metrics("m 1\n"));
    let second = Target::start(metrics("m 2\n"));
    let group = |targets: &[&Target]| {
        let list: Vec<String> = targets
            .iter()
            .map(|t| format!("\"{}\"", t.address()))
            .collect();
        format!(
            "[{{\"targets\": [{}], \"labels\": {{\"group\": \"production\"}}}}]",
            list.join(", ")
        )
    };
    let agent = Agent::new()
        .with(
            "prometheus.yml",
            "global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: node\n  \
             file_sd_configs: [{ files: [targets.json] }]\n",
        )
        .with(
            "narthex.yml",
            "plugins: { grants: { file: { files: [\".\"] } } }\n",
        )
        .with("targets.json", &group(&[&first]));
    std::fs::copy(plugin("file"), agent.path("plugins/file.wasm")).unwrap();
    let agent = agent.start();
    agent.until("the first target", |a| {
        a.query("m{group=\"production\"}").len() == 1
    });

    // Replaced by a rename, as careful writers do it.
    agent.write("targets.json.new", &group(&[&first, &second]));
    std::fs::rename(agent.path("targets.json.new"), agent.path("targets.json")).unwrap();
    agent.until("both targets", |a| a.query("m").len() == 2);

    let up = format!("up{{instance=\"{}\"}}", first.address());
    agent.until("ten scrapes", |a| {
        a.value(&format!("count_over_time({up}[1m])"))
            .is_some_and(|n| n >= 10.0)
    });
    // No gap: the newest and the oldest scrape are as far apart as their number says.
    let span = agent.value(&format!(
        "max_over_time(timestamp({up})[1m:1s]) - min_over_time(timestamp({up})[1m:1s])"
    ));
    let count = agent.value(&format!("count_over_time({up}[1m])"));
    let (span, count) = (span.unwrap(), count.unwrap());
    // A machine that is busy may skip one.
    assert!(count - 1.0 >= 0.8 * span, "{count} scrapes in {span} s");
}

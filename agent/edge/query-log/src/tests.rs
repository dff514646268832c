//! Over a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Asked, Origin, Queries, Samples};

fn asked(query: &str) -> Asked {
    Asked {
        query: query.to_owned(),
        start_ms: 0,
        end_ms: 3_600_000,
        step_ms: 5_000,
        origin: Origin::Http {
            client_ip: "127.0.0.1".to_owned(),
            method: "GET".to_owned(),
            path: "/api/v1/query_range".to_owned(),
        },
    }
}

fn samples() -> Samples {
    Samples {
        total_queryable_samples: 7,
        samples_read: 5,
        peak_samples: 3,
        ..Samples::default()
    }
}

fn lines(path: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(parse).collect()
}

fn shown(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut text)
        .unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_line_tells_what_was_asked_and_what_it_took() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("query.log");
    let queries = Arc::new(Queries::new(&Registry::new(), 20).unwrap());
    queries.set_log_file(Some(&path)).unwrap();
    let mut running = queries.begin(asked("up \"\n"));
    running.start();
    let statistics = running.finish(None, samples(), None);
    let line = &lines(&path)[0];
    assert_eq!(
        line["params"],
        serde_json::json!({
            "query": "up \"\n",
            "start": "1970-01-01T00:00:00.000Z",
            "end": "1970-01-01T01:00:00.000Z",
            "step": 5,
        })
    );
    assert_eq!(line["stats"], serde_json::to_value(&statistics).unwrap());
    assert_eq!(line["stats"]["samples"]["totalQueryableSamples"], 7);
    assert!(line["stats"]["samples"].get("samplesReadPerStep").is_none());
    assert_eq!(line["httpRequest"]["clientIP"], "127.0.0.1");
    assert_eq!(line["time"], line["ts"]);
    assert!(line.get("error").is_none() && line.get("ruleGroup").is_none());
}

#[test]
fn failures_and_what_was_given_up_are_logged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("query.log");
    let queries = Arc::new(Queries::new(&Registry::new(), 20).unwrap());
    queries.set_log_file(Some(&path)).unwrap();
    let rule = Asked {
        origin: Origin::rule_group("r.yml".as_ref(), "g"),
        ..asked("a")
    };
    let mut running = queries.begin(rule);
    running.start();
    running.finish(None, samples(), Some("no"));
    drop(queries.begin(asked("b")));
    let mut started = queries.begin(asked("c"));
    started.start();
    drop(started);
    let lines = lines(&path);
    let errors: Vec<&str> = lines.iter().map(|l| l["error"].as_str().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "no",
            "query was canceled in query queue",
            "the query was given up"
        ]
    );
    assert_eq!(
        lines[0]["ruleGroup"],
        serde_json::json!({"file": "r.yml", "name": "g"})
    );
}

#[test]
fn the_log_is_opened_anew_and_its_failures_are_counted() {
    let folder = TempDir::new().unwrap();
    let (path, moved) = (folder.path().join("q"), folder.path().join("q.1"));
    let registry = Registry::new();
    let queries = Arc::new(Queries::new(&registry, 20).unwrap());
    let run = |text: &str| queries.begin(asked(text)).finish(None, samples(), None);
    run("not logged");
    queries.set_log_file(Some(&path)).unwrap();
    run("a");
    fs::rename(&path, &moved).unwrap();
    run("b");
    queries.set_log_file(Some(&path)).unwrap();
    run("c");
    assert_eq!((lines(&moved).len(), lines(&path).len()), (2, 1));
    let missing = folder.path().join("none/q");
    assert!(queries.set_log_file(Some(&missing)).is_err());
    run("d");
    assert_eq!(lines(&path).len(), 2);
    queries.set_log_file(Some("/dev/full".as_ref())).unwrap();
    run("e");
    run("f");
    let text = shown(&registry);
    for line in [
        "prometheus_engine_query_log_failures_total 2",
        "prometheus_engine_query_log_enabled 1",
        "prometheus_engine_query_samples_total 49",
        "prometheus_engine_query_samples_read_total 35",
        "prometheus_engine_queries 0",
        "prometheus_engine_queries_concurrent_max 20",
        "prometheus_engine_query_duration_seconds_count{slice=\"queue_time\"} 7",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
    queries.set_log_file(None).unwrap();
    assert!(shown(&registry).contains("prometheus_engine_query_log_enabled 0"));
}

#[test]
fn what_ran_is_known_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let open = |slots: usize| {
        let mut queries = Queries::new(&Registry::new(), slots).unwrap();
        let unfinished = queries.track_active(folder.path(), slots).unwrap();
        let texts: Vec<String> = unfinished.into_iter().map(|u| u.query).collect();
        (Arc::new(queries), texts)
    };
    let start = |queries: &Arc<Queries>, text: &str| {
        let mut running = queries.begin(asked(text));
        running.start();
        running
    };
    let (queries, texts) = open(3);
    assert!(texts.is_empty());
    let long = "\"é".repeat(1000);
    let first = start(&queries, "ended");
    // The process ends without more ado.
    std::mem::forget(start(&queries, "a"));
    first.finish(None, samples(), None);
    std::mem::forget(start(&queries, &long));
    std::mem::forget(start(&queries, "b"));
    let beyond = start(&queries, "no slot is left");
    drop(beyond);
    let file = fs::read(folder.path().join("queries.active")).unwrap();
    assert_eq!((file.len(), file[0], file[1000]), (3001, b'[', b','));

    let (_, texts) = open(2);
    assert_eq!(texts.len(), 3);
    assert!(texts.contains(&"a".to_owned()) && texts.contains(&"b".to_owned()));
    let cut = texts.iter().find(|text| text.len() > 1).unwrap();
    assert!(long.starts_with(cut.as_str()) && cut.len() > 600, "{cut}");
    let (_, texts) = open(2);
    assert!(texts.is_empty());
}

#[test]
fn a_damaged_list_says_what_it_can() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("queries.active");
    for (bytes, expected) in [
        (&b""[..], 0),
        (b"[", 0),
        (b"[{\"query\":\"up\",\"timestamp_sec\":1}", 1),
        (b"[{\"query\":\"up\",\"timestamp_sec\":1},", 1),
        (b"[{\"query\":\"up\",\"times", 0),
        (b"\xff\xff\xff\xff", 0),
    ] {
        fs::write(&path, bytes).unwrap();
        let mut queries = Queries::new(&Registry::new(), 1).unwrap();
        let found = queries.track_active(folder.path(), 1).unwrap();
        assert_eq!(found.len(), expected, "{bytes:?}");
    }
}

//! Queries in their queue, in time, given up, and what is told of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use narthex_model::CancelReason;
use narthex_storage::{LabelQuery, Queryable, SelectQuery, Series};
use tempfile::TempDir;

use super::*;

/// Answers nothing until it is told to stop.
#[derive(Default)]
struct Endless {
    running: AtomicUsize,
    reasons: Mutex<Vec<CancelReason>>,
}

impl Endless {
    fn wait<T>(&self, cancel: &narthex_model::CancelToken) -> Result<T, StorageError> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let reason = loop {
            match cancel.reason() {
                Some(reason) => break reason,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        self.reasons.lock().unwrap().push(reason);
        self.running.fetch_sub(1, Ordering::SeqCst);
        Err(StorageError::Canceled)
    }
}

impl Queryable for Endless {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.wait(&query.cancel)
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        self.wait(&query.cancel)
    }

    fn label_values(&self, _: &str, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        self.wait(&query.cancel)
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        self.wait(&query.cancel)
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_client_goes_the_store_is_told() {
    let store = Arc::new(Endless::default());
    let of_server = store.clone();
    let server = start_changed(|parts, _| parts.store = of_server).await;
    for path in [
        "/api/v1/query?query=m",
        "/api/v1/query_range?query=m&start=0&end=1&step=1",
        "/api/v1/series?match%5B%5D=m",
        "/api/v1/labels",
        "/api/v1/label/a/values",
        "/federate?match%5B%5D=m",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        until("the store is asked", || {
            store.running.load(Ordering::SeqCst) == 1
        })
        .await;
        drop(stream);
        until("the store stops", || {
            store.running.load(Ordering::SeqCst) == 0
        })
        .await;
    }
    let reasons = store.reasons.lock().unwrap();
    assert_eq!(*reasons, [CancelReason::Canceled; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_wait_for_a_place_and_no_longer_than_they_may() {
    let store = Arc::new(Endless::default());
    let of_server = store.clone();
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("queries");
    let of_log = log.clone();
    let mut registry = prometheus::Registry::new();
    let of_parts = &mut registry;
    let server = start_changed(|parts, options| {
        parts.store = of_server;
        parts.queries.set_log_file(Some(&of_log)).unwrap();
        *of_parts = parts.registry.clone();
        options.query_concurrency = 1;
    })
    .await;
    let ask = |timeout: &str| {
        let path = format!("/api/v1/query?query=m&timeout={timeout}");
        let server = &server;
        async move { get(server, &path).await }
    };
    let waiting = async {
        until("the first one runs", || {
            store.running.load(Ordering::SeqCst) == 1
        })
        .await;
        ask("50ms").await
    };
    let (first, second) = tokio::join!(ask("2s"), waiting);
    for (answer, stage) in [(first, "expression evaluation"), (second, "query queue")] {
        let json: Value = serde_json::from_str(&answer.1).unwrap();
        let expected = json!({
            "status": "error",
            "errorType": "timeout",
            "error": format!("query timed out in {stage}"),
        });
        assert_eq!((answer.0, json), (503, expected));
    }
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    until("both are logged", || lines().len() == 2).await;
    let lines = lines();
    assert_eq!(lines[0]["error"], "query timed out in query queue");
    assert_eq!(
        lines[1]["error"],
        "query timed out in expression evaluation"
    );
    let time = |line: usize, name: &str| lines[line]["stats"]["timings"][name].as_f64().unwrap();
    assert!(time(0, "execQueueTime") >= 0.05 && time(0, "evalTotalTime") == 0.0);
    assert!(time(1, "queryPreparationTime") >= 1.9);
    let names: Vec<String> = registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    assert!(names.contains(&"prometheus_engine_queries".to_owned()));
}

#[tokio::test]
async fn statistics_tell_of_each_step_where_that_is_switched_on() {
    let per_step =
        |json: &Value| json["data"]["stats"]["samples"]["totalQueryableSamplesPerStep"].clone();
    for (is_on, stats, expected) in [
        (true, "all", json!([[0, 2], [60, 2], [120, 2]])),
        (true, "true", Value::Null),
        (false, "all", Value::Null),
    ] {
        let server = start_changed(|_, options| options.per_step_stats = is_on).await;
        let path = "/api/v1/query_range?query=sum(m)&start=0&end=120&step=60";
        let (_, text) = get(&server, &format!("{path}&stats={stats}")).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(per_step(&json), expected, "{stats}: {text}");
        let (_, text) = get(&server, "/api/v1/query?query=m&time=60.5&stats=all").await;
        let json: Value = serde_json::from_str(&text).unwrap();
        let expected = if is_on {
            json!([[60.5, 2]])
        } else {
            Value::Null
        };
        assert_eq!(per_step(&json), expected, "{text}");
    }
}

#[tokio::test]
async fn the_log_and_the_answer_tell_what_a_query_took() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("queries");
    let of_log = log.clone();
    let server = start_changed(|parts, _| parts.queries.set_log_file(Some(&of_log)).unwrap()).await;
    let path = "/api/v1/query_range?query=sum(m)&start=0&end=120&step=60";
    for (stats, has_stats, warns) in [
        ("", false, false),
        ("&stats=", false, false),
        ("&stats=true", true, false),
        ("&stats=all", true, false),
        ("&stats=1", true, true),
    ] {
        let (_, text) = get(&server, &format!("{path}{stats}")).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["data"].get("stats").is_some(), has_stats, "{text}");
        assert_eq!(json.get("warnings").is_some(), warns, "{text}");
        let logged = std::fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(logged.lines().last().unwrap()).unwrap();
        if has_stats {
            assert_eq!(json["data"]["stats"], line["stats"]);
            assert_eq!(line["stats"]["samples"]["totalQueryableSamples"], 6);
        }
        assert_eq!(
            line["params"],
            json!({
                "query": "sum(m)",
                "start": "1970-01-01T00:00:00.000Z",
                "end": "1970-01-01T00:02:00.000Z",
                "step": 60,
            })
        );
        assert_eq!(
            line["httpRequest"],
            json!({ "clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range" })
        );
    }
}

#[tokio::test]
async fn federates() {
    let server = start(true, false).await;
    for (query, accept, status, expected) in [
        (
            "match%5B%5D=m%7Binstance%3D%22a%22%7D",
            "",
            200,
            "# TYPE m untyped\nm{instance=\"a\",zone=\"z\"} 2 120000\n",
        ),
        ("", "", 200, ""),
        ("match%5B%5D=m%7B", "", 400, "1:3: parse error: "),
    ] {
        let path = format!("/federate?{query}");
        let (code, head, body) = request(&server, "GET", &path, accept, "").await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(code, status, "{text}");
        assert!(text.starts_with(expected), "{text}");
        if code == 200 {
            assert_eq!(text, expected);
            let kind =
                "content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
            assert!(head.contains(kind), "{head}");
        }
    }
    let starting = start(false, false).await;
    assert_eq!(get(&starting, "/federate?match%5B%5D=m").await.0, 503);
}

#[tokio::test]
async fn an_expression_without_selectors_has_no_exemplars() {
    let server = start(true, false).await;
    assert_eq!(
        get(&server, "/api/v1/query_exemplars?query=1").await,
        (204, String::new())
    );
}

//! The server to test against does what an API server does.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod api_server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use api_server::{ApiServer, Mood};
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str) -> Value {
    json!({ "metadata": { "namespace": namespace, "name": name, "labels": { "app": name } } })
}

fn ask(server: &ApiServer, target: &str, headers: &str) -> TcpStream {
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// The status, and the body as JSON; null where it is none.
fn get(server: &ApiServer, target: &str, headers: &str) -> (u16, Value) {
    let mut text = String::new();
    ask(server, target, headers)
        .read_to_string(&mut text)
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// Events of a watch, as `KIND name version`, until it ends.
fn events(stream: TcpStream) -> impl Iterator<Item = String> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.filter(|line| line.starts_with('{')).map(|line| {
        let event: Value = serde_json::from_str(&line).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let meta = &event["object"]["metadata"];
        let (kind, name) = (text(&event["type"]), text(&meta["name"]));
        format!("{kind} {name} {}", text(&meta["resourceVersion"]))
    })
}

#[test]
fn lists_in_parts() {
    let server = ApiServer::start().unwrap();
    for name in ["a", "b", "c"] {
        server.put("pods", pod("x", name));
    }
    server.put("pods", pod("y", "d"));
    server.put("services", pod("x", "s"));
    let list = |target: &str| get(&server, target, "").1;
    let first = list("/api/v1/pods?limit=3");
    assert_eq!(names(&first), ["a", "b", "c"]);
    assert_eq!(first["metadata"]["resourceVersion"], "5");
    // What comes later is not part of it.
    server.put("pods", pod("z", "e"));
    let next = first["metadata"]["continue"].as_str().unwrap();
    let second = list(&format!("/api/v1/pods?limit=3&continue={next}"));
    assert_eq!(names(&second), ["d"]);
    assert_eq!(
        second["metadata"],
        json!({ "resourceVersion": "5", "continue": "" })
    );
    assert_eq!(names(&list("/api/v1/namespaces/x/pods")), ["a", "b", "c"]);
    assert_eq!(names(&list("/api/v1/pods?labelSelector=app%3Db")), ["b"]);
    let first = list("/api/v1/pods?limit=1");
    server.forget();
    let next = first["metadata"]["continue"].as_str().unwrap();
    let (status, body) = get(&server, &format!("/api/v1/pods?continue={next}"), "");
    assert_eq!((status, &body["reason"]), (410, &json!("Expired")));
}

#[test]
fn watches() {
    let server = ApiServer::start().unwrap();
    server.put("pods", pod("x", "a"));
    let target = "/api/v1/namespaces/x/pods?watch=true&resourceVersion=1";
    let mut watch = events(ask(&server, target, ""));
    server.put("pods", pod("x", "a"));
    server.put("pods", pod("y", "b"));
    server.remove("pods", "x", "a");
    server.bookmark();
    let seen: Vec<String> = watch.by_ref().take(3).collect();
    assert_eq!(seen, ["MODIFIED a 2", "DELETED a 4", "BOOKMARK  5"]);
    assert_eq!(server.open_watches(), 1);
    server.cut();
    assert_eq!(watch.next(), None);
    // From where it was.
    let target = "/api/v1/pods?watch=true&resourceVersion=2&timeoutSeconds=1";
    let started = Instant::now();
    let seen: Vec<String> = events(ask(&server, target, "")).collect();
    assert_eq!(seen, ["ADDED b 3", "DELETED a 4", "BOOKMARK  5"]);
    assert!(started.elapsed() >= Duration::from_secs(1));
    server.forget();
    let seen: Vec<String> = events(ask(&server, target, "")).collect();
    assert_eq!(seen, ["ERROR  "]);
}

#[test]
fn moods() {
    let server = ApiServer::start().unwrap();
    server.put("pods", pod("x", "a"));
    server.next(Mood::Refuse(403, "Forbidden".to_owned(), "no".to_owned()));
    server.next(Mood::Say(500, "oops".to_owned()));
    server.next(Mood::BreakOff);
    server.next(Mood::Wait(Duration::from_millis(200)));
    let (status, body) = get(&server, "/api/v1/pods", "");
    assert_eq!((status, &body["message"]), (403, &json!("no")));
    assert_eq!(get(&server, "/api/v1/pods", ""), (500, Value::Null));
    assert_eq!(
        get(&server, "/api/v1/pods", ""),
        (200, Value::Null),
        "half of it"
    );
    let started = Instant::now();
    assert_eq!(get(&server, "/api/v1/pods", "").0, 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    server.require_token("t");
    assert_eq!(get(&server, "/api/v1/pods", "").0, 401);
    assert_eq!(
        get(&server, "/api/v1/pods", "Authorization: Bearer t\r\n").0,
        200
    );
    assert_eq!(server.requests().len(), 6);
}

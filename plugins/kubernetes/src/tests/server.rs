//! Servers that are slow, broken, or say no.

use narthex_plugin_sdk::HttpErrorCode;

use super::fixtures::*;
use super::*;

const PODS: &str = "/api/v1/pods";

fn pods() -> String {
    config(json!({ "role": "pod" }))
}

/// A first answer that is no good, and then a good one.
fn after(first: Reply) -> (Host, Vec<String>) {
    let host = Host::install();
    host.answer("GET", &list_url(PODS), first);
    serve(&host, PODS, &[small_pod("a", "1.1.1.1")]);
    host.then_pass_ms(180_000);
    run(&pods());
    assert_eq!(sources(&host), [["pod/default/a 1"]]);
    let complaints = complaints(&host);
    (host, complaints)
}

#[test]
fn lists_that_fail_are_asked_for_again() {
    let cut = r#"{"kind":"PodList","items":[{"metadata":{"name":"b"}},{"metadata":{"na"#;
    let forbidden = status(
        403,
        "Forbidden",
        "pods is forbidden: User \"u\" cannot list resource \"pods\"",
    );
    for (reply, expected) in [
        (
            Reply::new(403).body(forbidden.to_string()),
            "the server answers 403: pods is forbidden: User \"u\" cannot list resource \"pods\"",
        ),
        (
            Reply::new(500).body("<html>\noops"),
            "the server answers 500: <html>",
        ),
        (Reply::new(502), "the server answers 502"),
        (
            Reply::new(429).header("retry-after", "3"),
            "the server answers 429",
        ),
        (Reply::new(200).body(cut), "the list is no sound JSON: EOF"),
        (
            Reply::new(200)
                .body(cut)
                .then_fails(HttpErrorCode::Connection, "reset"),
            "reset",
        ),
        (
            Reply::new(200).body("<html>"),
            "the list is no sound JSON: expected value",
        ),
        (
            Reply::new(200).body(r#"{"items":[{"metadata":{"name":"b",}}]}"#),
            "the answer is not what was expected",
        ),
        (
            Reply::new(200).body(cut).stays_open(),
            "no answer within 1m",
        ),
        (
            Reply::fails(HttpErrorCode::Connection, "connection refused"),
            "connection refused",
        ),
        (
            Reply::fails(HttpErrorCode::NotGranted, "http://k8s.test/ is not granted"),
            "http://k8s.test/ is not granted",
        ),
        (list(10, &[]).after_ms(100_000), "no answer in time"),
    ] {
        let (_, complaints) = after(reply);
        let [complaint] = &complaints[..] else {
            panic!("{expected}: {complaints:?}");
        };
        assert!(
            complaint.starts_with(&format!("cannot list pods: {expected}")),
            "{expected}: {complaint}"
        );
        assert!(complaint.ends_with("; trying again"));
    }
}

/// A busy server says when it wants to be asked again.
#[test]
fn a_server_is_left_alone_for_as_long_as_it_asks() {
    let mut busy = status(429, "TooManyRequests", "busy");
    busy["details"] = json!({ "retryAfterSeconds": 7 });
    for reply in [
        Reply::new(429).header("Retry-After", "7"),
        Reply::new(429).body(busy.to_string()),
    ] {
        let host = Host::install();
        host.answer("GET", &list_url(PODS), reply);
        serve(&host, PODS, &[]);
        host.then_pass_ms(6_999);
        host.then(|host| assert_eq!(asked(host).len(), 1));
        host.then_pass_ms(1);
        run(&pods());
        assert_eq!(asked(&host).len(), 3);
    }
}

/// A connection that is dead without anyone telling: the watch should have ended long ago.
#[test]
fn a_watch_that_is_silent_for_too_long_is_begun_again() {
    let host = Host::install();
    serve(&host, PODS, &[]);
    host.then_pass_ms(269_000);
    host.then(|host| assert_eq!(asked(host).len(), 2));
    host.then_pass_ms(63_000);
    run(&pods());
    assert_eq!(asked(&host).len(), 3);
    assert_eq!(host.open_streams().len(), 0, "the run was dropped");
    let complaints = complaints(&host);
    assert!(
        complaints[0].starts_with("cannot watch pods: no answer within "),
        "{complaints:?}"
    );
}

/// A server that is slow, but moves, is waited for.
#[test]
fn slow_lists_are_read_to_their_end() {
    let host = Host::install();
    let url = list_url(PODS);
    host.answer("GET", &url, Reply::new(200).stays_open());
    host.answer("GET", &watch_url(PODS, 10), Reply::new(200).stays_open());
    let body = json!({
        "items": [small_pod("a", "1.1.1.1"), small_pod("b", "1.1.1.1")],
        "metadata": { "resourceVersion": "10" },
    });
    for piece in body.to_string().into_bytes().chunks(200) {
        let (piece, url) = (piece.to_vec(), url.clone());
        host.then(move |host| {
            host.push(&url, &piece);
        });
        host.then_pass_ms(50_000);
    }
    host.then(move |host| {
        host.end(&url);
    });
    run(&pods());
    assert_eq!(sources(&host), [["pod/default/a 1", "pod/default/b 1"]]);
    assert_eq!(complaints(&host), [""; 0]);
}

/// While a server is away its targets stay, and the log is not filled.
#[test]
fn an_outage_changes_nothing_and_is_told_once() {
    let host = Host::install();
    serve(&host, PODS, &[small_pod("a", "1.1.1.1")]);
    host.then(|host| {
        host.forget_answers();
        let down = || Reply::fails(HttpErrorCode::Connection, "connection refused");
        host.answer("GET", &format!("{SERVER}*"), down());
        host.cut(
            &format!("{SERVER}*"),
            HttpErrorCode::Connection,
            "connection refused",
        );
    });
    host.then_pass_ms(600_000);
    host.then(|host| {
        host.forget_answers();
        let line = event("ADDED", &at_version(&small_pod("b", "2.2.2.2"), 12));
        let reply = Reply::new(200).body(line).stays_open();
        host.answer("GET", &watch_url(PODS, 10), reply);
    });
    host.then_pass_ms(40_000);
    run(&pods());
    assert_eq!(sources(&host), [["pod/default/a 1"], ["pod/default/b 1"]]);
    assert_eq!(
        complaints(&host),
        ["cannot watch pods: connection refused; trying again"]
    );
    let count = asked(&host).len();
    assert!(
        (20..60).contains(&count),
        "asked {count} times in ten minutes"
    );
    assert!(
        host.logged()
            .iter()
            .any(|(_, line)| line == "pods are watched again")
    );
}

/// A watch that the server refuses again and again may be asked for from a version that it never
/// had, after it was brought back from a backup: then all is listed anew.
#[test]
fn a_watch_that_is_refused_again_and_again_makes_a_new_list() {
    let host = Host::install();
    host.answer(
        "GET",
        &list_url(PODS),
        list(10, &[small_pod("a", "1.1.1.1")]),
    );
    host.answer(
        "GET",
        &list_url(PODS),
        list(3, &[small_pod("b", "1.1.1.1")]),
    );
    let large = status(504, "Timeout", "Too large resource version: 10, current: 3");
    host.answer(
        "GET",
        &watch_url(PODS, 10),
        Reply::new(504).body(large.to_string()),
    );
    host.answer("GET", &watch_url(PODS, 3), Reply::new(200).stays_open());
    host.then_pass_ms(60_000);
    run(&pods());
    assert_eq!(
        sources(&host),
        [
            vec!["pod/default/a 1"],
            vec!["pod/default/a 0", "pod/default/b 1"]
        ]
    );
    assert_eq!(asked(&host).len(), 6);
}

/// Broken in the middle of a watch: what came before holds, and the rest is asked for again.
#[test]
fn broken_events_begin_the_watch_again() {
    let b = event("ADDED", &at_version(&small_pod("b", "2.2.2.2"), 12));
    for broken in [
        "{\"type\":\"ADDED\",\"object\":{\n",
        "hello\n",
        "{\"type\":\"STRANGE\",\"object\":{}}\n",
        "{\"type\":\"ADDED\"}\n",
    ] {
        let host = Host::install();
        serve(&host, PODS, &[]);
        let line = format!("{b}{broken}");
        host.then(move |host| {
            host.push(&format!("{SERVER}*watch=true*"), &line);
        });
        host.answer("GET", &watch_url(PODS, 12), Reply::new(200).stays_open());
        host.then_pass_ms(3000);
        run(&pods());
        assert_eq!(
            sources(&host),
            [vec![], vec!["pod/default/b 1"]],
            "{broken}"
        );
        assert_eq!(asked(&host).len(), 3);
        assert_eq!(complaints(&host).len(), 1, "{:?}", complaints(&host));
    }
}

/// An object that is not what it should be keeps out no other one.
#[test]
fn an_object_that_cannot_be_understood_is_passed_over() {
    let host = Host::install();
    let mut odd = small_pod("odd", "1.1.1.1");
    odd["spec"]["containers"] = "none".into();
    serve(&host, PODS, &[odd.clone(), small_pod("a", "1.1.1.1")]);
    let line = event("MODIFIED", &at_version(&odd, 11))
        + &event("ADDED", &at_version(&small_pod("b", "1.1.1.1"), 12));
    host.then(move |host| {
        host.push(&format!("{SERVER}*watch=true*"), &line);
    });
    host.then_pass_ms(1000);
    run(&pods());
    assert_eq!(sources(&host), [["pod/default/a 1"], ["pod/default/b 1"]]);
    let complaints = complaints(&host);
    assert_eq!(complaints.len(), 2);
    assert!(
        complaints[0].starts_with("pods default/odd is passed over: invalid type: string \"none\""),
        "{complaints:?}"
    );
}

/// A namespace that may not be read keeps out the others only for a while.
#[test]
fn one_namespace_of_two_is_forbidden() {
    let host = Host::install();
    serve(
        &host,
        "/api/v1/namespaces/default/pods",
        &[small_pod("a", "1.1.1.1")],
    );
    host.answer(
        "GET",
        &list_url("/api/v1/namespaces/secret/pods"),
        Reply::new(403),
    );
    host.then_pass_ms(9_999);
    host.then(|host| assert_eq!(host.published().len(), 0));
    host.then_pass_ms(1);
    run(&config(json!({
        "role": "pod", "namespaces": { "names": ["default", "secret"] },
    })));
    assert_eq!(sources(&host), [["pod/default/a 1"]]);
}

/// Whose the pods are is of use, but addresses are not kept back for it.
#[test]
fn addresses_wait_for_no_replica_sets() {
    let host = Host::install();
    serve(&host, "/api/v1/endpoints", &[endpoints_of_pod()]);
    serve(&host, "/api/v1/services", &[]);
    serve(&host, PODS, &[]);
    let forbidden = Reply::new(403);
    host.answer("GET", &list_url("/apis/apps/v1/replicasets"), forbidden);
    host.then_pass_ms(100);
    run(&config(
        json!({ "role": "endpoints", "attach_metadata": { "deployment": true } }),
    ));
    assert_eq!(sources(&host), [["endpoints/default/testendpoints 1"]]);
    assert_eq!(
        complaints(&host),
        ["cannot list replicasets: the server answers 403; trying again"]
    );
}

/// Labels that the host does not take keep out no others.
#[test]
fn a_refused_publication_is_told() {
    let host = Host::install();
    let items = [
        small_pod("a", "1.1.1.1"),
        small_pod("b", "1.1.1.1"),
        small_pod("c", "1.1.1.1"),
    ];
    serve(&host, PODS, &items);
    host.fail_publishing(Some(narthex_plugin_sdk::CallError::Limit(
        "200 labels".to_owned(),
    )));
    let line = event("DELETED", &at_version(&small_pod("a", "1.1.1.1"), 11));
    host.then(move |host| {
        host.fail_publishing(None);
        host.push(&format!("{SERVER}*watch=true*"), &line);
    });
    host.then_pass_ms(1000);
    run(&pods());
    assert_eq!(sources(&host), [["pod/default/a 0"]]);
    assert_eq!(
        complaints(&host),
        ["3 groups are not published, as pod/default/a: 200 labels"]
    );
}

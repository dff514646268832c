//! Changes, one at a time.

use super::fixtures::*;
use super::*;

const PODS: &str = "/api/v1/pods";

fn pods() -> String {
    config(json!({ "role": "pod" }))
}

/// A step of the script: these pieces come over the watch from version 10 on.
fn push(host: &Host, pieces: &[String]) {
    let pieces = pieces.to_vec();
    host.then(move |host| {
        for piece in &pieces {
            host.push(&format!("{SERVER}*watch=true*"), piece);
        }
    });
    host.then_pass_ms(1000);
}

#[test]
fn objects_come_change_and_go() {
    let host = Host::install();
    serve(&host, PODS, &[small_pod("a", "1.1.1.1")]);
    let a = at_version(&small_pod("a", "1.1.1.2"), 11);
    let b = at_version(&small_pod("b", "2.2.2.2"), 12);
    push(&host, &[event("MODIFIED", &a), event("ADDED", &b)]);
    push(&host, &[event("DELETED", &at_version(&a, 13))]);
    // Nothing that labels show.
    let mut b_later = at_version(&b, 14);
    b_later["status"]["startTime"] = "2026-01-02T03:04:05Z".into();
    push(&host, &[event("MODIFIED", &b_later)]);
    run(&pods());
    assert_eq!(
        sources(&host),
        [
            vec!["pod/default/a 1"],
            vec!["pod/default/a 1", "pod/default/b 1"],
            vec!["pod/default/a 0"],
        ]
    );
    assert_eq!(
        published(&host)[2],
        ["pod/default/a"],
        "an empty group has no labels"
    );
    assert_eq!(complaints(&host), [""; 0]);
    let events = |kind: &str| {
        format!("prometheus_sd_kubernetes_events_total{{event={kind:?},role=\"pod\"}}")
    };
    let expected = [
        (events("add"), 2.0),
        (events("delete"), 1.0),
        (events("update"), 2.0),
        ("prometheus_sd_kubernetes_failures_total".to_owned(), 0.0),
    ];
    assert_eq!(host.telemetry(), expected.into());
}

#[test]
fn failures_are_counted() {
    let host = Host::install();
    host.answer("GET", &format!("{SERVER}*"), Reply::new(500));
    run(&pods());
    let failures = host.telemetry()["prometheus_sd_kubernetes_failures_total"];
    assert!(failures >= 1.0, "{failures}");
}

#[test]
fn an_empty_cluster_is_published() {
    let host = Host::install();
    serve(&host, PODS, &[]);
    run(&pods());
    assert_eq!(sources(&host), [[""; 0]]);
}

/// A pod that is put out keeps its object and loses its address.
#[test]
fn a_group_that_loses_its_targets_is_emptied_once() {
    let host = Host::install();
    serve(
        &host,
        PODS,
        &[small_pod("a", "1.1.1.1"), small_pod("b", "")],
    );
    let a = at_version(&small_pod("a", ""), 11);
    push(&host, &[event("MODIFIED", &a)]);
    push(&host, &[event("DELETED", &at_version(&a, 12))]);
    push(
        &host,
        &[event("DELETED", &at_version(&small_pod("b", ""), 13))],
    );
    run(&pods());
    assert_eq!(
        sources(&host),
        [vec!["pod/default/a 1"], vec!["pod/default/a 0"]]
    );
}

/// Pieces of a stream end anywhere.
#[test]
fn events_come_in_pieces() {
    let host = Host::install();
    serve(&host, PODS, &[]);
    let mut lines = String::new();
    for at in 0..3u64 {
        let pod = small_pod(&format!("é{at}"), "1.1.1.1");
        lines += &event("ADDED", &at_version(&pod, 11 + at));
    }
    let bytes = lines.into_bytes();
    for piece in bytes.chunks(97).map(<[u8]>::to_vec).collect::<Vec<_>>() {
        host.then(move |host| {
            host.push(&format!("{SERVER}*watch=true*"), &piece);
        });
    }
    host.then_pass_ms(1000);
    run(&pods());
    let all: Vec<String> = sources(&host).into_iter().flatten().collect();
    assert_eq!(
        all,
        ["pod/default/é0 1", "pod/default/é1 1", "pod/default/é2 1"]
    );
}

/// The connection breaks: the watch goes on from the last version that was seen, be it of an object
/// or of a bookmark, and nothing is listed again.
#[test]
fn a_watch_that_is_cut_goes_on_from_where_it_was() {
    for (last, version) in [
        (
            event("ADDED", &at_version(&small_pod("b", "2.2.2.2"), 12)),
            12,
        ),
        (
            event(
                "BOOKMARK",
                &json!({ "kind": "Pod", "metadata": { "resourceVersion": "90" } }),
            ),
            90,
        ),
    ] {
        let host = Host::install();
        serve(&host, PODS, &[small_pod("a", "1.1.1.1")]);
        host.answer(
            "GET",
            &watch_url(PODS, version),
            Reply::new(200)
                .body(event(
                    "DELETED",
                    &at_version(&small_pod("a", "1.1.1.1"), 99),
                ))
                .stays_open(),
        );
        push(&host, &[last]);
        host.then(|host| {
            host.cut(
                &format!("{SERVER}*"),
                narthex_plugin_sdk::HttpErrorCode::Connection,
                "connection reset",
            );
        });
        host.then_pass_ms(2000);
        run(&pods());
        assert_eq!(
            asked(&host),
            [
                format!("{PODS}?limit=500"),
                format!("{PODS}?watch 10"),
                format!("{PODS}?watch {version}"),
            ]
        );
        assert_eq!(sources(&host).last().unwrap(), &["pod/default/a 0"]);
        assert_eq!(
            complaints(&host),
            ["cannot watch pods: connection reset; trying again"]
        );
    }
}

/// The server ends each watch after a while: the next one follows without a pause.
#[test]
fn a_watch_that_ends_as_agreed_is_begun_again() {
    let host = Host::install();
    serve(&host, PODS, &[]);
    let bookmark = json!({ "metadata": { "resourceVersion": "20" } });
    push(&host, &[event("BOOKMARK", &bookmark)]);
    host.answer("GET", &watch_url(PODS, 20), Reply::new(200).stays_open());
    host.then(|host| {
        host.end(&format!("{SERVER}*watch=true*"));
    });
    host.then(|_| ());
    run(&pods());
    assert_eq!(
        asked(&host),
        [
            format!("{PODS}?limit=500"),
            format!("{PODS}?watch 10"),
            format!("{PODS}?watch 20")
        ]
    );
    assert_eq!(complaints(&host), [""; 0]);
}

/// One that ends at once each time is asked for less and less often.
#[test]
fn a_watch_that_never_lasts_is_not_asked_for_in_a_loop() {
    let host = Host::install();
    host.answer("GET", &list_url(PODS), list(10, &[]));
    host.answer("GET", &watch_url(PODS, 10), Reply::new(200));
    host.then_pass_ms(60_000);
    run(&pods());
    let count = asked(&host).len();
    assert!((4..12).contains(&count), "{count}");
}

/// 410, as an event or as an answer: all is listed again, and what is gone is emptied.
#[test]
fn what_is_too_old_is_listed_again() {
    let gone = status(410, "Expired", "too old resource version: 10 (500)");
    for answer in [
        Reply::new(200).body(event("ERROR", &gone)),
        Reply::new(410).body(gone.to_string()),
        Reply::new(400).body(gone.to_string()),
    ] {
        let host = Host::install();
        let (a, b, c) = (
            small_pod("a", "1.1.1.1"),
            small_pod("b", "2.2.2.2"),
            small_pod("c", "3.3.3.3"),
        );
        host.answer("GET", &list_url(PODS), list(10, &[a, b.clone()]));
        host.answer("GET", &list_url(PODS), list(500, &[b, c]));
        host.answer("GET", &watch_url(PODS, 10), answer);
        host.answer("GET", &watch_url(PODS, 500), Reply::new(200).stays_open());
        host.then_pass_ms(2000);
        run(&pods());
        assert_eq!(
            sources(&host),
            [
                vec!["pod/default/a 1", "pod/default/b 1"],
                // b is as it was.
                vec!["pod/default/a 0", "pod/default/c 1"],
            ]
        );
        assert_eq!(
            asked(&host),
            [
                format!("{PODS}?limit=500"),
                format!("{PODS}?watch 10"),
                format!("{PODS}?limit=500"),
                format!("{PODS}?watch 500"),
            ]
        );
        assert_eq!(complaints(&host), [""; 0]);
    }
}

/// What is listed again of one namespace says nothing of others.
#[test]
fn namespaces_are_listed_each_for_itself() {
    let host = Host::install();
    let pod_in = |namespace: &str, name: &str| {
        let mut pod = small_pod(name, "1.1.1.1");
        pod["metadata"]["namespace"] = namespace.into();
        pod
    };
    let (one, two) = ("/api/v1/namespaces/one/pods", "/api/v1/namespaces/two/pods");
    serve(&host, one, &[pod_in("one", "a")]);
    serve(&host, two, &[pod_in("two", "b")]);
    host.answer("GET", &list_url(two), list(20, &[pod_in("two", "c")]));
    host.answer("GET", &watch_url(two, 20), Reply::new(200).stays_open());
    let gone = event("ERROR", &status(410, "Expired", "too old"));
    host.then(move |host| {
        host.push(&format!("{SERVER}{two}*"), &gone);
    });
    host.then_pass_ms(2000);
    run(&config(
        json!({ "role": "pod", "namespaces": { "names": ["one", "two"] } }),
    ));
    assert_eq!(
        sources(&host),
        [
            vec!["pod/one/a 1", "pod/two/b 1"],
            vec!["pod/two/b 0", "pod/two/c 1"],
        ]
    );
}

/// What groups are made of beside their object.
#[test]
fn what_belongs_to_an_object_changes() {
    let endpoints_path = "/api/v1/endpoints";
    let host = Host::install();
    serve(&host, endpoints_path, &[endpoints_of_pod()]);
    for path in [
        PODS,
        "/api/v1/services",
        "/api/v1/nodes",
        "/api/v1/namespaces",
    ] {
        serve(&host, path, &[]);
    }
    serve(&host, "/apis/apps/v1/replicasets", &[]);
    let step = |path: &'static str, line: String| {
        host.then(move |host| {
            host.push(&watch_url(path, 10), &line);
        });
        host.then_pass_ms(1000);
    };
    let mut pod = backend_pod();
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ReplicaSet", "name": "web-1", "uid": "1", "controller": true,
    }]);
    step(PODS, event("ADDED", &pod));
    let mut service = service(json!({}));
    service["metadata"]["name"] = "testendpoints".into();
    step("/api/v1/services", event("ADDED", &service));
    step(
        "/api/v1/namespaces",
        event(
            "ADDED",
            &described("default", json!({ "team": "x" }), json!({})),
        ),
    );
    step(
        "/apis/apps/v1/replicasets",
        event("ADDED", &owned("web-1", "Deployment", "web")),
    );
    // A node that nothing is on, and a service of others.
    step(
        "/api/v1/nodes",
        event("ADDED", &described("x", json!({}), json!({}))),
    );
    service["metadata"]["name"] = "others".into();
    step("/api/v1/services", event("ADDED", &service));
    pod["status"]["phase"] = "Running".into();
    step(PODS, event("MODIFIED", &pod));
    step(PODS, event("DELETED", &pod));
    run(&config(json!({
        "role": "endpoints",
        "attach_metadata": { "node": true, "namespace": true, "deployment": true },
    })));
    let seen = [
        "pod_name=testpod",
        "service_name=testendpoints",
        "namespace_label_team=x",
        "pod_deployment_name=web",
        "pod_phase=Running",
    ];
    let seen: Vec<String> = published(&host)
        .iter()
        .map(|lines| {
            let text = lines.join("\n");
            let has = |part: &&str| if text.contains(*part) { '+' } else { '-' };
            seen.iter().map(has).collect()
        })
        .collect();
    assert_eq!(
        seen,
        [
            "-----", "+----", "++---", "+++--", "++++-", "+++++", "-++--"
        ]
    );
}

#[test]
fn pods_follow_their_nodes() {
    let host = Host::install();
    serve(&host, PODS, &[small_pod("a", "1.1.1.1")]);
    serve(&host, "/api/v1/nodes", &[]);
    let node = described("testnode", json!({}), json!({}));
    for kind in ["ADDED", "DELETED"] {
        let line = event(kind, &node);
        host.then(move |host| {
            host.push(&watch_url("/api/v1/nodes", 10), &line);
        });
        host.then_pass_ms(1000);
    }
    run(&config(
        json!({ "role": "pod", "attach_metadata": { "node": true } }),
    ));
    assert_eq!(
        sources(&host),
        [vec![], vec!["pod/default/a 1"], vec!["pod/default/a 0"]]
    );
}

/// What comes in quick succession is published together.
#[test]
fn a_burst_is_one_publication() {
    let host = Host::install();
    serve(&host, PODS, &[]);
    for at in 0..50u64 {
        let line = event(
            "ADDED",
            &at_version(&small_pod(&format!("p{at:02}"), "1.1.1.1"), 11 + at),
        );
        host.then(move |host| {
            host.push(&format!("{SERVER}*watch=true*"), &line);
        });
        host.then_pass_ms(2);
    }
    host.then_pass_ms(1000);
    run(&pods());
    let counts: Vec<usize> = sources(&host).iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 50);
    assert!(counts.len() <= 3, "{counts:?}");
}

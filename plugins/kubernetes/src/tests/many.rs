//! Large clusters.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::fixtures::*;
use super::*;

const PODS: &str = "/api/v1/pods";

/// A server that gives its list in parts.
fn serve_parts(host: &Host, pods: Vec<Value>, per_part: usize) {
    host.answer_with("GET", &format!("{SERVER}{PODS}?limit=500*"), move |asked| {
        let at = asked.url.split_once("&continue=").map_or("0", |(_, at)| at);
        let at: usize = at.parse().unwrap();
        let end = (at + per_part).min(pods.len());
        let mut meta = json!({ "resourceVersion": "10" });
        if end < pods.len() {
            meta["continue"] = end.to_string().into();
        }
        Reply::json(json!({ "metadata": meta, "items": pods[at..end] }).to_string())
    });
    host.answer("GET", &watch_url(PODS, 10), Reply::new(200).stays_open());
}

fn numbered(at: usize, ip: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["name"] = format!("pod-{at:05}").into();
    pod["metadata"]["ownerReferences"] = json!([]);
    pod["status"]["podIP"] = ip.into();
    pod
}

/// What is there when all publications are taken together.
fn state(host: &Host) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for group in host.published().into_iter().flatten() {
        match group.targets.first() {
            Some(target) => state.insert(group.source, target[0].1.clone()),
            None => state.remove(&group.source),
        };
    }
    state
}

#[test]
fn five_thousand_pods_and_their_changes() {
    let host = Host::install();
    let pods: Vec<Value> = (0..5000).map(|at| numbered(at, "10.0.0.1")).collect();
    serve_parts(&host, pods, 500);
    // Every seventh changes, every eleventh goes, a hundred come.
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = String::new();
    let mut version = 10;
    let mut tell = |kind: &str, pod: &Value| {
        version += 1;
        lines.push_str(&event(kind, &at_version(pod, version)));
    };
    for at in 0..5100 {
        let source = format!("pod/default/pod-{at:05}");
        let address = match at {
            5000.. => "10.0.0.3:9000",
            _ if at % 7 == 0 => "10.0.0.2:9000",
            _ => "10.0.0.1:9000",
        };
        if at >= 5000 {
            tell("ADDED", &numbered(at, "10.0.0.3"));
        } else if at % 7 == 0 {
            tell("MODIFIED", &numbered(at, "10.0.0.2"));
        }
        expected.insert(source.clone(), address.to_owned());
        if at < 5000 && at % 11 == 0 {
            tell("DELETED", &numbered(at, "10.0.0.1"));
            expected.remove(&source);
        }
    }
    for piece in lines.into_bytes().chunks(256 << 10) {
        let piece = piece.to_vec();
        host.then(move |host| {
            host.push(&format!("{SERVER}*watch=true*"), &piece);
        });
        host.then_pass_ms(100);
    }
    host.then_pass_ms(1000);
    run(&config(json!({ "role": "pod" })));
    assert_eq!(state(&host), expected);
    assert_eq!(complaints(&host), [""; 0]);
    assert_eq!(asked(&host).len(), 11, "ten parts and a watch");
    let published = host.published();
    let first: usize = published.iter().take(3).map(Vec::len).sum();
    assert!(
        published[0].len() < 5000,
        "but not more than memory has room for"
    );
    assert!(
        first >= 5000,
        "all of it is there at once, in few calls: {first}"
    );
    let total: usize = published.iter().map(Vec::len).sum();
    assert!(total < 5000 + 2000, "only changes follow: {total}");
}

/// The list took longer than the server remembers.
#[test]
fn a_part_that_is_too_old_makes_a_list_without_parts() {
    let host = Host::install();
    let pods: Vec<Value> = (0..20).map(|at| numbered(at, "10.0.0.1")).collect();
    serve_parts(&host, pods.clone(), 8);
    let gone = status(410, "Expired", "The provided continue parameter is too old").to_string();
    host.answer(
        "GET",
        &format!("{SERVER}{PODS}?limit=500&continue=16"),
        Reply::new(410).body(gone),
    );
    // One of those of the first part is gone by now.
    host.answer("GET", &format!("{SERVER}{PODS}"), list(10, &pods[1..]));
    run(&config(json!({ "role": "pod" })));
    assert_eq!(
        asked(&host),
        [
            format!("{PODS}?limit=500"),
            format!("{PODS}?limit=500&continue=8"),
            format!("{PODS}?limit=500&continue=16"),
            PODS.to_owned(),
            format!("{PODS}?watch 10"),
        ]
    );
    assert_eq!(state(&host).len(), 19);
}

/// A server that gives parts to who asks for none, and forgets them.
#[test]
fn lists_that_are_always_too_old_are_not_asked_for_in_a_loop() {
    let host = Host::install();
    let body = json!({ "metadata": { "continue": "x" }, "items": [] });
    host.answer(
        "GET",
        &format!("{SERVER}{PODS}*continue=x"),
        Reply::new(410),
    );
    host.answer("GET", &list_url(PODS), Reply::json(body.to_string()));
    host.answer(
        "GET",
        &format!("{SERVER}{PODS}"),
        Reply::json(body.to_string()),
    );
    host.then_pass_ms(100);
    run(&config(json!({ "role": "pod" })));
    assert_eq!(asked(&host).len(), 4);
}

#[test]
fn a_list_that_never_ends_is_given_up() {
    let host = Host::install();
    let body = json!({ "metadata": { "continue": "x" }, "items": [] });
    host.answer(
        "GET",
        &format!("{SERVER}{PODS}?*"),
        Reply::json(body.to_string()),
    );
    host.then_pass_ms(100);
    run(&config(json!({ "role": "pod" })));
    assert_eq!(asked(&host).len(), 2);
    assert_eq!(
        complaints(&host),
        [
            "cannot list pods: the server gives the same part of the list again and again; trying \
          again"
        ]
    );
}

/// Whatever happens, in whatever order: in the end, what is published is what there is.
#[test]
fn what_is_published_is_what_there_is() {
    for seed in 0..20u64 {
        println!("seed {seed}");
        let host = Host::install();
        let mut random = seed * 2_654_435_761 + 1;
        let mut next = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        // What the server has, and which version it is at.
        let server = Rc::new(RefCell::new((BTreeMap::<u64, Value>::new(), 10u64)));
        let lists = server.clone();
        host.answer_with("GET", &list_url(PODS), move |_| {
            let (pods, version) = &*lists.borrow();
            list(*version, &pods.values().cloned().collect::<Vec<_>>())
        });
        let watches = server.clone();
        host.answer_with("GET", &format!("{SERVER}*watch=true*"), move |asked| {
            // It remembers nothing: who has missed something lists again.
            let (_, version) = &*watches.borrow();
            match asked.url.contains(&format!("resourceVersion={version}&")) {
                true => Reply::new(200).stays_open(),
                false => Reply::new(410),
            }
        });
        for _ in 0..60 {
            let (what, at, ip) = (next(10), next(15), next(4));
            let server = server.clone();
            host.then(move |host| {
                let (pods, version) = &mut *server.borrow_mut();
                *version += 1;
                let name = format!("p{at}");
                let pod = at_version(&small_pod(&name, &format!("1.1.1.{ip}")), *version);
                let line = match what {
                    0..6 => {
                        let kind = match pods.insert(at, pod.clone()) {
                            Some(_) => "MODIFIED",
                            None => "ADDED",
                        };
                        event(kind, &pod)
                    }
                    _ => match pods.remove(&at) {
                        Some(_) => event("DELETED", &pod),
                        None => event("BOOKMARK", &pod),
                    },
                };
                match what {
                    // It changes while nobody listens.
                    5 | 9 => host.cut(
                        &format!("{SERVER}*"),
                        narthex_plugin_sdk::HttpErrorCode::Connection,
                        "reset",
                    ),
                    _ => host.push(&format!("{SERVER}*watch=true*"), line),
                };
            });
            host.then_pass_ms(next(400));
        }
        host.then_pass_ms(40_000);
        run(&config(json!({ "role": "pod" })));
        let expected: BTreeMap<String, String> = server
            .borrow()
            .0
            .values()
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap();
                let ip = pod["status"]["podIP"].as_str().unwrap();
                (format!("pod/default/{name}"), format!("{ip}:80"))
            })
            .collect();
        assert_eq!(state(&host), expected);
    }
}

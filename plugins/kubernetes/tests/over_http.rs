//! The plugin and the server to test against, over real connections: the fake host hands the
//! plugin's requests on.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod api_server;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use api_server::ApiServer;
use narthex_plugin_kubernetes::KubernetesDiscovery;
use narthex_plugin_sdk::HttpErrorCode;
use narthex_plugin_sdk::fake::{Host, Reply};
use narthex_plugin_sdk::testing::{self, Outcome};
use serde_json::{Value, json};

/// Hands requests on, and what comes of watches back.
#[derive(Clone, Default)]
struct Bridge(Rc<RefCell<Vec<Watch>>>);

struct Watch {
    url: String,
    stream: TcpStream,
    /// What has come and is no whole line yet.
    rest: String,
}

fn connect(url: &str) -> TcpStream {
    let (address, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

impl Bridge {
    fn serve(&self, host: &Host, server: &ApiServer) {
        let watches = self.0.clone();
        host.answer_with("GET", &format!("{}/*", server.url()), move |asked| {
            let mut stream = connect(&asked.url);
            if asked.url.contains("watch=true") {
                watches.borrow_mut().push(Watch {
                    url: asked.url.clone(),
                    stream,
                    rest: String::new(),
                });
                return Reply::new(200).stays_open();
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            Reply::new(head.split(' ').nth(1).unwrap().parse().unwrap()).body(body)
        });
    }

    /// Hands over what has come, until nothing comes for a while.
    fn pump(&self, host: &Host) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_millis(300) {
            self.0.borrow_mut().retain_mut(|watch| {
                watch
                    .stream
                    .set_read_timeout(Some(Duration::from_millis(10)))
                    .unwrap();
                let mut bytes = [0; 1 << 16];
                let count = match watch.stream.read(&mut bytes) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(_) => 0,
                };
                quiet_since = Instant::now();
                watch
                    .rest
                    .push_str(std::str::from_utf8(&bytes[..count]).unwrap());
                while let Some((line, rest)) = watch.rest.split_once('\n') {
                    if line.starts_with('{') {
                        host.push(&watch.url, format!("{line}\n"));
                    }
                    watch.rest = rest.to_owned();
                }
                if count == 0 {
                    host.cut(&watch.url, HttpErrorCode::Connection, "connection reset");
                }
                count > 0
            });
        }
    }
}

fn pod(at: usize, ip: &str) -> Value {
    json!({
        "metadata": { "name": format!("pod-{at}"), "namespace": "default", "uid": at.to_string() },
        "spec": { "containers": [{ "name": "c", "ports": [{ "containerPort": 80 }] }] },
        "status": { "podIP": ip, "phase": "Running" },
    })
}

#[test]
fn five_thousand_pods_change_while_connections_break() {
    let host = Host::install();
    let server = Rc::new(ApiServer::start().unwrap());
    let bridge = Bridge::default();
    bridge.serve(&host, &server);
    let expected = Rc::new(RefCell::new(BTreeMap::new()));
    let put = {
        let (server, expected) = (server.clone(), expected.clone());
        move |at: usize, ip: &str| {
            server.put("pods", pod(at, ip));
            let source = format!("pod/default/pod-{at}");
            expected.borrow_mut().insert(source, format!("{ip}:80"));
        }
    };
    let remove = {
        let (server, expected) = (server.clone(), expected.clone());
        move |at: usize| {
            server.remove("pods", "default", &format!("pod-{at}"));
            expected
                .borrow_mut()
                .remove(&format!("pod/default/pod-{at}"));
        }
    };
    (0..5000).for_each(|at| put(at, "10.0.0.1"));
    let step = |change: Box<dyn FnOnce()>| {
        let bridge = bridge.clone();
        host.then(move |host| {
            change();
            bridge.pump(host);
        });
        host.then_pass_ms(1000);
    };
    let (change, gone) = (put.clone(), remove.clone());
    step(Box::new(move || {
        (0..500).for_each(|at| change(at, "10.0.0.2"));
        (4000..4100).for_each(&gone);
    }));
    // While the connection is broken, something changes.
    let (change, broken) = (put.clone(), server.clone());
    step(Box::new(move || {
        broken.cut();
        (5000..5100).for_each(|at| change(at, "10.0.0.3"));
    }));
    step(Box::new(|| ()));
    // And now the server forgets it, too.
    let broken = server.clone();
    step(Box::new(move || {
        broken.cut();
        (0..100).for_each(&remove);
        put(7, "10.0.0.7");
        broken.forget();
    }));
    step(Box::new(|| ()));
    let after = server.clone();
    step(Box::new(move || after.put("pods", pod(6000, ""))));
    let config = json!({ "role": "pod", "api_server": server.url() }).to_string();
    let discovery: KubernetesDiscovery = testing::discovery(&config, "/").unwrap();
    assert_eq!(testing::run(discovery), Outcome::Waits);
    let mut found = BTreeMap::new();
    for group in host.published().into_iter().flatten() {
        match group.targets.first() {
            Some(target) => found.insert(group.source, target[0].1.clone()),
            None => found.remove(&group.source),
        };
    }
    assert_eq!(found, *expected.borrow());
    let requests = server.requests();
    let lists = requests.iter().filter(|target| !target.contains("watch="));
    // 5000 pods, and then 4900.
    assert_eq!(lists.count(), 10 + 10);
    let watches = requests.iter().filter(|target| target.contains("watch="));
    assert_eq!(watches.count(), 4);
}

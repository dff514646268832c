//! What plugins may ask of other machines, and what they are refused.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use narthex_extension::{Capabilities, HttpAccess};
use narthex_http_client::{Authorization, HttpClientConfig, Secret, SecretSource};

use super::Bench;
use super::guest::Guest;
use crate::Grant;

/// Answers each connection's one request with what `answer` makes of it.
pub(super) fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(&answer(&String::from_utf8_lossy(&request)));
            });
        }
    });
    port
}

pub(super) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

pub(super) fn redirect(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// A server of names that has one address for each of these, and knows no others.
pub(super) fn serve_names(names: &'static [(&'static str, [u8; 4])]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let query = request.queries[0].clone();
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            response.metadata.message_type = MessageType::Response;
            response.add_query(query.clone());
            let name = query.name().to_utf8();
            let known = names
                .iter()
                .find(|(known, _)| name.trim_end_matches('.') == *known);
            match known {
                Some((_, address)) if query.query_type() == RecordType::A => {
                    let data = RData::A(A(Ipv4Addr::from(*address)));
                    response.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                }
                Some(_) => {}
                None => response.metadata.response_code = ResponseCode::NXDomain,
            }
            let _ = socket.send_to(&response.to_vec().unwrap(), from);
        }
    });
    address
}

pub(super) fn requesting(urls: &[&str]) -> Grant {
    let http = urls.iter().map(|url| HttpAccess {
        url: (*url).to_owned(),
        methods: Vec::new(),
    });
    Capabilities {
        http: http.collect(),
        ..Capabilities::default()
    }
    .into()
}

/// What the plugin says, which fails with whatever it got.
async fn said(bench: &Bench, plugin: &str, guest: Guest) -> String {
    bench.install(plugin, &guest.build());
    let error = bench.collect(plugin).await.unwrap_err().to_string();
    let own = format!("plugin {plugin}: ");
    error.strip_prefix(&own).unwrap_or(&error).to_owned()
}

fn any(url: &str) -> Guest {
    Guest::exporter().wants_http("*://*").fetches(url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_where_both_sides_allow() {
    let port = serve(|request| ok(request.lines().next().unwrap_or_default()));
    let own = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    let granted: [(&str, Vec<String>); 4] = [
        ("all", vec![format!("{own}/*")]),
        ("path", vec![format!("{own}/v1/*")]),
        ("glob", vec!["*://*".to_owned()]),
        ("name", vec![format!("http://localhost:{port}")]),
    ];
    bench
        .apply(|config| {
            for (plugin, urls) in &granted {
                let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
                config
                    .grants
                    .insert((*plugin).to_owned(), requesting(&urls));
            }
        })
        .await;
    let by_name = format!("http://localhost:{port}");
    for (plugin, url, expected) in [
        (
            "all",
            format!("{own}/x?y=1"),
            "GET /x?y=1 HTTP/1.1".to_owned(),
        ),
        (
            "path",
            format!("{own}/v1/x"),
            "GET /v1/x HTTP/1.1".to_owned(),
        ),
        (
            "path",
            format!("{own}/v2/x"),
            format!(
                "requesting {own}/v2/x is not granted; in narthex.yml: plugins: {{ grants: {{ \
                 path: {{ http: [\"{own}/v2/x\"] }} }} }}"
            ),
        ),
        (
            "glob",
            format!("{own}/x"),
            format!("{own}/x is a loopback address, which only a grant that names it allows; in"),
        ),
        ("name", format!("{by_name}/x"), "GET /x HTTP/1.1".to_owned()),
        (
            "name",
            format!("{own}/x"),
            format!("requesting {own}/x is not granted"),
        ),
        (
            "glob",
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "http://169.254.169.254/latest/meta-data/ is a link-local address".to_owned(),
        ),
        (
            "glob",
            "http://[fd00:ec2::254]/".to_owned(),
            "http://[fd00:ec2::254]/ is a metadata address".to_owned(),
        ),
        (
            "glob",
            "file:///etc/passwd".to_owned(),
            "\"file:///etc/passwd\": the scheme".to_owned(),
        ),
    ] {
        // A plugin is told from another by its file.
        let text = said(&bench, plugin, any(&url)).await;
        assert!(text.starts_with(&expected), "{plugin} {url}: {text}");
        std::fs::remove_file(bench.plugin_path(plugin)).unwrap();
        super::until("it is gone", || {
            bench.status(plugin).is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undeclared_or_ungranted_request_is_none() {
    let port = serve(|_| ok("secret"));
    let own = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    bench
        .apply(|config| {
            let grant = requesting(&[&own, "https://a.test"]);
            config.grants.insert("undeclared".to_owned(), grant);
            config.grants.insert("empty".to_owned(), requesting(&[]));
        })
        .await;
    let guest = Guest::exporter().wants_http("https://a.test").fetches(&own);
    let text = said(&bench, "undeclared", guest).await;
    assert!(
        text.starts_with("plugin undeclared does not declare that it requests"),
        "{text}"
    );
    bench.install("empty", &any(&own).build());
    let state = crate::PluginState::WaitingForGrant;
    let status = bench.until_state("empty", state).await;
    assert!(status.missing_yaml.contains("empty: { http: [\"*://*\"] }"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_judged_like_requests() {
    let forbidden = serve(|_| ok("secret"));
    let port = serve(
        move |request| match request.split(' ').nth(1).unwrap_or_default() {
            "/in" => redirect("/there"),
            "/there" => ok("there"),
            "/out" => redirect(&format!("http://127.0.0.1:{forbidden}/")),
            "/metadata" => redirect("http://169.254.169.254/latest/"),
            "/file" => redirect("file:///etc/shadow"),
            _ => redirect("/round"),
        },
    );
    let own = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    let grant = requesting(&[&own, "*://*"]);
    for (plugin, path, expected) in [
        ("in", "/in", "there".to_owned()),
        (
            "out",
            "/out",
            format!("http://127.0.0.1:{forbidden}/ is a loopback address"),
        ),
        (
            "metadata",
            "/metadata",
            "http://169.254.169.254/latest/ is a link-local".to_owned(),
        ),
        (
            "file",
            "/file",
            "it redirects to \"file:///etc/shadow\": the scheme file".to_owned(),
        ),
        (
            "round",
            "/round",
            "it redirects more than 10 times".to_owned(),
        ),
    ] {
        bench
            .apply(|config| {
                config.grants.insert(plugin.to_owned(), grant.clone());
            })
            .await;
        let text = said(&bench, plugin, any(&format!("{own}{path}"))).await;
        assert!(text.starts_with(&expected), "{plugin}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_to_the_machine_itself_are_refused() {
    let port = serve(|_| ok("secret"));
    let names = serve_names(&[
        ("inside.test", [127, 0, 0, 1]),
        ("metadata.test", [169, 254, 169, 254]),
    ]);
    let mut bench = Bench::start_with(|config| config.dns_servers = vec![names]);
    for (plugin, host, expected) in [
        (
            "inside",
            "inside.test",
            "inside.test leads to 127.0.0.1, a loopback address, which can only be reached by a \
             URL and a grant that name it",
        ),
        (
            "metadata",
            "metadata.test",
            "metadata.test leads to 169.254.169.254, a link-local address",
        ),
        ("unknown", "unknown.test", "cannot connect to unknown.test:"),
    ] {
        // Even where the name itself is granted.
        let url = format!("http://{host}:{port}");
        bench
            .apply(|config| {
                config.grants.insert(plugin.to_owned(), requesting(&[&url]));
            })
            .await;
        let text = said(&bench, plugin, any(&url)).await;
        assert!(text.starts_with(expected), "{plugin}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_looked_up_where_that_is_granted() {
    let names = serve_names(&[("a.example.test", [10, 0, 0, 7])]);
    let mut bench = Bench::start_with(|config| config.dns_servers = vec![names]);
    for (plugin, grant, name, expected) in [
        ("found", "*.example.test", "a.example.test", "10.0.0.7"),
        ("missing", "*", "b.example.test", "there is no such name"),
        (
            "outside",
            "*.other.test",
            "a.example.test",
            "looking up a.example.test is not granted",
        ),
        (
            "nonsense",
            "*",
            "a..b",
            "\"a..b\" is no name that can be looked up",
        ),
    ] {
        bench
            .apply(|config| {
                let granted = Capabilities {
                    dns: vec![grant.to_owned()],
                    ..Capabilities::default()
                };
                config.grants.insert(plugin.to_owned(), granted.into());
            })
            .await;
        let guest = Guest::exporter().wants_dns("*").looks_up(name);
        let text = said(&bench, plugin, guest).await;
        assert!(text.starts_with(expected), "{plugin}: {text}");
    }
    // Look-ups are requests, too.
    bench.apply(|config| config.limits.http_requests = 0).await;
    let error = bench.collect("found").await.unwrap_err().to_string();
    assert!(error.contains("(plugins.limits.http_requests)"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_a_grant_go_only_where_it_means() {
    let seen = |request: &str| {
        let mut headers = request.lines().map(str::to_lowercase);
        let secret = headers.find(|line| line.starts_with("authorization: "));
        ok(&secret.unwrap_or_else(|| "no secret".to_owned()))
    };
    let other = serve(seen);
    let port = serve(move |request| match request.starts_with("GET /away ") {
        true => redirect(&format!("http://127.0.0.1:{other}/")),
        false => seen(request),
    });
    let (own, away) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{other}"),
    );
    let mut grant = requesting(&[&own, &away]);
    let token = SecretSource::Inline(Secret("hidden".to_owned()));
    let adds = HttpClientConfig {
        authorization: Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: token,
        }),
        ..HttpClientConfig::default()
    };
    grant.http.insert(own.clone(), adds);
    let mut bench = Bench::start();
    for (plugin, url, expected) in [
        ("here", format!("{own}/"), "authorization: bearer hidden"),
        ("there", format!("{away}/"), "no secret"),
        ("led", format!("{own}/away"), "no secret"),
    ] {
        bench
            .apply(|config| {
                config.grants.insert(plugin.to_owned(), grant.clone());
            })
            .await;
        let text = said(&bench, plugin, any(&url)).await;
        assert_eq!(text, expected, "{plugin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_limits_in_size_and_time() {
    let endless = serve(|_| {
        // The body never comes whole.
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx".to_vec()
    });
    let drip = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = drip.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in drip.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".iter();
                for byte in head.chain(std::iter::repeat(&b'x')) {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    let large = serve(|_| ok(&"x".repeat(3000)));
    let mut bench = Bench::start_with(|config| {
        config.limits.http_bytes = 2000;
        config.limits.call_timeout_ms = 1000;
    });
    bench.install("good", &Guest::exporter().gives("m", 1.0).build());
    for (plugin, port, expected, limit) in [
        (
            "large",
            large,
            "the body is larger than 2000 bytes (plugins.limits.http_bytes)",
            "http_bytes",
        ),
        ("slow", slow, "timeout: 127.0.0.1:", ""),
        ("endless", endless, "no valid answer from 127.0.0.1:", ""),
    ] {
        let url = format!("http://127.0.0.1:{port}");
        bench
            .apply(|config| {
                config.grants.insert(plugin.to_owned(), requesting(&[&url]));
            })
            .await;
        let began = Instant::now();
        let text = said(&bench, plugin, any(&url)).await;
        assert!(text.starts_with(expected), "{plugin}: {text}");
        assert!(began.elapsed() < Duration::from_secs(20), "{plugin}");
        let status = bench.status(plugin).unwrap();
        // It was told before its own time was up.
        assert_eq!(status.state, crate::PluginState::Running, "{plugin}");
        let hits: Vec<&str> = status
            .usage
            .limit_hits
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(
            hits,
            if limit.is_empty() {
                vec![]
            } else {
                vec![limit]
            },
            "{plugin}"
        );
        bench.until_value("good", 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_may_name_files_that_are_granted() {
    let port = serve(|request| {
        let mut headers = request.lines().map(str::to_lowercase);
        let secret = headers.find(|line| line.starts_with("authorization: "));
        ok(&secret.unwrap_or_else(|| "no secret".to_owned()))
    });
    let own = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    std::fs::write(bench.path("token"), "first\n").unwrap();
    let folder = bench.folder.path().to_owned();
    let base = folder.to_str().unwrap();
    let guest = |options: &str| {
        let guest = Guest::exporter().wants_both("/", "*://*");
        guest.fetches_with(options, base, &own)
    };
    bench
        .apply(|config| {
            let mut grant = requesting(&[&own]);
            config.grants.insert("refused".to_owned(), grant.clone());
            grant.capabilities.files = super::reading(&[&folder]).files;
            for plugin in ["reads", "escapes", "nonsense"] {
                config.grants.insert(plugin.to_owned(), grant.clone());
            }
            let refused = config.grants.get_mut("refused").unwrap();
            refused.capabilities.files = super::reading(&[&folder.join("other")]).files;
        })
        .await;
    let token = r#"{"token_file": "token"}"#;
    assert_eq!(
        said(&bench, "reads", guest(token)).await,
        "authorization: bearer first"
    );
    std::fs::write(bench.path("token"), "second").unwrap();
    let again = bench.collect("reads").await.unwrap_err().to_string();
    assert_eq!(again, "plugin reads: authorization: bearer second");
    let text = said(&bench, "refused", guest(token)).await;
    assert!(text.contains("token: reading "), "{text}");
    assert!(text.contains(" is not granted"), "{text}");
    let text = said(&bench, "escapes", guest(r#"{"token_file": "/etc/shadow"}"#)).await;
    assert!(
        text.starts_with("/etc/shadow: reading /etc/shadow is not granted"),
        "{text}"
    );
    let text = said(&bench, "nonsense", guest("{}")).await;
    assert_eq!(text, "is missing");
    bench.apply(|config| config.limits.subscriptions = 0).await;
    let text = said(&bench, "nonsense", guest(r#"{"token_file": "x"}"#)).await;
    assert_eq!(text, "more than 0 clients (plugins.limits.subscriptions)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_give_all_that_comes() {
    const PIECE: usize = 10_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let length = 20 * PIECE;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            for _ in 0..20 {
                stream.write_all(&[b'x'; PIECE]).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let url = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    bench
        .apply(|config| {
            config.grants.insert("a".to_owned(), requesting(&[&url]));
        })
        .await;
    let guest = Guest::exporter()
        .wants_http("*://*")
        .counts_stream(&url)
        .pages(64);
    bench.install("a", &guest.build());
    bench.until_value("a", 20.0 * PIECE as f64).await;
    // Subscriptions end with their streams, so there is always room.
    for _ in 0..5 {
        bench.until_value("a", 20.0 * PIECE as f64).await;
    }
    assert_eq!(bench.status("a").unwrap().usage.limit_hits, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_taken_is_not_read() {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let counter = written.clone();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(head).unwrap();
        while let Ok(bytes) = stream.write(&[b'x'; 65_536]) {
            counter.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let url = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start();
    bench
        .apply(|config| {
            config.grants.insert("a".to_owned(), requesting(&[&url]));
        })
        .await;
    let guest = Guest::exporter()
        .wants_http("*://*")
        .ignores_stream(&url, 1000);
    bench.install("a", &guest.build());
    // What was told once is not told again before it is taken: only the timer fires.
    bench.until_value("a", 1.0).await;
    let bytes = written.load(std::sync::atomic::Ordering::Relaxed);
    println!("{bytes} bytes were written");
    assert!(
        bytes < 64 << 20,
        "what the system holds, and no more: {bytes}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted() {
    let port = serve(|_| ok("x"));
    let url = format!("http://127.0.0.1:{port}");
    let mut bench = Bench::start_with(|config| config.limits.http_requests = 1);
    bench
        .apply(|config| {
            config.grants.insert("a".to_owned(), requesting(&[&url]));
        })
        .await;
    assert_eq!(said(&bench, "a", any(&url)).await, "x");
    // Each collection has its own.
    assert!(
        bench
            .collect("a")
            .await
            .unwrap_err()
            .to_string()
            .ends_with(": x")
    );
    bench.apply(|config| config.limits.http_requests = 0).await;
    let error = bench.collect("a").await.unwrap_err().to_string();
    assert!(error.contains("(plugins.limits.http_requests)"), "{error}");
    let usage = bench.status("a").unwrap().usage;
    assert_eq!(usage.limit_hits, [("http_requests", 1)]);
    assert_eq!(usage.http_requests, 2);
    let requests = bench.metric("narthex_plugin_http_requests_total", &[("plugin", "a")]);
    assert_eq!(requests, Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_need_a_grant_and_end_with_the_call() {
    let mut bench = Bench::start_with(|config| config.limits.call_timeout_ms = 500);
    bench
        .apply(|config| {
            let granted = Capabilities {
                query: true,
                ..Capabilities::default()
            };
            for plugin in ["asks", "wrong", "waits", "undeclared"] {
                config
                    .grants
                    .insert(plugin.to_owned(), granted.clone().into());
            }
        })
        .await;
    for (plugin, guest, expected) in [
        (
            "asks",
            Guest::exporter().wants_query().asks("up"),
            "asks asked up at 7000",
        ),
        (
            "wrong",
            Guest::exporter().wants_query().asks("broken"),
            "parse error",
        ),
        (
            "undeclared",
            Guest::exporter().asks("up"),
            "plugin undeclared does not declare that it queries",
        ),
        (
            "waits",
            Guest::exporter().wants_query().asks("forever"),
            "plugin waits was stopped: it ran for longer than 500 ms (the limit",
        ),
    ] {
        let text = said(&bench, plugin, guest).await;
        assert!(text.starts_with(expected), "{plugin}: {text}");
    }
    bench.install(
        "ungranted",
        &Guest::exporter().wants_query().asks("up").build(),
    );
    let status = bench
        .until_state("ungranted", crate::PluginState::WaitingForGrant)
        .await;
    assert!(status.missing.query);
    bench.apply(|config| config.limits.series = 0).await;
    let error = bench.collect("asks").await.unwrap_err().to_string();
    let expected = "the answer has 1 samples, and the limit plugins.limits.series is 0";
    assert!(error.ends_with(expected), "{error}");
    let hits = bench.status("asks").unwrap().usage.limit_hits;
    assert_eq!(hits, [("series", 1)]);
}

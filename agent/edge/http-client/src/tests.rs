//! The client against small servers of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{
    Authorization, BasicAuth, BuildError, Client, Error, HttpClientConfig, Request, Response,
    Secret, SecretSource, TlsConfig,
};

const LONG: Duration = Duration::from_secs(30);

/// Answers every connection's one request with what `answer` makes of it; gives `host:port`.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_request(&mut stream);
            // A client that has seen enough closes early.
            let _ = stream.write_all(&answer(&request));
        }
    });
    address
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if read == 0 {
            return text;
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    answer(
        "200 OK",
        &format!("Content-Length: {}\r\n", body.len()),
        body,
    )
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}").into_bytes()
}

fn client(config: HttpClientConfig) -> Client {
    Client::new(config).unwrap()
}

async fn get(client: &Client, url: &str, timeout: Duration) -> Result<Response, Error> {
    let request = Request {
        url,
        headers: &[("User-Agent", "test"), ("X-Own", "1")],
        timeout,
    };
    client.get(&request).await
}

async fn body(response: Result<Response, Error>) -> String {
    String::from_utf8(response.unwrap().body(1 << 20).await.unwrap()).unwrap()
}

#[tokio::test]
async fn sends_headers_and_authentication() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "first\n").unwrap();
    let address = serve(ok);
    let url = format!("http://{address}/x?y=z");

    let inline = |text: &str| SecretSource::Inline(Secret(text.to_owned()));
    let bearer = client(HttpClientConfig {
        authorization: Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: inline("token"),
        }),
        headers: BTreeMap::from([("X-Scope".to_owned(), vec![inline("a"), inline("b")])]),
        ..HttpClientConfig::default()
    });
    let seen = body(get(&bearer, &url, LONG).await).await.to_lowercase();
    assert!(seen.starts_with("get /x?y=z http/1.1\r\n"), "{seen}");
    for header in [
        "user-agent: test\r\n",
        "x-own: 1\r\n",
        "x-scope: a\r\n",
        "x-scope: b\r\n",
        "authorization: bearer token\r\n",
    ] {
        assert!(seen.contains(header), "{header} not in {seen}");
    }

    let basic = client(HttpClientConfig {
        basic_auth: Some(BasicAuth {
            username: inline("user"),
            password: Some(SecretSource::File(password.clone())),
        }),
        ..HttpClientConfig::default()
    });
    // user:first, then user:second: the file is read at each request.
    let seen = body(get(&basic, &url, LONG).await).await;
    assert!(seen.contains("Basic dXNlcjpmaXJzdA=="), "{seen}");
    std::fs::write(&password, "second").unwrap();
    let seen = body(get(&basic, &url, LONG).await).await;
    assert!(seen.contains("Basic dXNlcjpzZWNvbmQ="), "{seen}");
    std::fs::remove_file(&password).unwrap();
    let error = get(&basic, &url, LONG).await.err().unwrap().to_string();
    assert_eq!(
        error,
        format!("cannot read {}: no such file", password.display())
    );
}

#[tokio::test]
async fn posts() {
    let address = serve(ok);
    let url = format!("http://{address}/");
    let request = Request {
        url: &url,
        headers: &[("Content-Type", "application/json")],
        timeout: LONG,
    };
    let client = client(HttpClientConfig::default());
    let response = client
        .post(&request, Bytes::from_static(b"{\"a\":1}"))
        .await;
    let seen = body(response).await;
    assert!(seen.starts_with("POST / HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
}

#[tokio::test]
async fn redirects_keep_secrets_at_home() {
    let other = serve(ok);
    // The same machine under another name.
    let elsewhere = other.replace("127.0.0.1", "localhost");
    let home = serve(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let location = match path {
            "/away" => format!("http://{elsewhere}/there"),
            "/near" => "there".to_owned(),
            "/loop" => "/loop".to_owned(),
            "/bad" => "http://[".to_owned(),
            _ => return ok(request),
        };
        answer(
            "302 Found",
            &format!("Location: {location}\r\nContent-Length: 0\r\n"),
            "",
        )
    });
    let config = HttpClientConfig {
        authorization: Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: SecretSource::Inline(Secret("token".to_owned())),
        }),
        headers: BTreeMap::from([(
            "X-Secret".to_owned(),
            vec![SecretSource::Inline(Secret("s".to_owned()))],
        )]),
        ..HttpClientConfig::default()
    };
    let following = client(config.clone());
    let url = |path: &str| format!("http://{home}{path}");

    let seen = body(get(&following, &url("/near"), LONG).await)
        .await
        .to_lowercase();
    assert!(seen.starts_with("get /there"), "{seen}");
    assert!(
        seen.contains("bearer token") && seen.contains("x-secret"),
        "{seen}"
    );

    let seen = body(get(&following, &url("/away"), LONG).await)
        .await
        .to_lowercase();
    assert!(
        seen.starts_with("get /there") && seen.contains("x-own: 1"),
        "{seen}"
    );
    assert!(
        !seen.contains("bearer") && !seen.contains("x-secret"),
        "{seen}"
    );

    let error = get(&following, &url("/loop"), LONG).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("{home} redirects more than 10 times")
    );
    let error = get(&following, &url("/bad"), LONG).await.err().unwrap();
    assert!(error.to_string().contains("not a valid URL"), "{error}");

    let staying = client(HttpClientConfig {
        follow_redirects: false,
        ..config
    });
    let response = get(&staying, &url("/away"), LONG).await.unwrap();
    assert_eq!(
        (response.status(), response.status_text().as_str()),
        (302, "302 Found")
    );
}

#[tokio::test]
async fn failures_say_what_failed() {
    let client = client(HttpClientConfig::default());
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let url = format!("http://{closed}/");
    let error = get(&client, &url, LONG).await.err().unwrap().to_string();
    assert_eq!(
        error,
        format!("cannot connect to {closed}: connection refused")
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (silent.local_addr().unwrap().to_string(), silent);
    let url = format!("http://{}/", silent.0);
    let short = Duration::from_millis(50);
    let error = get(&client, &url, short).await.err().unwrap().to_string();
    assert_eq!(
        error,
        format!("timeout: {} did not answer within 50ms", silent.0)
    );

    let garbage = serve(|_| b"hello\n".to_vec());
    let url = format!("http://{garbage}/");
    let error = get(&client, &url, LONG).await.err().unwrap().to_string();
    assert!(
        error.starts_with(&format!("no valid answer from {garbage}: ")),
        "{error}"
    );

    for url in ["", "localhost:9090", "ftp://a/", "http://"] {
        let error = get(&client, url, LONG).await.err().unwrap();
        assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
    }
    let error = get(&client, "ftp://user:password@host/", LONG)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "\"ftp://<secret>@host/\" is not a valid URL: the scheme \"ftp\" is not http or https"
    );
}

#[tokio::test]
async fn a_body_is_bounded_in_size_and_time() {
    let address = serve(|_| ok("0123456789"));
    let client = client(HttpClientConfig::default());
    let url = format!("http://{address}/");
    let response = get(&client, &url, LONG).await.unwrap();
    assert_eq!(response.body(10).await.unwrap(), b"0123456789");
    let response = get(&client, &url, LONG).await.unwrap();
    let error = response.body(9).await.err().unwrap();
    assert_eq!(error.to_string(), "the body is larger than 9 bytes");

    // The head comes, the body doesn't.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01")
            .unwrap();
        let _ = wait.recv();
    });
    let limit = Duration::from_millis(500);
    let response = get(&client, &format!("http://{address}/"), limit)
        .await
        .unwrap();
    let error = response.body(100).await.err().unwrap().to_string();
    assert_eq!(
        error,
        format!("timeout: {address} did not send the whole body within 500ms")
    );
    drop(done);
}

const AUTHORITY: &str = include_str!("testdata/authority.pem");
const SERVER: &[u8] = include_bytes!("testdata/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("testdata/server-key.pem");

/// An HTTPS server whose certificate is for `server.test`.
fn serve_tls() -> String {
    crate::install_crypto_provider();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let certificate = CertificateDer::from_pem_slice(SERVER).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            if read_request(&mut stream).is_empty() {
                continue;
            }
            let _ = stream.write_all(&ok("secret"));
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

#[tokio::test]
async fn tls_is_verified_as_configured() {
    let url = format!("https://{}/", serve_tls());
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, AUTHORITY).unwrap();
    let with = |tls: TlsConfig| {
        client(HttpClientConfig {
            tls,
            ..HttpClientConfig::default()
        })
    };
    let ca = Some(SecretSource::File(ca_file.clone()));
    let server_name = Some("server.test".to_owned());

    let named = with(TlsConfig {
        ca: ca.clone(),
        server_name: server_name.clone(),
        ..TlsConfig::default()
    });
    assert_eq!(body(get(&named, &url, LONG).await).await, "secret");

    let unnamed = with(TlsConfig {
        ca: ca.clone(),
        ..TlsConfig::default()
    });
    let error = get(&unnamed, &url, LONG).await.err().unwrap();
    assert!(matches!(error, Error::Tls { .. }), "{error}");

    let insecure = with(TlsConfig {
        insecure_skip_verify: true,
        ..TlsConfig::default()
    });
    assert_eq!(body(get(&insecure, &url, LONG).await).await, "secret");

    // Another authority: the server's own certificate, which has not signed itself.
    std::fs::write(&ca_file, SERVER).unwrap();
    let error = get(&named, &url, LONG).await.err().unwrap();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    std::fs::write(&ca_file, AUTHORITY).unwrap();
    assert_eq!(body(get(&named, &url, LONG).await).await, "secret");

    // A server that doesn't speak TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = get(&insecure, &format!("https://{plain}/"), LONG)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let missing = SecretSource::File("/nonexistent/ca.pem".into());
    let inline = |text: &str| Some(SecretSource::Inline(Secret(text.to_owned())));
    let tls = TlsConfig::default;
    for (tls, expected) in [
        (
            TlsConfig {
                ca: Some(missing),
                ..tls()
            },
            "cannot read /nonexistent/ca.pem: no such file",
        ),
        (
            TlsConfig {
                ca: inline("x"),
                ..tls()
            },
            "tls_config: ca holds no certificate in PEM form",
        ),
        (
            TlsConfig {
                cert: inline(AUTHORITY),
                ..tls()
            },
            "tls_config: cert is given without key",
        ),
        (
            TlsConfig {
                min_version: Some("TLS9".to_owned()),
                ..tls()
            },
            "tls_config: unknown TLS version \"TLS9\" (expected TLS12 or TLS13)",
        ),
        (
            TlsConfig {
                min_version: Some("TLS13".to_owned()),
                max_version: Some("TLS12".to_owned()),
                ..tls()
            },
            "tls_config: max_version must be greater than or equal to min_version",
        ),
        (
            TlsConfig {
                server_name: Some("a b".to_owned()),
                ..tls()
            },
            "tls_config: server_name \"a b\" is not a host name",
        ),
    ] {
        let config = HttpClientConfig {
            tls,
            ..HttpClientConfig::default()
        };
        let error = Client::new(config).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    }
    let proxy = HttpClientConfig {
        proxy_url: Some("http://user:password@[".to_owned()),
        ..HttpClientConfig::default()
    };
    let error = Client::new(proxy).err();
    assert_eq!(
        error,
        Some(BuildError::Proxy("not a valid proxy URL".to_owned()))
    );
}

#[tokio::test]
async fn a_proxy_is_asked_instead() {
    let proxy = serve(ok);
    let client = client(HttpClientConfig {
        proxy_url: Some(format!("http://{proxy}")),
        no_proxy: Some("127.0.0.1".to_owned()),
        ..HttpClientConfig::default()
    });
    let seen = body(get(&client, "http://target.test/x", LONG).await).await;
    assert!(
        seen.starts_with("GET http://target.test/x HTTP/1.1\r\n"),
        "{seen}"
    );
    let direct = serve(ok);
    let seen = body(get(&client, &format!("http://{direct}/x"), LONG).await).await;
    assert!(seen.starts_with("GET /x HTTP/1.1\r\n"), "{seen}");
}

/// Knows one name, and one that it refuses.
struct Names(std::net::IpAddr);

impl crate::Resolver for Names {
    fn resolve(&self, host: &str) -> crate::Lookup {
        let answer = match host {
            "known.test" => Ok(vec![self.0]),
            "evil.test" => Err(crate::ResolveError::Refused("not to be asked".to_owned())),
            _ => Err(crate::ResolveError::Unknown("no such host".to_owned())),
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test]
async fn names_are_looked_up_by_the_callers_resolver() {
    let address: std::net::SocketAddr = serve(ok).parse().unwrap();
    let resolver = Arc::new(Names(address.ip()));
    let client = Client::with_resolver(HttpClientConfig::default(), resolver).unwrap();
    let url = |host: &str| format!("http://{host}:{}/x", address.port());
    let seen = body(get(&client, &url("known.test"), LONG).await).await;
    assert!(seen.starts_with("GET /x"), "{seen}");
    let error = |host: &'static str| {
        let (client, url) = (client.clone(), url(host));
        async move { get(&client, &url, LONG).await.err().unwrap() }
    };
    let refused = error("evil.test").await;
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    let unknown = error("other.test").await;
    assert!(matches!(unknown, Error::Name { .. }), "{unknown:?}");
}

#[tokio::test]
async fn any_method_and_redirects_that_are_not_followed() {
    let target = serve(|request| {
        let moved = request.starts_with("DELETE /old ");
        match moved {
            true => answer("307 Moved", "Location: /new\r\nContent-Length: 0\r\n", ""),
            false => ok(request.lines().next().unwrap_or_default()),
        }
    });
    let config = HttpClientConfig {
        follow_redirects: false,
        ..HttpClientConfig::default()
    };
    let (client, url) = (client(config), format!("http://{target}/old"));
    let request = Request {
        url: &url,
        headers: &[],
        timeout: LONG,
    };
    let response = client.request("DELETE", &request, None).await.unwrap();
    let redirect = response.redirect().unwrap().unwrap();
    assert_eq!(redirect.url, format!("http://{target}/new"));
    assert!(redirect.keeps_method);
    let headers: Vec<_> = response
        .headers()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(headers, ["location", "content-length", "connection"]);
    let request = Request {
        url: &redirect.url,
        ..request
    };
    let response = client.request("DELETE", &request, None).await.unwrap();
    assert_eq!(response.redirect(), Ok(None));
    let line = response.without_deadline().body(100).await.unwrap();
    assert_eq!(line, b"DELETE /new HTTP/1.1");
    let wrong = client.request("A B", &request, None).await.err().unwrap();
    assert!(wrong.to_string().contains("not a valid method"), "{wrong}");
}

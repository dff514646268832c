//! Against servers that answer as they are told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;

/// What a server does with one request.
#[derive(Clone, Copy)]
struct Act {
    answer: &'static str,
    closes: bool,
}

const fn stay(answer: &'static str) -> Act {
    let closes = false;
    Act { answer, closes }
}

const fn close(answer: &'static str) -> Act {
    let closes = true;
    Act { answer, closes }
}

/// The heads of requests, each with the number of its connection.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// Does one act after the other, whatever connection the request comes on. Gives its URL and
/// what it will see.
fn serve(acts: Vec<Act>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics?a=b", listener.local_addr().unwrap());
    let seen = Seen::default();
    let log = seen.clone();
    std::thread::spawn(move || {
        let mut acts = acts.into_iter();
        for (connection, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            loop {
                let head: Vec<String> = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                if head.is_empty() {
                    break;
                }
                log.lock().unwrap().push((connection, head.join("\n")));
                let Some(act) = acts.next() else {
                    return;
                };
                stream.write_all(act.answer.as_bytes()).unwrap();
                if act.closes {
                    break;
                }
            }
        }
    });
    (url, seen)
}

async fn page(url: &str, kept: &mut Option<Kept>) -> Result<Option<String>, String> {
    let timeout = Duration::from_secs(30);
    let ask = Ask {
        uri: &target(url).unwrap(),
        headers: HeaderMap::new(),
        timeout,
        deadline: Instant::now() + timeout,
        size_hint_bytes: 0,
        follow_redirects: true,
    };
    let begin = |head: &Response<()>| {
        assert_eq!(head.status(), 200);
        Ok(((), Body::new("", 0, 1 << 20)))
    };
    match get(&ask, kept, begin).await {
        Ok(page) => Ok(page.map(|((), body)| String::from_utf8(body).unwrap())),
        Err(error) => Err(error.to_string()),
    }
}

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na 1";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n1\r\n1\r\n0\r\n\r\n";

#[tokio::test]
async fn a_connection_is_used_again_if_that_is_safe() {
    for (acts, connections) in [
        (vec![stay(PLAIN), stay(CHUNKED), stay(PLAIN)], vec![0, 0, 0]),
        // The server closes, without saying so or having said so.
        (vec![close(PLAIN), stay(PLAIN), stay(PLAIN)], vec![0, 1, 1]),
        (
            vec![
                close("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\na 1"),
                close("HTTP/1.1 200 OK\r\n\r\na 1"),
                close("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\na 1"),
            ],
            vec![0, 1, 2],
        ),
        // More than the answer.
        (
            vec![
                stay("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na 1more"),
                stay(PLAIN),
                stay(PLAIN),
            ],
            vec![0, 1, 1],
        ),
        // The connection breaks in the place of the second answer: asked again on a new one.
        (
            vec![stay(PLAIN), close(""), stay(PLAIN), stay(PLAIN)],
            vec![0, 0, 1, 1],
        ),
    ] {
        let (url, seen) = serve(acts);
        let mut kept = None;
        for _ in 0..3 {
            assert_eq!(page(&url, &mut kept).await, Ok(Some("a 1".to_owned())));
        }
        let seen = seen.lock().unwrap();
        let numbers: Vec<usize> = seen.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, connections);
        let address = url.strip_prefix("http://").unwrap();
        let (host, path) = address.split_once('/').unwrap();
        let head = format!("GET /{path} HTTP/1.1\nhost: {host}");
        assert!(seen.iter().all(|(_, seen)| *seen == head), "{seen:?}");
    }
}

#[tokio::test]
async fn answers_that_are_none() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "220 mail\r\n",
    ] {
        let (url, _) = serve(vec![close(answer)]);
        let authority = authority(&target(&url).unwrap());
        let mut kept = None;
        let error = page(&url, &mut kept).await.unwrap_err();
        let start = format!("no valid answer from {authority}: ");
        assert!(error.starts_with(&start) && error != start, "{error}");
        assert!(kept.is_none());
    }
}

#[tokio::test]
async fn redirects_are_left_to_others() {
    let (url, _) = serve(vec![stay("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")]);
    assert_eq!(page(&url, &mut None).await, Ok(None));
}

#[tokio::test]
async fn another_address_is_another_connection() {
    let (first, _) = serve(vec![stay(PLAIN), stay(PLAIN)]);
    let (second, seen) = serve(vec![stay(PLAIN)]);
    let mut kept = None;
    page(&first, &mut kept).await.unwrap();
    page(&second, &mut kept).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn targets_that_are_asked_directly() {
    for (url, expected) in [
        ("http://host/x?y=z", Some(("host:80", "host", "/x?y=z"))),
        ("http://host:80/", Some(("host:80", "host", "/"))),
        ("http://[::1]:9/", Some(("[::1]:9", "[::1]:9", "/"))),
        ("https://host/", None),
        ("http://user:secret@host/", None),
        ("http:///", None),
        ("http://a b/", None),
    ] {
        let target = target(url);
        let authority = target.as_ref().map(authority);
        let found = target.as_ref().zip(authority.as_deref());
        let found = found.map(|(uri, authority)| {
            let host = host_header(uri, authority);
            (authority, host, path_and_query(uri).to_string())
        });
        let expected = expected.map(|(authority, host, path)| (authority, host, path.to_owned()));
        assert_eq!(found, expected, "{url}");
    }
    let plain = HttpClientConfig::default;
    let proxy = HttpClientConfig {
        proxy_url: Some("http://proxy".to_owned()),
        ..plain()
    };
    let environment = HttpClientConfig {
        proxy_from_environment: true,
        ..plain()
    };
    let headers = HttpClientConfig {
        headers: [("x".to_owned(), Vec::new())].into(),
        ..plain()
    };
    assert!(serves(&plain()));
    for config in [proxy, environment, headers] {
        assert!(!serves(&config), "{config:?}");
    }
}

//! Answers of many pieces: whole, compressed, slowly read, cut off.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};

use super::*;

/// So many series with a long label each, at time 0.
fn wide_store(series: usize) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let mut appender = store.appender();
    for index in 0..series {
        let id = format!("{index:0>200}");
        let labels = Labels::from_pairs([("__name__", "wide"), ("id", &*id)]);
        appender.append(&labels, 0, index as f64).unwrap();
    }
    appender.commit().unwrap();
    store
}

/// Puts the chunks of a body together; the second value says whether the last one was there.
fn unchunked(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut whole = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|w| w == b"\r\n") else {
            return (whole, false);
        };
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (whole, true);
        }
        body = &body[end + 2..];
        whole.extend_from_slice(&body[..size]);
        body = &body[size + 2..];
    }
}

#[tokio::test]
async fn large_answers_come_whole_in_every_coding() {
    let server = start_changed(|parts, _| parts.store = wide_store(3000)).await;
    for path in [
        "/api/v1/query?query=wide&time=0&stats=true",
        "/api/v1/query_range?query=wide&start=0&end=60&step=1",
        "/api/v1/series?match[]=wide",
        "/api/v1/label/id/values",
    ] {
        let mut plain: Option<Vec<u8>> = None;
        for coding in ["identity", "gzip", "deflate"] {
            let head = format!("accept-encoding: {coding}\r\n");
            let (status, head, body) = request(&server, "GET", path, &head, "").await;
            assert_eq!(status, 200);
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            assert!(head.contains("vary: accept-encoding"), "{head}");
            let (body, complete) = unchunked(&body);
            assert!(complete);
            let mut text = Vec::new();
            match coding {
                "gzip" => GzDecoder::new(&*body).read_to_end(&mut text).unwrap(),
                "deflate" => ZlibDecoder::new(&*body).read_to_end(&mut text).unwrap(),
                _ => std::io::copy(&mut &*body, &mut text).unwrap() as usize,
            };
            let names_coding = head.contains(&format!("content-encoding: {coding}"));
            assert_eq!(names_coding, coding != "identity", "{head}");
            let json: Value = serde_json::from_slice(&text).unwrap();
            let data = &json["data"];
            let list = data.as_array().or(data["result"].as_array()).unwrap();
            assert_eq!(list.len(), 3000, "{path}");
            // Figures of time differ from one request to the next.
            let result = serde_json::to_vec(list).unwrap();
            assert_eq!(plain.get_or_insert(result.clone()), &result, "{path}");
        }
    }
}

#[tokio::test]
async fn small_answers_tell_their_length() {
    let server = start(true, false).await;
    let head = "accept-encoding: gzip\r\n";
    let (_, head, _) = request(&server, "GET", "/api/v1/query?query=m", head, "").await;
    assert!(head.contains("content-length: "), "{head}");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(head.matches("vary: accept-encoding").count(), 1, "{head}");
}

/// An answer of which only the first bytes were read.
async fn begun(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let ask = format!("GET /api/v1/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn slow_readers_do_not_take_all_threads() {
    let server = start_changed(|parts, options| {
        parts.store = wide_store(40_000);
        options.answer_concurrency = 2;
    })
    .await;
    let first = begun(&server, "series?match[]=wide").await;
    let _second = begun(&server, "series?match[]=wide").await;
    let third = get(&server, "/api/v1/query?query=1");
    tokio::pin!(third);
    let wait = Duration::from_millis(200);
    assert!(tokio::time::timeout(wait, &mut third).await.is_err());
    drop(first);
    assert_eq!(third.await.0, 200);
}

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// `cargo test --release -- --ignored memory --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn memory_of_a_large_answer() {
    let server = start_changed(|parts, _| parts.store = wide_store(450)).await;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    for coding in ["identity", "gzip"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let path = "query_range?query=wide%2Btime()%2F7&start=0&end=10999&step=1&lookback_delta=4h";
        let ask = format!(
            "GET /api/v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             accept-encoding: {coding}\r\n\r\n"
        );
        let before = resident_bytes();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        let (mut read, mut at_first, mut peak) = (0, 0, 0);
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            if read == 0 {
                at_first = resident_bytes();
            }
            read += count;
            peak = peak.max(resident_bytes());
        }
        eprintln!(
            "{coding}: {:.1} MiB sent; resident {:.1} MiB before, {:.1} with the result evaluated, \
             {:.1} at most while it was sent",
            mib(read),
            mib(before),
            mib(at_first),
            mib(peak)
        );
    }
}

/// A client that reads nothing holds neither the server's memory nor a place for queries.
#[tokio::test]
async fn who_does_not_read_holds_no_place() {
    let server = start_changed(|parts, options| {
        parts.store = wide_store(40_000);
        options.query_concurrency = 1;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(begun(&server, "query?query=wide&time=0").await);
    }
    let (status, _) = get(&server, "/api/v1/query?query=1").await;
    assert_eq!(status, 200);
    let mut stream = silent.remove(0);
    let mut read = 0;
    let mut buffer = vec![0; 1 << 16];
    while read < 10_000_000 {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the answer ended after {read} bytes");
        read += count;
    }
}

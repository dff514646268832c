//! A scrape target that gives what ends up in every type of record.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Answers until it is dropped.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Whether native histograms and samples of an earlier time are among those given.
    pub(crate) all_kinds: Arc<AtomicBool>,
    scrapes: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    pub(crate) fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let all_kinds = Arc::new(AtomicBool::new(true));
        let stopped = Arc::new(AtomicBool::new(false));
        let scrapes = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (all_kinds, stopped) = (all_kinds.clone(), stopped.clone());
            let scrapes = scrapes.clone();
            move || serve(&listener, &all_kinds, &scrapes, &stopped)
        });
        Target {
            address,
            all_kinds,
            scrapes,
            stopped,
            thread: Some(thread),
        }
    }

    pub(crate) fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Relaxed)
    }

    pub(crate) fn wait_for_scrapes(&self, count: u64) {
        let start = Instant::now();
        while self.scrapes() < count {
            let scrapes = self.scrapes();
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{scrapes} scrapes"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    all_kinds: &AtomicBool,
    scrapes: &AtomicU64,
    stopped: &AtomicBool,
) {
    while !stopped.load(Ordering::Relaxed) {
        let Ok((mut connection, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let _ = connection.set_nonblocking(false);
        let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = connection.read(&mut [0; 4096]);
        let scrape = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
        let body = families(scrape, all_kinds.load(Ordering::Relaxed));
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\nContent-Type: \
             application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited\r\n\r\n",
            body.len()
        );
        let _ = connection.write_all(&[head.as_bytes(), &body].concat());
    }
}

/// The metric types by their numbers in the exposition.
const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const HISTOGRAM: u64 = 4;

fn families(scrape: u64, all_kinds: bool) -> Vec<u8> {
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let mut body = Vec::new();
    let counter = message(|m| {
        double(m, 1, scrape as f64);
        bytes(m, 2, &exemplar(scrape));
    });
    family(
        &mut body,
        "target_requests_total",
        COUNTER,
        &[metric(&[], 3, &counter)],
    );
    let gauges: Vec<Vec<u8>> = (0..50)
        .map(|at| {
            let gauge = message(|m| double(m, 1, (at * scrape % 17) as f64));
            metric(&[("n", &at.to_string())], 2, &gauge)
        })
        .collect();
    family(&mut body, "target_gauge", GAUGE, &gauges);
    if all_kinds {
        family(
            &mut body,
            "target_histogram",
            HISTOGRAM,
            &[metric(&[], 7, &histogram(scrape))],
        );
        // Every other scrape is a minute late.
        let time_ms = now_ms - 60_000 * (scrape % 2);
        let mut late = metric(&[], 2, &message(|m| double(m, 1, scrape as f64)));
        number(&mut late, 6, time_ms);
        family(&mut body, "target_late", GAUGE, &[late]);
    }
    body
}

/// Counts grow from scrape to scrape, and there is a gap between the buckets.
fn histogram(scrape: u64) -> Vec<u8> {
    message(|m| {
        number(m, 1, 10 * scrape);
        double(m, 2, 2.5 * scrape as f64);
        number(m, 5, zigzag(3));
        double(m, 6, 0.001);
        number(m, 7, scrape);
        for (offset, length) in [(-2, 2), (3, 1)] {
            let span = message(|m| {
                number(m, 1, zigzag(offset));
                number(m, 2, length);
            });
            bytes(m, 12, &span);
        }
        // 4, 3 and 2 for each scrape.
        let scrape = scrape as i64;
        let deltas = message(|m| {
            for delta in [4 * scrape, -scrape, -scrape] {
                varint(m, zigzag(delta));
            }
        });
        bytes(m, 13, &deltas);
    })
}

fn exemplar(scrape: u64) -> Vec<u8> {
    message(|m| {
        bytes(m, 1, &label("trace_id", &format!("trace{scrape}")));
        double(m, 2, scrape as f64);
    })
}

fn family(body: &mut Vec<u8>, name: &str, kind: u64, metrics: &[Vec<u8>]) {
    let family = message(|m| {
        bytes(m, 1, name.as_bytes());
        bytes(m, 2, b"made for a test");
        number(m, 3, kind);
        metrics.iter().for_each(|metric| bytes(m, 4, metric));
    });
    varint(body, family.len() as u64);
    body.extend_from_slice(&family);
}

fn metric(labels: &[(&str, &str)], field: u64, value: &[u8]) -> Vec<u8> {
    message(|m| {
        for (name, value) in labels {
            bytes(m, 1, &label(name, value));
        }
        bytes(m, field, value);
    })
}

fn label(name: &str, value: &str) -> Vec<u8> {
    message(|m| {
        bytes(m, 1, name.as_bytes());
        bytes(m, 2, value.as_bytes());
    })
}

fn message(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    fill(&mut message);
    message
}

fn number(message: &mut Vec<u8>, field: u64, value: u64) {
    varint(message, field << 3);
    varint(message, value);
}

fn double(message: &mut Vec<u8>, field: u64, value: f64) {
    varint(message, field << 3 | 1);
    message.extend_from_slice(&value.to_le_bytes());
}

fn bytes(message: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(message, field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, value: u64) {
    crate::encode::put_unsigned(message, value);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

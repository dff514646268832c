//! There and back: what a real Prometheus left when it was killed is in the store, and what the
//! store sealed is in Prometheus again. Runs where `NARTHEX_TEST_TOOLS` names the folder of
//! `prometheus`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says when it is skipped"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use narthex_model::{CancelToken, Labels, Matcher};
use narthex_storage::{Appendable, Column, Queryable, SelectQuery};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;

/// Labels to times to the bits of values.
type Content = BTreeMap<Labels, BTreeMap<i64, u64>>;

struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(program: &Path, folder: &Path, scrapes: bool) -> Prometheus {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let targets = if scrapes {
            address.to_string()
        } else {
            String::new()
        };
        let config = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\nscrape_configs:\n- \
             {{job_name: own, static_configs: [{{targets: ['{targets}']}}]}}\n"
        );
        let config = if scrapes { config } else { String::new() };
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let process = Command::new(program)
            .current_dir(folder)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus { process, address };
        let start = Instant::now();
        while prometheus
            .get("/-/ready")
            .is_none_or(|(status, _)| status != 200)
        {
            let exited = prometheus.process.try_wait().unwrap();
            let log = std::fs::read_to_string(folder.join("stderr")).unwrap();
            assert!(exited.is_none(), "it exits: {log}");
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "not ready: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        prometheus
    }

    /// HTTP 1.0: the answer ends where the connection does.
    fn get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        let mut connection = TcpStream::connect(self.address).ok()?;
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let status = str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
        Some((status, answer.split_off(body)))
    }

    /// All samples of the hour up to a time, without histograms and stale markers.
    fn content(&self, until_ms: i64) -> Content {
        let path = format!(
            "/api/v1/query?query=%7B__name__%3D~%22.%2B%22%7D%5B1h%5D&time={}",
            until_ms as f64 / 1000.0
        );
        let (status, body) = self.get(&path).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let mut content = Content::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let metric = series["metric"].as_object().unwrap();
            let labels = metric
                .iter()
                .map(|(name, value)| (&**name, value.as_str().unwrap()));
            let samples = content.entry(Labels::from_pairs(labels)).or_default();
            for sample in series["values"].as_array().into_iter().flatten() {
                let time_ms = (sample[0].as_f64().unwrap() * 1000.0).round() as i64;
                let value: f64 = sample[1].as_str().unwrap().parse().unwrap();
                samples.insert(time_ms, comparable(value));
            }
        }
        content
    }
}

/// The API writes every NaN in the same way.
fn comparable(value: f64) -> u64 {
    match value.is_nan() {
        true => f64::NAN.to_bits(),
        false => value.to_bits(),
    }
}

fn content(db: &Db, until_ms: i64) -> Content {
    let query = SelectQuery {
        matchers: &[] as &[Matcher],
        start_ms: until_ms - 3_600_000,
        end_ms: until_ms,
        cancel: CancelToken::default(),
    };
    let mut content = Content::new();
    for series in db.select(&query).unwrap() {
        let samples = content.entry(series.labels().clone()).or_default();
        let visited = series.visit(&mut |column| {
            if let Column::Floats {
                timestamps_ms,
                values,
            } = column
            {
                let all = timestamps_ms.iter().zip(values);
                let live = all.filter(|(_, value)| !narthex_model::is_stale_nan(**value));
                samples.extend(live.map(|(time, value)| (*time, comparable(*value))));
            }
        });
        visited.unwrap();
    }
    content.retain(|_, samples| !samples.is_empty());
    content
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

fn program() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("NARTHEX_TEST_TOOLS") else {
        println!("skipped: NARTHEX_TEST_TOOLS is not set");
        return None;
    };
    let program = Path::new(&tools).join("prometheus");
    if !program.exists() {
        println!("skipped: no prometheus in NARTHEX_TEST_TOOLS");
        return None;
    }
    Some(program)
}

#[test]
fn there_and_back() {
    let Some(program) = program() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let running = Prometheus::start(&program, folder.path(), true);
    let up = Labels::from_pairs([
        ("__name__", "up"),
        ("instance", &*running.address.to_string()),
        ("job", "own"),
    ]);
    let start = Instant::now();
    let (until_ms, expected) = loop {
        let until_ms = now_ms() - 500;
        let expected = running.content(until_ms);
        if expected.get(&up).is_some_and(|samples| samples.len() >= 20) {
            break (until_ms, expected);
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no scrapes");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(expected.len() > 100, "{} series", expected.len());
    // Its end is a kill.
    drop(running);

    let db = Db::open(Config::new(&data), &Registry::new()).unwrap();
    let taken = content(&db, until_ms);
    for (labels, samples) in &expected {
        assert_eq!(taken.get(labels), Some(samples), "{labels}");
    }
    assert_eq!(taken.len(), expected.len());
    assert!(!data.join("wal").exists());
    let aside: Vec<_> = std::fs::read_dir(data.join("set-aside")).unwrap().collect();
    assert_eq!(aside.len(), 1);

    let ours = Labels::from_pairs([("__name__", "ours"), ("from", "here")]);
    let mut batch = db.appender();
    let time_ms = now_ms();
    batch.append(&ours, time_ms, 4.25).unwrap();
    assert_eq!(batch.commit().unwrap().refused, []);
    drop(db);
    // Not taken over twice.
    let db = Db::open(Config::new(&data), &Registry::new()).unwrap();
    assert_eq!(content(&db, until_ms), taken);
    db.seal().unwrap();
    drop(db);

    let again = Prometheus::start(&program, folder.path(), false);
    let back = again.content(until_ms);
    for (labels, samples) in &expected {
        assert_eq!(back.get(labels), Some(samples), "{labels}");
    }
    let back = again.content(time_ms + 1);
    assert_eq!(back[&ours], BTreeMap::from([(time_ms, 4.25f64.to_bits())]));
}

//! A real Prometheus scrapes, is killed, starts again and is stopped; what it leaves behind each
//! time holds what its API said. Runs where `NARTHEX_TEST_TOOLS` names the folder of `prometheus`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use narthex_model::{Labels, is_stale_nan};
use narthex_prometheus_log::{LogFile, Record, SegmentReader, SnapshotRecord, head_chunks, plan};

use crate::target::Target;

/// Prometheus 2.42 doesn't do both at once.
const HISTOGRAMS: &str = "--enable-feature=exemplar-storage,native-histograms";
const SNAPSHOT: &str = "--enable-feature=exemplar-storage,memory-snapshot-on-shutdown";

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
    fn start(program: &Path, folder: &Path, target: SocketAddr, flags: &[&str]) -> Prometheus {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = format!(
            "global: {{scrape_interval: 1s}}\nstorage: {{tsdb: {{out_of_order_time_window: 10m}}}}\n\
             scrape_configs:\n- {{job_name: own, static_configs: [{{targets: ['{address}']}}]}}\n- \
             {{job_name: target, scrape_interval: 60ms, scrape_timeout: 60ms, \
             static_configs: [{{targets: ['{target}']}}]}}\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let process = Command::new(program)
            .current_dir(folder)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--web.enable-admin-api", "--web.enable-lifecycle"])
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
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
            let log = || std::fs::read_to_string(folder.join("stderr")).unwrap();
            assert!(exited.is_none(), "it exits: {}", log());
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "not ready: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        prometheus
    }

    fn get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        self.request("GET", path)
    }

    /// HTTP 1.0: the answer ends where the connection does.
    fn request(&self, method: &str, path: &str) -> Option<(u16, Vec<u8>)> {
        let mut connection = TcpStream::connect(self.address).ok()?;
        write!(connection, "{method} {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let status = str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
        Some((status, answer.split_off(body)))
    }

    fn stop(mut self) {
        let (status, _) = self.request("POST", "/-/quit").unwrap();
        assert_eq!(status, 200);
        self.process.wait().unwrap();
    }
}

/// What is known of a series: floats by time, as bits, and counts and sums of histograms by time.
#[derive(Debug, Default, PartialEq)]
struct Samples {
    floats: BTreeMap<i64, u64>,
    histograms: BTreeMap<i64, (f64, f64)>,
}

type AllSamples = BTreeMap<Labels, Samples>;

/// The API writes every NaN in the same way.
fn comparable(value: f64) -> u64 {
    match value.is_nan() {
        true => f64::NAN.to_bits(),
        false => value.to_bits(),
    }
}

/// All raw samples of the hour up to a time.
fn samples_of_api(prometheus: &Prometheus, until_ms: i64) -> AllSamples {
    let path = format!(
        "/api/v1/query?query=%7B__name__%3D~%22.%2B%22%7D%5B1h%5D&time={}",
        until_ms as f64 / 1000.0
    );
    let (status, body) = prometheus.get(&path).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let number = |value: &serde_json::Value| text(value).parse::<f64>().unwrap();
    let time = |value: &serde_json::Value| (value.as_f64().unwrap() * 1000.0).round() as i64;
    let mut all = AllSamples::new();
    for series in list(&answer["data"]["result"]) {
        let metric = series["metric"].as_object().unwrap();
        let labels = metric.iter().map(|(name, value)| (&**name, text(value)));
        let samples = all.entry(Labels::from_pairs(labels)).or_default();
        for sample in list(&series["values"]) {
            let value = comparable(number(&sample[1]));
            samples.floats.insert(time(&sample[0]), value);
        }
        for sample in list(&series["histograms"]) {
            let (count, sum) = (number(&sample[1]["count"]), number(&sample[1]["sum"]));
            samples.histograms.insert(time(&sample[0]), (count, sum));
        }
    }
    all
}

/// What the files hold, by the references in them.
#[derive(Default)]
struct Log {
    labels: HashMap<u64, Labels>,
    /// In the order they were read.
    floats: Vec<(u64, i64, f64)>,
    histograms: Vec<(u64, i64, f64, f64)>,
    exemplars: usize,
    tombstones: usize,
    markers: usize,
}

impl Log {
    fn read(&mut self, folder: &Path, files: &[LogFile]) {
        for file in files {
            let bytes = std::fs::read(folder.join(&file.path)).unwrap();
            let mut reader = SegmentReader::new(file, &bytes);
            while let Some(record) = reader.next_record() {
                let record = record.unwrap();
                self.take(Record::decode(record.bytes));
            }
        }
    }

    fn take(&mut self, record: Record<'_>) {
        match record {
            Record::Series(entries) => self.labels.extend(entries.map(|entry| {
                let entry = entry.unwrap();
                (entry.series, entry.to_labels())
            })),
            Record::Samples(entries) => self.floats.extend(entries.map(|entry| {
                let entry = entry.unwrap();
                (entry.series, entry.timestamp_ms, entry.value)
            })),
            Record::Histograms(entries) => self.histograms.extend(entries.map(|entry| {
                let entry = entry.unwrap();
                let histogram = entry.histogram;
                (
                    entry.series,
                    entry.timestamp_ms,
                    histogram.count,
                    histogram.sum,
                )
            })),
            Record::Exemplars(entries) => self.exemplars += entries.map(Result::unwrap).count(),
            Record::Tombstones(entries) => self.tombstones += entries.map(Result::unwrap).count(),
            Record::MmapMarkers(entries) => self.markers += entries.map(Result::unwrap).count(),
            Record::Metadata(entries) => assert!(entries.map(Result::unwrap).count() > 0),
            Record::Unknown(kind) => panic!("unknown record {kind}"),
        }
    }

    /// In the API's terms: without stale markers.
    fn samples(&self, until_ms: i64) -> AllSamples {
        let mut all = AllSamples::new();
        for &(series, time_ms, value) in &self.floats {
            if time_ms <= until_ms && !is_stale_nan(value) {
                let samples = all.entry(self.labels[&series].clone()).or_default();
                samples.floats.insert(time_ms, comparable(value));
            }
        }
        for &(series, time_ms, count, sum) in &self.histograms {
            if time_ms <= until_ms && !is_stale_nan(sum) {
                let samples = all.entry(self.labels[&series].clone()).or_default();
                samples.histograms.insert(time_ms, (count, sum));
            }
        }
        all
    }

    /// How many samples of each series came in order, stale markers included: what the head has.
    fn counts_in_order(&self) -> BTreeMap<Labels, usize> {
        let floats = self
            .floats
            .iter()
            .map(|&(series, time_ms, _)| (series, time_ms));
        let histograms = self.histograms.iter().map(|h| (h.0, h.1));
        let mut counts = BTreeMap::<Labels, (i64, usize)>::new();
        for (series, time_ms) in floats.chain(histograms) {
            let entry = counts.entry(self.labels[&series].clone());
            let (newest, count) = entry.or_insert((i64::MIN, 0));
            if time_ms > *newest {
                (*newest, *count) = (time_ms, *count + 1);
            }
        }
        let count = |(labels, (_, count))| (labels, count);
        counts.into_iter().map(count).collect()
    }
}

fn paths(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let relative = path.strip_prefix(folder).unwrap();
            found.push(relative.to_str().unwrap().to_owned());
        }
    }
    found
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

#[test]
fn what_a_real_prometheus_leaves_is_what_its_api_said() {
    let Ok(tools) = std::env::var("NARTHEX_TEST_TOOLS") else {
        println!("skipped: NARTHEX_TEST_TOOLS is not set");
        return;
    };
    let program = Path::new(&tools).join("prometheus");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let target = Target::start();

    let killed = Prometheus::start(&program, folder.path(), target.address, &[HISTOGRAMS]);
    target.wait_for_scrapes(100);
    // Late samples would still come after the query.
    target.all_kinds.store(false, Ordering::Relaxed);
    target.wait_for_scrapes(150);
    let until_ms = now_ms() - 1000;
    let expected = samples_of_api(&killed, until_ms);
    let path = "/api/v1/admin/tsdb/delete_series?match[]=target_gauge%7Bn%3D%227%22%7D";
    assert_eq!(killed.request("POST", path).unwrap().0, 204);
    // Its end is the kill.
    drop(killed);
    let after_kill = check_killed(&data, &expected, until_ms);

    let flags = [SNAPSHOT, "--no-storage.tsdb.wal-compression"];
    let stopped = Prometheus::start(&program, folder.path(), target.address, &flags);
    target.wait_for_scrapes(target.scrapes() + 10);
    stopped.stop();
    let after_stop = check_stopped(&data);
    assert!(
        after_stop > after_kill + 100,
        "the second run is there, too"
    );
}

/// Returns the number of float samples.
fn check_killed(data: &Path, expected: &AllSamples, until_ms: i64) -> usize {
    let plan = plan(paths(data));
    assert_eq!((&plan.gaps[..], &plan.ignored[..]), (&[][..], &[][..]));
    let mut log = Log::default();
    log.read(data, &plan.whole_log());
    let in_log = log.floats.len();
    log.read(data, &plan.out_of_order);
    let read = log.samples(until_ms);
    let names = |all: &AllSamples| all.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&read), names(expected));
    for (labels, samples) in expected {
        assert_eq!(&read[labels], samples, "{labels}");
    }
    assert!(expected.len() > 300, "{} series", expected.len());
    let histogram = expected
        .iter()
        .find(|(labels, _)| labels.metric_name() == Some("target_histogram"));
    assert!(histogram.is_some_and(|(_, samples)| samples.histograms.len() > 50));
    assert!(log.floats.len() > in_log + 30, "late samples");
    assert!(log.exemplars > 50);
    assert!(log.markers > 0);
    assert_eq!(log.tombstones, 1);
    in_log
}

/// The snapshot and the head chunks hold as many samples of each series as the log. Returns the
/// number of float samples in the log.
fn check_stopped(data: &Path) -> usize {
    let plan = plan(paths(data));
    assert_eq!(plan.gaps, []);
    let mut log = Log::default();
    log.read(data, &plan.whole_log());
    let mut counts: BTreeMap<Labels, usize> = BTreeMap::new();
    let mut add = |labels: &Labels, chunk: &[u8], encoding: u8| {
        // The count is in the first two bytes, of which histograms' have 16 as well.
        assert!((1..=3).contains(&encoding));
        let count = u16::from_be_bytes([chunk[0], chunk[1]]);
        *counts.entry(labels.clone()).or_default() += usize::from(count);
    };

    let snapshot = plan.snapshot.as_ref().expect("it stopped with a snapshot");
    let (mut tombstones, mut exemplars) = (0, 0);
    for file in &snapshot.files {
        let bytes = std::fs::read(data.join(&file.path)).unwrap();
        let mut reader = SegmentReader::new(file, &bytes);
        while let Some(record) = reader.next_record() {
            match SnapshotRecord::decode(record.unwrap().bytes).unwrap() {
                SnapshotRecord::Series(series) => {
                    let labels = series.definition.to_labels();
                    assert_eq!(log.labels.get(&series.definition.series), Some(&labels));
                    if let Some(chunk) = series.chunk {
                        add(&labels, chunk.data, chunk.encoding);
                    }
                }
                SnapshotRecord::Tombstones(entries) => {
                    tombstones += entries.map(Result::unwrap).count();
                }
                SnapshotRecord::Exemplars(entries) => {
                    exemplars += entries.map(Result::unwrap).count();
                }
                SnapshotRecord::Unknown(kind) => panic!("unknown record {kind}"),
            }
        }
    }
    assert_eq!(tombstones, 1);
    assert_eq!(exemplars, log.exemplars);

    let mut chunks_of_both_kinds = [0, 0];
    for file in &plan.head_chunks {
        let bytes = std::fs::read(data.join(&file.path)).unwrap();
        for chunk in head_chunks::read(file, &bytes).unwrap() {
            let chunk = chunk.unwrap();
            chunks_of_both_kinds[usize::from(chunk.out_of_order)] += 1;
            if !chunk.out_of_order {
                add(&log.labels[&chunk.series], chunk.data, chunk.encoding);
            }
        }
    }
    assert!(
        chunks_of_both_kinds.iter().all(|&count| count > 0),
        "{chunks_of_both_kinds:?}"
    );
    assert_eq!(counts, log.counts_in_order());

    let mut after_snapshot = Log::default();
    after_snapshot.read(data, &plan.log_after_snapshot());
    assert_eq!(after_snapshot.floats, []);
    log.floats.len()
}

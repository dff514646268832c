//! Measures the engine over a head in memory:
//! `cargo run --release -p narthex-promql --example queries`.
//!
//! Arguments: hosts (50 else; each has 1,000 series), rounds of each query (3 else), part of a
//! query's name. All series have 240 samples at 15 s. Of each query the fastest round counts.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_head::{Head, Log, LogError, NoChunks, Options};
use narthex_model::{Labels, LabelsBuilder};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_promql::{Engine, EngineOptions, QueryContext, QueryValue, RangeParams};
use narthex_storage::{LabelQuery, Queryable, SelectQuery, Series, SeriesRef, StorageError};

const SAMPLES: i64 = 240;
const STEP_MS: i64 = 15_000;

/// Name, expression, the query's step or none for an instant query.
const QUERIES: &[(&str, &str, Option<i64>)] = &[
    (
        "one host",
        r#"node_cpu_seconds_total{instance="10.0.0.7:9100"}"#,
        Some(60_000),
    ),
    (
        "one host rate",
        r#"rate(node_cpu_seconds_total{instance="10.0.0.7:9100"}[5m])"#,
        Some(60_000),
    ),
    (
        "instant sum rate",
        "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
        None,
    ),
    (
        "sum rate",
        "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
        Some(60_000),
    ),
    (
        "sum rate, each sample",
        "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
        Some(15_000),
    ),
    (
        "quantile of buckets",
        "histogram_quantile(0.9, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
        Some(60_000),
    ),
    (
        "topk",
        "topk(5, rate(app_requests_total[5m]))",
        Some(60_000),
    ),
    (
        "regex over names",
        r#"count by (__name__) ({__name__=~"node_metric_.*"})"#,
        Some(60_000),
    ),
    (
        "avg_over_time",
        "avg by (instance) (avg_over_time(process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "avg_over_time 1h",
        "sum(avg_over_time(process_memory_bytes[1h]))",
        None,
    ),
    (
        "stddev_over_time",
        "sum(stddev_over_time(process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "quantile_over_time",
        "sum(quantile_over_time(0.9, process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "max_over_time",
        "max(max_over_time(process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "deriv",
        "sum(deriv(process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "subquery",
        "max_over_time(sum(rate(app_requests_total[5m]))[30m:1m])",
        Some(60_000),
    ),
    (
        "subquery of series",
        "sum(max_over_time(rate(app_requests_total[5m])[30m:1m]))",
        Some(60_000),
    ),
    (
        "join",
        r#"rate(app_requests_total{code="500"}[5m]) / ignoring(code) group_left sum without (code) (rate(app_requests_total[5m]))"#,
        Some(60_000),
    ),
    (
        "join of one",
        "sum(process_memory_bytes / process_memory_bytes)",
        Some(60_000),
    ),
    (
        "rate over itself",
        "rate(app_requests_total[5m]) / rate(app_requests_total[5m])",
        Some(60_000),
    ),
    (
        "sum over itself",
        "sum(rate(app_requests_total[5m])) / sum(rate(app_requests_total[5m]))",
        Some(60_000),
    ),
    (
        "shares of a whole",
        "sum by (code) (rate(app_requests_total[5m])) / on () group_left () sum(rate(app_requests_total[5m]))",
        Some(60_000),
    ),
    (
        "ratio of errors",
        r#"sum by (handler) (rate(app_requests_total{code="500"}[5m])) / sum by (handler) (rate(app_requests_total[5m]))"#,
        Some(60_000),
    ),
    (
        "filter by itself",
        "count(process_memory_bytes and process_memory_bytes > 1e9)",
        Some(60_000),
    ),
    (
        "alert",
        "process_memory_bytes > 1e12 and on () sum(process_memory_bytes) > 2",
        None,
    ),
    (
        "range read twice",
        "sum(max_over_time(process_memory_bytes[10m]) - min_over_time(process_memory_bytes[10m]))",
        Some(60_000),
    ),
    (
        "count_over_time of all",
        r#"sum(count_over_time({job="node",__name__!~"node_metric_.*"}[1h]))"#,
        None,
    ),
    (
        "rate of all",
        r#"sum by (instance) (rate({job="node",__name__!~"node_metric_.*"}[5m]))"#,
        Some(60_000),
    ),
    ("instant of all", r#"count({__name__=~".+"})"#, None),
];

/// Keeps nothing.
struct NoLog;

impl Log for NoLog {
    fn epoch(&self) -> u32 {
        0
    }

    fn write(&self, _: u32, _: &[u8]) -> Result<(), LogError> {
        Ok(())
    }
}

struct Store(Arc<Head>);

impl Queryable for Store {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.0.select(query)
    }

    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.0.select_labels(query, names)
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        self.0.label_names(query)
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        self.0.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        self.0.series(query)
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ z >> 27
}

/// The metric and the labels of its own of a host's series.
fn of_host(series: u64) -> Vec<(&'static str, String)> {
    const MODES: [&str; 8] = [
        "idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user",
    ];
    const CODES: [&str; 4] = ["200", "302", "404", "500"];
    let name = |name: &str| ("__name__", name.to_owned());
    match series {
        0..128 => vec![
            name("node_cpu_seconds_total"),
            ("cpu", (series / 8).to_string()),
            ("mode", MODES[series as usize % 8].to_owned()),
        ],
        128..368 => {
            let (handler, bucket) = ((series - 128) / 12, (series - 128) % 12);
            let le = if bucket == 11 {
                "+Inf".to_owned()
            } else {
                format!("{}", 0.005 * (1 << bucket) as f64)
            };
            vec![
                name("http_request_duration_seconds_bucket"),
                ("handler", format!("/api/v1/{handler}")),
                ("le", le),
            ]
        }
        368..568 => vec![
            name("app_requests_total"),
            ("handler", format!("/api/v1/{}", (series - 368) / 4)),
            ("code", CODES[series as usize % 4].to_owned()),
        ],
        568..768 => vec![name(&format!("node_metric_{}", series - 568))],
        _ => vec![
            name("process_memory_bytes"),
            ("process", format!("process-{series}")),
        ],
    }
}

fn labels(host: u64, series: u64) -> Labels {
    let mut builder = LabelsBuilder::default();
    for (name, value) in of_host(series) {
        builder.set(name, value);
    }
    builder.set(
        "instance",
        format!("10.0.{}.{}:9100", host / 250, host % 250),
    );
    builder.set("job", "node");
    builder.set("env", "production");
    builder.set("zone", format!("zone-{}", host % 3));
    builder.set("cluster", format!("cluster-{}", host % 5));
    builder.build()
}

/// The next value of a series: counters, some of which stand still, and gauges.
fn next(value: f64, series: u64, state: &mut u64) -> f64 {
    match series {
        0..128 => value + (random(state) % 1500) as f64 / 100.0,
        128..368 if series.is_multiple_of(2) => value,
        128..568 => value + (random(state) % 20) as f64,
        568..768 => (random(state) % 10_000) as f64 / 100.0,
        _ => value + (random(state) % 8192) as f64 * 4096.0 - 16_777_216.0,
    }
}

fn fill(hosts: u64) -> Arc<Head> {
    let head = Arc::new(Head::new(Options::default(), Arc::new(NoChunks)));
    let mut state = 1;
    for host in 0..hosts {
        let mut values: Vec<f64> = (0..1000)
            .map(|_| (random(&mut state) % 1_000_000) as f64 * 100.0)
            .collect();
        let mut known: Vec<SeriesRef> = Vec::new();
        for sample in 0..SAMPLES {
            let time_ms = sample * STEP_MS + (host % 15) as i64 * 1000;
            let mut batch = head.batch();
            if sample == 0 {
                let each = (0..).zip(&values);
                known = each
                    .map(|(series, value)| {
                        batch
                            .append(&labels(host, series), time_ms, *value)
                            .unwrap()
                    })
                    .collect();
            } else {
                for (series, value) in (0..).zip(values.iter_mut()) {
                    *value = next(*value, series, &mut state);
                }
                for (series, value) in known.iter().zip(&values) {
                    batch.append_known(*series, time_ms, *value).unwrap();
                }
            }
            batch.commit(&NoLog).unwrap();
        }
    }
    head
}

/// Time that the process had processors; on Linux.
fn worked() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of_task = |path: std::path::PathBuf| -> u64 {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace()
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    Duration::from_nanos(tasks.map(|task| of_task(task.unwrap().path())).sum())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let hosts: u64 = arguments.next().map_or(50, |text| text.parse().unwrap());
    let rounds: usize = arguments.next().map_or(3, |text| text.parse().unwrap());
    let part = arguments.next().unwrap_or_default();
    let store = Store(fill(hosts));
    let engine = Engine::new(EngineOptions::default());
    println!(
        "{:26} {:>9} {:>9} {:>10} {:>9} {:>8}",
        "query", "cpu ms", "wall ms", "samples", "ns/sample", "series"
    );
    for (name, text, step_ms) in QUERIES.iter().filter(|query| query.0.contains(&part)) {
        let expr = syntax::parse(text, &ParserOptions::everything()).unwrap();
        let end_ms = SAMPLES * STEP_MS;
        let mut best = (Duration::MAX, Duration::MAX, 0, 0);
        for _ in 0..rounds {
            let (cpu, wall) = (worked(), Instant::now());
            let context = QueryContext::default();
            let output = match step_ms {
                None => engine.instant(&store, &expr, end_ms, &context),
                Some(step_ms) => {
                    let params = RangeParams {
                        start_ms: 0,
                        end_ms,
                        step_ms: *step_ms,
                    };
                    engine.range(&store, &expr, params, &context)
                }
            };
            let (cpu, wall) = (worked() - cpu, wall.elapsed());
            let output = output.unwrap();
            let series = match &output.value {
                QueryValue::Vector(series) => series.len(),
                QueryValue::Matrix(series) => series.len(),
                _ => 1,
            };
            best = best.min((cpu, wall, output.stats.samples_read, series));
        }
        let (cpu, wall, samples, series) = best;
        println!(
            "{name:26} {:9.2} {:9.2} {samples:10} {:9.2} {series:8}",
            cpu.as_secs_f64() * 1e3,
            wall.as_secs_f64() * 1e3,
            cpu.as_nanos() as f64 / samples.max(1) as f64,
        );
    }
}

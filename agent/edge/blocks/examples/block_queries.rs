//! Measures queries over the blocks of a folder, as they are asked side by side with Prometheus:
//! `cargo run --release -p narthex-blocks --example block_queries FOLDER`.
//!
//! Arguments: the folder (`make bench-promql` makes one), rounds of each query (3 else), part of a
//! query's name, threads (1 else). Of each query the fastest round counts, and the highest memory
//! that the process had, files that it read included.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use narthex_blocks::{Blocks, Metrics};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_promql::{Engine, EngineOptions, QueryContext, RangeParams, Workers};
use prometheus::Registry;

/// From the oldest sample on; an instant query is asked at the end.
const RANGE_MS: (i64, i64) = (1_207_000, 3_007_000);
const STEP_MS: i64 = 60_000;

/// Name, whether it is asked over the range, expression.
const QUERIES: &[(&str, bool, &str)] = &[
    (
        "one host",
        true,
        r#"rate(app_requests_total{instance="target-17"}[5m])"#,
    ),
    (
        "sum by (rate), now",
        false,
        "sum by (code) (rate(app_requests_total[5m]))",
    ),
    (
        "sum by (rate)",
        true,
        "sum by (code) (rate(app_requests_total[5m]))",
    ),
    (
        "histogram_quantile, now",
        false,
        "histogram_quantile(0.99, sum by (le, handler) (rate(app_request_duration_seconds_bucket[5m])))",
    ),
    (
        "histogram_quantile",
        true,
        "histogram_quantile(0.9, sum by (le) (rate(app_request_duration_seconds_bucket[5m])))",
    ),
    (
        "topk of sums",
        true,
        "topk(10, sum by (instance) (irate(app_request_duration_seconds_sum[2m])))",
    ),
    ("topk of series", false, "topk(10, app_memory_bytes)"),
    (
        "regex over names",
        false,
        r#"sum by (__name__) ({__name__=~"app_(queue|memory)_.*"})"#,
    ),
    (
        "avg_over_time",
        true,
        "avg by (zone) (avg_over_time(app_utilization_ratio[10m]))",
    ),
    (
        "quantile_over_time",
        true,
        "max by (queue) (quantile_over_time(0.95, app_queue_length[10m]))",
    ),
    (
        "max_over_time",
        true,
        r#"max_over_time(app_memory_bytes{kind="used"}[10m])"#,
    ),
    (
        "subquery of a sum",
        false,
        r#"max_over_time(sum by (handler) (rate(app_requests_total{code="500"}[5m]))[30m:1m])"#,
    ),
    (
        "subquery of series",
        true,
        r#"avg_over_time(rate(app_requests_total{instance=~"target-1."}[2m])[10m:30s])"#,
    ),
    (
        "join, one to one",
        false,
        "rate(app_request_duration_seconds_sum[5m]) / rate(app_request_duration_seconds_count[5m])",
    ),
    (
        "join, group_left",
        true,
        "avg by (pool) (app_memory_bytes / ignoring (kind) group_left () sum without (kind) (app_memory_bytes))",
    ),
    (
        "and, unless",
        true,
        "count((app_queue_length > 100 and on (instance) load_sequence > 0) unless app_queue_length > 1000)",
    ),
    (
        "count_over_time of everything",
        false,
        r#"sum(count_over_time({__name__=~".+",__name__!~".+_sum"}[30m]))"#,
    ),
    ("every element of a metric", false, "app_requests_total"),
    (
        "absent",
        false,
        r#"absent(app_requests_total{instance="target-none"})"#,
    ),
    (
        "label_replace",
        true,
        r#"sum by (number) (label_replace(app_queue_length, "number", "$1", "queue", "queue-(.*)"))"#,
    ),
    (
        "stddev",
        true,
        "stddev by (handler) (rate(app_request_duration_seconds_sum[5m]))",
    ),
    (
        "predict_linear, deriv",
        true,
        r#"count(predict_linear(app_memory_bytes{kind="free"}[10m], 3600) < 0) + count(deriv(app_memory_bytes{kind="used"}[10m]) > 0)"#,
    ),
    (
        "offset",
        true,
        "sum(rate(app_requests_total[5m])) / sum(rate(app_requests_total[5m] offset 10m))",
    ),
];

#[derive(Debug)]
struct Threads(usize);

impl Workers for Threads {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            numbers.take_while(|number| *number < tasks).for_each(task);
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0.min(tasks) {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Time that the process had processors; on Linux. Threads that have ended count, too.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: u64 = text.split(' ').next().unwrap().parse().unwrap_or(0);
    if WITH_THREADS.load(Ordering::Relaxed) == 0 {
        return Duration::from_nanos(own);
    }
    // In ticks of 10 ms.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|t| t.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

static WITH_THREADS: AtomicUsize = AtomicUsize::new(0);

fn status_mb(field: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.split_whitespace()
        .next()
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let rounds: u32 = arguments.next().map_or(3, |text| text.parse().unwrap());
    let part = arguments.next().unwrap_or_default();
    let threads: usize = arguments.next().map_or(1, |text| text.parse().unwrap());
    WITH_THREADS.store(threads - 1, Ordering::Relaxed);
    let blocks =
        Blocks::open_read_only(Path::new(&folder), Metrics::new(&Registry::new()).unwrap())
            .unwrap();
    let first_ms = blocks.min_ms().unwrap();
    let engine = Engine::new(EngineOptions::default()).with_workers(Arc::new(Threads(threads)));
    println!(
        "{:30} {:>9} {:>9} {:>10} {:>9} {:>8} {:>8}",
        "query", "cpu ms", "wall ms", "samples", "ns/sample", "peak MB", "file MB"
    );
    for (name, over_range, text) in QUERIES.iter().filter(|query| query.0.contains(&part)) {
        let expr = syntax::parse(text, &ParserOptions::everything()).unwrap();
        // The highest memory counts anew.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let mut best = (Duration::MAX, Duration::MAX, 0);
        let (cpu_before, mut wall_sum) = (worked(), Duration::ZERO);
        for _ in 0..rounds {
            let (cpu, wall) = (worked(), Instant::now());
            let context = QueryContext::default();
            let end_ms = first_ms + RANGE_MS.1;
            let output = if *over_range {
                let params = RangeParams {
                    start_ms: first_ms + RANGE_MS.0,
                    end_ms,
                    step_ms: STEP_MS,
                };
                engine.range(&blocks, &expr, params, &context)
            } else {
                engine.instant(&blocks, &expr, end_ms, &context)
            };
            let (cpu, wall) = (worked() - cpu, wall.elapsed());
            wall_sum += wall;
            best = best.min((cpu, wall, output.unwrap().stats.samples_read));
        }
        let (mut cpu, mut wall, samples) = best;
        if threads > 1 {
            (cpu, wall) = ((worked() - cpu_before) / rounds, wall_sum / rounds);
        }
        println!(
            "{name:30} {:9.2} {:9.2} {samples:10} {:9.2} {:8.1} {:8.1}",
            cpu.as_secs_f64() * 1e3,
            wall.as_secs_f64() * 1e3,
            cpu.as_nanos() as f64 / samples.max(1) as f64,
            status_mb("VmHWM:"),
            status_mb("RssFile:"),
        );
    }
}

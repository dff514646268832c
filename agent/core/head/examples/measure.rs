//! Measures the head alone: `cargo run --release -p narthex-head --example measure`.
//!
//! So many targets with so many series each are committed in turn (arguments: targets, series a
//! target, rounds; 1,000, 1,000 and 24 else), so a series' memory is cold when its turn comes. Of
//! the values 60 % stay as they are, 25 % are counters, 10 % gauges of two decimals, 5 % floats of
//! full precision.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use narthex_head::{Head, Log, LogError, NoChunks, Options};
use narthex_model::{CancelToken, Labels};
use narthex_storage::{SelectQuery, SeriesRef};

#[derive(Default)]
struct MemoryLog {
    records: Mutex<Vec<Vec<u8>>>,
    bytes: AtomicU64,
}

impl Log for MemoryLog {
    fn epoch(&self) -> u32 {
        0
    }

    fn write(&self, _: u32, record: &[u8]) -> Result<(), LogError> {
        self.bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
        self.records.lock().unwrap().push(record.to_vec());
        Ok(())
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ z >> 27
}

fn labels(target: u64, series: u64) -> Labels {
    Labels::from_pairs([
        (
            "__name__".to_owned(),
            format!("some_metric_name_{}", series / 10),
        ),
        (
            "instance".to_owned(),
            format!("10.0.{}.{}:9100", target / 250, target % 250),
        ),
        ("job".to_owned(), "node".to_owned()),
        ("env".to_owned(), "production".to_owned()),
        ("zone".to_owned(), format!("zone-{}", target % 3)),
        ("cpu".to_owned(), (series % 10).to_string()),
        ("mode".to_owned(), format!("mode-{}", series % 7)),
        ("team".to_owned(), format!("team-{}", target % 17)),
        ("cluster".to_owned(), format!("cluster-{}", target % 5)),
        ("rack".to_owned(), format!("rack-{}", target % 40)),
    ])
}

/// The next value of a series.
fn next(value: f64, series: u64, state: &mut u64) -> f64 {
    match series % 20 {
        0..12 => value,
        12..17 => value + (random(state) % 200) as f64,
        17..19 => (random(state) % 10_000) as f64 / 100.0,
        _ => random(state) as f64 / 1e18,
    }
}

/// Time that the thread had the processor, so that others on the machine don't count; on Linux.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    Duration::from_nanos(first.and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn nanoseconds(since: Duration, count: u64) -> f64 {
    (worked() - since).as_nanos() as f64 / count as f64
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().unwrap());
    let targets: u64 = arguments.next().unwrap_or(1000);
    let each: u64 = arguments.next().unwrap_or(1000);
    let rounds: u64 = arguments.next().unwrap_or(24);
    let total = targets * each;

    let head = Arc::new(Head::new(Options::default(), Arc::new(NoChunks)));
    let log = MemoryLog::default();
    let mut state = 1;
    let mut known: Vec<Vec<SeriesRef>> = Vec::new();
    let mut values: Vec<Vec<f64>> = Vec::new();
    let mut made = Duration::ZERO;
    for target in 0..targets {
        let labels: Vec<Labels> = (0..each).map(|series| labels(target, series)).collect();
        values.push(
            (0..each)
                .map(|_| (random(&mut state) % 100_000) as f64)
                .collect(),
        );
        let start = worked();
        let mut batch = head.batch();
        let zipped = labels.iter().zip(&values[target as usize]);
        let references = zipped.map(|(labels, value)| batch.append(labels, 0, *value).unwrap());
        known.push(references.collect());
        batch.commit(&log).unwrap();
        made += worked() - start;
    }
    println!(
        "creation       {:8.1} ns a series",
        made.as_nanos() as f64 / total as f64
    );
    let first_bytes = log.bytes.swap(0, Ordering::Relaxed);
    println!(
        "definitions    {:8.2} B a series in the log",
        first_bytes as f64 / total as f64
    );

    let (mut appending, mut committing) = (Duration::ZERO, Duration::ZERO);
    for round in 1..rounds {
        for (known, values) in known.iter().zip(&mut values) {
            for (series, value) in (0..).zip(values.iter_mut()) {
                *value = next(*value, series, &mut state);
            }
            let start = worked();
            let mut batch = head.batch();
            for (series, value) in known.iter().zip(values.iter()) {
                batch
                    .append_known(*series, round as i64 * 15_000, *value)
                    .unwrap();
            }
            let middle = worked();
            batch.commit(&log).unwrap();
            appending += middle - start;
            committing += worked() - middle;
        }
    }
    let samples = total * (rounds - 1);
    let each_ns = |time: Duration| time.as_nanos() as f64 / samples as f64;
    let both = appending + committing;
    println!(
        "append, commit {:8.1} ns a sample ({:.1} + {:.1})",
        each_ns(both),
        each_ns(appending),
        each_ns(committing)
    );
    let bytes = log.bytes.load(Ordering::Relaxed);
    println!(
        "log            {:8.2} B a sample",
        bytes as f64 / samples as f64
    );

    let memory = head.memory();
    let per = |bytes: usize| bytes as f64 / total as f64;
    println!(
        "memory         {:8.1} B a series: pages {:.1}, open chunks {:.1}, full ones {:.1}, labels {:.1}",
        per(memory.pages + memory.open_chunks + memory.full_chunks + memory.labels),
        per(memory.pages),
        per(memory.open_chunks),
        per(memory.full_chunks),
        per(memory.labels)
    );

    let start = worked();
    let query = SelectQuery {
        matchers: &[],
        start_ms: 0,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let series = head.select(&query).unwrap();
    println!(
        "select all     {:8.1} ns a series",
        nanoseconds(start, total)
    );
    let start = worked();
    let mut columns = 0u64;
    for series in &series {
        series.visit(&mut |_| columns += 1).unwrap();
    }
    println!(
        "visit          {:8.1} ns a sample ({columns} columns)",
        nanoseconds(start, samples + total)
    );
    drop(series);
    let start = worked();
    let sorted = head.series_sorted(0, i64::MAX);
    println!(
        "sort by labels {:8.1} ns a series",
        nanoseconds(start, total)
    );
    drop(sorted);

    let mut snapshot = Vec::new();
    let start = worked();
    head.write_snapshot(&mut snapshot).unwrap();
    println!(
        "snapshot       {:8.1} ms to write, {:.1} B a series",
        (worked() - start).as_secs_f64() * 1e3,
        per(snapshot.len())
    );
    drop(head);
    let again = Head::new(Options::default(), Arc::new(NoChunks));
    let start = worked();
    again.read_snapshot(&snapshot).unwrap();
    println!(
        "snapshot       {:8.1} ms to read",
        (worked() - start).as_secs_f64() * 1e3
    );
    drop((again, snapshot));

    let records = log.records.into_inner().unwrap();
    for parts in [1, 2] {
        let head = Head::new(Options::default(), Arc::new(NoChunks));
        let wall = Instant::now();
        std::thread::scope(|scope| {
            for part in 0..parts {
                let (head, records) = (&head, &records);
                scope.spawn(move || {
                    for record in records {
                        head.replay_samples(record, part, parts).unwrap();
                    }
                    let count = (samples + total) / parts as u64;
                    let each = nanoseconds(Duration::ZERO, count);
                    println!("replay, part {part} {each:8.1} ns a sample of it");
                });
            }
            let start = worked();
            for record in &records {
                head.replay_definitions(record).unwrap();
            }
            println!(
                "replay, labels {:8.1} ns a series",
                nanoseconds(start, total)
            );
        });
        let start = worked();
        let end = head.finish_replay();
        println!(
            "replay         {:8.1} ms in {parts} part(s), {:.1} ms to finish, {} series",
            wall.elapsed().as_secs_f64() * 1e3,
            (worked() - start).as_secs_f64() * 1e3,
            end.series
        );
    }
}

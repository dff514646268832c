//! What upkeep costs those who commit. Not for every test run:
//! `cargo test --release -p narthex-tsdb measure -- --ignored --nocapture`

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use narthex_model::Labels;
use narthex_storage::{Appendable, SeriesRef};
use prometheus::Registry;

use super::{HOUR_MS, START_MS, labels};
use crate::config::Config;
use crate::db::Db;

const SERIES: usize = 20_000;
const STEP_MS: i64 = 15_000;
/// Of one scrape.
const BATCH: usize = 500;

/// Commits a scrape every two milliseconds until `done`; gives the latencies, ascending.
fn commit_on(db: &Db, scrape: &[SeriesRef], time_ms: &mut i64, done: &AtomicBool) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let mut batch = db.appender();
        for series in scrape {
            batch
                .append_known(*series, *time_ms, *time_ms as f64)
                .unwrap();
        }
        let start = Instant::now();
        batch.commit().unwrap();
        latencies.push(start.elapsed());
        *time_ms += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    latencies.sort_unstable();
    latencies
}

fn show(what: &str, latencies: &[Duration]) {
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {} commits of {BATCH} samples: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}",
        latencies.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

#[test]
#[ignore = "measures"]
fn commits_beside_upkeep() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        retention_ms: 0,
        ..Config::new(folder.path())
    };
    let db = Db::open(config, &Registry::new()).unwrap();
    let all: Vec<Labels> = (0..SERIES)
        .map(|n| labels(&[("__name__", "m"), ("job", "node"), ("n", &n.to_string())]))
        .collect();
    let mut known: Vec<SeriesRef> = Vec::new();
    let steps = 9 * HOUR_MS / STEP_MS;
    let fill = |known: &mut Vec<SeriesRef>, from: i64, to: i64| {
        for step in from..to {
            let time_ms = START_MS + step * STEP_MS;
            let mut batch = db.appender();
            if known.is_empty() {
                known.extend(
                    all.iter()
                        .map(|labels| batch.append(labels, time_ms, 1.0).unwrap()),
                );
            } else {
                for (n, series) in known.iter().enumerate() {
                    let value = (step * 3 + n as i64 % 7 * step) as f64;
                    batch.append_known(*series, time_ms, value).unwrap();
                }
            }
            batch.commit().unwrap();
        }
    };
    // Blocks up to the last three hours; the rest is what the measured upkeep has to do.
    fill(&mut known, 0, steps * 2 / 3);
    db.maintain(0);
    fill(&mut known, steps * 2 / 3, steps);
    let before = db.blocks().loaded().len();
    let mut time_ms = START_MS + steps * STEP_MS;
    let scrape = &known[..BATCH];
    let done = AtomicBool::new(false);
    let idle = std::thread::scope(|scope| {
        let writer = scope.spawn(|| commit_on(&db, scrape, &mut time_ms, &done));
        std::thread::sleep(Duration::from_secs(6));
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    show("alone", &idle);
    done.store(false, Ordering::Relaxed);
    let started = Instant::now();
    let beside = std::thread::scope(|scope| {
        let writer = scope.spawn(|| commit_on(&db, scrape, &mut time_ms, &done));
        db.maintain(0);
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let after = db.blocks().loaded();
    println!(
        "upkeep took {:?}: {before} blocks before, {} after",
        started.elapsed(),
        after.len()
    );
    for block in after.iter() {
        println!(
            "  {} h, level {}",
            (block.max_ms() - block.min_ms()) / HOUR_MS,
            block.meta().compaction.level
        );
    }
    show("beside upkeep", &beside);
}

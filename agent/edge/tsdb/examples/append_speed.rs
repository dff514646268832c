//! Measures appending, size and reading: `cargo run --release -p narthex-tsdb --example append_speed`.
//!
//! 200 targets of 500 series each are written in turn, as scrapes would, with known references: a
//! third of the series are counters, a third gauges that seldom change, a third noisy floats.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for people"
)]

use std::time::Instant;

use narthex_model::{CancelToken, Labels};
use narthex_storage::{Appendable, Column, Queryable, SelectQuery, SeriesRef, StoreStatus};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;

const TARGETS: usize = 200;
const SERIES: usize = 500;
const SCRAPES: i64 = 240;

struct Target {
    series: Vec<(Labels, Option<SeriesRef>, f64)>,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path());
    let db = Db::open(config.clone(), &Registry::new()).unwrap();
    let mut targets: Vec<Target> = (0..TARGETS).map(target).collect();
    let mut random = 1u64;

    let start = Instant::now();
    scrape_all(&db, &mut targets, 0, &mut random);
    report("new series", start, TARGETS * SERIES);
    let start = Instant::now();
    for scrape in 1..SCRAPES {
        scrape_all(&db, &mut targets, scrape, &mut random);
    }
    report(
        "known series",
        start,
        TARGETS * SERIES * (SCRAPES as usize - 1),
    );

    let samples = (TARGETS * SERIES) as f64 * SCRAPES as f64;
    println!(
        "log: {:.2} bytes/sample",
        log_bytes(folder.path()) as f64 / samples
    );
    println!("resident memory: {} KiB", resident_kib());
    read_all(&db);
    let start = Instant::now();
    db.maintain(SCRAPES * 15_000);
    report("maintenance, with a checkpoint if due", start, 1);
    println!(
        "log now: {:.2} bytes/sample",
        log_bytes(folder.path()) as f64 / samples
    );
    drop(db);

    let start = Instant::now();
    let db = Db::open(config, &Registry::new()).unwrap();
    report("replay", start, samples as usize);
    println!("{:?}", db.stats(0).head);
}

fn target(number: usize) -> Target {
    let series = |i: usize| {
        let labels = Labels::from_pairs([
            ("__name__", format!("metric_{}", i / 10)),
            ("device", format!("device-{}", i % 10)),
            ("instance", format!("host-{number}:9100")),
            ("job", "node".to_owned()),
        ]);
        (labels, None, (i * 1000) as f64)
    };
    Target {
        series: (0..SERIES).map(series).collect(),
    }
}

fn scrape_all(db: &Db, targets: &mut [Target], scrape: i64, random: &mut u64) {
    for target in targets {
        let mut batch = db.appender();
        for (i, (labels, reference, value)) in target.series.iter_mut().enumerate() {
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let noise = *random >> 40;
            match i % 3 {
                0 => *value += (noise % 500) as f64,
                1 if noise.is_multiple_of(20) => *value = (noise % 100) as f64,
                1 => {}
                _ => *value = noise as f64 / 1000.0,
            }
            let given = batch.append(*reference, labels, scrape * 15_000, *value);
            *reference = Some(given.unwrap());
        }
        batch.commit().unwrap();
    }
}

fn read_all(db: &Db) {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let start = Instant::now();
    let selected = db.select(&query).unwrap();
    report("select", start, selected.len());
    let (mut count, mut sum) = (0, 0.0);
    let start = Instant::now();
    for series in &selected {
        let visited = series.visit(&mut |column| {
            if let Column::Floats { values, .. } = column {
                count += values.len();
                sum += values.iter().sum::<f64>();
            }
        });
        visited.unwrap();
    }
    report(&format!("decode (sum {sum})"), start, count);
}

fn report(what: &str, start: Instant, count: usize) {
    let elapsed = start.elapsed();
    let each = elapsed.as_nanos() as f64 / count as f64;
    println!("{what}: {:.3} s, {each:.1} ns each", elapsed.as_secs_f64());
}

fn log_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let size = |path: std::path::PathBuf| match path.is_dir() {
        true => log_bytes(&path),
        false => std::fs::metadata(path).unwrap().len(),
    };
    entries.map(|entry| size(entry.unwrap().path())).sum()
}

fn resident_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.map_or_else(String::new, |line| {
        line.replace("VmRSS:", "")
            .replace("kB", "")
            .trim()
            .to_owned()
    })
}

//! Measures appending, size, restarts and reading:
//! `cargo run --release -p narthex-tsdb --example store_speed -- [series] [samples of each]`.
//!
//! Targets of 1000 series each are written in turn, as scrapes would, with known references: a third
//! of the series are counters, a third gauges that seldom change, a third noisy floats.

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

const TARGET_SERIES: usize = 1000;
const INTERVAL_MS: i64 = 15_000;

struct Target {
    series: Vec<(SeriesRef, f64)>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: usize| {
        let given = arguments.next();
        given.map_or(otherwise, |text| text.parse().unwrap())
    };
    let (series, samples) = (number(300_000), number(24) as i64);
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        // So that a snapshot is due at the end.
        wal_segment_bytes: 8 << 20,
        ..Config::new(folder.path())
    };
    let open = || Db::open(config.clone(), &Registry::new()).unwrap();
    let db = open();
    let empty_kib = resident_kib();

    let timer = Timer::start();
    let mut targets: Vec<Target> = (0..series / TARGET_SERIES)
        .map(|number| first_scrape(&db, number))
        .collect();
    timer.report("new series", series);
    let mut random = 1u64;
    let timer = Timer::start();
    for scrape in 1..samples {
        for target in &mut targets {
            scrape_again(&db, target, scrape * INTERVAL_MS, &mut random);
        }
    }
    timer.report("known series", series * (samples as usize - 1));
    let all = series * samples as usize;
    let log_bytes = size_bytes(&folder.path().join("narthex-wal"));
    println!("log: {:.2} bytes a sample", log_bytes as f64 / all as f64);
    let grown_kib = resident_kib() - empty_kib;
    println!(
        "memory: {} bytes a series",
        grown_kib * 1024 / series as u64
    );
    read_all(&db);
    db.close().unwrap();
    drop(db);
    drop(targets);

    let timer = Timer::start();
    let db = open();
    timer.report("restart from the log", all);
    let timer = Timer::start();
    db.maintain(samples * INTERVAL_MS);
    timer.report("upkeep, with a snapshot", series);
    db.close().unwrap();
    drop(db);
    let timer = Timer::start();
    let db = open();
    timer.report("restart from the snapshot", series);
    println!("{:?}", db.stats(0).head);
}

fn labels(target: usize, number: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("metric_{}_total", number / 10)),
        ("device", format!("device-{}", number % 10)),
        ("instance", format!("host-{target}:9100")),
        ("job", "node".to_owned()),
        ("datacenter", "one".to_owned()),
        ("environment", "production".to_owned()),
    ])
}

fn first_scrape(db: &Db, number: usize) -> Target {
    let mut batch = db.appender();
    let series = (0..TARGET_SERIES).map(|i| {
        let value = (i * 1000) as f64;
        let reference = batch.append(&labels(number, i), 0, value).unwrap();
        (reference, value)
    });
    let series = series.collect();
    batch.commit().unwrap();
    Target { series }
}

fn scrape_again(db: &Db, target: &mut Target, time_ms: i64, random: &mut u64) {
    let mut batch = db.appender();
    for (i, (reference, value)) in target.series.iter_mut().enumerate() {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let noise = *random >> 40;
        match i % 3 {
            0 => *value += (noise % 500) as f64,
            1 if noise.is_multiple_of(20) => *value = (noise % 100) as f64,
            1 => {}
            _ => *value = (noise % 100_000) as f64 / 1000.0,
        }
        batch.append_known(*reference, time_ms, *value).unwrap();
    }
    let report = batch.commit().unwrap();
    assert_eq!(report.stored, TARGET_SERIES as u64);
}

fn read_all(db: &Db) {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let timer = Timer::start();
    let selected = db.select(&query).unwrap();
    timer.report("select", selected.len());
    let (mut count, mut sum) = (0, 0.0);
    let timer = Timer::start();
    for series in &selected {
        let visited = series.visit(&mut |column| {
            if let Column::Floats { values, .. } = column {
                count += values.len();
                sum += values.iter().sum::<f64>();
            }
        });
        visited.unwrap();
    }
    timer.report(&format!("read (sum {sum})"), count);
}

/// Processor time too, as other programs may be running.
struct Timer {
    start: Instant,
    ticks: u64,
}

impl Timer {
    fn start() -> Self {
        Timer {
            start: Instant::now(),
            ticks: processor_ticks(),
        }
    }

    fn report(&self, what: &str, count: usize) {
        let elapsed = self.start.elapsed().as_secs_f64();
        // A tick is a hundredth of a second.
        let processor = (processor_ticks() - self.ticks) as f64 / 100.0;
        let each = processor * 1e9 / count as f64;
        println!("{what}: {elapsed:.2} s, processor {processor:.2} s, {each:.1} ns each");
    }
}

fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn size_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let size = |path: std::path::PathBuf| match path.is_dir() {
        true => size_bytes(&path),
        false => std::fs::metadata(path).unwrap().len(),
    };
    entries.map(|entry| size(entry.unwrap().path())).sum()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

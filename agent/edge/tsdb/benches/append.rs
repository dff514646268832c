//! Samples through the appender alone, with the log on disk: `cargo bench -p narthex-tsdb`.
//!
//! Batches are what scrapes commit: 1,000 series of one target with known references, targets in
//! turn, so that each one's state has left the caches when it is written again.

#![allow(clippy::expect_used, reason = "a measurement for people")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narthex_model::Labels;
use narthex_storage::{Appendable, SeriesRef};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;

const SERIES: u64 = 1000;
const INTERVAL_MS: i64 = 15_000;

fn labels(target: u64, series: u64) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("app_metric_{}", series % 40)),
        ("instance", format!("target-{target}")),
        ("job", "load".to_owned()),
        ("handler", format!("/api/v1/{}", series / 40)),
        ("zone", format!("zone-{}", target % 3)),
    ])
}

/// 60 % of the series stand still, 25 % count up, 10 % go up and down, 5 % are fractions.
fn value(series: u64, step: i64) -> f64 {
    let noise = (series ^ step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    match series % 20 {
        0..12 => series as f64,
        12..17 => (series * 1000) as f64 + step as f64 * 17.0,
        17..19 => (noise % 5000) as f64,
        _ => noise as f64 / 7.0,
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(SERIES));
    group.sample_size(20);
    group.measurement_time(Duration::from_secs(5));
    for targets in [1, 300] {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let store = Db::open(Config::new(folder.path()), &Registry::new()).expect("a store");
        let references: Vec<Vec<SeriesRef>> = (0..targets).map(|t| create(&store, t)).collect();
        let mut turn = 0;
        group.bench_function(format!("{targets} targets in turn"), |bencher| {
            bencher.iter(|| {
                let step = 1 + turn / targets as i64;
                let target = &references[(turn % targets as i64) as usize];
                turn += 1;
                black_box(scrape(&store, target, step))
            });
        });
    }
    group.finish();
}

fn create(store: &Db, target: u64) -> Vec<SeriesRef> {
    let mut batch = store.appender();
    let references = (0..SERIES).map(|series| {
        let labels = labels(target, series);
        batch
            .append(&labels, 0, value(series, 0))
            .expect("a new series")
    });
    let references = references.collect();
    batch.commit().expect("a disk with room");
    references
}

fn scrape(store: &Db, target: &[SeriesRef], step: i64) -> u64 {
    let mut batch = store.appender();
    for (series, reference) in (0..).zip(target) {
        batch
            .append_known(*reference, step * INTERVAL_MS, value(series, step))
            .expect("a known series");
    }
    batch.commit().expect("a disk with room").stored
}

criterion_group!(benches, append);
criterion_main!(benches);

//! The store as a whole: what it holds after whatever may happen to it, on disks that fail, beside
//! what others left in its folder.

mod admin;
mod damage;
mod disks;
mod foreign;
mod format;
mod measure;
mod metrics;
mod model;
mod starts;
mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use narthex_model::{CancelToken, Labels, MatchOp, Matcher};
use narthex_storage::{
    Appendable, Column, CommitError, CommitReport, LabelQuery, Queryable, ReplayProgress,
    SelectQuery, Series,
};
use prometheus::Registry;

use super::start;
use crate::config::{Config, OpenError};
use crate::db::Db;
use crate::disk::faulty::{Faults, FaultyDisk};

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A multiple of two hours.
pub(super) const START_MS: i64 = 1_700_006_400_000;

/// Labels to times to the bits of values.
pub(super) type Content = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// Nothing goes by age, and syncs come only when a test asks for them.
pub(super) fn config(path: &Path) -> Config {
    Config {
        retention_ms: 0,
        wal_segment_bytes: 4096,
        sync_interval: Duration::from_secs(3600),
        ..Config::new(path)
    }
}

pub(super) fn open(path: &Path) -> Db {
    open_with(config(path))
}

/// On a disk that has no faults, but forgoes the wait for syncs.
pub(super) fn open_with(config: Config) -> Db {
    open_faulty(config).0
}

pub(super) fn try_open(config: Config) -> Result<Db, OpenError> {
    Db::open(config, &Registry::new())
}

pub(super) fn open_faulty(config: Config) -> (Db, Arc<Faults>) {
    let (disk, faults) = FaultyDisk::new();
    let progress = ReplayProgress::default();
    let db = start::open(config, &Registry::new(), &progress, Arc::new(disk)).unwrap();
    (db, faults)
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

pub(super) fn series(number: i64) -> Labels {
    labels(&[("__name__", "m"), ("n", &number.to_string())])
}

pub(super) fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

/// Commits one batch.
pub(super) fn write(db: &Db, samples: &[(&Labels, i64, f64)]) -> Result<CommitReport, CommitError> {
    let mut batch = db.appender();
    for (labels, timestamp_ms, value) in samples {
        batch.append(labels, *timestamp_ms, *value).unwrap();
    }
    batch.commit()
}

/// Commits a sample a minute of some series; each has to be taken.
pub(super) fn fill(db: &Db, series_count: i64, from_ms: i64, to_ms: i64) {
    let all: Vec<Labels> = (0..series_count).map(series).collect();
    let mut time_ms = from_ms;
    while time_ms < to_ms {
        let value = (time_ms / MINUTE_MS) as f64;
        let samples: Vec<_> = all.iter().map(|labels| (labels, time_ms, value)).collect();
        let report = write(db, &samples).unwrap();
        assert_eq!(report.stored, samples.len() as u64);
        time_ms += MINUTE_MS;
    }
}

pub(super) fn content(db: &dyn Queryable) -> Content {
    content_in(db, &[], i64::MIN, i64::MAX)
}

pub(super) fn content_in(
    db: &dyn Queryable,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> Content {
    let query = SelectQuery {
        matchers,
        start_ms,
        end_ms,
        cancel: CancelToken::default(),
    };
    let selected = db.select(&query).unwrap();
    assert!(selected.is_sorted_by(|a, b| a.labels() < b.labels()));
    let with_samples = selected.iter().map(|s| (s.labels().clone(), samples(&**s)));
    with_samples
        .filter(|(_, samples)| !samples.is_empty())
        .collect()
}

pub(super) fn samples(series: &dyn Series) -> BTreeMap<i64, u64> {
    let mut all = BTreeMap::new();
    let visited = series.visit(&mut |column| {
        let Column::Floats {
            timestamps_ms,
            values,
        } = column
        else {
            panic!("histograms where none were written");
        };
        assert_eq!(timestamps_ms.len(), values.len());
        assert!(!timestamps_ms.is_empty());
        for (time, value) in timestamps_ms.iter().zip(values) {
            assert!(all.last_key_value().is_none_or(|(last, _)| last < time));
            all.insert(*time, value.to_bits());
        }
    });
    visited.unwrap();
    all
}

pub(super) fn everything(matcher_sets: &[Vec<Matcher>]) -> LabelQuery<'_> {
    LabelQuery {
        matcher_sets,
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        limit: 0,
        cancel: CancelToken::default(),
    }
}

/// Copies a data folder as it is at this moment, which is what a kill would leave.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// What a store holds that is opened on a copy of the folder.
pub(super) fn after_kill(path: &Path) -> Content {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("copy");
    copy(path, &folder);
    content(&open(&folder))
}

/// Names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Times of all samples with the starts of their counters.
pub(super) fn starts(db: &Db) -> Vec<(i64, i64)> {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let mut all = Vec::new();
    for series in db.select(&query).unwrap() {
        let visited = series.visit_with_starts(&mut |column, starts| {
            let (Column::Floats { timestamps_ms, .. } | Column::Histograms { timestamps_ms, .. }) =
                column;
            let starts = starts.iter().copied().chain(std::iter::repeat(0));
            all.extend(timestamps_ms.iter().copied().zip(starts));
        });
        visited.unwrap();
    }
    all
}

//! What the tests of the store share: opening one, writing to it, and all that it holds as a map.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use narthex_model::{CancelToken, Labels, Matcher};
use narthex_storage::{
    AppendError, Appendable, Column, LabelQuery, Queryable, SelectQuery, Series,
};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;

/// Labels to times to the bits of values.
pub(crate) type Content = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// Small segments, so that tests meet their ends; nothing goes by age.
pub(crate) fn config(path: &Path) -> Config {
    Config {
        retention_ms: 0,
        wal_segment_bytes: 4096,
        ..Config::new(path)
    }
}

pub(crate) fn open(path: &Path) -> Db {
    open_with(config(path))
}

pub(crate) fn open_with(config: Config) -> Db {
    Db::open(config, &Registry::new()).unwrap()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// Commits one batch; each sample has to be taken.
pub(crate) fn write(db: &Db, samples: &[(&Labels, i64, f64)]) {
    let mut batch = db.appender();
    for (labels, timestamp_ms, value) in samples {
        batch.append(None, labels, *timestamp_ms, *value).unwrap();
    }
    batch.commit().unwrap();
}

/// Commits one sample, if it is taken.
pub(crate) fn try_write(
    db: &Db,
    labels: &Labels,
    timestamp_ms: i64,
    value: f64,
) -> Result<(), AppendError> {
    let mut batch = db.appender();
    batch.append(None, labels, timestamp_ms, value)?;
    batch.commit().unwrap();
    Ok(())
}

pub(crate) fn content(db: &Db) -> Content {
    content_in(db, &[], i64::MIN, i64::MAX)
}

pub(crate) fn content_in(
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

pub(crate) fn samples(series: &dyn Series) -> BTreeMap<i64, u64> {
    let mut all = BTreeMap::new();
    series
        .visit(&mut |column| {
            let Column::Floats {
                timestamps_ms,
                values,
            } = column
            else {
                panic!("histograms in a store that takes none");
            };
            assert_eq!(timestamps_ms.len(), values.len());
            assert!(!timestamps_ms.is_empty());
            for (time, value) in timestamps_ms.iter().zip(values) {
                assert!(all.last_key_value().is_none_or(|(last, _)| last < time));
                all.insert(*time, value.to_bits());
            }
        })
        .unwrap();
    all
}

pub(crate) fn everything(matcher_sets: &[Vec<Matcher>]) -> LabelQuery<'_> {
    LabelQuery {
        matcher_sets,
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    }
}

/// Copies a data folder as it is at this moment, which is what a kill would leave.
pub(crate) fn copy(from: &Path, to: &Path) {
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

pub(crate) fn wal(path: &Path) -> PathBuf {
    path.join("narthex-wal")
}

/// Names in the folder of the log, sorted.
pub(crate) fn wal_files(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(wal(path)).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The only segment of a small log.
pub(crate) fn segment(path: &Path) -> PathBuf {
    assert_eq!(wal_files(path), ["00000001"]);
    wal(path).join("00000001")
}

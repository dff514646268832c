//! Starts of counters from a batch to the blocks.

use std::path::Path;

use narthex_head::StartTimes;
use narthex_storage::Appendable;

use super::{HOUR_MS, MINUTE_MS, START_MS, copy, open, series, starts};
use crate::db::Db;

fn put(db: &Db, time_ms: i64, value: f64, start_ms: i64) {
    let mut batch = db.appender();
    batch.append(&series(0), time_ms, value).unwrap();
    batch.set_start(0, start_ms);
    batch.commit().unwrap();
}

fn starts_after_kill(path: &Path) -> Vec<(i64, i64)> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("copy");
    copy(path, &folder);
    starts(&open(&folder))
}

#[test]
fn starts_reach_the_blocks_and_survive() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let mut expected = Vec::new();
    for minute in 0..400 {
        // It starts anew now and then, and for a while nothing is known.
        let start_ms = match minute / 70 {
            3 => 0,
            run => START_MS + run * 70 * MINUTE_MS - 500,
        };
        let time_ms = START_MS + minute * MINUTE_MS;
        put(&db, time_ms, minute as f64, start_ms);
        expected.push((time_ms, start_ms));
    }
    assert_eq!(starts(&db), expected);
    assert_eq!(starts_after_kill(folder.path()), expected);
    db.maintain(START_MS + 7 * HOUR_MS);
    assert!(!db.blocks().loaded().is_empty());
    assert_eq!(starts(&db), expected);
    assert_eq!(starts_after_kill(folder.path()), expected);
    db.seal().unwrap();
    drop(db);
    assert_eq!(starts(&open(folder.path())), expected);
}

#[test]
fn starts_become_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    db.set_start_times(StartTimes {
        keep: false,
        as_zeros: true,
    });
    put(&db, START_MS, 5.0, START_MS - 1000);
    put(&db, START_MS + 1000, 6.0, START_MS - 1000);
    let expected = [(START_MS - 1000, 0), (START_MS, 0), (START_MS + 1000, 0)];
    assert_eq!(starts(&db), expected);
    assert_eq!(starts_after_kill(folder.path()), expected);
}

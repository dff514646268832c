//! The store in use: blocks are cut, retention drops them, readers and writers go side by side.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use narthex_model::{CancelToken, Exemplar, MatchOp, Metadata, MetricType};
use narthex_storage::{
    Appendable, ExemplarQueryable, Queryable, ReplayProgress, SelectQuery, StoreStatus,
};
use prometheus::Registry;

use super::{
    HOUR_MS, MINUTE_MS, START_MS, config, content, content_in, copy, everything, fill, labels,
    matcher, names, open, open_with, samples, series, try_open, write,
};
use crate::config::{Config, OpenError};
use crate::db::Db;

#[test]
fn blocks_are_cut_and_compacted_as_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let mut time_ms = START_MS;
    for _ in 0..20 {
        fill(&db, 3, time_ms, time_ms + HOUR_MS);
        time_ms += HOUR_MS;
        db.maintain(time_ms);
    }
    let loaded = db.blocks().loaded();
    let ranges: Vec<i64> = loaded
        .iter()
        .map(|b| (b.max_ms() - b.min_ms()) / HOUR_MS)
        .collect();
    assert!(ranges.contains(&6), "{ranges:?}");
    assert!(
        loaded
            .windows(2)
            .all(|two| two[0].max_ms() <= two[1].min_ms())
    );
    let head_min_ms = db.head.times_ms().unwrap().0;
    assert_eq!(loaded.last().unwrap().max_ms(), head_min_ms);
    assert!(time_ms - head_min_ms <= 4 * HOUR_MS);
    let all = content(&db);
    assert!(all.values().all(|samples| samples.len() == 20 * 60));
    assert_eq!(db.min_time_ms(), Some(START_MS));
    assert_eq!(db.max_time_ms(), Some(time_ms - MINUTE_MS));
    drop(loaded);
    drop(db);
    let db = open(folder.path());
    assert_eq!(content(&db), all);
    assert_eq!(db.head.times_ms().unwrap().0, head_min_ms);
}

#[test]
fn retention_drops_blocks_by_age_and_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 3, START_MS, START_MS + 24 * HOUR_MS);
    let now_ms = START_MS + 24 * HOUR_MS;
    db.maintain(now_ms);
    assert_eq!(db.min_time_ms(), Some(START_MS));
    db.set_retention(12 * HOUR_MS as u64, 0, 0.0);
    db.maintain(now_ms);
    let oldest_ms = db.min_time_ms().unwrap();
    let age_ms = now_ms - oldest_ms;
    assert!((12 * HOUR_MS..22 * HOUR_MS).contains(&age_ms), "{age_ms}");
    db.set_retention(0, db.blocks().size_bytes() / 2, 0.0);
    db.maintain(now_ms);
    assert!(db.min_time_ms().unwrap() > oldest_ms);
    let all = content(&db);
    drop(db);
    assert_eq!(content(&open(folder.path())), all);
}

#[test]
fn a_sample_of_the_future_costs_no_old_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let db = open_with(Config {
        retention_ms: 24 * HOUR_MS as u64,
        ..config(folder.path())
    });
    fill(&db, 1, START_MS, START_MS + 8 * HOUR_MS);
    let future_ms = START_MS + 1000 * HOUR_MS;
    write(&db, &[(&series(1), future_ms, 1.0)]).unwrap();
    write(&db, &[(&series(1), future_ms + 4 * HOUR_MS, 1.0)]).unwrap();
    db.maintain(START_MS + 8 * HOUR_MS);
    db.maintain(START_MS + 8 * HOUR_MS);
    assert_eq!(content(&db)[&series(0)].len(), 8 * 60);
}

#[test]
fn a_block_from_elsewhere_costs_nothing_of_the_head() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let elsewhere = open(other.path());
    let foreign = labels(&[("from", "elsewhere")]);
    write(&elsewhere, &[(&foreign, START_MS + HOUR_MS, 1.0)]).unwrap();
    elsewhere.seal().unwrap();
    let db = open(folder.path());
    fill(&db, 2, START_MS, START_MS + 2 * HOUR_MS);
    let mut all = content(&db);
    drop(db);
    let block = elsewhere.blocks().loaded()[0].path().to_owned();
    copy(&block, &folder.path().join(block.file_name().unwrap()));
    all.extend(content(&elsewhere));
    let db = open(folder.path());
    assert_eq!(content(&db), all);
    fill(&db, 2, START_MS + 2 * HOUR_MS, START_MS + 6 * HOUR_MS);
    let all = content(&db);
    for _ in 0..3 {
        db.maintain(START_MS);
    }
    assert_eq!(content(&db), all);
    drop(db);
    assert_eq!(content(&open(folder.path())), all);
}

#[test]
fn a_block_that_the_head_still_has_is_written_once_more_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let copied = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 2, START_MS, START_MS + 4 * HOUR_MS);
    let all = content(&db);
    // Killed before the head was truncated.
    let border_ms = START_MS + 2 * HOUR_MS;
    db.write_blocks_before(border_ms, border_ms).unwrap();
    copy(folder.path(), copied.path());
    let db = open(copied.path());
    assert_eq!(content(&db), all);
    db.maintain(START_MS);
    assert_eq!(content(&db), all);
    assert_eq!(db.blocks().loaded().len(), 1);
    assert_eq!(db.head.times_ms().unwrap().0, border_ms);
}

#[test]
fn series_without_samples_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 10, START_MS, START_MS + MINUTE_MS);
    fill(&db, 2, START_MS + MINUTE_MS, START_MS + 8 * HOUR_MS);
    assert_eq!(db.stats(10).head.series, 10);
    for _ in 0..3 {
        db.maintain(START_MS + 8 * HOUR_MS);
    }
    assert_eq!(db.stats(10).head.series, 2);
    assert_eq!(content(&db).len(), 10);
    assert_eq!(db.series(&everything(&[])).unwrap().len(), 10);
    let before = content(&db);
    drop(db);
    let db = open(folder.path());
    assert_eq!(content(&db), before);
    fill(
        &db,
        10,
        START_MS + 8 * HOUR_MS,
        START_MS + 8 * HOUR_MS + MINUTE_MS,
    );
    assert_eq!(content(&db)[&series(9)].len(), 2);
}

#[test]
fn labels_come_from_head_and_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let old = labels(&[("__name__", "old"), ("only_old", "x")]);
    write(&db, &[(&old, START_MS, 1.0)]).unwrap();
    fill(&db, 2, START_MS + MINUTE_MS, START_MS + 6 * HOUR_MS);
    for _ in 0..3 {
        db.maintain(START_MS);
    }
    let text = |all: Vec<std::sync::Arc<str>>| -> Vec<String> {
        all.iter().map(|text| text.to_string()).collect()
    };
    let all = everything(&[]);
    assert_eq!(
        text(db.label_names(&all).unwrap()),
        ["__name__", "n", "only_old"]
    );
    assert_eq!(
        text(db.label_values("__name__", &all).unwrap()),
        ["m", "old"]
    );
    assert_eq!(text(db.label_values("n", &all).unwrap()), ["0", "1"]);
    let sets = [vec![matcher("__name__", MatchOp::Regex, "o.*")]];
    assert_eq!(
        db.series(&everything(&sets)).unwrap(),
        std::slice::from_ref(&old)
    );
    let found = content_in(&db, &sets[0], i64::MIN, i64::MAX);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&old]);
}

#[test]
fn exemplars_and_metadata_survive_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = Metadata {
        kind: MetricType::Counter,
        help: "How many.".to_owned(),
        unit: String::new(),
    };
    let exemplar = Exemplar {
        labels: labels(&[("trace", "abc")]),
        value: 4.5,
        timestamp_ms: START_MS,
    };
    let db = open(folder.path());
    let mut batch = db.appender();
    let reference = batch.append(&series(1), START_MS, 1.0).unwrap();
    batch.append_exemplar(reference, &exemplar).unwrap();
    batch.set_metadata("m", &metadata);
    batch.commit().unwrap();
    drop(db);
    for round in 0..3 {
        let db = open(folder.path());
        let found = db.metadata();
        assert_eq!(found.len(), 1, "{round}");
        assert_eq!((&*found[0].0, &found[0].1), ("m", &metadata));
        let found = db.exemplars(
            &[vec![matcher("n", MatchOp::Equal, "1")]],
            START_MS,
            START_MS,
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 1, "{round}");
        assert_eq!(
            found[0].exemplars,
            std::slice::from_ref(&exemplar),
            "{round}"
        );
        if round == 1 {
            db.write_snapshot(&mut db.upkeep()).unwrap();
        }
    }
}

#[test]
fn two_at_once_are_one_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let Err(OpenError::Locked { pid, .. }) = try_open(config(folder.path())) else {
        panic!("opened twice");
    };
    assert_eq!(pid, Some(std::process::id()));
    db.close().unwrap();
    let error = write(&db, &[(&series(1), START_MS, 1.0)]).unwrap_err();
    assert!(error.to_string().contains("the store is closed"), "{error}");
    open(folder.path());
}

#[test]
fn the_start_tells_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Config {
        wal_segment_bytes: 1,
        ..config(folder.path())
    };
    let db = open_with(tiny.clone());
    fill(&db, 1, START_MS, START_MS + 5 * MINUTE_MS);
    drop(db);
    let progress = ReplayProgress::default();
    Db::open_showing(tiny, &Registry::new(), &progress).unwrap();
    let (first, last, current) = progress.get();
    assert_eq!((first, current), (1, last));
    assert!(last >= 5, "{last}");
}

#[test]
fn the_log_stays_short() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let mut time_ms = START_MS;
    let mut largest = 0;
    for round in 0..60 {
        fill(&db, 5, time_ms, time_ms + 20 * MINUTE_MS);
        time_ms += 20 * MINUTE_MS;
        db.maintain(time_ms);
        if round > 30 {
            largest = largest.max(db.log.log.size_bytes());
        }
    }
    assert!(largest < 20_000, "{largest} bytes");
    let log = names(&folder.path().join("narthex-wal"));
    assert!(log.len() <= 7, "{log:?}");
    assert!(names(&folder.path().join("narthex-chunks")).len() <= 3);
}

#[test]
fn readers_and_writers_side_by_side_with_upkeep() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let done = AtomicBool::new(false);
    let rounds = 400;
    // No writer may fall behind by the hour that the head allows.
    let together = std::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (db, done, together) = (&db, &done, &together);
            scope.spawn(move || {
                let all: Vec<_> = (0..20).map(|n| series(writer * 100 + n)).collect();
                for round in 0..rounds {
                    if round % 30 == 0 {
                        together.wait();
                    }
                    let time_ms = START_MS + round * MINUTE_MS;
                    let batch: Vec<_> = all.iter().map(|l| (l, time_ms, round as f64)).collect();
                    assert_eq!(write(db, &batch).unwrap().stored, 20);
                }
                done.store(true, Ordering::Release);
            });
        }
        let (reading, stop) = (&db, &done);
        scope.spawn(move || {
            while !stop.load(Ordering::Acquire) {
                check_whole_batches(reading);
            }
        });
        let (keeping, stop) = (&db, &done);
        scope.spawn(move || {
            while !stop.load(Ordering::Acquire) {
                keeping.maintain(START_MS);
            }
        });
    });
    db.maintain(START_MS);
    let all = content(&db);
    assert_eq!(all.len(), 60);
    assert!(all.values().all(|samples| samples.len() == rounds as usize));
    assert!(!db.blocks().loaded().is_empty());
    drop(db);
    assert_eq!(content(&open(folder.path())), all);
}

/// The series of one writer have the same samples, from the first on without a gap.
fn check_whole_batches(db: &Db) {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let mut counts = [const { BTreeSet::new() }; 3];
    for found in db.select(&query).unwrap() {
        let number: usize = found.labels().get("n").unwrap().parse().unwrap();
        let samples = samples(&*found);
        let times: Vec<i64> = samples.keys().map(|t| (t - START_MS) / MINUTE_MS).collect();
        let whole = times.iter().copied().eq(0..times.len() as i64);
        assert!(whole, "{}: {times:?}", found.labels());
        counts[number / 100].insert(times.len());
    }
    assert!(counts.iter().all(|counts| counts.len() <= 1), "{counts:?}");
}

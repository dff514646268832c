//! What a user of the store relies on: the lock, retention, references, isolation, label APIs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use crate::common::{
    config, content, content_in, everything, labels, open, open_with, try_write, write,
};
use narthex_model::{CancelReason, CancelToken, Histogram, Labels, MatchOp, Matcher};
use narthex_storage::memory::MemoryStore;
use narthex_storage::{
    AppendError, Appendable, CommitError, LabelQuery, Queryable, SelectQuery, SeriesRef,
    StorageError, StoreStatus,
};
use narthex_tsdb::{Config, Db, OpenError};
use prometheus::Registry;
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;

#[test]
fn a_folder_in_use_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let error = Db::open(config(folder.path()), &Registry::new())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&*folder.path().to_string_lossy()), "{text}");
    assert!(
        text.contains(&format!("(process {})", std::process::id())),
        "{text}"
    );
    db.close().unwrap();
    open(folder.path());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Db::open(config(&file.join("data")), &Registry::new())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Folder { .. }));
    assert!(error.to_string().contains("file/data"), "{error}");
    // The reason once: it is part of the text, so it is no source that would be told again.
    assert!(std::error::Error::source(&error).is_none());
}

#[test]
fn closed_it_takes_nothing_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let one = labels(&[("a", "1")]);
    write(&db, &[(&one, 1, 1.0)]);
    let mut batch = db.appender();
    batch.append(None, &one, 2, 2.0).unwrap();
    db.close().unwrap();
    db.close().unwrap();
    let CommitError::Log(text) = batch.commit().unwrap_err();
    assert_eq!(text, "the store is closed");
    assert_eq!(content(&db)[&one].len(), 1);
}

#[test]
fn what_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let one = labels(&[("a", "1")]);
    write(&db, &[(&one, 10 * HOUR_MS, 1.0)]);
    for (labels, timestamp_ms, value, expected) in [
        (
            Labels::empty(),
            10 * HOUR_MS,
            1.0,
            Err(AppendError::NoLabels),
        ),
        (one.clone(), 10 * HOUR_MS, 1.0, Ok(())),
        (
            one.clone(),
            10 * HOUR_MS,
            2.0,
            Err(AppendError::DuplicateTimestamp),
        ),
        (
            one.clone(),
            10 * HOUR_MS - 1,
            1.0,
            Err(AppendError::OutOfOrder),
        ),
        (
            one.clone(),
            9 * HOUR_MS - 1,
            1.0,
            Err(AppendError::OutOfBounds),
        ),
        (labels(&[("a", "2")]), 9 * HOUR_MS, 1.0, Ok(())),
        (
            labels(&[("a", "3")]),
            9 * HOUR_MS - 1,
            1.0,
            Err(AppendError::OutOfBounds),
        ),
        (labels(&[("a", "2")]), i64::MAX, f64::NAN, Ok(())),
        (
            labels(&[("a", "2")]),
            i64::MIN,
            1.0,
            Err(AppendError::OutOfBounds),
        ),
    ] {
        assert_eq!(
            try_write(&db, &labels, timestamp_ms, value),
            expected,
            "{labels} {timestamp_ms}"
        );
    }
    let histogram = Arc::new(Histogram::default());
    let refused = db.appender().append_histogram(None, &one, 1, histogram);
    assert_eq!(refused, Err(AppendError::HistogramNotSupported));
}

#[test]
fn a_dropped_batch_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let one = labels(&[("a", "1")]);
    let mut batch = db.appender();
    batch.append(None, &one, 1, 1.0).unwrap();
    drop(batch);
    assert!(content(&db).is_empty());
    assert!(db.series(&everything(&[])).unwrap().is_empty());
    assert!(db.label_names(&everything(&[])).unwrap().is_empty());
    db.maintain(0);
    assert_eq!(db.stats(1).head.series, 0);
}

#[test]
fn old_chunks_and_empty_series_go() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        retention_ms: 3 * HOUR_MS as u64,
        ..config(folder.path())
    };
    let db = open_with(config.clone());
    let (old, new) = (labels(&[("a", "old")]), labels(&[("a", "new")]));
    for minute in 0..60 {
        write(
            &db,
            &[(&old, minute * 60_000, 1.0), (&new, minute * 60_000, 1.0)],
        );
    }
    for minute in 60..600 {
        write(&db, &[(&new, minute * 60_000, 1.0)]);
    }
    // A clock that runs ahead costs nothing; samples that do, cost nothing either.
    db.set_retention_ms(0);
    db.maintain(1000 * HOUR_MS);
    assert_eq!(content(&db)[&old].len(), 60);
    db.set_retention_ms(3 * HOUR_MS as u64);
    db.maintain(HOUR_MS);
    assert_eq!(content(&db)[&old].len(), 60);

    db.maintain(1000 * HOUR_MS);
    let kept = content(&db);
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&new]);
    // The chunks end with each second hour, so the one from 6:00 on is the oldest.
    assert_eq!(kept[&new].keys().next(), Some(&(6 * HOUR_MS)));
    assert_eq!(db.min_time_ms(), Some(6 * HOUR_MS));
    assert_eq!(db.max_time_ms(), Some(599 * 60_000));
    assert_eq!(db.stats(10).head.series, 1);
    assert_eq!(db.stats(10).head.label_pairs, 1);

    // The log may still know what is gone, and the next maintenance drops it again.
    drop(db);
    let db = open_with(config);
    db.maintain(600 * 60_000);
    assert_eq!(content(&db), kept);
}

#[test]
fn a_reference_that_is_stale_or_wrong_falls_back_to_the_labels() {
    let folder = tempfile::tempdir().unwrap();
    let db = open_with(Config {
        retention_ms: 1,
        ..config(folder.path())
    });
    let [a, b, c] = ["a", "b", "c"].map(|value| labels(&[("x", value)]));
    let mut batch = db.appender();
    let stale = batch.append(None, &a, 1000, 1.0).unwrap();
    batch.commit().unwrap();
    write(&db, &[(&b, 2000, 1.0)]);
    db.maintain(2000);
    // The place of the removed series is taken by another one.
    write(&db, &[(&c, 3000, 1.0)]);
    for (reference, time) in [
        (stale, 3000),
        (SeriesRef(u64::MAX), 3001),
        (SeriesRef(77), 3002),
    ] {
        let mut batch = db.appender();
        let given = batch.append(Some(reference), &a, time, 5.0).unwrap();
        assert_ne!(given, reference);
        assert_eq!(batch.append(Some(given), &a, time, 5.0), Ok(given));
        batch.commit().unwrap();
    }
    let found = content(&db);
    assert_eq!(found[&a].len(), 3);
    assert_eq!(found[&c].len(), 1);
}

#[test]
fn a_series_that_waits_for_its_commit_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let db = open_with(Config {
        retention_ms: 1,
        ..config(folder.path())
    });
    let (old, new) = (labels(&[("x", "old")]), labels(&[("x", "new")]));
    write(&db, &[(&old, 1000, 1.0)]);
    let mut batch = db.appender();
    batch.append(None, &old, 5000, 2.0).unwrap();
    batch
        .append(None, &labels(&[("x", "fresh")]), 5000, 2.0)
        .unwrap();
    write(&db, &[(&new, 4000, 1.0)]);
    db.maintain(4000);
    db.maintain(4000);
    assert_eq!(content(&db).keys().collect::<Vec<_>>(), [&new]);
    batch.commit().unwrap();
    assert_eq!(content(&db).len(), 3);
}

#[test]
fn readers_see_whole_commits() {
    const WIDTH: usize = 20;
    const COMMITS: i64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        retention_ms: 300_000,
        ..config(folder.path())
    };
    let db = open_with(config);
    let done = AtomicBool::new(false);
    let barrier = Barrier::new(4);
    let row = |writer: &str| -> Vec<Labels> {
        (0..WIDTH)
            .map(|i| labels(&[("writer", writer), ("i", &i.to_string())]))
            .collect()
    };
    std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for writer in ["a", "b"] {
            let (db, barrier, row) = (&db, &barrier, row(writer));
            writers.push(scope.spawn(move || {
                barrier.wait();
                let mut references = vec![None; WIDTH];
                for commit in 1..=COMMITS {
                    let mut batch = db.appender();
                    for (labels, reference) in row.iter().zip(&mut references) {
                        let given = batch.append(*reference, labels, commit * 1000, commit as f64);
                        *reference = Some(given.unwrap());
                    }
                    batch.commit().unwrap();
                }
            }));
        }
        scope.spawn(|| {
            barrier.wait();
            while !done.load(Ordering::Acquire) {
                db.maintain(COMMITS * 1000);
            }
        });
        let reader = scope.spawn(|| {
            barrier.wait();
            let mut seen = 0;
            loop {
                let is_last = done.load(Ordering::Acquire);
                for writer in ["a", "b"] {
                    let matcher = [Matcher::equal("writer", writer)];
                    let found = content_in(&db, &matcher, i64::MIN, i64::MAX);
                    let last: Vec<_> = found
                        .values()
                        .map(|samples| samples.last_key_value())
                        .collect();
                    assert!(last.is_empty() || last.len() == WIDTH, "{}", last.len());
                    assert!(last.windows(2).all(|pair| pair[0] == pair[1]));
                    seen += last.len();
                }
                if is_last {
                    break;
                }
            }
            seen
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
    let expected = content(&db);
    assert!(
        expected
            .values()
            .all(|samples| samples.contains_key(&(COMMITS * 1000)))
    );
    drop(db);
    let found = content(&open(folder.path()));
    for (labels, samples) in expected {
        assert!(
            samples
                .iter()
                .all(|sample| found[&labels].get(sample.0) == Some(sample.1))
        );
    }
}

#[test]
fn two_batches_for_one_series_the_later_sample_wins() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let one = labels(&[("a", "1")]);
    let (mut first, mut second) = (db.appender(), db.appender());
    first.append(None, &one, 1000, 1.0).unwrap();
    first.append(None, &one, 3000, 3.0).unwrap();
    second.append(None, &one, 2000, 2.0).unwrap();
    second.append(None, &one, 4000, 4.0).unwrap();
    first.commit().unwrap();
    second.commit().unwrap();
    let expected = content(&db);
    assert_eq!(
        expected[&one].keys().copied().collect::<Vec<_>>(),
        [1000, 3000, 4000]
    );
    drop(db);
    assert_eq!(content(&open(folder.path())), expected);
}

#[test]
fn a_canceled_query_ends() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    write(&db, &[(&labels(&[("a", "1")]), 1, 1.0)]);
    let cancel = CancelToken::default();
    cancel.cancel(CancelReason::Timeout);
    let query = SelectQuery {
        matchers: &[],
        start_ms: 0,
        end_ms: 9,
        cancel: cancel.clone(),
    };
    assert!(matches!(db.select(&query), Err(StorageError::Canceled)));
    let query = LabelQuery {
        cancel,
        ..everything(&[])
    };
    assert!(matches!(db.series(&query), Err(StorageError::Canceled)));
}

#[test]
fn the_metrics_have_prometheus_s_names() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let db = Db::open(config(folder.path()), &registry).unwrap();
    let one = labels(&[("a", "1")]);
    write(&db, &[(&one, 61_000, 1.0)]);
    try_write(&db, &one, 60_000, 1.0).unwrap_err();
    try_write(&db, &one, -HOUR_MS, 1.0).unwrap_err();
    let value = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metric = &family.unwrap_or_else(|| panic!("no {name}")).get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    };
    for (name, expected) in [
        ("prometheus_tsdb_head_series", 1.0),
        ("prometheus_tsdb_head_chunks", 1.0),
        ("prometheus_tsdb_head_series_created_total", 1.0),
        ("prometheus_tsdb_head_samples_appended_total", 1.0),
        ("prometheus_tsdb_out_of_order_samples_total", 1.0),
        ("prometheus_tsdb_out_of_bound_samples_total", 1.0),
        ("prometheus_tsdb_head_min_time", 61_000.0),
        ("prometheus_tsdb_head_max_time_seconds", 61.0),
        ("prometheus_tsdb_lowest_timestamp_seconds", 61.0),
        ("prometheus_tsdb_storage_blocks_bytes", 0.0),
        ("prometheus_tsdb_wal_corruptions_total", 0.0),
        ("prometheus_tsdb_clean_start", 1.0),
        ("prometheus_tsdb_head_active_appenders", 0.0),
        ("narthex_tsdb_wal_failing", 0.0),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert!(value("prometheus_tsdb_symbol_table_size_bytes") > 0.0);
    assert!(value("prometheus_tsdb_wal_storage_size_bytes") > 0.0);
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex),
    ];
    (
        "[abcd]",
        op,
        prop_oneof![
            "[xyz]?",
            Just("x|y.*".to_owned()),
            Just("x|y".to_owned()),
            Just(".+".to_owned())
        ],
    )
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).unwrap())
}

fn label_set() -> impl Strategy<Value = Labels> {
    prop::collection::vec(("[abc]", "[xyz]{0,2}"), 1..4).prop_map(Labels::from_pairs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_the_plain_store_does(
        sets in prop::collection::vec((label_set(), 0i64..1000), 0..40),
        matcher_sets in prop::collection::vec(prop::collection::vec(matcher(), 0..3), 0..3),
        range in (0i64..1000, 0i64..1000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (db, plain) = (open(folder.path()), MemoryStore::default());
        for (labels, time) in sets {
            // Each store refuses what is older than its series' last, and nothing is that here.
            let (mut one, mut other) = (db.appender(), plain.appender());
            let taken = one.append(None, &labels, time, 1.0).is_ok();
            prop_assert_eq!(taken, other.append(None, &labels, time, 1.0).is_ok() && !labels.is_empty());
            one.commit().unwrap();
            other.commit().unwrap();
        }
        let query = everything(&matcher_sets);
        prop_assert_eq!(db.series(&query).unwrap(), plain.series(&query).unwrap());
        prop_assert_eq!(db.label_names(&query).unwrap(), plain.label_names(&query).unwrap());
        for name in ["a", "b", "d"] {
            prop_assert_eq!(db.label_values(name, &query).unwrap(), plain.label_values(name, &query).unwrap());
        }
        let narrow = LabelQuery { start_ms: range.0, end_ms: range.1, ..query };
        let (found, least) = (db.series(&narrow).unwrap(), plain.series(&narrow).unwrap());
        prop_assert!(least.iter().all(|labels| found.contains(labels)));
        prop_assert!(found.is_sorted());

        let matchers = matcher_sets.first().map_or(&[][..], |set| set);
        let found = content_in(&db, matchers, range.0, range.1);
        prop_assert_eq!(found, content_in(&plain, matchers, range.0, range.1));
    }
}

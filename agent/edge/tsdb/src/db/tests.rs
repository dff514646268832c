//! The store on a disk that fails.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use narthex_model::{CancelToken, Labels};
use narthex_storage::{Appendable, Column, Queryable, SelectQuery};

use super::*;
use crate::wal::disk::faulty::{Faults, FaultyDisk};

type Content = BTreeMap<String, Vec<i64>>;

fn open(path: &Path) -> (Db, Arc<Faults>) {
    let (disk, faults) = FaultyDisk::new();
    let config = Config {
        retention_ms: 0,
        wal_segment_bytes: 4096,
        // Syncs come only when a test asks for them.
        sync_interval: Duration::from_secs(3600),
        ..Config::new(path)
    };
    let db = Db::open_on(config, &Registry::new(), Arc::new(disk)).unwrap();
    (db, faults)
}

fn write(db: &Db, series: &[&str], timestamp_ms: i64) -> Result<(), CommitError> {
    let mut batch = db.appender();
    for value in series {
        let labels = Labels::from_pairs([("a", *value)]);
        batch.append(None, &labels, timestamp_ms, 0.1).unwrap();
    }
    batch.commit()
}

fn content(db: &Db) -> Content {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    let mut content = Content::new();
    for series in db.select(&query).unwrap() {
        let times = content.entry(series.labels().to_string()).or_default();
        let visited = series.visit(&mut |column| {
            if let Column::Floats { timestamps_ms, .. } = column {
                times.extend_from_slice(timestamps_ms);
            }
        });
        visited.unwrap();
    }
    content
}

/// What a store holds that is opened on a copy of the folder: what a kill would leave.
fn after_kill(path: &Path) -> Content {
    let copy = tempfile::tempdir().unwrap();
    let log = copy.path().join(wal::FOLDER);
    std::fs::create_dir(&log).unwrap();
    for entry in std::fs::read_dir(path.join(wal::FOLDER)).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            std::fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
        }
    }
    content(&open(copy.path()).0)
}

#[test]
fn a_full_disk_refuses_whole_batches_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open(folder.path());
    write(&db, &["x", "y"], 1000).unwrap();
    let before = content(&db);
    for room_bytes in 0..40 {
        faults.room_bytes.store(room_bytes, SeqCst);
        let CommitError::Log(text) = write(&db, &["x", "z"], 2000).unwrap_err();
        assert!(text.contains("narthex-wal/00000001"), "{text}");
        assert_eq!(content(&db), before, "{room_bytes}");
        assert_eq!(after_kill(folder.path()), before, "{room_bytes}");
        assert_eq!(db.metrics.wal_failing.get(), 1);
    }
    faults.room_bytes.store(u64::MAX, SeqCst);
    write(&db, &["x", "z"], 3000).unwrap();
    assert_eq!(db.metrics.wal_failing.get(), 0);
    assert_eq!(db.metrics.wal_writes_failed.get(), 40);
    let now = content(&db);
    assert_eq!(now[r#"{a="x"}"#], [1000, 3000]);
    assert_eq!(now[r#"{a="z"}"#], [3000]);
    assert_eq!(after_kill(folder.path()), now);
}

#[test]
fn what_cannot_be_cut_off_is_cut_off_before_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open(folder.path());
    write(&db, &["x"], 1000).unwrap();
    let before = content(&db);
    faults.room_bytes.store(10, SeqCst);
    faults.cutting_fails.store(true, SeqCst);
    write(&db, &["x"], 2000).unwrap_err();
    faults.room_bytes.store(u64::MAX, SeqCst);
    // There is room again, but what lies behind the last record does not go.
    let CommitError::Log(text) = write(&db, &["x"], 2000).unwrap_err();
    assert!(text.contains("cutting fails"), "{text}");
    assert_eq!(after_kill(folder.path()), before);
    faults.cutting_fails.store(false, SeqCst);
    write(&db, &["x"], 3000).unwrap();
    assert_eq!(after_kill(folder.path()), content(&db));
}

#[test]
fn no_room_for_a_new_segment_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open(folder.path());
    let mut time = 0;
    while db.writer().wal.tail_bytes() < 4096 {
        time += 1000;
        write(&db, &["x"], time).unwrap();
    }
    let before = content(&db);
    for room_bytes in [0, 5, 23] {
        faults.room_bytes.store(room_bytes, SeqCst);
        write(&db, &["x"], time + 1000).unwrap_err();
        assert_eq!(content(&db), before);
        assert_eq!(after_kill(folder.path()), before);
    }
    faults.room_bytes.store(u64::MAX, SeqCst);
    write(&db, &["x"], time + 2000).unwrap();
    assert_eq!(db.writer().wal.current_number(), 2);
    assert_eq!(after_kill(folder.path()), content(&db));
}

#[test]
fn a_checkpoint_that_fails_is_tried_again_and_leaves_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open(folder.path());
    let mut time = 0;
    while db.writer().wal.tail_bytes() < 8192 {
        time += 1000;
        write(&db, &["x", "y"], time).unwrap();
    }
    let expected = content(&db);
    for room_bytes in [0, 24, 30, 60, 200] {
        faults.room_bytes.store(room_bytes, SeqCst);
        db.maintain(time);
        assert_eq!(after_kill(folder.path()), expected, "{room_bytes}");
    }
    assert_eq!(db.metrics.checkpoints_failed.get(), 5);
    let log = folder.path().join(wal::FOLDER);
    let names = || {
        std::fs::read_dir(&log)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
    };
    assert!(names().all(|name| !name.starts_with("checkpoint")));

    faults.room_bytes.store(u64::MAX, SeqCst);
    db.maintain(time);
    assert_eq!(names().count(), 2);
    assert_eq!(db.metrics.checkpoints.get(), 6);
    // Nothing has come to the log since then.
    db.maintain(time);
    assert_eq!(db.metrics.checkpoints.get(), 6);
    drop(db);
    assert_eq!(content(&open(folder.path()).0), expected);
}

#[test]
fn what_the_retention_drops_leaves_the_log_too() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = open(folder.path());
    let labels = Labels::from_pairs([("a", "x")]);
    let mut random = 1u64;
    for minute in 0..1000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut batch = db.appender();
        let value = random as f64;
        batch.append(None, &labels, minute * 60_000, value).unwrap();
        batch.commit().unwrap();
    }
    db.maintain(0);
    let full_bytes = db.writer().wal.checkpoint_bytes();
    assert!(full_bytes > 7000, "{full_bytes}");
    db.set_retention_ms(3_600_000);
    db.maintain(1000 * 60_000);
    let left_bytes = db.writer().wal.checkpoint_bytes();
    assert!(left_bytes < full_bytes / 4, "{left_bytes}");
    let expected = content(&db);
    drop(db);
    assert_eq!(content(&open(folder.path()).0), expected);
}

#[test]
fn a_checkpoint_ends_when_the_store_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = open(folder.path());
    write(&db, &["x"], 1000).unwrap();
    let expected = content(&db);
    db.close().unwrap();
    let error = db.write_checkpoint().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    drop(db);
    let log = folder.path().join(wal::FOLDER);
    let names = std::fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| name.to_string_lossy().starts_with("000"))
    );
    assert_eq!(content(&open(folder.path()).0), expected);
}

#[test]
fn after_a_failed_sync_the_log_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open(folder.path());
    write(&db, &["x"], 1000).unwrap();
    faults.syncing_fails.store(true, SeqCst);
    db.syncer.sync().unwrap_err();
    faults.syncing_fails.store(false, SeqCst);
    let before = db.writer().wal.current_number();
    db.maintain(1000);
    assert_eq!(db.metrics.checkpoints.get(), 1);
    assert_eq!(db.writer().wal.current_number(), before + 1);
    db.maintain(1000);
    assert_eq!(db.metrics.checkpoints.get(), 1);
    let expected = content(&db);
    drop(db);
    assert_eq!(content(&open(folder.path()).0), expected);
}

#[test]
fn a_batch_too_large_for_a_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = open(folder.path());
    db.writer().wal.limit_records(100);
    let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let CommitError::Log(text) = write(&db, &many, 1000).unwrap_err();
    assert!(text.contains("more than 100 bytes"), "{text}");
    assert!(content(&db).is_empty());
    write(&db, &["0"], 1000).unwrap();
    assert_eq!(after_kill(folder.path()), content(&db));
}

#[test]
fn the_thread_syncs_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        sync_interval: Duration::from_millis(5),
        ..Config::new(folder.path())
    };
    let db = Db::open(config, &Registry::new()).unwrap();
    write(&db, &["x"], 1000).unwrap();
    let before = db.metrics.wal_fsync_seconds.get_sample_count();
    write(&db, &["x"], 2000).unwrap();
    let start = Instant::now();
    while db.metrics.wal_fsync_seconds.get_sample_count() <= before {
        assert!(start.elapsed() < Duration::from_secs(60), "no sync");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The first listing of the page, as bytes.
fn bytes_of_the_page() -> Vec<u8> {
    let page = include_str!("../../FORMAT.md");
    let listing = page.split("```").nth(1).unwrap();
    let lines = listing
        .lines()
        .skip(1)
        .map(|line| line.split("  ").next().unwrap());
    let digits = lines.flat_map(str::split_whitespace);
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

#[test]
fn the_page_on_the_format_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = open(folder.path());
    let mut batch = db.appender();
    for (series, value) in [("up", 1.0), ("load", 0.5)] {
        let labels = Labels::from_pairs([("__name__", series), ("job", "node")]);
        batch
            .append(None, &labels, 1_700_000_000_000, value)
            .unwrap();
    }
    batch.commit().unwrap();
    let file = std::fs::read(folder.path().join("narthex-wal/00000001")).unwrap();
    let hex: Vec<String> = file.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(file, bytes_of_the_page(), "written: {}", hex.join(" "));
}

//! Files of the store that are torn, missing, damaged or of a newer version.

use std::fs;
use std::path::{Path, PathBuf};

use narthex_storage::StoreAdmin;

use super::{
    Content, HOUR_MS, START_MS, config, content, copy, fill, labels, names, open, open_with,
    series, try_open, write,
};
use crate::config::{Config, OpenError};
use crate::db::Db;

/// Commits one batch: a sample for series 0 and one for a new series.
fn batch(db: &Db, number: i64) {
    let value = number as f64 + 0.1;
    let time_ms = START_MS + 1000 * number;
    let (zero, new) = (series(0), series(number));
    write(db, &[(&zero, time_ms, value), (&new, time_ms, value)]).unwrap();
}

fn log_file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("narthex-wal/{number:08}"))
}

/// A copy of the folder with one file as `change` makes it.
fn changed(from: &Path, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(from, folder.path());
    let file = folder.path().join(file.strip_prefix(from).unwrap());
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(&file, bytes).unwrap();
    folder
}

/// Length of the log and content of the store after each batch, the empty store first.
fn written(path: &Path, batches: i64) -> Vec<(usize, Content)> {
    let db = open(path);
    let mut states = Vec::new();
    for number in 1..=batches + 1 {
        let length = fs::metadata(log_file(path, 1)).unwrap().len();
        states.push((length as usize, content(&db)));
        if number <= batches {
            batch(&db, number);
        }
    }
    db.close().unwrap();
    states
}

#[test]
fn torn_at_any_byte_it_holds_the_batches_before() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 3);
    let full = states.last().unwrap().0;
    for length in 0..=full {
        let torn = changed(folder.path(), &log_file(folder.path(), 1), |bytes| {
            bytes.truncate(length);
        });
        let db = open(torn.path());
        let expected = states.iter().rfind(|(end, _)| *end <= length);
        let expected = expected.map_or_else(Content::new, |(_, content)| content.clone());
        assert_eq!(content(&db), expected, "cut to {length}");
        batch(&db, 9);
        let expected = content(&db);
        drop(db);
        let db = open(torn.path());
        assert_eq!(content(&db), expected, "cut to {length}");
        assert_eq!(db.corruption_count(), 0, "cut to {length}");
        assert!(!torn.path().join("narthex-wal/damaged").exists());
    }
}

#[test]
fn damaged_at_any_byte_it_holds_the_other_batches() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 4);
    let (start, end) = (states[1].0, states[2].0);
    let all = &states[4].1;
    for at in (start..end).step_by(3) {
        let damaged = changed(folder.path(), &log_file(folder.path(), 1), |bytes| {
            bytes[at] ^= 0x20;
        });
        let db = open(damaged.path());
        let found = content(&db);
        // What a later record tells by the lost one is lost, too, and counted.
        let lost = db.metrics.replay_unknown.get();
        let total = |content: &Content| content.values().map(|s| s.len() as u64).sum::<u64>();
        assert_eq!(total(&found) + lost + 2, total(all), "byte {at}");
        let others = [(0, 1), (1, 1), (3, 3), (4, 4)];
        for (number, batch) in others {
            let time_ms = START_MS + 1000 * batch;
            assert_eq!(
                found[&series(number)][&time_ms],
                all[&series(number)][&time_ms]
            );
        }
        assert!(!found.contains_key(&series(2)), "byte {at}");
        assert_eq!(db.corruption_count(), 1, "byte {at}");
        // The head was written anew, the damaged file is kept.
        let kept = damaged.path().join("narthex-wal/damaged/00000001.1");
        let original = fs::read(log_file(folder.path(), 1)).unwrap();
        assert_eq!(fs::read(kept).unwrap().len(), original.len());
        drop(db);
        let db = open(damaged.path());
        assert_eq!((content(&db), db.corruption_count()), (found, 0));
    }
}

#[test]
fn a_missing_segment_costs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Config {
        wal_segment_bytes: 1,
        ..config(folder.path())
    };
    let db = open_with(tiny.clone());
    (1..=5).for_each(|number| batch(&db, number));
    let before = content(&db);
    db.close().unwrap();
    drop(db);
    fs::remove_file(log_file(folder.path(), 3)).unwrap();
    let db = open_with(tiny);
    assert_eq!(db.corruption_count(), 1);
    let found = content(&db);
    assert_eq!(found[&series(0)].len(), 4);
    assert_eq!(before[&series(0)].len(), 5);
    assert!(!found.contains_key(&series(3)));
}

#[test]
fn a_file_of_zero_length_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    batch(&db, 1);
    let expected = content(&db);
    db.close().unwrap();
    drop(db);
    fs::write(log_file(folder.path(), 2), b"").unwrap();
    fs::create_dir_all(folder.path().join("narthex-chunks")).unwrap();
    fs::write(folder.path().join("narthex-chunks/00000007"), b"").unwrap();
    let db = open(folder.path());
    assert_eq!(content(&db), expected);
    batch(&db, 2);
    let expected = content(&db);
    drop(db);
    assert_eq!(content(&open(folder.path())), expected);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 2, START_MS, START_MS + HOUR_MS);
    db.write_snapshot(&mut db.upkeep()).unwrap();
    batch(&db, 10_000);
    db.close().unwrap();
    drop(db);
    let log = folder.path().join("narthex-wal");
    for name in names(&log) {
        let path = log.join(&name);
        let newer = changed(folder.path(), &path, |bytes| {
            bytes[8] = 9;
            let checksum = crc32c::crc32c(&bytes[..20]);
            bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
        });
        let changed_path = newer.path().join("narthex-wal").join(&name);
        let before = fs::read(&changed_path).unwrap();
        match try_open(config(newer.path())) {
            Err(OpenError::NewerFormat { file, found, .. }) => {
                assert_eq!(file, changed_path);
                assert_eq!(found, 9);
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("opened"),
        }
        assert_eq!(fs::read(&changed_path).unwrap(), before);
    }
}

#[test]
fn foreign_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 1);
    let foreign = [
        "narthex-wal/1",
        "narthex-wal/notes.txt",
        "narthex-wal/snapshot.x",
        "narthex-wal/snapshot.1",
        "narthex-chunks/1",
        "notes.txt",
        "01ABC",
    ];
    for name in foreign {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let db = open(folder.path());
    assert_eq!(content(&db), states[1].1);
    assert_eq!(db.corruption_count(), 0);
    db.maintain(START_MS);
    assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
}

/// A store with a snapshot of many pages, with chunks in files, and with a log behind it.
fn with_snapshot(folder: &Path) -> Content {
    let db = open(folder);
    fill(&db, 600, START_MS, START_MS + HOUR_MS / 2);
    fill(&db, 3, START_MS + HOUR_MS / 2, START_MS + 5 * HOUR_MS / 2);
    db.write_snapshot(&mut db.upkeep()).unwrap();
    fill(
        &db,
        3,
        START_MS + 5 * HOUR_MS / 2,
        START_MS + 5 * HOUR_MS / 2 + 180_000,
    );
    let all = content(&db);
    db.close().unwrap();
    all
}

fn file_named(folder: &Path, beginning: &str) -> PathBuf {
    let name = names(folder)
        .into_iter()
        .find(|name| name.starts_with(beginning));
    folder.join(name.unwrap())
}

#[test]
fn a_damaged_snapshot_costs_at_most_a_part_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let all = with_snapshot(folder.path());
    let snapshot = file_named(&folder.path().join("narthex-wal"), "snapshot.");
    let length = fs::metadata(&snapshot).unwrap().len() as usize;
    let mut parts = 0;
    for at in (24..length).step_by(length / 20) {
        let damaged = changed(folder.path(), &snapshot, |bytes| bytes[at] ^= 0x10);
        let db = open(damaged.path());
        let found = content(&db);
        for (labels, samples) in &found {
            let there = samples
                .iter()
                .all(|(time, bits)| all[labels].get(time) == Some(bits));
            assert!(there, "byte {at}: {labels}");
        }
        parts += usize::from(found.len() >= 300);
        if found != all {
            assert_eq!(db.metrics.snapshot_replay_errors.get(), 1, "byte {at}");
            assert!(damaged.path().join("narthex-wal/damaged").exists());
            // It was written anew.
            drop(db);
            let db = open(damaged.path());
            assert_eq!(content(&db), found, "byte {at}");
            assert_eq!(db.metrics.snapshot_replay_errors.get(), 0, "byte {at}");
        }
    }
    assert!(parts > 5, "only {parts} of 20 damages cost a part only");
}

#[test]
fn the_snapshot_before_stands_in_for_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    for round in 0..4 {
        fill(
            &db,
            300,
            START_MS + round * HOUR_MS,
            START_MS + round * HOUR_MS + HOUR_MS / 2,
        );
        db.write_snapshot(&mut db.upkeep()).unwrap();
    }
    batch(&db, 20_000);
    let all = content(&db);
    db.close().unwrap();
    drop(db);
    let log = folder.path().join("narthex-wal");
    let mut snapshots = names(&log);
    snapshots.retain(|name| name.starts_with("snapshot."));
    assert_eq!(snapshots.len(), 2);
    let newest = log.join(&snapshots[1]);
    let length = fs::metadata(&newest).unwrap().len() as usize;
    for at in [30, length / 5, length / 2, length - 1] {
        let damaged = changed(folder.path(), &newest, |bytes| bytes[at] ^= 0x10);
        let db = open(damaged.path());
        assert_eq!(content(&db), all, "byte {at}");
        assert_eq!(db.metrics.snapshot_replay_errors.get(), 1, "byte {at}");
        drop(db);
        let db = open(damaged.path());
        assert_eq!(content(&db), all, "byte {at}");
        assert_eq!(db.metrics.snapshot_replay_errors.get(), 0, "byte {at}");
    }
}

#[test]
fn a_damaged_head_chunk_costs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let all = with_snapshot(folder.path());
    let chunks = file_named(&folder.path().join("narthex-chunks"), "0000");
    let length = fs::metadata(&chunks).unwrap().len() as usize;
    assert!(length > 24);
    for at in (24..length).step_by(31) {
        let damaged = changed(folder.path(), &chunks, |bytes| bytes[at] ^= 0x10);
        let db = open(damaged.path());
        let found = content(&db);
        let total = |content: &Content| content.values().map(|s| s.len()).sum::<usize>();
        let lost = total(&all) - total(&found);
        assert!(lost > 0 && lost <= 240, "byte {at}: {lost} samples lost");
        assert!(db.metrics.chunk_corruptions.get() > 0);
    }
}

#[test]
fn a_kill_at_any_step_of_a_snapshot_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 3, START_MS, START_MS + HOUR_MS);
    let before = tempfile::tempdir().unwrap();
    copy(folder.path(), before.path());
    let log = |root: &Path| root.join("narthex-wal");
    let old = names(&log(folder.path()));
    db.write_snapshot(&mut db.upkeep()).unwrap();
    batch(&db, 7200);
    let expected = content(&db);
    let new = names(&log(folder.path()));
    assert!(new[1].starts_with("snapshot."), "{new:?}");
    assert!(
        old.iter().all(|name| !new.contains(name)),
        "{old:?} {new:?}"
    );

    // Killed when it had its name, and the old segments were still there, or some of them.
    for kept in 0..=old.len() {
        let finished = tempfile::tempdir().unwrap();
        copy(folder.path(), finished.path());
        for name in &old[..kept] {
            let (from, to) = (log(before.path()), log(finished.path()));
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
        let again = open(finished.path());
        assert_eq!(
            (content(&again), again.corruption_count()),
            (expected.clone(), 0)
        );
        let left = names(&log(finished.path()));
        assert!(old.iter().all(|name| !left.contains(name)));
    }

    // Killed while it was written: it has its temporary name, and may be cut.
    let unfinished = tempfile::tempdir().unwrap();
    copy(before.path(), unfinished.path());
    let part = fs::read(log(folder.path()).join(&new[1])).unwrap();
    let temporary = log(unfinished.path()).join(format!("{}.tmp", new[1]));
    fs::write(&temporary, &part[..part.len() / 2]).unwrap();
    fs::copy(
        log(folder.path()).join(&new[0]),
        log(unfinished.path()).join(&new[0]),
    )
    .unwrap();
    let again = open(unfinished.path());
    assert_eq!((content(&again), again.corruption_count()), (expected, 0));
    assert!(!temporary.exists());
}

#[test]
fn an_unreadable_block_costs_itself_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 2, START_MS, START_MS + 6 * HOUR_MS);
    db.maintain(START_MS);
    assert!(db.block_metas().len() >= 2);
    let all = content(&db);
    let oldest = db.blocks.loaded()[0].path().to_owned();
    let end_ms = db.blocks.loaded()[0].max_ms();
    db.close().unwrap();
    drop(db);
    let missing = changed(folder.path(), &oldest.join("index"), |bytes| {
        bytes.truncate(10);
    });
    let db = open(missing.path());
    let mut expected = all;
    expected
        .values_mut()
        .for_each(|samples| *samples = samples.split_off(&end_ms));
    assert_eq!(content(&db), expected);
    assert!(missing.path().join(oldest.file_name().unwrap()).exists());
    assert!(labels(&[]).is_empty());
}

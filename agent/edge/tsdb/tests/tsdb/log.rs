//! What may happen to the log: torn at any byte, damaged at any byte, cut off in the middle of a
//! checkpoint, written by a newer version.

use std::fs;
use std::path::Path;

use crate::common::{
    Content, config, content, copy, labels, open, open_with, segment, wal, wal_files, write,
};
use narthex_model::Labels;
use narthex_tsdb::{Config, Db, OpenError};
use prometheus::Registry;

fn series(number: i64) -> Labels {
    labels(&[("__name__", "m"), ("n", &number.to_string())])
}

/// Commits one batch: a sample for series 0 and one for a new series.
fn batch(db: &Db, number: i64) {
    let value = number as f64 + 0.1;
    write(
        db,
        &[
            (&series(0), 1000 * number, value),
            (&series(number), 1000 * number, value),
        ],
    );
}

/// A copy of the folder whose only segment is what `change` makes of it.
fn changed(from: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(from, folder.path());
    let file = segment(folder.path());
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
        let length = fs::metadata(segment(path)).unwrap().len();
        states.push((length as usize, content(&db)));
        if number <= batches {
            batch(&db, number);
        }
    }
    states
}

#[test]
fn torn_at_any_byte_it_holds_the_batches_before() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 3);
    let full = states.last().unwrap().0;
    for length in 0..=full {
        let torn = changed(folder.path(), |bytes| bytes.truncate(length));
        let db = open(torn.path());
        let expected = states.iter().rfind(|(end, _)| *end <= length);
        let expected = expected.map_or_else(Content::new, |(_, content)| content.clone());
        assert_eq!(content(&db), expected, "cut to {length}");
        // A definition may be whole where the samples after it are not, so ends alone don't tell.
        let is_whole = states.iter().any(|(end, _)| *end == length);
        assert!(!is_whole || db.corruption_count() == 0, "cut to {length}");

        batch(&db, 9);
        let expected = content(&db);
        drop(db);
        let db = open(torn.path());
        assert_eq!(
            (content(&db), db.corruption_count()),
            (expected, 0),
            "cut to {length}"
        );
        assert!(!wal(torn.path()).join("damaged").exists());
    }
}

#[test]
fn nothing_of_a_torn_end_is_left_behind_a_shorter_record() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    batch(&db, 1);
    let all: Vec<Labels> = (2..50).map(series).collect();
    let samples: Vec<_> = all.iter().map(|labels| (labels, 2000, 0.1)).collect();
    write(&db, &samples);
    drop(db);
    let torn = changed(folder.path(), |bytes| bytes.truncate(bytes.len() - 1));
    let db = open(torn.path());
    batch(&db, 3);
    let expected = content(&db);
    drop(db);
    check(torn.path(), &expected);
}

#[test]
fn damaged_at_any_byte_it_holds_the_other_batches() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 4);
    let (start, end) = (states[1].0, states[2].0);
    let mut expected = states[4].1.clone();
    expected.retain(|labels, samples| {
        samples.remove(&2000);
        *labels != series(2)
    });
    for at in start..end {
        let damaged = changed(folder.path(), |bytes| bytes[at] ^= 0x20);
        let db = open(damaged.path());
        let found = content(&db);
        // The definition and the samples of the batch are two records, of which one is hit.
        let lost = !found.contains_key(&series(2));
        let rest: Content = found
            .into_iter()
            .map(|(labels, mut samples)| {
                samples.remove(&2000);
                (labels, samples)
            })
            .filter(|(_, samples)| !samples.is_empty())
            .collect();
        assert!(lost, "byte {at}");
        assert_eq!(rest, expected, "byte {at}");
        assert_eq!(db.corruption_count(), 1, "byte {at}");

        // The log was written anew, the damaged file is kept.
        let kept = wal(damaged.path()).join("damaged/00000001.1");
        let original = fs::read(segment(folder.path())).unwrap();
        assert_eq!(fs::read(kept).unwrap().len(), original.len());
        let now = content(&db);
        drop(db);
        let db = open(damaged.path());
        assert_eq!((content(&db), db.corruption_count()), (now, 0), "byte {at}");
    }
}

#[test]
fn a_damaged_header_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let states = written(folder.path(), 2);
    for at in 0..24 {
        let damaged = changed(folder.path(), |bytes| bytes[at] ^= 0x80);
        let db = open(damaged.path());
        assert_eq!(content(&db), states[2].1, "byte {at}");
        assert_eq!(db.corruption_count(), 1, "byte {at}");
    }
}

#[test]
fn garbage_is_no_log_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let garbage = changed(folder.path(), |bytes| {
        *bytes = (0..5000u32).map(|i| (i * i % 251) as u8).collect();
    });
    let db = open(garbage.path());
    assert!(content(&db).is_empty());
    batch(&db, 1);
    drop(db);
    assert_eq!(content(&open(garbage.path())).len(), 2);
    assert!(wal(garbage.path()).join("damaged/00000001.1").exists());
}

#[test]
fn a_missing_segment_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Config {
        wal_segment_bytes: 1,
        ..config(folder.path())
    };
    let db = open_with(tiny.clone());
    (1..=4).for_each(|number| batch(&db, number));
    drop(db);
    fs::remove_file(wal(folder.path()).join("00000003")).unwrap();
    let db = open_with(tiny);
    assert_eq!(db.corruption_count(), 1);
    let found = content(&db);
    assert_eq!(
        found[&series(0)].keys().copied().collect::<Vec<_>>().len(),
        3
    );
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let newer = changed(folder.path(), |bytes| {
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..20]);
        bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    });
    let before = fs::read(segment(newer.path())).unwrap();
    match Db::open(config(newer.path()), &Registry::new()) {
        Err(OpenError::NewerFormat {
            file,
            found,
            supported,
        }) => {
            assert_eq!(file, segment(newer.path()));
            assert_eq!((found, supported), (2, 1));
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    }
    assert_eq!(fs::read(segment(newer.path())).unwrap(), before);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let one = series(1);
    let mut largest_bytes = 0;
    for number in 0..20_000 {
        write(&db, &[(&one, 1000 * number, 7.0)]);
        if number % 50 == 0 {
            db.maintain(1000 * number);
            largest_bytes = largest_bytes.max(size_bytes(&wal(folder.path())));
        }
    }
    // 20000 commits of about 20 bytes; as chunks they take a few kilobytes.
    assert!(largest_bytes < 40_000, "{largest_bytes}");
    let expected = content(&db);
    assert_eq!(expected[&one].len(), 20_000);
    drop(db);
    assert_eq!(content(&open(folder.path())), expected);
}

fn size_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => size_bytes(&path),
            false => fs::metadata(path).unwrap().len(),
        })
        .sum()
}

#[test]
fn a_kill_at_any_step_of_a_checkpoint_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    for number in 1..200 {
        batch(&db, number);
    }
    let before = tempfile::tempdir().unwrap();
    copy(folder.path(), before.path());
    let old: Vec<String> = wal_files(folder.path());
    db.maintain(0);
    batch(&db, 200);
    let expected = content(&db);
    let new: Vec<String> = wal_files(folder.path());
    assert!(new[1].starts_with("checkpoint."), "{new:?}");
    assert!(
        old.iter().all(|name| !new.contains(name)),
        "{old:?} {new:?}"
    );

    // Killed while the checkpoint was written: it has its temporary name, and may be cut.
    let unfinished = tempfile::tempdir().unwrap();
    copy(before.path(), unfinished.path());
    let temporary = wal(unfinished.path()).join(format!("{}.tmp", new[1]));
    copy(&wal(folder.path()).join(&new[1]), &temporary);
    let part = fs::read(temporary.join("00000001")).unwrap();
    fs::write(temporary.join("00000001"), &part[..part.len() / 2]).unwrap();
    fs::copy(
        wal(folder.path()).join(&new[0]),
        wal(unfinished.path()).join(&new[0]),
    )
    .unwrap();

    // Killed when it had its name, and the old segments were still there, or some of them.
    for kept in 0..=old.len() {
        let finished = tempfile::tempdir().unwrap();
        copy(folder.path(), finished.path());
        for name in &old[..kept] {
            fs::copy(
                wal(before.path()).join(name),
                wal(finished.path()).join(name),
            )
            .unwrap();
        }
        check(finished.path(), &expected);
        assert!(
            wal_files(finished.path())
                .iter()
                .all(|name| !old.contains(name))
        );
    }
    check(unfinished.path(), &expected);
    assert!(!temporary.exists());
}

fn check(path: &Path, expected: &Content) {
    let db = open(path);
    assert_eq!(db.corruption_count(), 0);
    assert!(content(&db) == *expected);
}

#[test]
fn a_damaged_checkpoint_gives_what_is_readable_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    for number in 1..300 {
        batch(&db, number);
    }
    db.maintain(0);
    drop(db);
    let checkpoint = wal_files(folder.path())
        .into_iter()
        .find(|name| name.starts_with("checkpoint"));
    let checkpoint = wal(folder.path()).join(checkpoint.unwrap());
    let part = checkpoint.join("00000001");
    let mut bytes = fs::read(&part).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&part, bytes).unwrap();

    let db = open(folder.path());
    assert_eq!(db.corruption_count(), 1);
    assert!(!checkpoint.exists());
    batch(&db, 1000);
    let expected = content(&db);
    drop(db);
    check(folder.path(), &expected);
    let kept = fs::read_dir(wal(folder.path()).join("damaged"))
        .unwrap()
        .count();
    assert_eq!(kept, 1);
}

#[test]
fn foreign_files_in_its_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let foreign = ["1", "notes.txt", "checkpoint.x", "checkpoint.1"];
    for name in foreign {
        fs::write(wal(folder.path()).join(name), "x").unwrap();
    }
    let db = open(folder.path());
    assert_eq!((content(&db).len(), db.corruption_count()), (2, 0));
    assert!(
        foreign
            .iter()
            .all(|name| wal(folder.path()).join(name).exists())
    );
}

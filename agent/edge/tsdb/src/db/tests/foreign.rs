//! What others left in the folder: the first release its log, Prometheus an empty one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use narthex_storage::ReplayProgress;
use prometheus::Registry;

use super::{Content, START_MS, config, content, labels, names, open, start, starts, write};
use crate::disk::faulty::FaultyDisk;

/// A segment of the first release, with one commit at 1700000000000: `up{job="node"} 1` and
/// `load{job="node"} 0.5`.
const SEGMENT: &str = "4e 41 52 54 48 45 58 4c 01 00 00 00 01 00 00 00 00 00 00 00 f5 aa 4f 0a \
    29 00 00 00 d8 02 ac 70 00 cc 77 28 01 05 08 5f 5f 6e 61 6d 65 5f 5f 02 75 70 03 6a 6f 62 \
    04 6e 6f 64 65 04 6c 6f 61 64 02 02 02 00 01 02 03 02 02 00 04 02 03 0d 00 00 00 5e 73 dc ed \
    95 2b 22 89 02 80 a0 ab fe f9 62 02 c9 02 c2 3f e0";

fn former_segment() -> Vec<u8> {
    let digits = SEGMENT.split_whitespace();
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn former_content() -> Content {
    let series = |name, value: f64| {
        let labels = labels(&[("__name__", name), ("job", "node")]);
        (
            labels,
            BTreeMap::from([(1_700_000_000_000, value.to_bits())]),
        )
    };
    Content::from([series("up", 1.0), series("load", 0.5)])
}

fn aside(folder: &Path) -> Vec<String> {
    let aside = folder.join("set-aside");
    let times = names(&aside);
    assert_eq!(times.len(), 1);
    names(&aside.join(&times[0]))
}

#[test]
fn the_log_of_the_first_release_is_taken_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("narthex-wal");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("00000001"), former_segment()).unwrap();
    let db = open(folder.path());
    assert_eq!(content(&db), former_content());
    assert_eq!(aside(folder.path()), ["narthex-wal.former"]);
    assert!(names(&log).iter().any(|name| name.starts_with("snapshot.")));
    let new = labels(&[("a", "b")]);
    write(&db, &[(&new, START_MS, 1.0)]).unwrap();
    let now = content(&db);
    drop(db);
    let db = open(folder.path());
    assert_eq!(content(&db), now);
    assert_eq!(aside(folder.path()), ["narthex-wal.former"]);
}

#[test]
fn a_kill_before_it_was_set_aside_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("narthex-wal");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("00000001"), former_segment()).unwrap();
    let db = open(folder.path());
    write(&db, &[(&labels(&[("a", "b")]), START_MS, 1.0)]).unwrap();
    let now = content(&db);
    drop(db);
    let time = names(&folder.path().join("set-aside"))[0].clone();
    fs::rename(
        folder
            .path()
            .join("set-aside")
            .join(time)
            .join("narthex-wal.former"),
        folder.path().join("narthex-wal.former"),
    )
    .unwrap();
    assert_eq!(content(&open(folder.path())), now);
    assert!(!folder.path().join("narthex-wal.former").exists());
}

#[test]
fn what_cannot_be_taken_over_for_want_of_room_stays_and_is_taken_later() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("narthex-wal");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("00000001"), former_segment()).unwrap();
    for room_bytes in [100, 300, u64::MAX] {
        let (disk, faults) = FaultyDisk::new();
        faults.room_bytes.store(room_bytes, SeqCst);
        let progress = ReplayProgress::default();
        let config = config(folder.path());
        let db = start::open(config, &Registry::new(), &progress, Arc::new(disk)).unwrap();
        assert_eq!(content(&db), former_content(), "{room_bytes}");
        let waits = folder.path().join("narthex-wal.former").exists();
        assert_eq!(waits, room_bytes < u64::MAX);
    }
    assert_eq!(aside(folder.path()), ["narthex-wal.former"]);
    assert_eq!(content(&open(folder.path())), former_content());
}

#[test]
fn a_torn_former_log_gives_what_is_whole() {
    let whole = former_segment();
    for length in (0..whole.len()).step_by(3) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("narthex-wal");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("00000001"), &whole[..length]).unwrap();
        // Without a header it could be anyone's, and has nothing.
        let db = open(folder.path());
        assert!(content(&db).is_empty(), "{length}");
        write(&db, &[(&labels(&[("a", "b")]), START_MS, 1.0)]).unwrap();
    }
}

#[test]
fn the_empty_log_of_a_prometheus_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["wal", "chunks_head", "wbl"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("wal/00000000"), b"").unwrap();
    fs::write(folder.path().join("queries.active"), b"x").unwrap();
    let db = open(folder.path());
    assert!(content(&db).is_empty());
    assert_eq!(aside(folder.path()), ["chunks_head", "wal", "wbl"]);
    assert!(folder.path().join("queries.active").exists());
}

/// A segment of Prometheus's log with these records.
fn segment(records: &[Vec<u8>]) -> Vec<u8> {
    let mut segment = Vec::new();
    for record in records {
        segment.push(1);
        segment.extend((record.len() as u16).to_be_bytes());
        segment.extend(crc32c::crc32c(record).to_be_bytes());
        segment.extend(record);
    }
    segment
}

/// A record that defines series by their names; references count from 1.
fn definitions(names: &[&str]) -> Vec<u8> {
    let mut record = vec![1];
    for (reference, name) in (1u64..).zip(names) {
        record.extend(reference.to_be_bytes());
        record.push(1);
        for text in ["__name__", name] {
            record.push(text.len() as u8);
            record.extend(text.as_bytes());
        }
    }
    record
}

#[test]
fn metadata_of_a_prometheus_is_kept_by_family() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("wal")).unwrap();
    let names = ["a_total", "b_bucket", "b_sum", "c_sum", "d"];
    let mut metadata = vec![6];
    // Reference, Prometheus's number of the type, unit and help.
    for (reference, kind, unit, help) in [
        (1u8, 1u8, "", "As."),
        (2, 3, "seconds", "Bs."),
        (3, 3, "seconds", "Bs."),
        (4, 5, "", "Cs."),
        (5, 2, "", "Ds."),
        (9, 2, "", "Of no series."),
    ] {
        metadata.extend([reference, kind, 2]);
        for text in ["UNIT", unit, "HELP", help] {
            metadata.push(text.len() as u8);
            metadata.extend(text.as_bytes());
        }
    }
    let log = segment(&[definitions(&names), metadata]);
    fs::write(folder.path().join("wal/00000000"), log).unwrap();
    for _ in 0..2 {
        let db = open(folder.path());
        let all = db.metadata();
        let known: Vec<String> = all
            .iter()
            .map(|(family, m)| format!("{family} {} {} {}", m.kind.as_str(), m.help, m.unit))
            .collect();
        let expected = [
            "a_total counter As. ",
            "b histogram Bs. seconds",
            "c summary Cs. ",
            "d gauge Ds. ",
        ];
        assert_eq!(known, expected);
    }
}

#[test]
fn starts_of_a_prometheus_come_along() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("wal")).unwrap();
    let value = 2.0_f64.to_be_bytes();
    // Reference 1 at 1000 since 900, then at 1001 the same and at 1002 without a start.
    let mut samples = vec![11, 2, 0xd0, 0x0f, 0x88, 0x0e];
    samples.extend(value);
    samples.extend([0, 2, 1]);
    samples.extend(value);
    samples.extend([0, 4, 0]);
    samples.extend(value);
    let log = segment(&[definitions(&["a"]), samples]);
    fs::write(folder.path().join("wal/00000000"), log).unwrap();
    for _ in 0..2 {
        let db = open(folder.path());
        assert_eq!(starts(&db), [(1000, 900), (1001, 900), (1002, 0)]);
    }
}

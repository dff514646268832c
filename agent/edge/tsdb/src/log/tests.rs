//! The log on a disk that fails, loses its power, or lets bytes go bad.

use std::fs;
use std::sync::atomic::Ordering::SeqCst;

use narthex_head::Log as _;

use super::files::{list, segment_path};
use super::read::{Scan, Segment, scan};
use super::segment::{FRAME_HEADER_BYTES, FrameReader, Item};
use super::*;
use crate::disk::RealDisk;
use crate::disk::faulty::{Faults, FaultyDisk, Random};

fn open(folder: &Path) -> (Log, Arc<Faults>) {
    let (disk, faults) = FaultyDisk::new();
    let (_, scan) = read(folder);
    let log = Log::resume(folder, Arc::new(disk), scan.end).unwrap();
    (log.with_segment_bytes(1 << 20), faults)
}

/// All records of the log in a folder.
fn read(folder: &Path) -> (Vec<Vec<u8>>, Scan) {
    let numbers = list(folder, &RealDisk).unwrap().segments;
    let segments: Vec<Segment> = numbers
        .iter()
        .map(|number| Segment::open(folder, *number).unwrap())
        .collect();
    let mut records = Vec::new();
    let scan = scan(&segments, 1, &mut |_, _, record| {
        records.push(record.to_vec());
    });
    (records, scan)
}

fn add(log: &Log, record: &[u8]) -> Result<(), LogError> {
    log.write(log.epoch(), record)
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number as usize % 50)).into_bytes()
}

#[test]
fn records_come_back_over_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        let (log, _) = open(folder.path());
        let log = log.with_segment_bytes(200);
        for number in 0..20 {
            expected.push(record(round * 100 + number));
            add(&log, expected.last().unwrap()).unwrap();
        }
        if round % 2 == 0 {
            log.close().unwrap();
            let refused = add(&log, b"late").unwrap_err();
            assert!(refused.to_string().contains("closed"), "{refused}");
        }
    }
    let (records, scan) = read(folder.path());
    assert_eq!(records, expected);
    assert!(scan.damages.is_empty() && scan.cut.is_none());
    assert!(scan.end.segments.len() > 4);
}

#[test]
fn a_record_for_another_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    let epoch = log.epoch();
    log.roll().unwrap();
    assert!(matches!(log.write(epoch, b"x"), Err(LogError::Stale(now)) if now == epoch + 1));
    log.write(epoch + 1, b"x").unwrap();
    assert_eq!(read(folder.path()).0, [b"x"]);
}

#[test]
fn a_full_disk_refuses_whole_records_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let (log, faults) = open(folder.path());
    add(&log, b"first").unwrap();
    for room_bytes in 0..FRAME_HEADER_BYTES as u64 + 4 {
        faults.room_bytes.store(room_bytes, SeqCst);
        let error = add(&log, b"other").unwrap_err().to_string();
        assert!(error.contains("00000001"), "{error}");
        assert_eq!(read(folder.path()).0, [b"first"], "{room_bytes}");
    }
    // Even if what was written in part cannot be cut off at once.
    faults.cutting_fails.store(true, SeqCst);
    faults.room_bytes.store(7, SeqCst);
    add(&log, b"other").unwrap_err();
    faults.room_bytes.store(u64::MAX, SeqCst);
    let error = add(&log, b"other").unwrap_err().to_string();
    assert!(error.contains("cutting fails"), "{error}");
    assert_eq!(read(folder.path()).0, [b"first"]);
    faults.cutting_fails.store(false, SeqCst);
    add(&log, b"other").unwrap();
    assert_eq!(read(folder.path()).0, [b"first", b"other"]);
}

#[test]
fn no_room_for_a_new_segment_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (log, faults) = open(folder.path());
    let log = log.with_segment_bytes(100);
    while log.size_bytes() < 100 {
        add(&log, b"some record").unwrap();
    }
    let before = read(folder.path()).0;
    for room_bytes in [0, 5, 23] {
        faults.room_bytes.store(room_bytes, SeqCst);
        add(&log, b"other").unwrap_err();
        assert_eq!(read(folder.path()).0, before, "{room_bytes}");
    }
    faults.room_bytes.store(u64::MAX, SeqCst);
    add(&log, b"other").unwrap();
    assert_eq!(log.current_number(), 2);
    assert_eq!(read(folder.path()).0.len(), before.len() + 1);
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    log.limit_records(100);
    let error = add(&log, &[0; 101]).unwrap_err().to_string();
    assert!(error.contains("more than 100 bytes"), "{error}");
    add(&log, &[0; 100]).unwrap();
}

/// Segments of records, some synced: the records, and how many of them are synced.
fn written(folder: &Path, synced: u64, after: u64) -> Vec<Vec<u8>> {
    let (log, _) = open(folder);
    let log = log.with_segment_bytes(300);
    let records: Vec<Vec<u8>> = (0..synced + after).map(record).collect();
    for (number, record) in (0..).zip(&records) {
        if number == synced {
            log.sync().unwrap();
        }
        add(&log, record).unwrap();
    }
    records
}

#[test]
fn a_synced_byte_that_goes_bad_costs_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let records = written(folder.path(), 30, 3);
    let numbers = list(folder.path(), &RealDisk).unwrap().segments;
    assert!(numbers.len() >= 3);
    let path = segment_path(folder.path(), 1);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        fs::write(&path, &bad).unwrap();
        let (found, scan) = read(folder.path());
        let lost = records.len() - found.len();
        assert_eq!(lost, usize::from(at >= 24), "byte {at}");
        assert!(found.iter().all(|record| records.contains(record)));
        assert_eq!((scan.damages.len(), scan.cut), (1, None), "byte {at}");
    }
    fs::remove_file(&path).unwrap();
    let (found, scan) = read(folder.path());
    assert!(records.ends_with(&found) && !found.is_empty());
    assert_eq!((scan.damages.len(), scan.cut), (1, None));
}

#[test]
fn a_hole_in_what_was_not_synced_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let records = written(folder.path(), 3, 30);
    let numbers = list(folder.path(), &RealDisk).unwrap().segments;
    assert!(numbers.len() >= 4);
    let last_number = numbers.last().copied().unwrap();
    for number in numbers {
        let path = segment_path(folder.path(), number);
        let good = fs::read(&path).unwrap();
        let last = good.len() - 1;
        for change in ["flipped", "cut", "cut at a border", "zeros", "missing"] {
            match change {
                "flipped" => {
                    let mut bad = good.clone();
                    bad[last] ^= 1;
                    fs::write(&path, bad).unwrap();
                }
                "cut" => fs::write(&path, &good[..last]).unwrap(),
                "cut at a border" => {
                    let mut frames =
                        FrameReader::new(&good, number).filter_map(|item| match item {
                            Item::Frame { offset, .. } => Some(offset),
                            _ => None,
                        });
                    fs::write(&path, &good[..frames.by_ref().last().unwrap()]).unwrap();
                }
                "zeros" => {
                    let mut bad = good.clone();
                    bad[last - 20..].fill(0);
                    fs::write(&path, bad).unwrap();
                }
                _ => fs::remove_file(&path).unwrap(),
            }
            // The sync covers what is in the first segment up to the third record.
            if number > 1 || change != "missing" {
                let (found, scan) = read(folder.path());
                assert!(records.starts_with(&found), "{number} {change}");
                assert!(found.len() >= 3, "{number} {change}");
                assert!(found.len() < records.len(), "{number} {change}");
                // Nothing tells of it if the last segment is gone, or its last record.
                let is_silent = matches!(change, "missing" | "cut at a border");
                let is_last = number == last_number;
                assert_eq!(
                    scan.cut.is_none(),
                    is_silent && is_last,
                    "{number} {change}"
                );
            }
            fs::write(&path, &good).unwrap();
        }
    }
}

#[test]
fn after_power_loss_there_is_a_beginning_with_all_that_was_synced() {
    for seed in 1..=500 {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("log");
        fs::create_dir(&folder).unwrap();
        let mut random = Random(seed);
        let (log, faults) = open(&folder);
        let log = log.with_segment_bytes(100 + random.below(400));
        let (mut records, mut synced) = (Vec::new(), 0);
        for _ in 0..random.below(60) {
            match random.below(10) {
                0 | 1 => {
                    log.sync().unwrap();
                    synced = records.len();
                }
                2 => {
                    log.roll().unwrap();
                }
                _ => {
                    records.push(record(random.below(1000)));
                    add(&log, records.last().unwrap()).unwrap();
                }
            }
        }
        let after = root.path().join("after");
        faults.lose_power(&folder, &after, seed);
        let (found, scan) = read(&after);
        assert!(records.starts_with(&found), "seed {seed}: {:?}", scan.cut);
        assert!(
            found.len() >= synced,
            "seed {seed}: {} of {synced}",
            found.len()
        );
        // And it goes on from there.
        for path in scan.cut.iter().flat_map(|cut| &cut.gone) {
            fs::remove_file(path).unwrap();
        }
        let (log, _) = open(&after);
        add(&log, b"more").unwrap();
        let mut expected = found;
        expected.push(b"more".to_vec());
        assert_eq!(read(&after).0, expected, "seed {seed}");
    }
}

#[test]
fn after_a_failed_sync_nothing_counts_as_synced_until_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (log, faults) = open(folder.path());
    add(&log, b"one").unwrap();
    faults.syncing_fails.store(true, SeqCst);
    log.sync().unwrap_err();
    assert!(log.is_suspect());
    faults.syncing_fails.store(false, SeqCst);
    let before = log.size_bytes();
    log.sync().unwrap();
    assert_eq!(log.size_bytes(), before, "a mark was written");
    let next = log.roll().unwrap();
    add(&log, b"two").unwrap();
    log.remove_before(next).unwrap();
    assert!(!log.is_suspect());
    log.sync().unwrap();
    assert!(log.size_bytes() > 53);
}

#[test]
fn an_idle_log_is_not_synced_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    add(&log, b"one").unwrap();
    assert!(log.sync().unwrap());
    assert!(!log.sync().unwrap());
    let size = log.size_bytes();
    assert!(!log.sync().unwrap());
    assert_eq!(log.size_bytes(), size);
}

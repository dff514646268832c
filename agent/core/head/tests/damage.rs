//! Records and snapshots that are damaged: refused or taken in part, never a panic, and what a
//! damaged page of a snapshot does not touch is right.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{TestLog, assert_same, head, read, replay, same};
use narthex_head::{ChunkRef, DamagedRecord, Head, NoChunks, Options, SnapshotError};
use narthex_model::histogram::Span;
use narthex_model::{Exemplar, Histogram, Labels, Metadata, STALE_NAN};
use proptest::prelude::*;

fn labels(series: u32) -> Labels {
    Labels::from_pairs([("series", series.to_string())])
}

fn histogram(count: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        count,
        positive_spans: vec![Span {
            offset: 0,
            length: 1,
        }],
        positive_buckets: vec![count],
        ..Histogram::default()
    })
}

/// A head with something of everything, over two pages, and its log.
fn filled() -> (Arc<Head>, Vec<(u32, Vec<u8>)>) {
    let options = Options {
        out_of_order_window_ms: 1 << 40,
        exemplar_limit: 5,
        ..Options::default()
    };
    let (head, log) = (head(options), TestLog::default());
    for round in 0..130i64 {
        let mut batch = head.batch();
        for series in 0..300u32 {
            let value = match series % 4 {
                0 => 1.0,
                1 => round as f64 * 7.0,
                2 => 1.0 / (round + i64::from(series)) as f64,
                _ if round % 50 == 49 => STALE_NAN,
                _ => 0.25,
            };
            if series % 50 == 9 {
                let value = histogram(round as f64);
                let labels = labels(series);
                batch
                    .append_histogram(&labels, round * 1000, value)
                    .unwrap();
                continue;
            }
            let id = batch.append(&labels(series), round * 1000, value).unwrap();
            if series % 60 == 7 && round > 100 {
                batch.append_known(id, round - 5000, value).unwrap();
            }
            if series == 3 {
                let exemplar = Exemplar {
                    labels: Labels::from_pairs([("trace", "x")]),
                    value: 1.0,
                    timestamp_ms: round,
                };
                batch.append_exemplar(id, &exemplar).unwrap();
            }
        }
        let metadata = Metadata {
            help: round.to_string(),
            ..Metadata::default()
        };
        batch.set_metadata("family", &metadata);
        batch.commit(&log).unwrap();
    }
    head.delete(&[], 2000, 3000, &log).unwrap();
    (head, log.take())
}

fn whole(head: &Arc<Head>) -> BTreeMap<Labels, common::Samples> {
    read(head, i64::MIN, i64::MAX)
}

#[test]
fn records_with_other_bytes_are_survived() {
    let (_, records) = filled();
    let mut state = 1u64;
    let mut random = |limit: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit.max(1)
    };
    for round in 0..60 {
        let again = head(Options::default());
        for (_, record) in &records {
            let mut record = record.clone();
            for _ in 0..random(4) {
                let at = random(record.len());
                record[at] = match random(3) {
                    0 => 0xff,
                    1 => record[at] ^ 1 << random(8),
                    _ => random(256) as u8,
                };
            }
            record.truncate(record.len() - random(20) * usize::from(round % 2 == 1));
            let _: Result<_, DamagedRecord> = again.replay_samples(&record, 0, 1);
            let _ = again.replay_definitions(&record);
        }
        again.finish_replay();
        for series in common::select(&again, &[], i64::MIN, i64::MAX) {
            let _ = series.visit(&mut |_| {});
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_taken(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let head = head(Options::default());
        for kind in 0..9 {
            let mut record = vec![kind, bytes.len() as u8];
            record.extend(&bytes);
            let _ = head.replay_samples(&record, 0, 1);
            let _ = head.replay_definitions(&record);
        }
        let _ = head.read_snapshot(&bytes);
    }
}

#[test]
fn a_damaged_page_costs_itself_alone() {
    let (head, records) = filled();
    let expected = whole(&head);
    let mut snapshot = Vec::new();
    head.write_snapshot(&mut snapshot).unwrap();
    let sound = common::head(Options::default());
    let taken = sound.read_snapshot(&snapshot).unwrap();
    assert_eq!((taken.series, taken.damaged_pages), (300, 0));
    assert_same(&whole(&sound), &expected);
    assert_eq!(sound.stats(), head.stats());

    let mut damaged_pages = 0;
    for at in (5..snapshot.len()).step_by(snapshot.len() / 60) {
        let mut damaged = snapshot.clone();
        damaged[at] ^= 0x10;
        let again = common::head(Options::default());
        let Ok(taken) = again.read_snapshot(&damaged) else {
            continue;
        };
        damaged_pages += taken.damaged_pages;
        assert_eq!(taken.damaged_pages, 1, "byte {at}");
        let there = whole(&again);
        assert!(!there.is_empty() && there.len() < expected.len());
        for (labels, samples) in &there {
            let all = &expected[labels];
            assert_eq!(samples.len(), all.len());
            assert!(samples.iter().all(|(time, value)| same(value, &all[time])));
        }
        // The log brings back the rest.
        replay(&again, &records, 1);
        assert_eq!(whole(&again).len(), expected.len());
    }
    assert!(damaged_pages > 20);

    for length in [0, 7, 8, 11, 12, 500, snapshot.len() - 1] {
        let again = common::head(Options::default());
        assert!(
            again.read_snapshot(&snapshot[..length]).is_err(),
            "{length}"
        );
    }
    let mut newer = snapshot.clone();
    newer[8] = 99;
    let error = common::head(Options::default()).read_snapshot(&newer);
    assert_eq!(error, Err(SnapshotError::Newer(99)));
}

#[test]
fn snapshots_whose_checksums_were_made_anew_are_survived() {
    let (head, _) = filled();
    let mut snapshot = Vec::new();
    head.write_snapshot(&mut snapshot).unwrap();
    for at in (12..snapshot.len()).step_by(snapshot.len() / 150) {
        let mut damaged = snapshot.clone();
        damaged[at] = damaged[at].wrapping_add(0x41);
        seal(&mut damaged);
        let again = common::head(Options::default());
        if again.read_snapshot(&damaged).is_ok() {
            for series in common::select(&again, &[], i64::MIN, i64::MAX) {
                let _ = series.visit(&mut |_| {});
            }
            let mut batch = again.batch();
            batch.append(&labels(1), 1 << 30, 1.0).unwrap();
            batch.commit(&TestLog::default()).unwrap();
        }
    }
}

/// Makes the checksums of all sections right.
fn seal(snapshot: &mut [u8]) {
    let mut at = 12;
    while let Some(head) = snapshot.get(at..at + 13) {
        let length = u64::from_le_bytes(head[1..9].try_into().unwrap());
        let end = (at as u64 + 13).saturating_add(length) as usize;
        let Some(body) = snapshot.get(at + 13..end) else {
            return;
        };
        let sum = crc32c::crc32c(body);
        snapshot[at + 9..at + 13].copy_from_slice(&sum.to_le_bytes());
        at = end;
    }
}

/// Blocks are written from what `series_sorted` shows; a late sample that came afterwards is in no
/// block, so it stays.
#[test]
fn late_samples_outlive_a_truncation_that_they_missed() {
    let options = Options {
        out_of_order_window_ms: 1 << 40,
        ..Options::default()
    };
    let (head, log) = (head(options), TestLog::default());
    let put = |series: u32, time: i64| {
        let mut batch = head.batch();
        batch.append(&labels(series), time, 1.0).unwrap();
        assert_eq!(batch.commit(&log).unwrap().stored, 1);
    };
    let hour = 3_600_000;
    for series in 0..2 {
        put(series, 10 * hour);
        put(series, 5 * hour);
    }
    let sorted = head.series_sorted(0, 8 * hour - 1);
    put(1, 4 * hour);
    let written: Vec<_> = sorted.map(Result::unwrap).collect();
    assert_eq!(common::read_all(&written)[&labels(1)].len(), 1);
    drop(written);
    head.truncate(8 * hour, &log).unwrap();
    let there = whole(&head);
    let times = |series| there[&labels(series)].keys().copied().collect::<Vec<_>>();
    assert_eq!(times(0), [10 * hour]);
    assert_eq!(times(1), [4 * hour, 5 * hour, 10 * hour]);
    assert_eq!(head.times_ms(), Some((4 * hour, 10 * hour)));
    let again = common::head(options);
    replay(&again, &log.records.lock().unwrap(), 2);
    assert_same(&whole(&again), &there);
    head.series_sorted(0, 8 * hour - 1).for_each(drop);
    head.truncate(8 * hour, &log).unwrap();
    assert_eq!(head.times_ms(), Some((10 * hour, 10 * hour)));
}

#[test]
fn chunks_elsewhere_are_read_or_their_lack_is_told() {
    let (head, _) = filled();
    let before = whole(&head);
    let mut moved = Vec::new();
    let flushed = head
        .flush_sealed(&mut |chunk| {
            moved.push(chunk.series);
            match moved.len() {
                50 => Err(std::io::Error::other("the disk is full")),
                _ => Ok(ChunkRef { file: 3, offset: 1 }),
            }
        })
        .unwrap_err();
    assert_eq!(flushed.to_string(), "the disk is full");
    assert_eq!(head.chunk_files().into_iter().collect::<Vec<_>>(), [3]);
    let (mut read, mut failed) = (0, 0);
    for series in common::select(&head, &[], i64::MIN, i64::MAX) {
        match series.visit(&mut |_| {}) {
            Ok(()) => read += 1,
            Err(error) => {
                assert!(error.to_string().contains("file 3"), "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!((read + failed, failed > 0), (before.len(), true));
    let too_large = head.flush_sealed(&mut |_| {
        Ok(ChunkRef {
            file: 1 << 24,
            offset: 0,
        })
    });
    assert!(too_large.is_err());
    let _ = NoChunks;
}

#[test]
fn what_is_imported_is_in_order_or_late() {
    let head = head(Options::default());
    let import = head.import();
    let series = import.series(&labels(1)).unwrap();
    assert!(import.series(&Labels::empty()).is_err());
    for time in [100, 50, 100, 200] {
        import.float(series, time, time as f64);
    }
    import.histogram(series, 300, histogram(1.0)).unwrap();
    let times: Vec<i64> = (400..450).collect();
    let values: Vec<f64> = times.iter().map(|time| *time as f64).collect();
    let chunk = narthex_chunk::encode_xor(&times, &values).unwrap();
    assert_eq!(import.chunk(series, 1, &chunk), Ok(50));
    // Again, and one that lies before: samples that are there are passed over.
    assert_eq!(import.chunk(series, 1, &chunk), Ok(50));
    let early = narthex_chunk::encode_xor(&[10, 449], &[10.0, 449.0]).unwrap();
    assert_eq!(import.chunk(series, 1, &early), Ok(2));
    assert!(import.chunk(series, 1, &chunk[..20]).is_err());
    assert!(import.chunk(series, 99, &chunk).is_err());
    import.delete(series, 0, 60);
    import.float(series, 500, 1.0);
    drop(import);

    let log = TestLog::default();
    let mut batch = head.batch();
    batch.append(&labels(1), 600, 1.0).unwrap();
    batch.commit(&log).unwrap();
    let there = whole(&head);
    let mut expected = vec![100, 200, 300];
    expected.extend(400..450);
    expected.extend([500, 600]);
    let all = there[&labels(1)].keys().copied().collect::<Vec<_>>();
    assert_eq!(all, expected);
}

//! The store on a disk that is full or fails.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use narthex_storage::CommitError;

use super::{
    Content, HOUR_MS, MINUTE_MS, START_MS, after_kill, config, content, fill, names, open,
    open_faulty, series, write,
};
use crate::config::Config;

#[test]
fn a_full_disk_refuses_whole_batches_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open_faulty(config(folder.path()));
    let (x, y, z) = (series(1), series(2), series(3));
    write(&db, &[(&x, 1000, 0.1), (&y, 1000, 0.1)]).unwrap();
    let before = content(&db);
    for room_bytes in 0..30 {
        faults.room_bytes.store(room_bytes, SeqCst);
        let CommitError::Log(text) = write(&db, &[(&x, 2000, 0.1), (&z, 2000, 0.1)]).unwrap_err();
        assert!(text.contains("narthex-wal/00000001"), "{text}");
        assert_eq!(content(&db), before, "{room_bytes}");
        assert_eq!(after_kill(folder.path()), before, "{room_bytes}");
        assert_eq!(db.metrics.wal_failing.get(), 1);
    }
    faults.room_bytes.store(u64::MAX, SeqCst);
    write(&db, &[(&x, 3000, 0.1), (&z, 3000, 0.1)]).unwrap();
    assert_eq!(db.metrics.wal_failing.get(), 0);
    assert_eq!(db.metrics.wal_writes_failed.get(), 30);
    let now = content(&db);
    assert_eq!(now[&x].keys().copied().collect::<Vec<_>>(), [1000, 3000]);
    assert_eq!(now[&z].keys().copied().collect::<Vec<_>>(), [3000]);
    assert_eq!(after_kill(folder.path()), now);
}

#[test]
fn upkeep_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (db, faults) = open_faulty(config(folder.path()));
    fill(&db, 5, START_MS, START_MS + 5 * HOUR_MS);
    let expected = content(&db);
    for room_bytes in [0, 10, 24, 30, 60, 200, 3000] {
        faults.room_bytes.store(room_bytes, SeqCst);
        db.maintain(START_MS);
        assert_eq!(content(&db), expected, "{room_bytes}");
        assert_eq!(after_kill(folder.path()), expected, "{room_bytes}");
    }
    assert!(db.metrics.checkpoints_failed.get() >= 5);
    faults.room_bytes.store(u64::MAX, SeqCst);
    db.maintain(START_MS);
    assert_eq!(content(&db), expected);
    assert_eq!(after_kill(folder.path()), expected);
    assert!(!db.blocks.loaded().is_empty());
    // The log is short again.
    let log = names(&folder.path().join("narthex-wal"));
    assert!(log.len() <= 4, "{log:?}");
    assert!(log.last().unwrap().starts_with("snapshot."), "{log:?}");
}

#[test]
fn after_a_failed_sync_the_head_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    let (db, faults) = open_faulty(config(folder.path()));
    let x = series(1);
    write(&db, &[(&x, 1000, 1.0)]).unwrap();
    faults.syncing_fails.store(true, SeqCst);
    db.log.log.sync().unwrap_err();
    faults.syncing_fails.store(false, SeqCst);
    write(&db, &[(&x, 2000, 2.0)]).unwrap();
    db.maintain(2000);
    assert_eq!(db.metrics.checkpoints.get(), 1);
    write(&db, &[(&x, 3000, 3.0)]).unwrap();
    db.log.log.sync().unwrap();
    db.maintain(3000);
    assert_eq!(db.metrics.checkpoints.get(), 1);
    for seed in 0..20 {
        let after = root.path().join(seed.to_string());
        faults.lose_power(folder.path(), &after, seed);
        assert_eq!(content(&open(&after)), content(&db), "seed {seed}");
    }
}

/// Power is lost at moments throughout a life with upkeep; what was synced is always there.
#[test]
fn power_loss_at_any_moment_of_upkeep() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("db");
    let (db, faults) = open_faulty(Config {
        wal_segment_bytes: 2000,
        ..config(&folder)
    });
    let mut states: Vec<Content> = vec![content(&db)];
    let mut time_ms = START_MS;
    for round in 0..12 {
        fill(&db, 3, time_ms, time_ms + 40 * MINUTE_MS);
        time_ms += 40 * MINUTE_MS;
        db.log.log.sync().unwrap();
        let synced = content(&db);
        fill(&db, 3, time_ms, time_ms + 3 * MINUTE_MS);
        time_ms += 3 * MINUTE_MS;
        db.maintain(time_ms);
        let newest = content(&db);
        for seed in 1..4 {
            let after = root.path().join(format!("{round}-{seed}"));
            faults.lose_power(&folder, &after, seed + 100 * round);
            let found = content(&open(&after));
            let times = |content: &Content| -> Vec<usize> {
                content.values().map(|samples| samples.len()).collect()
            };
            assert!(
                times(&found) >= times(&synced),
                "round {round}, seed {seed}"
            );
            for (labels, samples) in &found {
                let all = &newest[labels];
                let part: Vec<_> = all.iter().take(samples.len()).collect();
                assert_eq!(
                    samples.iter().collect::<Vec<_>>(),
                    part,
                    "a hole in round {round}"
                );
            }
        }
        states.push(newest);
    }
}

#[test]
fn the_thread_syncs_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = open_faulty(Config {
        sync_interval: Duration::from_millis(5),
        ..config(folder.path())
    });
    write(&db, &[(&series(1), 1000, 1.0)]).unwrap();
    let start = Instant::now();
    // The mark of the sync is behind the record.
    while !marks(folder.path()) {
        assert!(start.elapsed() < Duration::from_secs(60), "no sync");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn marks(folder: &std::path::Path) -> bool {
    use crate::log::segment::{FrameKind, FrameReader, Item};
    let bytes = std::fs::read(folder.join("narthex-wal/00000001")).unwrap();
    let is_mark = |item: Item<'_>| matches!(item, Item::Frame { kind: FrameKind::SyncMark, offset, .. } if offset > 24);
    FrameReader::new(&bytes, 1).any(is_mark)
}

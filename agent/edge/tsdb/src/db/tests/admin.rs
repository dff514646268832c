//! Deletions, snapshots and sealing.

use narthex_model::MatchOp;
use narthex_storage::StoreAdmin;

use super::{
    HOUR_MS, MINUTE_MS, START_MS, after_kill, config, content, fill, matcher, names, open,
    open_with, series, write,
};
use crate::config::Config;

#[test]
fn what_is_deleted_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 4, START_MS, START_MS + 6 * HOUR_MS);
    db.maintain(START_MS);
    let set = [vec![matcher("n", MatchOp::Regex, "1|2")]];
    // From a block into the head.
    let (start_ms, end_ms) = (START_MS + HOUR_MS, START_MS + 5 * HOUR_MS);
    let mut expected = content(&db);
    db.delete_series(&set, start_ms, end_ms).unwrap();
    for number in [1, 2] {
        let samples = expected.get_mut(&series(number)).unwrap();
        samples.retain(|time_ms, _| !(start_ms..=end_ms).contains(time_ms));
    }
    assert_eq!(content(&db), expected);
    assert_eq!(after_kill(folder.path()), expected);
    db.clean_tombstones().unwrap();
    assert_eq!(content(&db), expected);
    let tombstones = db
        .blocks()
        .loaded()
        .iter()
        .map(|b| b.meta().stats.num_tombstones)
        .sum::<u64>();
    assert_eq!(tombstones, 0);
    fill(&db, 4, START_MS + 6 * HOUR_MS, START_MS + 9 * HOUR_MS);
    db.maintain(START_MS);
    let now = content(&db);
    for (labels, samples) in &expected {
        assert!(
            samples
                .iter()
                .all(|(time, bits)| now[labels].get(time) == Some(bits))
        );
        assert_eq!(now[labels].len(), samples.len() + 180);
    }
    drop(db);
    assert_eq!(content(&open(folder.path())), now);
}

#[test]
fn a_snapshot_is_a_store_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    fill(&db, 2, START_MS, START_MS + 6 * HOUR_MS);
    db.maintain(START_MS);
    let all = content(&db);
    for (skip_head, expected_ms) in [(false, 6 * HOUR_MS), (true, 4 * HOUR_MS)] {
        let name = db.snapshot(skip_head).unwrap();
        let (time, random) = name.split_once('-').unwrap();
        assert_eq!((time.len(), random.len()), (16, 16), "{name}");
        let copied = open(&folder.path().join("snapshots").join(&name));
        let mut expected = all.clone();
        let end_ms = START_MS + expected_ms;
        expected
            .values_mut()
            .for_each(|samples| samples.retain(|time_ms, _| *time_ms < end_ms));
        assert_eq!(content(&copied), expected);
    }
    let metas = db.block_metas();
    assert!(
        metas.iter().all(|meta| meta.contains("\"ulid\"")),
        "{metas:?}"
    );
}

#[test]
fn a_sealed_store_is_blocks_only() {
    let folder = tempfile::tempdir().unwrap();
    let late = Config {
        out_of_order_window_ms: 8 * HOUR_MS,
        ..config(folder.path())
    };
    let db = open_with(late.clone());
    fill(&db, 3, START_MS, START_MS + 7 * HOUR_MS + MINUTE_MS);
    db.maintain(START_MS);
    let old = series(50);
    write(&db, &[(&old, START_MS + HOUR_MS, 1.0)]).unwrap();
    let all = content(&db);
    assert!(all.contains_key(&old));
    db.seal().unwrap();
    assert_eq!(content(&db), all);
    write(&db, &[(&series(1), START_MS + 9 * HOUR_MS, 1.0)]).unwrap_err();
    drop(db);
    assert!(names(&folder.path().join("narthex-wal")).is_empty());
    assert!(names(&folder.path().join("narthex-chunks")).is_empty());
    let db = open_with(late);
    assert_eq!(content(&db), all);
    assert!(db.head.times_ms().is_none());
    let end_ms = db.blocks().max_ms().unwrap();
    assert_eq!(end_ms, START_MS + 7 * HOUR_MS + 1);
    fill(&db, 3, START_MS + 8 * HOUR_MS, START_MS + 9 * HOUR_MS);
    assert_eq!(content(&db)[&series(0)].len(), 7 * 60 + 1 + 60);
}

#[test]
fn work_that_is_asked_for_waits_for_upkeep_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path());
    let upkeep = db.upkeep();
    let short = std::time::Duration::from_millis(20);
    let error = db.upkeep_within("the deletion", short).err().unwrap();
    let text = error.to_string();
    assert!(
        text.starts_with("the deletion waited 0 s for upkeep"),
        "{text}"
    );
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| db.delete_series(&[], 0, 1));
        std::thread::sleep(short);
        assert!(!deletion.is_finished());
        drop(upkeep);
        deletion.join().unwrap().unwrap();
    });
    let upkeep = db.upkeep();
    std::thread::scope(|scope| {
        let snapshot = scope.spawn(|| db.snapshot(true));
        let closing = scope.spawn(|| db.close());
        let error = snapshot.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
        drop(upkeep);
        closing.join().unwrap().unwrap();
    });
}

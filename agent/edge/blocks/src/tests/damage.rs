//! Blocks that are damaged, incomplete or not ours.

use std::fs;
use std::path::{Path, PathBuf};

use narthex_storage::Queryable;

use super::common::*;
use crate::{Block, Blocks, steady};

const RANGES_MS: [i64; 2] = [1000, 3000];

fn some(range_ms: (i64, i64)) -> Content {
    let series = ["a", "b", "c"].map(|name| {
        let times = (range_ms.0..range_ms.1).step_by(20);
        let value = |t: i64| (t as f64 + name.len() as f64).sqrt();
        (
            labels(&[("name", name)]),
            floats(times.map(|t| (t, value(t)))),
        )
    });
    series.into_iter().collect()
}

fn all(blocks: &Blocks) -> Content {
    content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap())
}

/// A folder with two blocks; the path of the first one.
fn two_blocks() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    write(&blocks, &some((0, 1000)), (0, 1000));
    write(&blocks, &some((1000, 2000)), (1000, 2000));
    let first = blocks.loaded()[0].path().to_owned();
    (folder, first)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_bad_block_is_named_and_concerns_no_other() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 11] = [
        (
            "no meta",
            |b| fs::remove_file(b.join("meta.json")).unwrap(),
            "the block has no meta.json",
        ),
        (
            "no index",
            |b| fs::remove_file(b.join("index")).unwrap(),
            "the block has no index",
        ),
        (
            "empty index",
            |b| fs::write(b.join("index"), b"").unwrap(),
            "index: index header: the file is empty",
        ),
        (
            "newer index",
            |b| change(&b.join("index"), |i| i[4] = 9),
            "version 9 is unknown",
        ),
        (
            "damaged index",
            |b| change(&b.join("index"), |i| i[12] ^= 4),
            "checksum mismatch",
        ),
        (
            "cut index",
            |b| change(&b.join("index"), |i| i.truncate(i.len() / 2)),
            "table of contents of the index",
        ),
        (
            "newer meta",
            |b| {
                change(&b.join("meta.json"), |m| {
                    *m = String::from_utf8(m.clone())
                        .unwrap()
                        .replace("\"version\": 1", "\"version\": 3")
                        .into_bytes();
                });
            },
            "version 3 is unknown",
        ),
        (
            "damaged meta",
            |b| fs::write(b.join("meta.json"), b"{").unwrap(),
            "meta.json: EOF",
        ),
        (
            "empty segment",
            |b| fs::write(b.join("chunks/000001"), b"").unwrap(),
            "chunks/000001: chunk segment header: the file is empty",
        ),
        (
            "newer segment",
            |b| change(&b.join("chunks/000001"), |c| c[4] = 2),
            "chunk segment header: version 2 is unknown",
        ),
        (
            "damaged tombstones",
            |b| fs::write(b.join("tombstones"), b"garbage!!").unwrap(),
            "tombstones",
        ),
    ];
    for (what, spoil, expected) in cases {
        let (folder, first) = two_blocks();
        spoil(&first);
        let blocks = open(folder.path());
        let unreadable = blocks.unreadable();
        assert_eq!(unreadable.len(), 1, "{what}");
        assert!(
            unreadable[0].error.contains(expected),
            "{what}: {}",
            unreadable[0].error
        );
        assert!(
            unreadable[0].error.contains(first.to_str().unwrap()),
            "{what}"
        );
        assert_same(&all(&blocks), &some((1000, 2000)), what);
        assert!(first.is_dir(), "{what}: the block is gone");
    }
}

#[test]
fn what_is_no_block_is_left_alone() {
    let (folder, first) = two_blocks();
    let foreign = [
        "wal",
        "chunks_head",
        "lost+found",
        "01BZJ9WJQPWHGNC2W4J9TA62K",
        "snapshots",
    ];
    for name in foreign {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("file"), b"x").unwrap();
    }
    fs::write(folder.path().join("01BZJ9WJQPWHGNC2W4J9TA62KC"), b"a file").unwrap();
    fs::write(first.join("no-compact-mark.json"), b"{}").unwrap();
    let blocks = open(folder.path());
    assert!(blocks.unreadable().is_empty());
    assert_same(&all(&blocks), &some((0, 2000)), "with foreign folders");
    for name in foreign {
        assert!(folder.path().join(name).join("file").exists());
    }
    // A block that was copied by hand to another name.
    let other = folder.path().join("01BZJ9WJQPWHGNC2W4J9TA62KD");
    fs::rename(&first, &other).unwrap();
    let blocks = open(folder.path());
    assert!(
        blocks.unreadable()[0]
            .error
            .contains("renamed or copied by hand")
    );
}

/// Flips a byte in the middle of the chunk with this number, counted from 0.
fn damage_chunk(block: &Path, number: usize) {
    let segment = block.join("chunks/000001");
    let bytes = fs::read(&segment).unwrap();
    let (offset, chunk) = narthex_block_format::segment::walk(&bytes)
        .nth(number)
        .unwrap()
        .unwrap();
    let at = offset as usize + chunk.record.len() / 2;
    change(&segment, |bytes| bytes[at] ^= 1);
}

#[test]
fn a_damaged_chunk_costs_its_samples_and_is_kept() {
    let (folder, first) = two_blocks();
    damage_chunk(&first, 1);
    let blocks = open(folder.path());
    let found = all(&blocks);
    let missing: Vec<i64> = some((0, 2000))[&labels(&[("name", "a")])]
        .keys()
        .filter(|time_ms| !found[&labels(&[("name", "a")])].contains_key(time_ms))
        .copied()
        .collect();
    assert!((5..=25).contains(&missing.len()), "{missing:?}");
    let mut expected = some((0, 2000));
    expected
        .get_mut(&labels(&[("name", "a")]))
        .unwrap()
        .retain(|t, _| !missing.contains(t));
    assert_same(&found, &expected, "with a damaged chunk");
    all(&blocks);
    assert_eq!(
        blocks.metrics().damaged_chunks.get(),
        1,
        "each is counted once"
    );
    // A compaction takes over what can be read and sets aside the rest.
    write(&blocks, &some((2000, 3000)), (2000, 3000));
    write(&blocks, &some((3000, 4000)), (3000, 4000));
    assert_eq!(blocks.compact(&RANGES_MS, &steady).unwrap().len(), 1);
    let mut expected = some((0, 4000));
    expected
        .get_mut(&labels(&[("name", "a")]))
        .unwrap()
        .retain(|t, _| !missing.contains(t));
    assert_same(&all(&blocks), &expected, "after compaction");
    let aside = first.with_extension("damaged");
    assert!(aside.join("chunks/000001").exists() && !first.exists());
    assert_same(&all(&open(folder.path())), &expected, "opened again");
    assert!(aside.exists());
}

/// Wherever the process ends: a block of which not all could be read is not deleted.
#[test]
fn a_damaged_block_survives_a_kill_during_compaction() {
    for steps in 0.. {
        let (folder, first) = two_blocks();
        damage_chunk(&first, 1);
        let blocks = open(folder.path());
        write(&blocks, &some((2000, 3000)), (2000, 3000));
        write(&blocks, &some((3000, 4000)), (3000, 4000));
        let (_, is_done) = super::disk::failing(steps, false, || {
            let _ = blocks.compact(&RANGES_MS, &steady);
        });
        drop(blocks);
        let blocks = open(folder.path());
        let aside = first.with_extension("damaged");
        assert!(aside.join("chunks/000001").exists() != first.join("chunks/000001").exists());
        assert!(
            all(&blocks)[&labels(&[("name", "b")])].len() == 200,
            "step {steps}"
        );
        if is_done {
            assert!(aside.exists());
            return;
        }
    }
}

#[test]
fn a_block_of_which_nothing_is_left_goes_at_the_start() {
    let (folder, first) = two_blocks();
    let meta = String::from_utf8(fs::read(first.join("meta.json")).unwrap()).unwrap();
    let meta = meta.replace("\"level\": 1,", "\"level\": 1, \"deletable\": true,");
    fs::write(first.join("meta.json"), meta).unwrap();
    assert_eq!(open(folder.path()).loaded().len(), 1);
    assert!(!first.exists());
}

#[test]
fn a_block_that_has_more_than_it_says_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = Blocks::open(folder.path(), crate::Options::default(), metrics()).unwrap();
    for start in (0..5000).step_by(1000) {
        let times = (start..start + 1000).map(|t| (t, 1.0));
        let content: Content = [(labels(&[("a", "b")]), floats(times))]
            .into_iter()
            .collect();
        write(&blocks, &content, (start, start + 1000));
    }
    let third = blocks.loaded()[2].path().join("meta.json");
    let meta = fs::read_to_string(&third)
        .unwrap()
        .replace("\"maxTime\": 3000", "\"maxTime\": 2990");
    fs::write(&third, meta).unwrap();
    let blocks = Blocks::open(folder.path(), crate::Options::default(), metrics()).unwrap();
    assert_eq!(blocks.compact(&RANGES_MS, &steady).unwrap().len(), 1);
    let verified = crate::verify::verify(&blocks.loaded()[0], &steady).unwrap();
    assert_eq!((verified.samples, verified.problems), (2990, vec![]));
}

#[test]
fn one_bad_segment_costs_its_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    write(&blocks, &some((0, 60_000)), (0, 60_000));
    let path = blocks.loaded()[0].path().to_owned();
    assert!(
        path.join("chunks/000003").exists(),
        "more segments are needed"
    );
    fs::write(path.join("chunks/000002"), b"").unwrap();
    let blocks = open(folder.path());
    let (found, whole) = (all(&blocks), some((0, 60_000)));
    let count = |content: &Content| content.values().map(Samples::len).sum::<usize>();
    assert!(count(&found) > count(&whole) / 4 && count(&found) < count(&whole));
    for (labels, samples) in &found {
        assert!(samples.iter().all(|(t, v)| whole[labels].get(t) == Some(v)));
    }
}

/// Whatever bit is wrong: no panic, and no sample that was not there.
#[test]
fn flipped_bits_invent_nothing() {
    let (folder, first) = two_blocks();
    open(folder.path()).delete(&[], 300, 310).unwrap();
    let whole = some((0, 2000));
    // A linear congruential generator: the same flips each time.
    let mut random = 12345u64;
    for file in ["index", "chunks/000001", "tombstones", "meta.json"] {
        let path = first.join(file);
        let good = fs::read(&path).unwrap();
        for _ in 0..60 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = (random >> 33) as usize % good.len();
            let bit = (random >> 20) % 8;
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            let blocks = Blocks::open_read_only(folder.path(), metrics()).unwrap();
            let found = all(&blocks);
            let query = label_query(&[], i64::MIN, i64::MAX);
            blocks.label_names(&query).unwrap();
            blocks.series(&query).unwrap();
            for (labels, samples) in &found {
                let known = whole.get(labels);
                let known = known.unwrap_or_else(|| panic!("{file} at {at}: {labels}"));
                assert!(
                    samples.iter().all(|(t, v)| known.get(t) == Some(v)),
                    "{file} at {at}"
                );
            }
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn a_range_that_is_empty_or_elsewhere_has_nothing() {
    let (_folder, first) = two_blocks();
    let block = std::sync::Arc::new(Block::open(&first).unwrap());
    for (start_ms, end_ms) in [(5, 4), (1000, 5000), (-9, -1), (i64::MAX, i64::MIN)] {
        assert!(
            block
                .select(&select(&[], start_ms, end_ms))
                .unwrap()
                .is_empty()
        );
        assert!(
            block
                .series(&label_query(&[], start_ms, end_ms))
                .unwrap()
                .is_empty()
        );
    }
    let cancel = narthex_model::CancelToken::default();
    cancel.cancel(narthex_model::CancelReason::Timeout);
    let query = narthex_storage::SelectQuery {
        cancel,
        ..select(&[], 0, 2000)
    };
    assert!(block.select(&query).is_err());
}

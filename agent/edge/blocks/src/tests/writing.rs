//! How samples become chunks, which chunks are copied, and what meta.json says.

use std::path::Path;
use std::sync::Arc;

use narthex_block_format::{SeriesEntry, segment};
use narthex_model::SampleValue;
use narthex_model::histogram::CounterReset;
use narthex_storage::Queryable;

use super::common::*;
use crate::{Block, Blocks, NewBlock, Options, WriteOptions, list, steady, verify};

const DAY_MS: i64 = 86_400_000;

fn one_series(samples: Samples) -> Content {
    [(labels(&[("a", "b")]), samples)].into_iter().collect()
}

fn write_with(data: &Path, content: &Content, range_ms: (i64, i64), options: &WriteOptions) {
    let new = NewBlock::first_level(range_ms.0, range_ms.1, &[]);
    let series = content.iter().map(|(l, s)| Ok(TestSeries::boxed(l, s)));
    let written = crate::write_block(data, &new, series, options, None, &steady).unwrap();
    assert!(written.is_some());
}

/// Samples of each chunk of the only series, and its bytes.
fn chunks(block: &Block) -> Vec<(usize, Vec<u8>)> {
    let mut entry = SeriesEntry::default();
    let series = block.all_series().unwrap();
    block.index().series(series[0], &mut entry).unwrap();
    let chunk = |meta: &narthex_block_format::ChunkMeta| {
        let chunk = block.chunk(meta.chunk_ref).unwrap();
        let encoding = narthex_chunk::Encoding::from_code(chunk.encoding).unwrap();
        let samples = narthex_chunk::sample_count(encoding, chunk.data).unwrap();
        (samples, chunk.record.to_vec())
    };
    entry.chunks.iter().map(chunk).collect()
}

fn only_block(data: &Path) -> Arc<Block> {
    let blocks = Blocks::open_read_only(data, metrics()).unwrap();
    let loaded = blocks.loaded();
    assert_eq!(loaded.len(), 1);
    assert_eq!(
        verify::verify(&loaded[0], &steady).unwrap().problems,
        [""; 0]
    );
    loaded[0].clone()
}

#[test]
fn chunks_have_about_480_samples_and_2_kib() {
    for (count, compresses, expected) in [
        (1, true, vec![1]),
        (480, true, vec![480]),
        (600, true, vec![600]),
        (601, true, vec![301, 300]),
        (720, true, vec![360, 360]),
        (960, true, vec![480, 480]),
        (1440, true, vec![480, 480, 480]),
        (480, false, vec![240, 240]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let value = |i: i64| {
            if compresses {
                1.0
            } else {
                (i as f64 * 0.7).sin()
            }
        };
        let samples = floats((0..count).map(|i| (i * 15_000, value(i))));
        write_with(
            folder.path(),
            &one_series(samples),
            (0, DAY_MS),
            &WriteOptions::default(),
        );
        let found = chunks(&only_block(folder.path()));
        let counts: Vec<usize> = found.iter().map(|(samples, _)| *samples).collect();
        assert_eq!(counts, expected, "{count} samples");
        assert!(found.iter().all(|(_, bytes)| bytes.len() < 2100));
    }
}

#[test]
fn options_without_sense_write_blocks_all_the_same() {
    let samples = floats((0..50).map(|i| (i, (i as f64).sin())));
    for (chunk_samples, chunk_bytes, segment_bytes) in
        [(0, 0, 0), (usize::MAX, usize::MAX, u64::MAX)]
    {
        let folder = tempfile::tempdir().unwrap();
        let options = WriteOptions {
            chunk_samples,
            chunk_bytes,
            segment_bytes,
        };
        write_with(
            folder.path(),
            &one_series(samples.clone()),
            (0, 100),
            &options,
        );
        assert_same(
            &content_of(&only_block(folder.path())),
            &one_series(samples.clone()),
            "written",
        );
    }
}

#[test]
fn what_does_not_belong_into_a_block_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let content = one_series(floats((-50..150).map(|t| (t, t as f64))));
    write_with(folder.path(), &content, (0, 100), &small_chunks());
    let block = only_block(folder.path());
    let found = content_of(&block);
    assert_same(
        &found,
        &one_series(floats((0..100).map(|t| (t, t as f64)))),
        "in range",
    );
    // Nothing in range: no block, and nothing left of it.
    let empty = tempfile::tempdir().unwrap();
    let blocks = open(empty.path());
    write(&blocks, &content, (1000, 2000));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

fn content_of(block: &Arc<Block>) -> Content {
    content(&block.select(&select(&[], i64::MIN, i64::MAX)).unwrap())
}

#[test]
fn samples_that_do_not_rise_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let samples = [5, 6, 6, 2, 7, 7, 9].map(|t| (t, SampleValue::Float(t as f64)));
    let series = TestSeries {
        labels: labels(&[("a", "b")]),
        samples: samples.to_vec(),
        tells_range: false,
    };
    let new = NewBlock::first_level(0, 100, &[]);
    let series: Box<dyn narthex_storage::Series> = Box::new(series);
    crate::write_block(
        folder.path(),
        &new,
        [Ok(series)],
        &small_chunks(),
        None,
        &steady,
    )
    .unwrap();
    let expected = one_series(floats([5, 6, 7, 9].map(|t| (t, t as f64))));
    assert_same(&content_of(&only_block(folder.path())), &expected, "rising");
}

#[test]
fn series_out_of_order_make_no_block() {
    let folder = tempfile::tempdir().unwrap();
    let samples = floats([(1, 1.0)]);
    let series = ["b", "a"].map(|name| Ok(TestSeries::boxed(&labels(&[("n", name)]), &samples)));
    let new = NewBlock::first_level(0, 100, &[]);
    let error = crate::write_block(folder.path(), &new, series, &small_chunks(), None, &steady);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("index") && error.contains("not greater"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn long_chunks_are_copied_and_short_ones_put_together() {
    for (chunk_samples, copied) in [(480, true), (120, false)] {
        let folder = tempfile::tempdir().unwrap();
        let options = WriteOptions {
            chunk_samples,
            ..WriteOptions::default()
        };
        const RANGE_MS: i64 = 7_200_000;
        let mut before = Vec::new();
        for number in 0..4 {
            let times = (0..480).map(|i| number * RANGE_MS + i * 15_000);
            let content = one_series(floats(times.map(|t| (t, (t / 60_000) as f64))));
            write_with(
                folder.path(),
                &content,
                (number * RANGE_MS, (number + 1) * RANGE_MS),
                &options,
            );
        }
        let blocks = Blocks::open(folder.path(), Options::default(), metrics()).unwrap();
        let expected = content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap());
        for block in blocks.loaded().iter() {
            before.extend(chunks(block));
        }
        let ranges = crate::plan::block_ranges_ms(RANGE_MS, DAY_MS);
        assert_eq!(blocks.compact(&ranges, &steady).unwrap().len(), 1);
        let merged = &blocks.loaded()[0];
        let after = chunks(merged);
        assert_eq!(after.len(), 3, "a chunk for each two hours");
        assert_eq!(before.starts_with(&after), copied);
        assert_same(
            &content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap()),
            &expected,
            "compacted",
        );
        check_meta(merged);
    }
}

fn check_meta(merged: &Block) {
    let meta = merged.meta();
    assert_eq!((meta.min_time_ms, meta.max_time_ms), (0, 3 * 7_200_000));
    assert_eq!(meta.compaction.level, 2);
    assert_eq!(
        (meta.compaction.sources.len(), meta.compaction.parents.len()),
        (3, 3)
    );
    assert_eq!((meta.stats.num_series, meta.stats.num_chunks), (1, 3));
    assert_eq!(
        (meta.stats.num_samples, meta.stats.num_float_samples),
        (1440, 1440)
    );
    assert_eq!(
        merged.path().file_name().unwrap().to_str().unwrap(),
        meta.ulid.to_string()
    );
}

#[test]
fn histogram_chunks_are_copied_and_hints_after_a_deletion_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let value = |t: i64| SampleValue::Histogram(histogram(t as u32, Unknown));
    let content: Content = one_series((0..3000).map(|t| (t, value(t))).collect());
    write_with(folder.path(), &content, (0, 3000), &small_chunks());
    let blocks = open(folder.path());
    let before = chunks(&blocks.loaded()[0]);
    assert!(before.iter().all(|(samples, _)| *samples == 20));
    let hints = |blocks: &Blocks| {
        let series = blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap();
        let samples = samples(series[0].as_ref());
        [1002, 1008, 1009, 1020, 1060, 1061].map(|time_ms| match &samples[&time_ms] {
            SampleValue::Histogram(h) => h.counter_reset,
            SampleValue::Float(_) => panic!("a float"),
        })
    };
    use CounterReset::{NotReset, Unknown};
    // The first one of a chunk tells nothing.
    let whole = [NotReset, NotReset, NotReset, Unknown, Unknown, NotReset];
    assert_eq!(hints(&blocks), whole);
    // A part of a chunk, and a whole one.
    blocks.delete(&[], 1003, 1007).unwrap();
    blocks.delete(&[], 1040, 1059).unwrap();
    let with_gaps = [NotReset, Unknown, NotReset, Unknown, Unknown, NotReset];
    assert_eq!(hints(&blocks), with_gaps);
    blocks.clean_tombstones(&steady).unwrap();
    let after = chunks(&blocks.loaded()[0]);
    let same = before.iter().filter(|chunk| after.contains(chunk)).count();
    assert!(
        same >= before.len() - 3,
        "{same} of {} chunks are as they were",
        before.len()
    );
    // Where it was encoded anew, counts were compared.
    let compared = [NotReset, NotReset, NotReset, Unknown, Unknown, NotReset];
    assert_eq!(hints(&blocks), compared);
}

#[test]
fn verifying_finds_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let content = one_series(floats((0..100).map(|t| (t, (t as f64).sin()))));
    write_with(folder.path(), &content, (0, 100), &small_chunks());
    let good = only_block(folder.path());
    let verified = verify::verify(&good, &steady).unwrap();
    assert!(verified.is_good());
    assert_eq!((verified.series, verified.samples), (1, 100));
    let segment = good.path().join("chunks/000001");
    let bytes = std::fs::read(&segment).unwrap();
    let (offset, _) = segment::walk(&bytes).nth(1).unwrap().unwrap();
    let mut bad = bytes;
    bad[offset as usize + 9] ^= 0x40;
    std::fs::write(&segment, bad).unwrap();
    let path = good.path().join("meta.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"numSeries\": 1", "\"numSeries\": 7");
    std::fs::write(&path, text).unwrap();
    let problems = verify::verify(&Block::open(good.path()).unwrap(), &steady)
        .unwrap()
        .problems;
    assert!(
        problems
            .iter()
            .any(|p| p.contains("000001: chunk at offset") && p.contains("checksum")),
        "{problems:?}"
    );
    assert!(
        problems
            .iter()
            .any(|p| p.contains("meta.json: says 7 series, there are 1")),
        "{problems:?}"
    );
}

#[test]
fn blocks_are_listed_without_being_opened() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    for start in [1000, 0] {
        let content = one_series(floats([(start, 1.0)]));
        write(&blocks, &content, (start, start + 1000));
    }
    std::fs::remove_file(blocks.loaded()[1].path().join("index")).unwrap();
    std::fs::create_dir(folder.path().join("01BZJ9WJQPWHGNC2W4J9TA62KC")).unwrap();
    let listed = list::list(folder.path()).unwrap();
    let starts: Vec<Option<i64>> = listed
        .iter()
        .map(|b| b.meta.as_ref().ok().map(|meta| meta.min_time_ms))
        .collect();
    assert_eq!(starts, [Some(0), Some(1000), None]);
    assert!(listed[0].size_bytes > listed[1].size_bytes && listed[2].size_bytes == 0);
}

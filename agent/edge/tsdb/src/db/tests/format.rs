//! The page on the formats shows what is written.

use std::sync::Arc;

use narthex_head::SealedChunk;

use super::{labels, open_with, write};
use crate::config::Config;
use crate::disk::RealDisk;
use crate::head_chunks::HeadChunks;

/// The listings of the page, as bytes.
fn bytes_of_the_page() -> Vec<Vec<u8>> {
    let page = include_str!("../../../FORMAT.md");
    let listings = page.split("```").skip(1).step_by(2);
    let bytes = listings.map(|listing| {
        let lines = listing.lines().skip(1);
        let lines = lines.map(|line| line.split("  ").next().unwrap());
        let digits = lines.flat_map(str::split_whitespace);
        digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    });
    bytes.collect()
}

fn check_listing(listing: usize, written: &[u8]) {
    let pairs: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
    let page = bytes_of_the_page();
    assert!(
        page.get(listing).is_some_and(|bytes| bytes == written),
        "listing {listing} is other than what is written: {}",
        pairs.join(" ")
    );
}

#[test]
fn the_page_shows_a_log_and_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let db = open_with(Config::new(folder.path()));
    let series = |name| labels(&[("__name__", name), ("job", "node")]);
    for (time_ms, load) in [(1_700_000_000_000, 0.5), (1_700_000_015_000, 0.75)] {
        let (up, load_series) = (series("up"), series("load"));
        write(&db, &[(&up, time_ms, 1.0), (&load_series, time_ms, load)]).unwrap();
    }
    db.log.log.sync().unwrap();
    let read = |name| std::fs::read(folder.path().join("narthex-wal").join(name)).unwrap();
    check_listing(0, &read("00000001"));
    db.write_snapshot(&mut db.upkeep()).unwrap();
    check_listing(2, &read("snapshot.00000002"));
}

#[test]
fn the_page_shows_a_file_of_head_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let chunks = HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
    let (times_ms, values) = ([1_700_000_000_000, 1_700_000_015_000], [0.5, 0.75]);
    let chunk = SealedChunk {
        series: 1,
        start_ms: times_ms[0],
        end_ms: times_ms[1],
        encoding: 1,
        out_of_order: false,
        bytes: &narthex_chunk::encode_xor(&times_ms, &values).unwrap(),
    };
    let at = chunks.add(&chunk).unwrap();
    assert_eq!((at.file, at.offset), (1, 24));
    chunks.sync().unwrap();
    check_listing(1, &std::fs::read(folder.path().join("00000001")).unwrap());
}

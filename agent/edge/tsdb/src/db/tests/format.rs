//! The page on the formats shows what is written.

use super::{labels, open_with, write};
use crate::config::Config;

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

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

#[test]
fn the_page_on_the_formats_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let db = open_with(Config::new(folder.path()));
    let series = |name| labels(&[("__name__", name), ("job", "node")]);
    let time_ms = 1_700_000_000_000;
    write(
        &db,
        &[
            (&series("up"), time_ms, 1.0),
            (&series("load"), time_ms, 0.5),
        ],
    )
    .unwrap();
    write(
        &db,
        &[
            (&series("up"), time_ms + 15_000, 1.0),
            (&series("load"), time_ms + 15_000, 0.75),
        ],
    )
    .unwrap();
    db.close().unwrap();
    let log = std::fs::read(folder.path().join("narthex-wal/00000001")).unwrap();
    let listings = bytes_of_the_page();
    assert_eq!(listings[0], log, "written: {}", hex(&log));
}

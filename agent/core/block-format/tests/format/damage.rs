//! Whatever happens to the bytes: an error or the right answer, never a panic.

use std::sync::LazyLock;

use narthex_block_format::segment::{check_header, walk};
use narthex_block_format::{
    BlockMeta, IndexLayout, IndexVersion, Interval, ReadError, SegmentWriter, Tombstones, matching,
};
use narthex_model::{MatchOp, Matcher};
use proptest::prelude::*;

use crate::model::{Content, Series, any_series, sample_series, write_index, write_version_1};

/// Calls `check` with every file that differs in a bit, and with every one that ends too early.
fn each_damage(file: &[u8], mut check: impl FnMut(&[u8], String)) {
    let mut damaged = file.to_vec();
    for at in 0..file.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            check(&damaged, format!("bit {bit} of byte {at}"));
            damaged[at] ^= 1 << bit;
        }
        check(&file[..at], format!("first {at} bytes"));
    }
}

fn read_index(bytes: &[u8]) -> Result<Content, ReadError> {
    let layout = IndexLayout::open(bytes)?;
    Content::read(&layout.reader(bytes))
}

#[test]
fn indexes() {
    let expected = Content::of(&sample_series());
    for file in [
        write_index(&sample_series()).unwrap().0,
        write_version_1(&sample_series()),
    ] {
        let mut noticed = 0;
        each_damage(&file, |damaged, what| match read_index(damaged) {
            Ok(content) => assert_eq!(content, expected, "{what}"),
            Err(_) => noticed += 1,
        });
        // What stays unnoticed is in the padding, and bits of the version.
        assert!(noticed > file.len() * 8, "{noticed} of {}", file.len() * 9);
    }
}

#[test]
fn segments() {
    let mut writer = SegmentWriter::new(Vec::new()).unwrap();
    for data in [&b"first"[..], b"", &[7; 200]] {
        writer.write_chunk(1, data).unwrap();
    }
    let file = writer.into_inner();
    let read = |segment: &[u8]| -> Result<Vec<(u8, Vec<u8>)>, ReadError> {
        check_header(segment)?;
        let chunks = walk(segment).map(|chunk| {
            let (_, chunk) = chunk?;
            Ok((chunk.encoding, chunk.data.to_vec()))
        });
        chunks.collect()
    };
    let expected = read(&file).unwrap();
    assert_eq!(expected.len(), 3);
    each_damage(&file, |damaged, what| {
        if let Ok(chunks) = read(damaged) {
            // A segment that ends between two chunks is a segment.
            assert!(expected.starts_with(&chunks), "{what}");
            assert!(damaged.len() < file.len() || chunks == expected, "{what}");
        }
    });
}

#[test]
fn tombstones() {
    let mut tombstones = Tombstones::default();
    for (series, min_ms, max_ms) in [(1, -5, 5), (1, 100, 200), (700, i64::MIN, i64::MAX)] {
        tombstones.add(series, Interval { min_ms, max_ms });
    }
    each_damage(&tombstones.to_bytes(), |damaged, what| {
        assert!(Tombstones::read(damaged).is_err(), "{what}");
    });
}

/// JSON has no checksum, so the answer may be wrong; it must be an answer.
#[test]
fn meta() {
    let file = br#"{"ulid":"01DXXFZDYD1MQW6079WK0K6EDQ","minTime":0,"maxTime":7200000,
        "stats":{"numSamples":102},"compaction":{"level":1,"sources":[]},"version":1,"x":[1.5]}"#;
    BlockMeta::read(file).unwrap();
    each_damage(file, |damaged, what| {
        if let Ok(meta) = BlockMeta::read(damaged) {
            let again = BlockMeta::read(&meta.to_json().unwrap());
            assert_eq!(again.unwrap(), meta, "{what}");
        }
    });
}

#[test]
fn deep_json_is_refused() {
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert!(BlockMeta::read(deep.as_bytes()).is_err());
}

static QUESTIONS: LazyLock<Questions> = LazyLock::new(Questions::new);

/// Compiling expressions takes longer than all else here.
struct Questions(Vec<[Matcher; 2]>);

impl Questions {
    fn new() -> Self {
        let mut pairs = Vec::new();
        for name in ["", "__name__", "job", "instance", "none"] {
            for op in [
                MatchOp::Equal,
                MatchOp::NotEqual,
                MatchOp::Regex,
                MatchOp::NotRegex,
            ] {
                for value in ["", "node", ".+", "n.*"] {
                    let tested = Matcher::new(name, op, value).unwrap();
                    pairs.push([tested, Matcher::equal("__name__", "up")]);
                }
            }
        }
        Questions(pairs)
    }

    /// Asks all there is to ask, whatever comes back.
    fn ask(&self, bytes: &[u8], version: IndexVersion) {
        let Ok(layout) = IndexLayout::open_as(bytes, version) else {
            return;
        };
        let index = layout.reader(bytes);
        let mut entry = Default::default();
        for series in 0..bytes.len() as u32 {
            if index.series(series, &mut entry).is_ok() {
                index.labels(&entry).for_each(drop);
            }
        }
        for symbol in 0..bytes.len() as u32 {
            let _ = index.symbol(symbol);
        }
        for (_, text) in index.symbols().flatten() {
            let _ = index.find_symbol(text);
        }
        let names: Vec<&str> = index.label_names().flatten().collect();
        for name in names.into_iter().chain(["", "__name__", "job"]) {
            for value in index.label_values(name).into_iter().flatten().flatten() {
                let _ = index.postings(name, value);
            }
        }
        for pair in &self.0 {
            let _ = matching(&index, pair);
            let _ = matching(&index, &pair[..1]);
        }
    }
}

/// Places of all sections' bodies of the sample index, so that their checksums can be made right
/// after the bodies were changed.
fn bodies(file: &[u8], series: &[u32]) -> Vec<std::ops::Range<usize>> {
    let word = |at: usize| {
        let bytes: [u8; 4] = file[at..at + 4].try_into().unwrap();
        u32::from_be_bytes(bytes) as usize
    };
    let contents = file.len() - 52;
    let offset = |field: usize| word(contents + 8 * field + 4);
    let mut bodies = Vec::new();
    bodies.push(contents..file.len() - 4);
    for &series in series {
        let at = series as usize * 16;
        assert!(file[at] < 0x80);
        bodies.push(at + 1..at + 1 + file[at] as usize);
    }
    let (symbols, postings, table) = (offset(0), offset(4).next_multiple_of(4), offset(5));
    let mut at = postings;
    while at < table {
        bodies.push(at + 4..at + 4 + word(at));
        at += 8 + word(at);
    }
    bodies.extend([symbols, table].map(|at| at + 4..at + 4 + word(at)));
    bodies
}

fn repair(file: &mut [u8], bodies: &[std::ops::Range<usize>]) {
    for body in bodies {
        let checksum = crc32c::crc32c(&file[body.clone()]).to_be_bytes();
        file[body.end..body.end + 4].copy_from_slice(&checksum);
    }
}

#[test]
fn repairing_nothing_changes_nothing() {
    let (file, series) = write_index(&sample_series()).unwrap();
    let mut repaired = file.clone();
    repair(&mut repaired, &bodies(&file, &series));
    assert_eq!(repaired, file);
}

/// Each bit and each of a few values at each place, with checksums that are right again.
#[test]
fn indexes_with_right_checksums() {
    let (file, series) = write_index(&sample_series()).unwrap();
    let bodies = bodies(&file, &series);
    for at in 0..file.len() {
        for change in [
            1,
            2,
            4,
            8,
            16,
            32,
            64,
            128,
            0xff,
            file[at],
            !file[at] ^ 0x7f,
        ] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            repair(&mut damaged, &bodies);
            QUESTIONS.ask(&damaged, IndexVersion::V2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn several_changes_with_right_checksums(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (mut file, series) = write_index(&sample_series()).unwrap();
        let bodies = bodies(&file, &series);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        repair(&mut file, &bodies);
        QUESTIONS.ask(&file, IndexVersion::V2);
        QUESTIONS.ask(&file, IndexVersion::V1);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Tombstones::read(&bytes);
        let _ = BlockMeta::read(&bytes);
        let _ = check_header(&bytes);
        walk(&bytes).for_each(drop);
        let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 2];
        index.extend_from_slice(&bytes);
        QUESTIONS.ask(&index, IndexVersion::V2);
        let mut tombstones = vec![0x01, 0x30, 0xba, 0x30, 1];
        tombstones.extend_from_slice(&bytes);
        tombstones.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        let _ = Tombstones::read(&tombstones);
    }

    #[test]
    fn an_index_read_as_the_other_version(series in any_series(20)) {
        QUESTIONS.ask(&write_index(&series).unwrap().0, IndexVersion::V1);
        QUESTIONS.ask(&write_version_1(&series), IndexVersion::V2);
    }

    #[test]
    fn bytes_that_are_not_those_of_the_layout(series in any_series(20), cut: u16) {
        let (bytes, _) = write_index(&series).unwrap();
        let layout = IndexLayout::open(&bytes).unwrap();
        let index = layout.reader(&bytes[..bytes.len().min(usize::from(cut))]);
        let read = Content::read(&index);
        prop_assert!(read.is_err() || read == Ok(Content::of(&series)));
    }
}

#[test]
fn an_index_of_nothing_read_short() {
    let (bytes, _) = write_index(&Series::new()).unwrap();
    let layout = IndexLayout::open(&bytes).unwrap();
    assert!(layout.reader(&[]).all_postings().is_err());
}

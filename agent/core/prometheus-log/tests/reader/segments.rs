//! Segments without damage: every compression, every way to cut records into fragments, and ends
//! that a kill left.

use narthex_prometheus_log::{Cause, Damage, LogFile, PAGE_BYTES, SegmentReader};

use crate::pages::{COMPRESSIONS, Compression, Segment, log_file};
use crate::random::{Random, with_seeds};

/// What a reader gave, its end, and where it says the segment is torn.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    pub(crate) damages: Vec<Damage>,
    pub(crate) torn_at: Option<u64>,
}

pub(crate) fn read(file: &LogFile, bytes: &[u8]) -> Read {
    let mut reader = SegmentReader::new(file, bytes);
    let mut read = Read::default();
    let mut offset = reader.offset();
    while let Some(record) = reader.next_record() {
        match record {
            Ok(record) => read.records.push((record.offset, record.bytes.to_vec())),
            Err(damage) => read.damages.push(damage),
        }
        assert!(reader.offset() >= offset, "it never goes back");
        offset = reader.offset();
    }
    assert_eq!(reader.offset(), bytes.len() as u64);
    assert!(reader.next_record().is_none(), "the end stays the end");
    read.torn_at = reader.torn_at();
    read
}

/// Of lengths around everything that matters, half of them compressible.
pub(crate) fn some_records(random: &mut Random, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| {
            let length = match random.below(8) {
                0 => random.below(4),
                1..5 => random.below(500),
                5 => PAGE_BYTES - 20 + random.below(40),
                6 => 2 * PAGE_BYTES + random.below(40),
                _ => random.below(100_000),
            };
            match random.below(2) {
                0 => random.bytes(length),
                _ => vec![random.next() as u8; length],
            }
        })
        .collect()
}

fn contents(read: &Read) -> Vec<&[u8]> {
    read.records.iter().map(|(_, bytes)| &bytes[..]).collect()
}

#[test]
fn a_record_by_hand() {
    // 0x364b3fb7 is the checksum of "abc".
    let bytes = [&[1, 0, 3, 0x36, 0x4b, 0x3f, 0xb7][..], b"abc"].concat();
    let expected = Read {
        records: vec![(0, b"abc".to_vec())],
        ..Read::default()
    };
    for last in [true, false] {
        assert_eq!(read(&log_file(last), &bytes), expected);
    }
    let padded = [&bytes[..], &[0; 100]].concat();
    assert_eq!(read(&log_file(true), &padded), expected);
}

#[test]
fn records_come_back_in_every_compression() {
    let mut random = Random::new(1);
    for compression in COMPRESSIONS {
        let records = some_records(&mut random, 60);
        let mut segment = Segment::default();
        for record in &records {
            segment.write(record, compression);
        }
        for last in [true, false] {
            let read = read(&log_file(last), &segment.bytes);
            assert_eq!(read.damages, []);
            assert_eq!(read.torn_at, None);
            assert!(contents(&read).iter().eq(&records), "{compression:?}");
            for ((offset, _), fragments) in read.records.iter().zip(&segment.fragments) {
                assert_eq!(*offset, fragments[0].start as u64);
            }
        }
    }
}

#[test]
fn records_come_back_however_they_are_cut() {
    with_seeds(|random| {
        let records = some_records(random, 10);
        let mut segment = Segment::default();
        for record in &records {
            let compression = COMPRESSIONS[random.below(3)];
            let longest = [3, 100, 10_000, usize::MAX][random.below(4)];
            segment.write_in_pieces(record, compression, |rest| {
                1 + random.below(longest.min(rest.max(1)))
            });
        }
        segment.end_page();
        let read = read(&log_file(false), &segment.bytes);
        assert_eq!(read.damages, []);
        assert!(contents(&read).iter().eq(&records));
    });
}

#[test]
fn reading_begins_where_the_snapshot_ends() {
    let mut segment = Segment::default();
    for at in 0..100_u8 {
        segment.write(&vec![at; 1000], Compression::None);
    }
    let from = segment.fragments[40][0].start;
    let file = LogFile {
        from_offset: from as u64,
        ..log_file(false)
    };
    let after = read(&file, &segment.bytes);
    assert_eq!(after.damages, []);
    assert_eq!(after.records.len(), 60);
    assert_eq!(after.records[0], (from as u64, vec![40; 1000]));
    let beyond = LogFile {
        from_offset: u64::MAX,
        ..log_file(false)
    };
    assert_eq!(read(&beyond, &segment.bytes), Read::default());
}

#[test]
fn a_torn_end_is_damage_in_all_but_the_last_segment() {
    let mut segment = Segment::default();
    for at in 0..4_u8 {
        segment.write(&vec![at; 20_000], Compression::None);
    }
    let ends: Vec<usize> = segment
        .fragments
        .iter()
        .map(|fragments| fragments.last().unwrap().end)
        .collect();
    for length in (0..segment.bytes.len()).step_by(397) {
        let bytes = &segment.bytes[..length];
        let whole = ends.iter().take_while(|&&end| end <= length).count();
        let start = segment.fragments[whole][0].start as u64;
        // At the end of a page there is padding before the next record.
        let torn = Some(start).filter(|&start| (start as usize) < length);
        let last = read(&log_file(true), bytes);
        assert_eq!(last.records.len(), whole, "{length}");
        assert_eq!((last.damages, last.torn_at), (vec![], torn), "{length}");
        let other = read(&log_file(false), bytes);
        assert_eq!(other.records.len(), whole);
        assert_eq!(other.torn_at, None);
        let damages: Vec<_> = other
            .damages
            .iter()
            .map(|d| (d.file, d.offset, &d.cause))
            .collect();
        let expected: Vec<_> = torn.iter().map(|&at| (7, at, &Cause::Cut)).collect();
        assert_eq!(damages, expected);
    }
}

#[test]
fn empty_segments_and_empty_records_are_no_damage() {
    for length in [0, 1, PAGE_BYTES - 1, PAGE_BYTES, 3 * PAGE_BYTES + 5] {
        assert_eq!(read(&log_file(false), &vec![0; length]), Read::default());
    }
    let mut segment = Segment::default();
    segment.write(&[], Compression::Snappy);
    segment.write(b"x", Compression::None);
    let read = read(&log_file(false), &segment.bytes);
    assert_eq!(read.records, [(0, vec![]), (7, b"x".to_vec())]);
}

#[test]
fn a_record_does_not_inflate_without_limit() {
    let mut segment = Segment::default();
    segment.write(b"before", Compression::None);
    segment.write(&vec![0; 2 << 20], Compression::Zstd);
    segment.write(&vec![0; 1 << 20], Compression::Snappy);
    segment.write(b"after", Compression::None);
    let file = log_file(false);
    let mut reader = SegmentReader::new(&file, &segment.bytes).with_max_record_bytes(1 << 20);
    let mut seen = Vec::new();
    while let Some(record) = reader.next_record() {
        seen.push(record.map(|record| record.bytes.len()));
    }
    let refused = &segment.fragments[1][0];
    let too_large = Damage {
        file: 7,
        offset: refused.start as u64,
        passed_over_bytes: refused.len() as u64,
        cause: Cause::TooLarge {
            limit_bytes: 1 << 20,
        },
    };
    assert_eq!(seen, [Ok(6), Err(too_large), Ok(1 << 20), Ok(5)]);
}

#[test]
fn the_format_of_old_versions_is_named() {
    let bytes = [&[0x43, 0xaf, 0x00, 0xef, 1, 0, 0, 0][..], &[7; 40_000]].concat();
    let read = read(&log_file(true), &bytes);
    assert_eq!(read.records, []);
    assert_eq!(read.damages.len(), 1);
    assert_eq!(read.damages[0].cause, Cause::OldFormat);
}

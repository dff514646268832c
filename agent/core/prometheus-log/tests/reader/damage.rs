//! A damaged place in a segment costs the records it touches, and those alone.

use std::ops::Range;

use narthex_prometheus_log::{Cause, PAGE_BYTES};

use crate::pages::{COMPRESSIONS, Compression, Segment, log_file};
use crate::random::{Random, with_seeds};
use crate::segments::{read, some_records};

/// Ten records of 100 bytes: each fragment takes 107.
fn ten_records() -> Segment {
    let mut segment = Segment::default();
    for at in 0..10_u8 {
        segment.write(&[at + 1; 100], Compression::None);
    }
    segment
}

#[test]
fn each_damage_has_its_name_and_costs_one_record() {
    for (at, byte, cause) in [
        (3 * 107 + 50, 0xff, Cause::Checksum),
        (3 * 107 + 4, 0xff, Cause::Checksum),
        (3 * 107, 0x07, Cause::FragmentKind(7)),
        (3 * 107, 0x21, Cause::UnknownFlags(0x20)),
        (3 * 107, 0x19, Cause::UnknownFlags(0x18)),
        (3 * 107, 0x00, Cause::Hole),
        (3 * 107 + 1, 0xff, Cause::Length),
        (3 * 107 + 2, 10, Cause::Checksum),
        (3 * 107, 0x03, Cause::NoBeginning),
        (3 * 107, 0x04, Cause::NoBeginning),
        (3 * 107, 0x02, Cause::NoEnd),
        // The file is shorter than the length says.
        (3 * 107 + 1, 0x20, Cause::Cut),
    ] {
        let segment = ten_records();
        let mut bytes = segment.bytes.clone();
        bytes[at] = byte;
        for last in [true, false] {
            let read = read(&log_file(last), &bytes);
            assert_eq!(read.records.len(), 9, "{cause}");
            assert!(read.records.iter().all(|(_, record)| record[0] != 4));
            assert_eq!(read.torn_at, None);
            let [damage] = &read.damages[..] else {
                panic!("{cause}: {:?}", read.damages)
            };
            assert_eq!(damage.cause, cause);
            assert_eq!((damage.file, damage.offset), (7, 3 * 107), "{cause}");
            assert_eq!(damage.passed_over_bytes, 107, "{cause}");
        }
    }
}

#[test]
fn a_compressed_record_that_does_not_decompress_costs_itself() {
    let mut segment = Segment::default();
    segment.write(b"before", Compression::None);
    segment.fragment(1 | 8, b"\x05no snappy");
    segment.fragment(1 | 16, b"no zstd");
    segment.write(b"after", Compression::None);
    let read = read(&log_file(false), &segment.bytes);
    assert_eq!(read.records.len(), 2);
    assert_eq!(read.damages.len(), 2);
    let all =
        |damage: &narthex_prometheus_log::Damage| matches!(damage.cause, Cause::Decompress(_));
    assert!(read.damages.iter().all(all), "{:?}", read.damages);
}

#[test]
fn a_record_of_many_pages_is_lost_once() {
    let mut segment = Segment::default();
    segment.write(b"before", Compression::None);
    segment.write(&Random::new(3).bytes(5 * PAGE_BYTES), Compression::None);
    segment.write(b"after", Compression::None);
    for fragment in segment.fragments[1].clone() {
        let mut bytes = segment.bytes.clone();
        bytes[fragment.start + 10] ^= 1;
        let read = read(&log_file(false), &bytes);
        assert_eq!(read.records.len(), 2);
        assert_eq!(read.damages.len(), 1);
        assert_eq!(read.damages[0].offset, fragment.start as u64);
    }
}

#[test]
fn a_page_without_a_readable_fragment_costs_what_reaches_into_it() {
    let mut random = Random::new(4);
    let mut segment = Segment::default();
    for at in 0..1000_u32 {
        segment.write(
            &[&at.to_be_bytes(), &[1; 196][..]].concat(),
            Compression::None,
        );
    }
    let page = PAGE_BYTES..2 * PAGE_BYTES;
    for garbage in [
        random.bytes(PAGE_BYTES),
        vec![0; PAGE_BYTES],
        vec![1; PAGE_BYTES],
    ] {
        let mut bytes = segment.bytes.clone();
        bytes[page.clone()].copy_from_slice(&garbage);
        let read = read(&log_file(false), &bytes);
        let untouched = untouched(&segment, &page);
        assert!(read.records.iter().map(|(at, _)| *at).eq(untouched));
        assert_eq!(read.damages.len(), 1);
    }
}

#[test]
fn a_record_that_begins_with_nothing_but_a_header_is_found_after_damage() {
    let mut segment = Segment::default();
    segment.write(&[1; PAGE_BYTES - 14], Compression::None);
    segment.write(b"next", Compression::None);
    assert_eq!(segment.fragments[1][0].len(), 7);
    let mut bytes = segment.bytes.clone();
    bytes[1000] = 0;
    let read = read(&log_file(false), &bytes);
    assert_eq!(read.records, [(PAGE_BYTES as u64 - 7, b"next".to_vec())]);
    assert_eq!(read.damages.len(), 1);
}

/// Where the records begin that no byte of `range` belongs to.
fn untouched(segment: &Segment, range: &Range<usize>) -> Vec<u64> {
    segment
        .fragments
        .iter()
        .filter(|fragments| !fragments.iter().any(|fragment| overlap(fragment, range)))
        .map(|fragments| fragments[0].start as u64)
        .collect()
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Overwrites some bytes, with zeros, noise, or one flipped bit.
fn damage_somewhere(random: &mut Random, bytes: &mut [u8]) -> Range<usize> {
    let start = random.below(bytes.len());
    let longest = [1, 1, 10, 1000, 50_000][random.below(5)];
    let end = (start + 1 + random.below(longest)).min(bytes.len());
    match random.below(3) {
        0 => bytes[start..end].fill(0),
        1 => bytes[start..end].copy_from_slice(&random.bytes(end - start)),
        _ => {
            bytes[start] ^= 1 << random.below(8);
            return start..start + 1;
        }
    }
    start..end
}

#[test]
fn what_no_damage_touches_comes_back() {
    with_seeds(|random| {
        let mut segment = Segment::default();
        let records = some_records(random, 12);
        // The search doesn't look for empty records.
        for record in records.iter().filter(|record| !record.is_empty()) {
            segment.write(record, COMPRESSIONS[random.below(3)]);
        }
        let intact = read(&log_file(false), &segment.bytes);
        let mut bytes = segment.bytes.clone();
        let range = damage_somewhere(random, &mut bytes);
        let damaged = read(&log_file(random.below(2) == 0), &bytes);
        let untouched = untouched(&segment, &range);
        let kept = |(at, _): &&(u64, Vec<u8>)| untouched.contains(at);
        assert!(
            damaged
                .records
                .iter()
                .filter(kept)
                .eq(intact.records.iter().filter(kept)),
            "bytes {range:?}"
        );
    });
}

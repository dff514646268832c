//! Segments, tombstones and meta.json are read as they were written.

use std::collections::BTreeSet;

use narthex_block_format::segment::{HEADER_BYTES, check_header, read_chunk, walk};
use narthex_block_format::{
    BlockMeta, Chunk, ChunkRef, Interval, Intervals, Part, ReadError, SegmentWriter, Tombstones,
};
use proptest::prelude::*;

fn any_chunk() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    #[test]
    fn chunks_come_back(chunks in proptest::collection::vec(any_chunk(), 0..20)) {
        let mut writer = SegmentWriter::new(Vec::new()).unwrap();
        let mut places = Vec::new();
        for (encoding, data) in &chunks {
            places.push(writer.write_chunk(*encoding, data).unwrap());
        }
        let size_bytes = writer.size_bytes() as usize;
        let segment = writer.into_inner();
        prop_assert_eq!(size_bytes, segment.len());
        prop_assert_eq!(check_header(&segment), Ok(()));
        let walked: Result<Vec<_>, _> = walk(&segment).collect();
        let walked = walked.unwrap();
        prop_assert_eq!(walked.len(), chunks.len());
        let mut copy = SegmentWriter::new(Vec::new()).unwrap();
        for (((encoding, data), (offset, length)), walked) in
            chunks.iter().zip(places).zip(walked)
        {
            let chunk = read_chunk(&segment, offset).unwrap();
            prop_assert_eq!((chunk.encoding, chunk.data), (*encoding, &data[..]));
            prop_assert_eq!(chunk.record.len(), length as usize);
            prop_assert_eq!((offset, chunk), walked);
            prop_assert_eq!(copy.copy_chunk(&chunk).unwrap(), (offset, length));
        }
        prop_assert_eq!(copy.into_inner(), segment);
    }

    #[test]
    fn intervals_are_the_times_that_were_added(
        added in proptest::collection::vec((-50i64..50, -3i64..20), 0..12),
    ) {
        let mut intervals = Intervals::default();
        let mut times = BTreeSet::new();
        for (min_ms, length) in added {
            let max_ms = min_ms + length;
            intervals.add(Interval { min_ms, max_ms });
            times.extend(min_ms..=max_ms);
        }
        for time_ms in -60..80 {
            prop_assert_eq!(intervals.contains(time_ms), times.contains(&time_ms));
            let span = Interval { min_ms: time_ms, max_ms: time_ms + 4 };
            let mut inside = (time_ms..=time_ms + 4).map(|time_ms| times.contains(&time_ms));
            prop_assert_eq!(intervals.covers(span), inside.clone().all(|hit| hit));
            prop_assert_eq!(intervals.overlaps(span), inside.any(|hit| hit));
        }
        let apart = |pair: &[Interval]| pair[0].max_ms + 1 < pair[1].min_ms;
        prop_assert!(intervals.as_slice().windows(2).all(apart), "{:?}", intervals);
    }

    #[test]
    fn tombstones_come_back(
        added in proptest::collection::vec((any::<u32>(), any::<i64>(), any::<u32>()), 0..40),
    ) {
        let mut tombstones = Tombstones::default();
        for (series, min_ms, length) in added {
            let max_ms = min_ms.saturating_add(i64::from(length));
            tombstones.add(series % 10, Interval { min_ms, max_ms });
        }
        let bytes = tombstones.to_bytes();
        prop_assert_eq!(Tombstones::read(&bytes), Ok(tombstones));
    }
}

#[test]
fn intervals_at_the_ends_of_time() {
    let mut intervals = Intervals::default();
    let all = Interval {
        min_ms: i64::MIN,
        max_ms: i64::MAX,
    };
    for (min_ms, max_ms) in [(i64::MIN, -10), (10, i64::MAX), (0, 0)] {
        intervals.add(Interval { min_ms, max_ms });
    }
    assert_eq!(intervals.as_slice().len(), 3);
    assert!(!intervals.covers(all));
    intervals.add(all);
    assert_eq!(intervals.as_slice(), [all]);
    assert!(intervals.covers(all));
}

#[test]
fn tombstones_files() {
    let empty = Tombstones::default().to_bytes();
    assert_eq!(empty, [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);
    let file = |body: &[u8]| {
        let mut out = empty[..5].to_vec();
        out.extend_from_slice(body);
        out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
        out
    };
    // Series 1 from -1 to 1, then from 2 to 2, which is next to it.
    let read = Tombstones::read(&file(&[1, 1, 2, 1, 4, 4])).unwrap();
    let intervals = read.get(1).unwrap().as_slice();
    assert_eq!(
        intervals,
        [Interval {
            min_ms: -1,
            max_ms: 2
        }]
    );
    assert_eq!(read.count(), 1);
    let reversed = Tombstones::read(&file(&[1, 4, 2]));
    assert_eq!(
        reversed,
        Err(ReadError::Malformed {
            part: Part::Tombstones,
            offset: 5,
            what: "an interval ends before it starts",
        })
    );
    assert_eq!(
        Tombstones::read(&[]),
        Err(ReadError::Empty(Part::TombstonesHeader))
    );
    let mut newer = empty;
    newer[4] = 2;
    let error = Tombstones::read(&newer).unwrap_err().to_string();
    assert_eq!(
        error,
        "tombstones header: version 2 is unknown, versions up to 1 can be read"
    );
}

#[test]
fn segments_that_are_none() {
    let part = Part::SegmentHeader;
    assert_eq!(check_header(&[]), Err(ReadError::Empty(part)));
    let wrong = check_header(&[0; 8]).unwrap_err().to_string();
    assert_eq!(
        wrong,
        "chunk segment header: the file starts with 0x00000000 instead of 0x85bd40dd"
    );
    let header = SegmentWriter::new(Vec::new()).unwrap().into_inner();
    assert_eq!(header, [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0]);
    assert_eq!(
        check_header(&header[..7]),
        Err(ReadError::Truncated { part, offset: 5 })
    );
    assert_eq!(walk(&header).count(), 0);
    for offset in [0, 7, 8, u32::MAX] {
        let expected = ReadError::OutOfBounds {
            part: Part::Chunk,
            offset: u64::from(offset),
        };
        assert_eq!(read_chunk(&header, offset), Err(expected));
    }
}

/// Counts what it is given and keeps nothing.
struct Sink;

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_segment_is_full_at_its_limit() {
    let mut writer = SegmentWriter::new(Sink).unwrap();
    let record = vec![0; 64 << 20];
    let chunk = Chunk {
        encoding: 1,
        data: &[],
        record: &record,
    };
    for _ in 0..7 {
        writer.copy_chunk(&chunk).unwrap();
    }
    assert!(!writer.fits(record.len()));
    let error = writer.copy_chunk(&chunk).unwrap_err().to_string();
    assert_eq!(
        error,
        "chunk: more than the 536870912 bytes that the format can hold"
    );
    assert!(writer.write_chunk(1, &record).is_err());
    let left = 512 << 20;
    let left = left - 10 - writer.size_bytes() as usize;
    assert!(!writer.fits(left + 1));
    assert!(writer.fits(left));
    writer.write_chunk(1, &record[..left]).unwrap();
}

#[test]
fn references_to_chunks() {
    let reference = ChunkRef::new(3, HEADER_BYTES);
    assert_eq!(reference.0, 3 << 32 | 8);
    assert_eq!((reference.segment(), reference.offset()), (3, 8));
}

const THANOS_META: &str = r#"{
	"ulid": "01DXXFZDYD1MQW6079WK0K6EDQ",
	"minTime": -5,
	"maxTime": 7200000,
	"stats": {
		"numSamples": 18446744073709551615,
		"numFloatSamples": 100,
		"numHistogramSamples": 2,
		"numSeries": 102,
		"numChunks": 102,
		"numTombstones": 1,
		"numLater": 9
	},
	"compaction": {
		"level": 2,
		"sources": [
			"01DXXFZDYD1MQW6079WK0K6EDQ"
		],
		"deletable": true,
		"parents": [
			{
				"ulid": "01BZJ9WJQPWHGNC2W4J9TA62KC",
				"minTime": 1,
				"maxTime": 2
			}
		],
		"failed": true,
		"hints": [
			"from-out-of-order"
		],
		"later": null
	},
	"version": 1,
	"thanos": {
		"downsample": {
			"resolution": 300000
		},
		"labels": {
			"cluster": "é"
		},
		"version": 1
	}
}"#;

#[test]
fn meta_is_written_as_it_was_read() {
    let meta = BlockMeta::read(THANOS_META.as_bytes()).unwrap();
    assert_eq!(meta.stats.num_samples, u64::MAX);
    assert_eq!(meta.compaction.hints, ["from-out-of-order"]);
    assert_eq!(meta.other["thanos"]["labels"]["cluster"], "é");
    assert!(!meta.has_mislabelled_index());
    let written = String::from_utf8(meta.to_json().unwrap()).unwrap();
    assert_eq!(written, THANOS_META);
}

#[test]
fn what_meta_may_lack() {
    let expected = BlockMeta::read(
        br#"{"ulid":"01DXXFZDYD1MQW6079WK0K6EDQ","minTime":0,"maxTime":0,"version":1}"#,
    );
    let expected = expected.unwrap();
    for (name, value) in [
        ("stats", "null"),
        ("stats", "{}"),
        ("compaction", "null"),
        ("compaction", "{}"),
        (
            "compaction",
            r#"{"level":0,"sources":null,"parents":null,"hints":null}"#,
        ),
    ] {
        let json = format!(
            r#"{{"{name}":{value},"version":1,"maxTime":0,
            "minTime":0,"ulid":"01DXXFZDYD1MQW6079WK0K6EDQ"}}"#
        );
        assert_eq!(
            BlockMeta::read(json.as_bytes()).unwrap(),
            expected,
            "{json}"
        );
    }
}

#[test]
fn meta_that_is_wrong_is_named() {
    for (from, to, expected) in [
        (
            "\"version\": 1,\n\t\"thanos",
            "\"version\": 3,\n\t\"thanos",
            "version 3 is unknown",
        ),
        (
            "\"minTime\": -5",
            "\"minTime\": 7200001",
            "maxTime 7200000 is below minTime 7200001",
        ),
        ("\"minTime\": -5,", "", "missing field `minTime`"),
        (
            "01DXXFZDYD1MQW6079WK0K6EDQ",
            "01DXX",
            "\"01DXX\" is no ULID",
        ),
        ("\"level\": 2", "\"level\": \"2\"", "line 15"),
    ] {
        let json = THANOS_META.replacen(from, to, 1);
        assert_ne!(json, THANOS_META);
        let error = BlockMeta::read(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for length in 0..THANOS_META.len() {
        assert!(BlockMeta::read(&THANOS_META.as_bytes()[..length]).is_err());
    }
}

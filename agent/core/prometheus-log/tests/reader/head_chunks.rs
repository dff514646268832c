//! Files of head chunks.

use narthex_prometheus_log::head_chunks::{self, HeadChunk, HeaderError};
use narthex_prometheus_log::{Cause, Damage, HeadChunkFile};

use crate::encode::{put_bytes, put_u64};
use crate::random::{Random, with_seeds};

pub(crate) const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];

pub(crate) fn file(last: bool) -> HeadChunkFile {
    HeadChunkFile {
        path: "chunks_head/000003".to_owned(),
        number: 3,
        last,
    }
}

pub(crate) fn put_chunk(bytes: &mut Vec<u8>, chunk: &HeadChunk<'_>) {
    let start = bytes.len();
    put_u64(bytes, chunk.series);
    put_u64(bytes, chunk.min_ms as u64);
    put_u64(bytes, chunk.max_ms as u64);
    bytes.push(chunk.encoding | if chunk.out_of_order { 0x80 } else { 0 });
    put_bytes(bytes, chunk.data);
    let sum = crc32c::crc32c(&bytes[start..]);
    bytes.extend_from_slice(&sum.to_be_bytes());
}

/// A file of chunks with random content, and where each chunk begins.
pub(crate) fn some_file(random: &mut Random, count: usize) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = HEADER.to_vec();
    let mut starts = Vec::new();
    for _ in 0..count {
        let length = 2 + random.below(400);
        let data = random.bytes(length);
        let min_ms = random.below(1 << 40) as i64;
        starts.push(bytes.len());
        let chunk = HeadChunk {
            offset: 0,
            series: 1 + random.next() % 1000,
            min_ms,
            max_ms: min_ms + random.below(7_200_000) as i64,
            encoding: 1 + random.below(3) as u8,
            out_of_order: random.below(5) == 0,
            data: &data,
        };
        put_chunk(&mut bytes, &chunk);
    }
    (bytes, starts)
}

type Read<'a> = (Vec<HeadChunk<'a>>, Vec<Damage>, Option<u64>);

pub(crate) fn read(last: bool, bytes: &[u8]) -> Read<'_> {
    let mut chunks = head_chunks::read(&file(last), bytes).unwrap();
    let (mut good, mut damages) = (Vec::new(), Vec::new());
    for chunk in &mut chunks {
        match chunk {
            Ok(chunk) => good.push(chunk),
            Err(damage) => damages.push(damage),
        }
    }
    (good, damages, chunks.torn_at())
}

#[test]
fn a_chunk_by_hand() {
    let chunk = HeadChunk {
        offset: 8,
        series: 258,
        min_ms: -1,
        max_ms: 2,
        encoding: 1,
        out_of_order: true,
        data: &[0, 1, 9],
    };
    let mut bytes = [
        &HEADER[..],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[0xff; 8],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0x81, 3, 0, 1, 9],
    ]
    .concat();
    let sum = crc32c::crc32c(&bytes[8..]);
    bytes.extend_from_slice(&sum.to_be_bytes());
    for zeros in [0, 1, 23, 24, 5000] {
        let padded = [&bytes[..], &vec![0; zeros]].concat();
        for last in [true, false] {
            assert_eq!(read(last, &padded), (vec![chunk], vec![], None), "{zeros}");
        }
    }
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let newer = [0x01, 0x30, 0xbc, 0x91, 2, 0, 0, 0];
    for last in [true, false] {
        for (bytes, expected) in [
            (
                &newer[..],
                HeaderError::Version {
                    file: 3,
                    version: 2,
                },
            ),
            (
                &[0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0],
                HeaderError::Magic {
                    file: 3,
                    magic: 0x85bd_40dd,
                },
            ),
        ] {
            assert_eq!(head_chunks::read(&file(last), bytes).err(), Some(expected));
        }
    }
    // Prometheus was killed before it wrote the header.
    for bytes in [&[][..], &[0; 3], &[0; 8], &[0; 5000], &HEADER[..5]] {
        assert_eq!(read(true, bytes), (vec![], vec![], None));
    }
    let short = head_chunks::read(&file(false), &HEADER[..5]).err();
    assert_eq!(short, Some(HeaderError::Short { file: 3 }));
}

#[test]
fn a_torn_end_is_damage_in_all_but_the_last_file() {
    let (bytes, starts) = some_file(&mut Random::new(5), 5);
    for length in 8..bytes.len() {
        let cut = &bytes[..length];
        let whole = starts.iter().filter(|&&start| start < length).count();
        // A reference begins with zeros, which cannot be told from an empty end.
        let complete = whole == 0 || cut[starts[whole - 1]..].iter().all(|&byte| byte == 0);
        let complete = complete || starts.contains(&length);
        let expected = if starts.contains(&length) {
            whole
        } else {
            whole.max(1) - 1
        };
        let torn = (!complete).then(|| starts[whole - 1] as u64);
        let (chunks, damages, torn_at) = read(true, cut);
        assert_eq!(chunks.len(), expected, "{length}");
        assert_eq!((damages, torn_at), (vec![], torn), "{length}");
        let (chunks, damages, torn_at) = read(false, cut);
        assert_eq!((chunks.len(), torn_at), (expected, None));
        let offsets: Vec<u64> = damages.iter().map(|damage| damage.offset).collect();
        assert_eq!(offsets, torn.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_damaged_chunk_costs_itself() {
    with_seeds(|random| {
        let (intact, starts) = some_file(random, 12);
        let mut bytes = intact.clone();
        let start = 8 + random.below(bytes.len() - 8);
        let end = (start + 1 + random.below(500)).min(bytes.len());
        match random.below(3) {
            0 => bytes[start..end].fill(0),
            1 => bytes[start..end].copy_from_slice(&random.bytes(end - start)),
            _ => bytes[start] ^= 0x10,
        }
        let untouched: Vec<HeadChunk<'_>> = read(false, &intact)
            .0
            .into_iter()
            .zip(starts.iter().skip(1).chain([&intact.len()]))
            .filter(|(chunk, next)| **next <= start || chunk.offset as usize >= end)
            .map(|(chunk, _)| chunk)
            .collect();
        let (chunks, damages, _) = read(false, &bytes);
        let kept = |chunk: &&HeadChunk<'_>| untouched.iter().any(|u| u.offset == chunk.offset);
        assert!(
            chunks.iter().filter(kept).eq(&untouched),
            "bytes {start} to {end}"
        );
        assert!(damages.len() <= 2, "{damages:?}");
    });
}

#[test]
fn a_hole_of_zeros_is_damage_but_a_tail_is_not() {
    let (mut holed, starts) = some_file(&mut Random::new(6), 4);
    holed[starts[1]..starts[2]].fill(0);
    let (chunks, damages, _) = read(true, &holed);
    assert_eq!(chunks.len(), 3);
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].cause, Cause::NoChunk);
    assert_eq!(damages[0].offset, starts[1] as u64);
    assert_eq!(damages[0].passed_over_bytes, (starts[2] - starts[1]) as u64);
}

//! Files of `chunks_head`: the chunks that Prometheus's head no longer holds in memory.
//!
//! A file is eight bytes of header and a row of chunks, each with the series it is of, its time
//! range, its encoding (the top bit says that its samples came out of order) and a checksum. Zeros
//! follow the last chunk where the file was made larger than needed.

use crate::search::{Search, is_zero};
use crate::{Cause, Damage, HeadChunkFile};

const MAGIC: u32 = 0x0130_bc91;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
/// Series, earliest and latest time, encoding.
const CHUNK_HEADER_BYTES: usize = 8 + 8 + 8 + 1;
const SUM_BYTES: usize = 4;
/// The length of a chunk takes no more bytes than this.
const LENGTH_BYTES_LIMIT: usize = 5;
const OUT_OF_ORDER_FLAG: u8 = 0x80;
/// What is taken for a chunk when searching for the next one: an encoding up to the last one known,
/// and no more references than one server can give out.
const LAST_ENCODING: u8 = 6;
const LIKELY_SERIES_LIMIT: u64 = 1 << 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadChunk<'a> {
    /// Where it begins in its file: what [`crate::MmapMarker`] names it by.
    pub offset: u64,
    pub series: u64,
    pub min_ms: i64,
    pub max_ms: i64,
    /// As in the chunk files of blocks.
    pub encoding: u8,
    pub out_of_order: bool,
    pub data: &'a [u8],
}

/// Why a file is not one of head chunks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("head-chunk file {file:06}: it is shorter than its header")]
    Short { file: u32 },
    #[error("head-chunk file {file:06}: it begins with {magic:#010x}, which is no head-chunk file")]
    Magic { file: u32, magic: u32 },
    #[error(
        "head-chunk file {file:06}: format version {version}, written by a newer version of Prometheus"
    )]
    Version { file: u32, version: u8 },
}

/// The chunks of one file, in order.
#[derive(Clone, Debug)]
pub struct HeadChunks<'a> {
    bytes: &'a [u8],
    file: u32,
    last: bool,
    at: usize,
    torn_at: Option<u64>,
    search: Search,
}

/// `bytes` is all of the file. A chunk that the end of the last file cuts off is no damage, and
/// neither is a last file without a header: they were being written when Prometheus was killed.
pub fn read<'a>(source: &HeadChunkFile, bytes: &'a [u8]) -> Result<HeadChunks<'a>, HeaderError> {
    let (file, last) = (source.number, source.last);
    let chunks = |at| HeadChunks {
        bytes,
        file,
        last,
        at,
        torn_at: None,
        search: Search::default(),
    };
    if last && is_zero(bytes) {
        return Ok(chunks(bytes.len()));
    }
    let Some((&[a, b, c, d, version, ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return match last {
            true => Ok(chunks(bytes.len())),
            false => Err(HeaderError::Short { file }),
        };
    };
    match u32::from_be_bytes([a, b, c, d]) {
        MAGIC if version == VERSION => Ok(chunks(HEADER_BYTES)),
        MAGIC => Err(HeaderError::Version { file, version }),
        magic => Err(HeaderError::Magic { file, magic }),
    }
}

impl<'a> HeadChunks<'a> {
    /// Where the chunk begins that the end of the last file cuts off. Known after the last chunk.
    pub fn torn_at(&self) -> Option<u64> {
        self.torn_at
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or(&[])
    }

    fn skip_damage(&mut self, cause: Cause) -> Option<Damage> {
        let start = self.at;
        let next = self.find_chunk(start + 1);
        self.at = next.unwrap_or(self.bytes.len());
        if next.is_none() && cause == Cause::Cut && self.last {
            self.torn_at = Some(start as u64);
            return None;
        }
        Some(Damage {
            file: self.file,
            offset: start as u64,
            passed_over_bytes: (self.at - start) as u64,
            cause,
        })
    }

    fn find_chunk(&mut self, from: usize) -> Option<usize> {
        for at in from..self.bytes.len() {
            if self.search.is_exhausted() {
                break;
            }
            let Ok(parsed) = Parsed::parse(self.rest(at), at) else {
                continue;
            };
            if parsed.is_likely() && self.search.matches(parsed.summed, parsed.sum) {
                return Some(at);
            }
        }
        None
    }
}

impl<'a> Iterator for HeadChunks<'a> {
    type Item = Result<HeadChunk<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest(self.at);
        if rest.is_empty() {
            return None;
        }
        // No series has the reference 0.
        if rest
            .iter()
            .take(CHUNK_HEADER_BYTES - 1)
            .all(|&byte| byte == 0)
        {
            if is_zero(rest) {
                self.at = self.bytes.len();
                return None;
            }
            return self.skip_damage(Cause::NoChunk).map(Err);
        }
        match Parsed::parse(rest, self.at) {
            Ok(parsed) if crc32c::crc32c(parsed.summed) == parsed.sum => {
                self.at += parsed.summed.len() + SUM_BYTES;
                Some(Ok(parsed.chunk))
            }
            Ok(_) => self.skip_damage(Cause::Checksum).map(Err),
            Err(cause) => self.skip_damage(cause).map(Err),
        }
    }
}

struct Parsed<'a> {
    chunk: HeadChunk<'a>,
    summed: &'a [u8],
    sum: u32,
}

impl<'a> Parsed<'a> {
    fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, Cause> {
        let (series, rest) = number(bytes)?;
        let (min_ms, rest) = number(rest)?;
        let (max_ms, rest) = number(rest)?;
        let (&encoding, rest) = rest.split_first().ok_or(Cause::Cut)?;
        let (length, rest) = length(rest)?;
        let (data, rest) = rest.split_at_checked(length).ok_or(Cause::Cut)?;
        let (&sum, rest) = rest.split_first_chunk::<SUM_BYTES>().ok_or(Cause::Cut)?;
        let summed_length = bytes.len() - rest.len() - SUM_BYTES;
        Ok(Parsed {
            chunk: HeadChunk {
                offset: offset as u64,
                series,
                min_ms: min_ms as i64,
                max_ms: max_ms as i64,
                encoding: encoding & !OUT_OF_ORDER_FLAG,
                out_of_order: encoding & OUT_OF_ORDER_FLAG != 0,
                data,
            },
            summed: bytes.get(..summed_length).unwrap_or(&[]),
            sum: u32::from_be_bytes(sum),
        })
    }

    fn is_likely(&self) -> bool {
        let chunk = &self.chunk;
        (1..LIKELY_SERIES_LIMIT).contains(&chunk.series)
            && chunk.min_ms <= chunk.max_ms
            && (1..=LAST_ENCODING).contains(&chunk.encoding)
    }
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Cause> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(Cause::Cut)?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// Seven bits a byte, the lowest first.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Cause> {
    let mut length = 0_u64;
    for at in 0..LENGTH_BYTES_LIMIT {
        let &byte = bytes.get(at).ok_or(Cause::Cut)?;
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let length = usize::try_from(length).map_err(|_| Cause::Length)?;
            return Ok((length, bytes.get(at + 1..).unwrap_or(&[])));
        }
    }
    Err(Cause::Length)
}

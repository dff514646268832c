//! Segments of chunks, the files `chunks/000001` and so on: a header of 8 bytes, then chunks. A
//! chunk is its data's length, a byte that says how it is encoded, the data and a CRC over both.

use std::io::Write;

use crate::bytes::{CHECKSUM_BYTES, Cursor, put_uvarint};
use crate::{Part, ReadError, WriteError};

/// No segment may be larger.
pub const MAX_SEGMENT_BYTES: u64 = 512 << 20;
pub const HEADER_BYTES: u32 = 8;

const MAGIC: u32 = 0x85BD_40DD;
const VERSION: u8 = 1;

/// Where a chunk of a block is, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChunkRef(pub u64);

impl ChunkRef {
    /// `segment` counts the block's segments from 0: 0 is the file `000001`.
    pub fn new(segment: u32, offset: u32) -> Self {
        ChunkRef(u64::from(segment) << 32 | u64::from(offset))
    }

    pub fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn offset(self) -> u32 {
        self.0 as u32
    }
}

/// One chunk of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    pub encoding: u8,
    pub data: &'a [u8],
    /// The whole chunk as it stands in the segment, with length and CRC: what
    /// [`SegmentWriter::copy_chunk`] takes.
    pub record: &'a [u8],
}

/// Whether the bytes are a segment that can be read.
pub fn check_header(segment: &[u8]) -> Result<(), ReadError> {
    let part = Part::SegmentHeader;
    let mut cursor = Cursor::after_magic(segment, part, MAGIC)?;
    let found = cursor.u8()?;
    if found != VERSION {
        return Err(ReadError::UnknownVersion {
            part,
            found,
            newest: VERSION,
        });
    }
    cursor.take(3).map(|_| ())
}

/// The chunk at `offset`, its CRC checked.
pub fn read_chunk(segment: &[u8], offset: u32) -> Result<Chunk<'_>, ReadError> {
    let part = Part::Chunk;
    let start = offset as usize;
    let out_of_bounds = ReadError::OutOfBounds {
        part,
        offset: u64::from(offset),
    };
    if offset < HEADER_BYTES || start >= segment.len() {
        return Err(out_of_bounds);
    }
    let mut cursor = Cursor::new(segment, start, segment.len(), part)?;
    let length = cursor.uvarint_u32()? as usize;
    let encoding = cursor.u8()?;
    let data = cursor.take(length)?;
    let checksum = cursor.u32()?;
    if crc32c::crc32c_append(crc32c::crc32c(&[encoding]), data) != checksum {
        return Err(ReadError::Checksum {
            part,
            offset: u64::from(offset),
        });
    }
    let record = segment.get(start..cursor.position());
    Ok(Chunk {
        encoding,
        data,
        record: record.ok_or(out_of_bounds)?,
    })
}

/// All chunks of a segment with their offsets, in the order of the file. Ends after the first
/// error, as there is no telling where the next chunk would start.
pub fn walk(segment: &[u8]) -> impl Iterator<Item = Result<(u32, Chunk<'_>), ReadError>> {
    let mut next = Some(HEADER_BYTES);
    std::iter::from_fn(move || {
        let offset = next.take()?;
        if offset as usize >= segment.len() {
            return None;
        }
        let read = read_chunk(segment, offset).map(|chunk| {
            let length = u32::try_from(chunk.record.len()).ok();
            next = length.and_then(|length| offset.checked_add(length));
            (offset, chunk)
        });
        Some(read)
    })
}

/// Writes one segment. Whoever calls asks [`SegmentWriter::fits`] and starts a new segment if not.
pub struct SegmentWriter<W> {
    out: W,
    size_bytes: u32,
    record: Vec<u8>,
}

impl<W: Write> SegmentWriter<W> {
    /// Writes the header.
    pub fn new(mut out: W) -> Result<Self, WriteError> {
        let mut header = [0; HEADER_BYTES as usize];
        header[..4].copy_from_slice(&MAGIC.to_be_bytes());
        header[4] = VERSION;
        out.write_all(&header)?;
        Ok(SegmentWriter {
            out,
            size_bytes: HEADER_BYTES,
            record: Vec::new(),
        })
    }

    pub fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// Whether a chunk with so much data can be added.
    pub fn fits(&self, data_bytes: usize) -> bool {
        const LENGTH_BYTES: u64 = 5;
        let framing = LENGTH_BYTES + 1 + CHECKSUM_BYTES as u64;
        let used = u64::from(self.size_bytes) + framing;
        used.saturating_add(data_bytes as u64) <= MAX_SEGMENT_BYTES
    }

    /// Gives the chunk's offset and the bytes it takes in the segment.
    pub fn write_chunk(&mut self, encoding: u8, data: &[u8]) -> Result<(u32, u32), WriteError> {
        if !self.fits(data.len()) {
            return Err(too_large());
        }
        self.record.clear();
        put_uvarint(&mut self.record, data.len() as u64);
        let checked = self.record.len();
        self.record.push(encoding);
        self.record.extend_from_slice(data);
        let checksum = crc32c::crc32c(self.record.get(checked..).unwrap_or_default());
        self.record.extend_from_slice(&checksum.to_be_bytes());
        let record = std::mem::take(&mut self.record);
        let written = self.put(&record);
        self.record = record;
        written
    }

    /// Adds a chunk of another segment unchanged.
    pub fn copy_chunk(&mut self, chunk: &Chunk<'_>) -> Result<(u32, u32), WriteError> {
        if !self.fits(chunk.record.len()) {
            return Err(too_large());
        }
        self.put(chunk.record)
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    fn put(&mut self, record: &[u8]) -> Result<(u32, u32), WriteError> {
        let length = u32::try_from(record.len()).map_err(|_| too_large())?;
        self.out.write_all(record)?;
        let offset = self.size_bytes;
        self.size_bytes += length;
        Ok((offset, length))
    }
}

fn too_large() -> WriteError {
    WriteError::TooLarge {
        part: Part::Chunk,
        limit_bytes: MAX_SEGMENT_BYTES,
    }
}

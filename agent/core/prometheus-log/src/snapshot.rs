//! The records of a snapshot of the head (`chunk_snapshot.*`), which are kept in segments like the
//! log's.

use crate::cursor::Cursor;
use crate::record::{Stamps, read_definition};
use crate::{Entries, RecordError, SeriesDefinition, SeriesExemplar, Tombstone};

/// The format that the tombstones in a snapshot have.
const TOMBSTONE_FORMAT: u8 = 1;

#[derive(Clone, Debug)]
pub enum SnapshotRecord<'a> {
    Series(SnapshotSeries<'a>),
    Tombstones(Entries<'a, Tombstone>),
    Exemplars(Entries<'a, SeriesExemplar>),
    /// Prometheus doesn't use a snapshot that holds such a record, but reads the log instead.
    Unknown(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSeries<'a> {
    pub definition: SeriesDefinition<'a>,
    /// The chunk that was being appended to. Earlier ones are among the head chunks.
    pub chunk: Option<SnapshotChunk<'a>>,
}

/// What follows it in the record, the last value, is in the chunk as well and is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotChunk<'a> {
    pub min_ms: i64,
    pub max_ms: i64,
    pub encoding: u8,
    pub data: &'a [u8],
}

impl<'a> SnapshotRecord<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let Some((&kind, body)) = bytes.split_first() else {
            return Ok(SnapshotRecord::Unknown(0));
        };
        match kind {
            1 => read_series(body).map(SnapshotRecord::Series),
            2 => read_tombstones(body).map(SnapshotRecord::Tombstones),
            3 => {
                let entries = Entries::new(body, Stamps::FixedUnread);
                Ok(SnapshotRecord::Exemplars(entries))
            }
            kind => Ok(SnapshotRecord::Unknown(kind)),
        }
    }
}

fn read_series(body: &[u8]) -> Result<SnapshotSeries<'_>, RecordError> {
    let mut cursor = Cursor::new(body);
    let definition = read_definition(&mut cursor)?;
    // The chunk range of old versions.
    cursor.big_endian()?;
    let chunk = match cursor.unsigned()? {
        0 => None,
        _ => Some(read_chunk(&mut cursor)?),
    };
    Ok(SnapshotSeries { definition, chunk })
}

fn read_chunk<'a>(cursor: &mut Cursor<'a>) -> Result<SnapshotChunk<'a>, RecordError> {
    Ok(SnapshotChunk {
        min_ms: cursor.big_endian()? as i64,
        max_ms: cursor.big_endian()? as i64,
        encoding: cursor.byte()?,
        data: cursor.bytes()?,
    })
}

fn read_tombstones(body: &[u8]) -> Result<Entries<'_, Tombstone>, RecordError> {
    let mut list = Cursor::new(Cursor::new(body).bytes()?);
    if list.byte()? != TOMBSTONE_FORMAT {
        return Err(list.number());
    }
    Ok(Entries::new(list.rest(), Stamps::FixedUnread).with_short_references())
}

//! Where full chunks lie that are no longer in memory.

use narthex_storage::StorageError;

/// The place of a chunk outside of memory: the number of a file, below 2^24 - 1, and an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef {
    pub file: u32,
    pub offset: u32,
}

/// A full chunk, as it is given away.
#[derive(Clone, Copy, Debug)]
pub struct SealedChunk<'a> {
    pub series: u32,
    pub start_ms: i64,
    pub end_ms: i64,
    /// The number of Prometheus's encoding.
    pub encoding: u8,
    /// Whether its samples came late, so that it may overlap with others of the series.
    pub out_of_order: bool,
    pub bytes: &'a [u8],
}

/// Gives back the bytes of chunks that [`Head::flush_sealed`](crate::Head::flush_sealed) gave away.
pub trait ChunkSource: Send + Sync {
    /// Calls `read` once with the bytes of the chunk. If they are lost for good it doesn't, and
    /// readers go on without the chunk; an error ends what they do.
    fn read(&self, at: ChunkRef, read: &mut dyn FnMut(&[u8])) -> Result<(), StorageError>;
}

/// For heads that keep all chunks in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoChunks;

impl ChunkSource for NoChunks {
    fn read(&self, at: ChunkRef, _: &mut dyn FnMut(&[u8])) -> Result<(), StorageError> {
        let (file, offset) = (at.file, at.offset);
        let message = format!("no chunk files are open, but file {file} was asked at {offset}");
        Err(StorageError::Internal(message))
    }
}

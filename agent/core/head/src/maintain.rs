//! Upkeep: full chunks go out of memory, old samples and empty series go.

use std::collections::BTreeSet;
use std::io;

use narthex_storage::CommitError;

use crate::{ChunkRef, Head, Log, SealedChunk};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    pub chunks: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    pub chunks: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Series that were found empty; a later pass removes them.
    pub marked: u64,
    pub removed: u64,
}

impl Head {
    /// Gives each full chunk in memory to `sink` and keeps only the place that it answers. An
    /// error ends the pass; what was moved stays moved.
    pub fn flush_sealed(
        &self,
        sink: &mut dyn FnMut(SealedChunk<'_>) -> io::Result<ChunkRef>,
    ) -> io::Result<Flushed> {
        let _ = sink;
        unimplemented!()
    }

    /// Numbers of the files that hold chunks of the head.
    pub fn chunk_files(&self) -> BTreeSet<u32> {
        unimplemented!()
    }

    /// Drops the chunks that end before this time, and takes no older sample any more. A chunk
    /// that reaches over the border stays whole, but readers get nothing from before the border.
    /// The caller waits until [`Head::readers_below`] says no.
    pub fn truncate(&self, min_ms: i64, log: &dyn Log) -> Result<Truncated, CommitError> {
        let _ = (min_ms, log);
        unimplemented!()
    }

    /// Whether someone reads who asked for samples before this time.
    pub fn readers_below(&self, border_ms: i64) -> bool {
        let _ = border_ms;
        unimplemented!()
    }

    /// Removes series that the pass before found empty and that still are, and looks for others.
    pub fn collect_garbage(&self) -> Collected {
        unimplemented!()
    }
}

//! What goes wrong with block folders. Each message names the file.

use std::io;
use std::path::{Path, PathBuf};

use narthex_block_format::{MetaError, ReadError, WriteError};
use narthex_storage::StorageError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The block is left as it is; nobody else is concerned.
    #[error("{}: {problem}", path.display())]
    Block { path: PathBuf, problem: Problem },
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: WriteError },
    /// The series that were to be written could not be read.
    #[error("reading the series to write: {0}")]
    Source(#[from] StorageError),
    /// Whoever watches over the task stopped it; nothing was changed.
    #[error("stopped before it was done")]
    Stopped,
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the block has no meta.json")]
    NoMeta,
    #[error("the block has no index")]
    NoIndex,
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("meta.json is of block {0}, the folder was renamed or copied by hand")]
    OtherBlock(crate::Ulid),
    #[error(transparent)]
    Bytes(#[from] ReadError),
    #[error("segment {0} of the chunks is missing")]
    NoSegment(u32),
    #[error("chunk: {0}")]
    Chunk(#[from] narthex_chunk::ChunkError),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn block<P: Into<Problem>>(path: &Path) -> impl FnOnce(P) -> Error + '_ {
        move |problem| Error::Block {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(WriteError) -> Error + '_ {
        move |error| match error {
            WriteError::Io(source) => Error::Io {
                path: path.to_owned(),
                source,
            },
            source => Error::Write {
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Whether trying again later makes sense, as what failed was not in the data.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Io { .. } | Error::Stopped => true,
            Error::Source(StorageError::Canceled) => true,
            Error::Block { .. } | Error::Write { .. } | Error::Source(_) => false,
        }
    }
}

//! What can be wrong with the bytes of a block, and with what is to be written to one.

use std::fmt;

/// Which part of a block an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    IndexHeader,
    TableOfContents,
    Symbols,
    Series,
    Postings,
    PostingsTable,
    SegmentHeader,
    Chunk,
    TombstonesHeader,
    Tombstones,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::IndexHeader => "index header",
            Part::TableOfContents => "table of contents of the index",
            Part::Symbols => "symbols of the index",
            Part::Series => "series of the index",
            Part::Postings => "postings of the index",
            Part::PostingsTable => "postings offset table of the index",
            Part::SegmentHeader => "chunk segment header",
            Part::Chunk => "chunk",
            Part::TombstonesHeader => "tombstones header",
            Part::Tombstones => "tombstones",
        })
    }
}

/// Why bytes could not be read. Offsets count from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{0}: the file is empty")]
    Empty(Part),
    #[error("{part}: the file starts with {found:#010x} instead of {expected:#010x}")]
    WrongMagic {
        part: Part,
        found: u32,
        expected: u32,
    },
    #[error("{part}: version {found} is unknown, versions up to {newest} can be read")]
    UnknownVersion { part: Part, found: u8, newest: u8 },
    #[error("{part} at offset {offset}: checksum mismatch, the file is damaged")]
    Checksum { part: Part, offset: u64 },
    #[error("{part} at offset {offset}: the data ends too early")]
    Truncated { part: Part, offset: u64 },
    #[error("{part}: there is nothing at offset {offset}")]
    OutOfBounds { part: Part, offset: u64 },
    #[error("{part} at offset {offset}: not sorted")]
    Unsorted { part: Part, offset: u64 },
    #[error("{part} at offset {offset}: not UTF-8")]
    NotUtf8 { part: Part, offset: u64 },
    #[error("{part} at offset {offset}: {what}")]
    Malformed {
        part: Part,
        offset: u64,
        what: &'static str,
    },
    #[error("{part}: {size_bytes} bytes are more than the {limit_bytes} that can be addressed")]
    TooLarge {
        part: Part,
        size_bytes: u64,
        limit_bytes: u64,
    },
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{part}: entry {position} is not greater than the one before it")]
    Unsorted { part: Part, position: u64 },
    #[error("{part}: entry {position}: {what}")]
    Invalid {
        part: Part,
        position: u64,
        what: &'static str,
    },
    #[error("{part}: more than the {limit_bytes} bytes that the format can hold")]
    TooLarge { part: Part, limit_bytes: u64 },
}

/// Why a meta.json could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("meta.json: {0}")]
    Json(#[from] serde_json::Error),
    #[error("meta.json: version {0} is unknown, versions up to 2 can be read")]
    UnknownVersion(u32),
    #[error("meta.json: maxTime {max_time_ms} is below minTime {min_time_ms}")]
    Reversed { min_time_ms: i64, max_time_ms: i64 },
}

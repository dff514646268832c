//! What is reported of a damaged place.

/// A place that could not be read, and what was passed over because of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("file {file:08}, byte {offset}: {cause}; {passed_over_bytes} bytes were passed over")]
pub struct Damage {
    /// The number of the segment or of the head-chunk file.
    pub file: u32,
    /// Where the piece begins that cannot be read.
    pub offset: u64,
    /// Up to the place from which reading goes on. Other fragments of the same record, which are of
    /// no use without this one, are not counted.
    pub passed_over_bytes: u64,
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("the checksum differs")]
    Checksum,
    #[error("the length is impossible here")]
    Length,
    #[error("unknown kind of fragment {0}")]
    FragmentKind(u8),
    #[error("unknown compression (flags {0:#04x}): written by a newer version of Prometheus")]
    UnknownFlags(u8),
    #[error("the unused end of the page is not empty")]
    Padding,
    #[error("nothing but zeros where a record should be")]
    Hole,
    #[error("a record goes on here that did not begin")]
    NoBeginning,
    #[error("the record has no end")]
    NoEnd,
    #[error("the record does not decompress: {0}")]
    Decompress(String),
    #[error("the record would be larger than {limit_bytes} bytes once decompressed")]
    TooLarge { limit_bytes: usize },
    #[error("the file ends within a piece")]
    Cut,
    #[error(
        "the log is in the format of Prometheus before 2.3: start a Prometheus of version 2.3 to 2.55 on it once"
    )]
    OldFormat,
    #[error("what is here is neither a chunk nor empty")]
    NoChunk,
}

//! The index of a block: which series there are, where their chunks are, and which series have
//! which label.
//!
//! A file holds sorted symbols, the series, one list of series (postings) per label pair, a table
//! that says where each pair's list is, and a table of contents at its end. Versions 1 and 2 are
//! read (3 is as 2); version 2 is written.

pub mod layout;
pub mod matching;
pub mod postings;
pub mod reader;
pub mod writer;

pub(crate) const MAGIC: u32 = 0xBAAA_D700;
pub(crate) const HEADER_BYTES: usize = 5;
/// Series of a version 2 index start at multiples of this, so that 32 bits address 64 GiB.
pub(crate) const SERIES_ALIGNMENT: u64 = 16;
/// The key of the postings that hold all series.
pub(crate) const ALL_POSTINGS: (&str, &str) = ("", "");

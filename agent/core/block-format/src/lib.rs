//! Prometheus's block format as bytes: the index, chunk segments, tombstones and meta.json.
//!
//! Readers work on `&[u8]`, usually a memory map that somebody else holds; writers work on
//! [`std::io::Write`]. Whatever the bytes are, a reader answers with what they say or with a
//! [`ReadError`] that names the part and the offset; it doesn't panic and takes memory in
//! proportion to the file at most. Knows nothing of folders, of files or of what is in a chunk.
//!
//! To read an index: [`IndexLayout::open`] once, keep it beside the bytes, and
//! [`IndexLayout::reader`] for each use. To write one: [`IndexWriter::new`] with all symbols, then
//! [`IndexWriter::add_series`] in label order, then [`IndexWriter::finish`].

mod bytes;
pub mod error;
pub mod index;
pub mod meta;
pub mod segment;
pub mod tombstones;
pub mod ulid;

pub use error::{MetaError, Part, ReadError, WriteError};
pub use index::layout::{IndexLayout, IndexVersion};
pub use index::matching::matching;
pub use index::postings::{Postings, intersect, merge, without};
pub use index::reader::{ChunkMeta, IndexReader, LabelValues, SeriesEntry};
pub use index::writer::{IndexStats, IndexWriter};
pub use meta::{BlockMeta, BlockStats, Compaction, ParentBlock};
pub use segment::{Chunk, ChunkRef, SegmentWriter};
pub use tombstones::{Interval, Intervals, Tombstones};
pub use ulid::{Ulid, UlidError};

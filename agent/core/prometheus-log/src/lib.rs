//! Reads what Prometheus (2.3 to 3.14) keeps beside its blocks: the log (`wal`) with its
//! checkpoints, the log of out-of-order samples (`wbl`), the chunks that left the head's memory
//! (`chunks_head`), and the snapshots of the head (`chunk_snapshot.*`).
//!
//! Keeps true: a damaged place costs the piece it lies in and is reported with its place; what
//! follows it is read. No input makes it panic, or take more memory than a small multiple of the
//! input, up to the limit for one record. Knows nothing of files: it reads bytes, and [`plan`] says
//! by their names which files to read and in which order. Knows nothing of what is inside a chunk.
//!
//! # How a folder is taken over
//!
//! 1. [`plan`] over the paths of the folder. Its `gaps` and `ignored` are worth a line to the user.
//! 2. The snapshot, if there is one: [`SegmentReader`] over its files, [`SnapshotRecord::decode`]
//!    over the records. Nothing in it is missing from the log and the head chunks, so on any damage
//!    it can be left aside.
//! 3. The head chunks: [`head_chunks::read`]. They name series by a reference that only the log (or
//!    the snapshot) explains, so their places are collected by reference for the next step.
//! 4. The log: [`Plan::log_after_snapshot`] if the snapshot was taken, else [`Plan::whole_log`];
//!    [`SegmentReader`], then [`Record::decode`]. A sample that is not later than its series' newest
//!    is to be passed over: it is in a head chunk as well, or it came out of order and is in `wbl`.
//! 5. `Plan::out_of_order`, in the same way. Its samples belong to the series that the log defines;
//!    some are in the out-of-order head chunks as well.
//!
//! A series may be defined several times: again under the same reference (the checkpoint repeats
//! it), or under a new one, because Prometheus forgot it and met it again. Whoever takes the samples
//! over keeps a map from reference to its own id, and looks the id up by the labels; two references
//! of one label set then lead to one series.
//!
//! What ends before the newest block does is in the blocks already. Prometheus passes it over here,
//! and so should the taker.

mod cursor;
mod damage;
pub mod head_chunks;
mod histogram;
mod inflate;
mod plan;
mod record;
mod search;
mod segment;
mod snapshot;

pub use cursor::RecordError;
pub use damage::{Cause, Damage};
pub use plan::{Gap, HeadChunkFile, Ignored, LogFile, Plan, Snapshot, WhyIgnored, plan};
pub use record::{
    Entries, FloatSample, HistogramSample, MetadataEntry, MmapMarker, Record, SeriesDefinition,
    SeriesExemplar, Tombstone,
};
pub use segment::{MAX_RECORD_BYTES, PAGE_BYTES, RawRecord, SegmentReader};
pub use snapshot::{SnapshotChunk, SnapshotRecord, SnapshotSeries};

//! The newest samples in memory, and the records that bring them back.
//!
//! A [`Head`] holds every series that gets samples: labels in a catalogue, samples in pages of 256
//! series with one 64-byte line per series. It is shared as `Arc<Head>` by any number of threads.
//!
//! **Writing.** [`Head::batch`] gives a [`Batch`], which takes samples and commits them at once. A
//! commit gives one record to a [`Log`] before readers see anything; if the log fails, nothing has
//! changed. Records are whole in themselves; framing, checksums and files are the caller's.
//!
//! **Coming back.** [`Head::read_snapshot`] (optional), then every record of the log that is not
//! older than the snapshot: definitions by one thread ([`Head::replay_definitions`]), samples by
//! any number of them ([`Head::replay_samples`]), each thread getting every record in order; then
//! [`Head::finish_replay`] once. Threads need not keep step with each other. A record may be
//! replayed onto a state that has it already. The log begins a new epoch (a new file, say) after
//! a replay and before a snapshot is written.
//!
//! **Reading.** [`Head::select`] and its kin. A reader sees each commit whole or not at all, and
//! only those that ended before it began.
//!
//! **Upkeep**, by one thread at a time: [`Head::flush_sealed`] moves full chunks out of memory,
//! [`Head::write_snapshot`] makes the log before it unneeded, [`Head::truncate`] drops what blocks
//! hold, [`Head::collect_garbage`] takes away series that have become empty.
//!
//! Keeps true: samples of a series rise strictly in time, those that came late are kept apart; no
//! data from outside makes it panic. Knows no file, no clock and no thread.

mod batch;
mod bytes;
mod commit;
mod counters;
mod delete;
mod exemplars;
mod fragments;
mod head;
mod history;
mod hot;
mod ids;
mod import;
mod isolation;
mod log;
mod maintain;
mod page;
mod read;
mod record;
mod replay;
mod sealed;
mod select;
mod side;
mod snapshot;
mod source;
mod starts;
mod value;

pub use batch::Batch;
pub use counters::{Count, Counters, Delays};
pub use head::{Head, Memory, Options, StartTimes};
pub use import::{Import, ImportError};
pub use log::{Log, LogError};
pub use maintain::{Collected, Flushed, Truncated};
pub use replay::{DamagedRecord, ReplayEnd, Replayed};
pub use select::SeriesSorted;
pub use snapshot::{SnapshotError, SnapshotRead};
pub use source::{ChunkRef, ChunkSource, NoChunks, SealedChunk};

//! Block folders on disk: reading, writing, compaction, deletion, retention.
//!
//! [`Blocks`] holds the blocks of a data folder: [`Blocks::open`] once, then
//! - it is a [`narthex_storage::Queryable`]; [`merge()`] joins what it gives with the head's series;
//! - [`Blocks::write`] makes a block of series that come sorted by labels;
//! - [`Blocks::compact`], [`Blocks::expired`] with [`Blocks::remove_expired`] and
//!   [`Blocks::reload`] are for upkeep, by a thread that may take its time;
//! - [`Blocks::delete`], [`Blocks::clean_tombstones`] and [`Blocks::snapshot`] are for whoever
//!   administers.
//!
//! Long tasks take a [`Pace`]: a function that is asked between two series, which may wait and may
//! say that it is enough. [`Block`] opens one block alone; [`write_block`] writes one anywhere.
//!
//! Keeps true: what is in a folder is whole, whenever the process is killed; a block that cannot be
//! read, or a part of it, concerns no other; readers are never disturbed by what is written or
//! deleted meanwhile. Doesn't know the head, the log, or when it is time for something.

pub mod analyze;
mod block;
mod chunks;
pub mod compact;
mod delete;
pub mod error;
mod folder;
pub mod list;
pub mod merge;
pub mod metrics;
pub mod plan;
mod query;
pub mod repair;
pub mod retention;
mod segments;
mod select;
mod series;
pub mod set;
mod spool;
#[cfg(test)]
mod tests;
mod texts;
mod ulid;
mod upkeep;
pub mod verify;
pub mod write;

pub use block::Block;
pub use chunks::WriteOptions;
pub use compact::Compacted;
pub use error::{Error, Problem};
pub use merge::{SeriesStream, join, merge, merge_streams};
pub use metrics::Metrics;
pub use narthex_block_format::{BlockMeta, Compaction, Ulid};
pub use retention::{Expired, Limits, Usage};
pub use set::{Blocks, Options, Unreadable};
pub use ulid::new_ulid;
pub use write::{NewBlock, Pace, steady, write_block};

//! Block folders on disk: reading, writing, compaction, deletion, retention.

mod block;
mod chunks;
pub mod error;
mod folder;
pub mod merge;
pub mod metrics;
pub mod plan;
pub mod retention;
mod segments;
mod select;
mod spool;
mod ulid;
pub mod write;

pub use block::Block;
pub use chunks::WriteOptions;
pub use error::{Error, Problem};
pub use merge::{SeriesStream, join, merge, merge_streams};
pub use metrics::Metrics;
pub use narthex_block_format::{BlockMeta, Compaction, Ulid};
pub use retention::{Expired, Limits, Usage};
pub use ulid::new_ulid;
pub use write::{NewBlock, Pace, steady, write_block};

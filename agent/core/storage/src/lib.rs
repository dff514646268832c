//! What the query engine asks of a store and what scraping, rules and pushes write to it.
//!
//! Traits only; `tsdb` implements them, tests use [`memory::MemoryStore`]. Reading is by columns: a
//! series hands out runs of timestamps and values, so that an engine can work on slices and a store
//! can decode whole chunks. Nothing here knows a file format.
//!
//! Calls are synchronous: stores work from memory and memory maps. Whoever is on an async runtime
//! moves a query to a blocking thread.

pub mod append;
pub mod memory;
pub mod query;
pub mod status;

pub use append::{
    AppendError, Appendable, Appender, CommitError, CommitReport, Refused, SeriesRef,
};
pub use query::{
    Column, ExemplarQueryable, LabelQuery, Queryable, SelectQuery, Series, SeriesExemplars,
    StorageError,
};
pub use status::{CardinalityStat, HeadStats, ReplayProgress, StoreAdmin, StoreStatus, TsdbStats};

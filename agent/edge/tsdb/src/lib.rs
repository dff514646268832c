//! The time series store: head in memory, write-ahead log on disk.
//!
//! [`Db`] implements `narthex_storage`'s traits. What is committed is in the log before `commit`
//! returns and is in the head for the next reader; at start the log is replayed into the head.
//!
//! How it is wired: [`Db::open`] at start, [`Db::maintain`] with the present time right after and
//! then once a minute, [`Db::close`] at the end. A `Db` is shared as `Arc<Db>` by any number of
//! threads; its calls block (briefly on locks, `commit` on one write to the page cache).
//!
//! Inside, `head`, `series`, `chunk`, `symbols`, `postings` and `matching` are memory only and know
//! no file; `wal` knows files and records but no head; `db` holds the two together. `FORMAT.md`
//! beside this crate draws the log byte by byte.

mod appender;
mod checkpoint;
mod chunk;
mod db;
mod head;
mod lock;
mod matching;
mod metrics;
mod postings;
mod restore;
mod select;
mod series;
mod status;
mod symbols;
mod wal;

pub use db::{Config, Db, OpenError};

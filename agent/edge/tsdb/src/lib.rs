//! The time series store: the newest samples in memory with a log on disk, older ones in blocks.
//!
//! [`Db`] implements `narthex_storage`'s traits. What is committed is in the log before `commit`
//! returns and is in the head for the next reader; at start the head comes back from its snapshot
//! and the log. Every two hours of samples the head gives a block to `narthex-blocks`.
//!
//! How it is wired: [`Db::open`] at start (with a [`ReplayProgress`] for whoever waits for it),
//! [`Db::maintain`] with the present time right after and then once a minute, [`Db::close`] at the
//! end, or [`Db::seal`] for going on with Prometheus. A `Db` is shared as `Arc<Db>` by any number of
//! threads; its calls block (briefly on locks, `commit` on one write to the page cache).
//!
//! Inside, `log`, `head_chunks` and `snapshot_file` know files but not what is in them; `replay`
//! brings the head back from them; `former` and `prometheus_folder` take over what others left; `db`
//! holds all together. `FORMAT.md` beside this crate draws every byte that is written.
//!
//! [`ReplayProgress`]: narthex_storage::ReplayProgress

mod commit_log;
mod config;
mod db;
mod disk;
mod file_header;
mod former;
mod head_chunks;
mod lock;
mod log;
mod metrics;
mod nowhere;
mod prometheus_folder;
mod replay;
mod set_aside;
mod snapshot_file;
mod sync_thread;

pub use config::{Config, OpenError};
pub use db::{Db, SealError};
pub use narthex_head::StartTimes;

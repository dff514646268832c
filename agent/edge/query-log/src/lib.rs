//! What queries do: the query log, the queries that run at a crash, and `prometheus_engine_*`.
//!
//! Whoever runs a query tells [`Queries::begin`], says when it has waited enough
//! ([`Running::start`]) and how it ended ([`Running::finish`]); one that is dropped before was
//! given up. Each ended query is a line of JSON in the log, if there is one. Queries that run have
//! a slot in the file `queries.active` of the data folder; what is found there at a start was
//! running when the process ended, and is told in the process's log.
//!
//! Keeps true: neither a full disk nor a full list of slots holds up or fails a query. Doesn't know
//! the engine, the store or HTTP.

mod active;
mod file;
mod metrics;
mod running;
mod statistics;

use std::io;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;

pub use active::Unfinished;
pub use running::{Asked, Origin, Running};
pub use statistics::{Samples, Statistics, StepCount, Timings};

use active::ActiveQueries;
use file::LogFile;
use metrics::Metrics;

/// All queries of the process.
pub struct Queries {
    metrics: Metrics,
    log: LogFile,
    active: Option<ActiveQueries>,
}

impl Queries {
    /// Without a log file, and without a list of those that run.
    pub fn new(registry: &Registry, concurrent_max: usize) -> Result<Self, prometheus::Error> {
        Ok(Queries {
            metrics: Metrics::new(registry, concurrent_max)?,
            log: LogFile::default(),
            active: None,
        })
    }

    /// Begins the list of queries that run, in `folder`, with so many places. Gives those that the
    /// former list still holds, after having told them in the process's log.
    pub fn track_active(&mut self, folder: &Path, slots: usize) -> io::Result<Vec<Unfinished>> {
        let (active, unfinished) = ActiveQueries::open(folder, slots)?;
        self.active = Some(active);
        for query in &unfinished {
            tracing::warn!(
                started = query.started(),
                query = query.query,
                "this query was running when the process ended the last time"
            );
        }
        Ok(unfinished)
    }

    /// Writes the log to this file from now on, or none. A file of the same name is opened anew, as
    /// it may have been moved away. If it can't be opened, all stays as it is.
    pub fn set_log_file(&self, path: Option<&Path>) -> io::Result<()> {
        self.log.set(path)?;
        self.metrics.log_enabled.set(i64::from(path.is_some()));
        Ok(())
    }

    /// From now on the query counts as one that waits or runs.
    pub fn begin(self: &Arc<Self>, asked: Asked) -> Running {
        Running::new(self.clone(), asked)
    }
}

#[cfg(test)]
mod tests;

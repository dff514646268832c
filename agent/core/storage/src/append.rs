//! Writing samples.

use std::sync::Arc;

use narthex_model::{Histogram, Labels};

/// Where a store has a series. Whoever writes the same series again and again keeps it and saves
/// the look-up; a store may forget a reference at any time, then the labels count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// Why one sample was refused. The others of the batch are not concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("out of order sample")]
    OutOfOrder,
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    #[error("out of bounds")]
    OutOfBounds,
    #[error("too old sample")]
    TooOld,
    #[error("the label set is empty")]
    NoLabels,
    #[error("this store takes no native histograms yet")]
    HistogramNotSupported,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of the batch was stored.
    #[error("writing the log: {0}")]
    Log(String),
}

pub trait Appendable: Send + Sync {
    /// A new batch.
    fn appender(&self) -> Box<dyn Appender + '_>;
}

/// One batch of samples, usually of one scrape or one rule evaluation. Readers see all of it or
/// nothing, after `commit`. Dropping it without `commit` discards it.
pub trait Appender: Send {
    /// Adds one float. `known` is what an earlier call for the same labels gave back.
    fn append(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError>;

    /// Adds one native histogram.
    fn append_histogram(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError>;

    /// When this returns, the samples are in the log (they survive a kill) and readers see them.
    fn commit(self: Box<Self>) -> Result<(), CommitError>;
}

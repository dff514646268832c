//! Writing samples.

use std::sync::Arc;

use narthex_model::{Exemplar, Histogram, Labels, Metadata};

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
    /// The reference is no longer good: append by labels.
    #[error("unknown series reference")]
    UnknownSeries,
    #[error("the label set is empty")]
    NoLabels,
    #[error("invalid histogram: {0}")]
    InvalidHistogram(&'static str),
    #[error("invalid exemplar: {0}")]
    InvalidExemplar(&'static str),
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// Samples that readers now see. One that was there already, to the bit, is neither stored nor
    /// refused.
    pub stored: u64,
    /// In the order of the calls.
    pub refused: Vec<Refused>,
}

/// A sample that did not fit what the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Counts the batch's samples, floats and histograms alike, that were taken, from 0.
    pub index: u32,
    pub error: AppendError,
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
///
/// An append refuses what is wrong in itself; whether a sample fits what the store has of its
/// series is judged once, at the commit, whose report names those that did not.
pub trait Appender: Send {
    /// Adds one float to the series of these labels, which is made if need be.
    fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError>;

    /// Adds one float to a series that an earlier call gave back.
    fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError>;

    /// Adds one native histogram to the series of these labels, which is made if need be.
    fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError>;

    /// Adds one native histogram to a series that an earlier call gave back.
    fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError>;

    /// Says when the counter of one of the batch's samples started, which are counted as in
    /// [`Refused`]. What becomes of it is the store's affair; one that keeps no starts leaves this as
    /// it is.
    fn set_start(&mut self, sample: u32, start_ms: i64) {
        let _ = (sample, start_ms);
    }

    /// Adds an exemplar. One that is not newer than the series' newest is passed over.
    fn append_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &Exemplar,
    ) -> Result<(), AppendError>;

    /// Remembers the type, help and unit of a metric family.
    fn set_metadata(&mut self, family: &str, metadata: &Metadata);

    /// When this returns, the samples are in the log (they survive a kill) and readers see them.
    fn commit(self: Box<Self>) -> Result<CommitReport, CommitError>;
}

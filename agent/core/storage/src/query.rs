//! Reading samples and labels.

use std::sync::Arc;

use narthex_model::{CancelToken, Exemplar, Histogram, Labels, Matcher};

#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    #[error("the query was canceled")]
    Canceled,
    #[error("{0}")]
    Internal(String),
}

/// Which series, and which of their samples. Both ends are inclusive.
#[derive(Clone, Debug)]
pub struct SelectQuery<'a> {
    pub matchers: &'a [Matcher],
    pub start_ms: i64,
    pub end_ms: i64,
    pub cancel: CancelToken,
}

/// Which series to take labels from. A series counts if it has a sample in the range (a store may
/// be generous at the borders of its chunks) and meets any of the matcher sets; no set at all
/// means every series.
#[derive(Clone, Debug)]
pub struct LabelQuery<'a> {
    pub matcher_sets: &'a [Vec<Matcher>],
    pub start_ms: i64,
    pub end_ms: i64,
    /// Nobody looks at more series or texts than this; 0 is no limit. A store may give fewer then
    /// than there are, but not fewer than the limit, and which ones it gives is its own affair.
    pub limit: usize,
    pub cancel: CancelToken,
}

pub trait Queryable: Send + Sync {
    /// The matching series that may have samples in the range, sorted by labels.
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError>;

    /// As `select`, for someone who looks at no labels but those of these names: a store may leave
    /// out the others, and series look alike then. They stand in the order of all their labels.
    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let _ = names;
        self.select(query)
    }

    /// Names of the labels that the series have, sorted.
    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError>;

    /// Values of one label, sorted.
    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError>;

    /// Label sets of the series, sorted.
    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError>;
}

/// One series of a selection. It holds what it needs to be read on any thread, later.
pub trait Series: Send + Sync {
    fn labels(&self) -> &Labels;

    /// Calls `visit` with the samples of the selection's range in ascending time, run after run,
    /// stale markers included. Runs are not empty.
    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError>;

    /// As `visit`, for someone who looks at the newest sample alone: older ones may be left out.
    fn visit_newest(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.visit(visit)
    }

    /// As `visit`, with the time at which each sample's counter started: as many as the run has
    /// samples, 0 where a start is not known, or none at all if the run has no starts. Only queries
    /// that look at starts call it; a store that keeps none leaves it as it is.
    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.visit(&mut |column| visit(column, &[]))
    }

    /// Times between which all samples lie that `visit` will give, both inclusive, where they are
    /// known without a look at the samples. Series of several sources that do not overlap are read
    /// one after another without copying; what gives no range may overlap with everything.
    fn time_range_ms(&self) -> Option<(i64, i64)> {
        None
    }

    /// Where the samples lie, in an order of the store's own: series with neighbouring numbers
    /// are read faster one after the other.
    fn place(&self) -> u64 {
        0
    }
}

/// A run of samples of one kind; the slices have one length.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    Floats {
        timestamps_ms: &'a [i64],
        values: &'a [f64],
    },
    Histograms {
        timestamps_ms: &'a [i64],
        values: &'a [Arc<Histogram>],
    },
}

/// The exemplars of one series, in ascending time.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    pub labels: Labels,
    pub exemplars: Vec<Exemplar>,
}

pub trait ExemplarQueryable: Send + Sync {
    /// Exemplars of the series that meet any of the matcher sets, sorted by labels. Both ends of
    /// the range are inclusive.
    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<SeriesExemplars>, StorageError>;
}

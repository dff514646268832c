//! A batch of samples until it is committed.

use std::sync::Arc;

use narthex_model::{Exemplar, Histogram, Labels, Metadata};
use narthex_storage::{AppendError, CommitError, CommitReport, SeriesRef};

use crate::{Head, Log};

/// Samples that will be seen all at once. Dropping it discards them.
pub struct Batch<'a> {
    head: &'a Head,
}

impl Batch<'_> {
    pub fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let _ = (self.head, labels, timestamp_ms, value);
        unimplemented!()
    }

    pub fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let _ = (series, timestamp_ms, value);
        unimplemented!()
    }

    pub fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        let _ = (labels, timestamp_ms, histogram);
        unimplemented!()
    }

    pub fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        let _ = (series, timestamp_ms, histogram);
        unimplemented!()
    }

    pub fn append_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &Exemplar,
    ) -> Result<(), AppendError> {
        let _ = (series, exemplar);
        unimplemented!()
    }

    pub fn set_metadata(&mut self, family: &str, metadata: &Metadata) {
        let _ = (family, metadata);
        unimplemented!()
    }

    pub fn commit(self, log: &dyn Log) -> Result<CommitReport, CommitError> {
        let _ = log;
        unimplemented!()
    }
}

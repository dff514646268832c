//! Writing to the store: the head's batches, with the store's log.

use std::sync::Arc;

use narthex_head::Batch;
use narthex_model::{Exemplar, Histogram, Labels, Metadata};
use narthex_storage::{AppendError, Appendable, Appender, CommitError, CommitReport, SeriesRef};

use super::Db;

impl Appendable for Db {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(DbAppender {
            db: self,
            batch: self.head.batch(),
        })
    }
}

struct DbAppender<'a> {
    db: &'a Db,
    batch: Batch<'a>,
}

impl Appender for DbAppender<'_> {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        self.batch.append(labels, timestamp_ms, value)
    }

    fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        self.batch.append_known(series, timestamp_ms, value)
    }

    fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        self.batch.append_histogram(labels, timestamp_ms, histogram)
    }

    fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        self.batch
            .append_known_histogram(series, timestamp_ms, histogram)
    }

    fn set_start(&mut self, sample: u32, start_ms: i64) {
        self.batch.set_start(sample, start_ms);
    }

    fn append_exemplar(
        &mut self,
        series: SeriesRef,
        exemplar: &Exemplar,
    ) -> Result<(), AppendError> {
        self.batch.append_exemplar(series, exemplar)
    }

    fn set_metadata(&mut self, family: &str, metadata: &Metadata) {
        self.batch.set_metadata(family, metadata);
    }

    fn commit(self: Box<Self>) -> Result<CommitReport, CommitError> {
        self.batch.commit(&self.db.log)
    }
}

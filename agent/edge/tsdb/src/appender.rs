//! One batch on its way into the store.
//!
//! `append` checks a sample against what is committed and remembers it; nothing is stored before
//! `commit`. A series that is not known is created at once, without samples, so that it has a
//! reference. Series with waiting samples are held, so that none of them is removed meanwhile.

use std::sync::Arc;

use narthex_model::{Exemplar, Histogram, Labels, Metadata};
use narthex_storage::{
    AppendError, Appendable, Appender, CommitError, CommitReport, Refused, SeriesRef,
};

use crate::db::Db;
use crate::head::Head;
use crate::series::Fit;
use crate::wal::record::LoggedSample;

/// How far behind the newest sample of the store a sample may be.
const BEHIND_LIMIT_MS: i64 = 3_600_000;

/// A checked sample that waits for its commit. Its series is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingSample {
    pub(crate) id: u32,
    /// 0 if the series had no definition in the log when the sample came.
    pub(crate) log_id: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) value: f64,
}

impl WaitingSample {
    pub(crate) fn logged(&self) -> LoggedSample {
        LoggedSample {
            log_id: self.log_id,
            timestamp_ms: self.timestamp_ms,
            value: self.value,
        }
    }
}

impl Appendable for Db {
    fn appender(&self) -> Box<dyn Appender + '_> {
        self.metrics().active_appenders.inc();
        Box::new(Batch {
            db: self,
            samples: Vec::new(),
            refused: Vec::new(),
            taken: 0,
            oldest_allowed_ms: None,
        })
    }
}

struct Batch<'a> {
    db: &'a Db,
    samples: Vec<WaitingSample>,
    refused: Vec<Refused>,
    taken: u32,
    /// Fixed at the first sample, so that a batch is judged by one measure.
    oldest_allowed_ms: Option<i64>,
}

impl Batch<'_> {
    fn check_bounds(&mut self, head: &Head, timestamp_ms: i64) -> Result<(), AppendError> {
        let oldest_allowed_ms = *self.oldest_allowed_ms.get_or_insert_with(|| {
            let newest_ms = head
                .times_ms()
                .map_or(timestamp_ms, |(_, newest_ms)| newest_ms);
            newest_ms.saturating_sub(BEHIND_LIMIT_MS)
        });
        if timestamp_ms < oldest_allowed_ms {
            self.db.metrics().out_of_bounds.inc();
            return Err(AppendError::OutOfBounds);
        }
        Ok(())
    }

    fn add(
        &mut self,
        head: &Head,
        id: u32,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let Some(series) = head.get(id) else {
            return Err(AppendError::NoLabels);
        };
        let fit = series.check(timestamp_ms, value);
        let fit = fit.inspect_err(|_| self.db.metrics().out_of_order.inc())?;
        if fit == Fit::Later {
            series.hold();
            self.samples.push(WaitingSample {
                id,
                log_id: series.log_id,
                timestamp_ms,
                value,
            });
        }
        Ok(())
    }
}

impl Batch<'_> {
    /// Adds a sample of a series that may take it; notes a refusal for the commit.
    fn judge(&mut self, head: &Head, id: u32, timestamp_ms: i64, value: f64) {
        let index = self.taken;
        self.taken += 1;
        let fits = self.check_bounds(head, timestamp_ms);
        let fits = fits.and_then(|()| self.add(head, id, timestamp_ms, value));
        if let Err(error) = fits {
            self.refused.push(Refused { index, error });
        }
    }
}

impl Appender for Batch<'_> {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        if labels.is_empty() {
            return Err(AppendError::NoLabels);
        }
        let db = self.db;
        let head = db.head();
        if let Some(id) = head.find(None, labels) {
            self.judge(&head, id, timestamp_ms, value);
            return Ok(head.reference(id));
        }
        drop(head);
        let mut head = db.head_mut();
        let (id, created) = head.find_or_create(labels);
        if created {
            db.metrics().series_created.inc();
            db.metrics().series.set(head.series_count() as i64);
        }
        self.judge(&head, id, timestamp_ms, value);
        Ok(head.reference(id))
    }

    fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        let db = self.db;
        let head = db.head();
        let id = head.resolve(series).ok_or(AppendError::UnknownSeries)?;
        self.judge(&head, id, timestamp_ms, value);
        Ok(())
    }

    fn append_histogram(
        &mut self,
        _labels: &Labels,
        _timestamp_ms: i64,
        _histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        Err(AppendError::InvalidHistogram("not supported yet"))
    }

    fn append_known_histogram(
        &mut self,
        _series: SeriesRef,
        _timestamp_ms: i64,
        _histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        Err(AppendError::InvalidHistogram("not supported yet"))
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: &Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: &str, _: &Metadata) {}

    fn commit(mut self: Box<Self>) -> Result<CommitReport, CommitError> {
        let stored = self.samples.len() as u64;
        self.db.commit(&mut self.samples)?;
        Ok(CommitReport {
            stored,
            refused: std::mem::take(&mut self.refused),
        })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.db.metrics().active_appenders.dec();
        if self.samples.is_empty() {
            return;
        }
        let head = self.db.head();
        for sample in &self.samples {
            if let Some(series) = head.get(sample.id) {
                series.release();
            }
        }
    }
}

//! Samples from elsewhere, Prometheus's log for one: no record is written and no bound is checked.

use std::sync::Arc;

use narthex_model::{Exemplar, Histogram, Labels, Metadata};

use crate::Head;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("the label set is empty")]
    NoLabels,
    #[error("invalid histogram: {0}")]
    InvalidHistogram(&'static str),
    #[error("the chunk is damaged or of an encoding that is not known")]
    BadChunk,
}

/// Each call takes effect at once. A sample that is not later than the newest of its series is kept
/// as one that came late, or passed over if that very sample is there.
pub struct Import<'a> {
    head: &'a Head,
}

impl Import<'_> {
    /// The series of these labels, made if need be. Good until garbage is collected.
    pub fn series(&self, labels: &Labels) -> Result<u32, ImportError> {
        let _ = (self.head, labels);
        unimplemented!()
    }

    pub fn float(&self, series: u32, timestamp_ms: i64, value: f64) {
        let _ = (series, timestamp_ms, value);
        unimplemented!()
    }

    pub fn histogram(
        &self,
        series: u32,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), ImportError> {
        let _ = (series, timestamp_ms, histogram);
        unimplemented!()
    }

    /// Takes a whole chunk in Prometheus's encoding of this number; gives its number of samples.
    pub fn chunk(&self, series: u32, encoding: u8, bytes: &[u8]) -> Result<u64, ImportError> {
        let _ = (series, encoding, bytes);
        unimplemented!()
    }

    pub fn exemplar(&self, series: u32, exemplar: &Exemplar) {
        let _ = (series, exemplar);
        unimplemented!()
    }

    pub fn metadata(&self, family: &str, metadata: &Metadata) {
        let _ = (family, metadata);
        unimplemented!()
    }

    /// Hides the samples of these times that the series has now.
    pub fn delete(&self, series: u32, start_ms: i64, end_ms: i64) {
        let _ = (series, start_ms, end_ms);
        unimplemented!()
    }
}

//! Reading series, labels and exemplars.

use std::sync::Arc;

use narthex_model::{Labels, Matcher};
use narthex_storage::{LabelQuery, SelectQuery, Series, SeriesExemplars, StorageError};

use crate::Head;

impl Head {
    /// The matching series that may have samples in the range, sorted by labels.
    pub fn select(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let _ = query;
        unimplemented!()
    }

    /// All series that may have samples in the range (both ends inclusive), sorted by labels, each
    /// made when it is asked for: for writing blocks.
    pub fn series_sorted(self: &Arc<Self>, start_ms: i64, end_ms: i64) -> SeriesSorted {
        let _ = (start_ms, end_ms);
        unimplemented!()
    }

    pub fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let _ = query;
        unimplemented!()
    }

    pub fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let _ = (name, query);
        unimplemented!()
    }

    pub fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        let _ = query;
        unimplemented!()
    }

    /// Exemplars of the series that meet any of the matcher sets, sorted by labels.
    pub fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<SeriesExemplars>, StorageError> {
        let _ = (matcher_sets, start_ms, end_ms);
        unimplemented!()
    }
}

/// Series in the order of their labels.
pub struct SeriesSorted {
    head: Arc<Head>,
}

impl Iterator for SeriesSorted {
    type Item = Result<Box<dyn Series>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = &self.head;
        unimplemented!()
    }
}

//! All series in memory.

use std::sync::Arc;

use narthex_model::{Matcher, Metadata};
use narthex_storage::{CommitError, HeadStats, TsdbStats};

use crate::{Batch, ChunkSource, Counters, Import, Log};

#[derive(Clone, Debug)]
pub struct Options {
    /// The range of the smallest blocks; no chunk crosses its borders.
    pub chunk_range_ms: i64,
    /// How far behind the newest sample late ones are taken; 0 takes none.
    pub out_of_order_window_ms: i64,
    /// How many exemplars are kept in all; 0 keeps none.
    pub exemplar_limit: usize,
}

pub struct Head {
    counters: Counters,
}

impl Head {
    pub fn new(options: Options, source: Arc<dyn ChunkSource>) -> Self {
        let _ = (options, source);
        unimplemented!()
    }

    pub fn set_out_of_order_window_ms(&self, window_ms: i64) {
        let _ = window_ms;
        unimplemented!()
    }

    /// Exemplars that are too many go, oldest first.
    pub fn set_exemplar_limit(&self, limit: usize) {
        let _ = limit;
        unimplemented!()
    }

    /// A new batch; it has the calls of [`narthex_storage::Appender`].
    pub fn batch(&self) -> Batch<'_> {
        unimplemented!()
    }

    /// Takes samples from elsewhere, without a log and without bounds.
    pub fn import(&self) -> Import<'_> {
        unimplemented!()
    }

    /// Hides the samples of the series that meet any of the matcher sets, from the first to the
    /// last of these times, as far as there are samples now. Gives the number of series.
    pub fn delete(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
        log: &dyn Log,
    ) -> Result<u64, CommitError> {
        let _ = (matcher_sets, start_ms, end_ms, log);
        unimplemented!()
    }

    /// What is known of metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(Arc<str>, Metadata)> {
        unimplemented!()
    }

    pub fn stats(&self) -> HeadStats {
        unimplemented!()
    }

    /// `stats` and the `limit` largest entries of each kind of cardinality.
    pub fn cardinality(&self, limit: usize) -> TsdbStats {
        let _ = limit;
        unimplemented!()
    }

    /// Times of the oldest and the newest sample, late ones too.
    pub fn times_ms(&self) -> Option<(i64, i64)> {
        unimplemented!()
    }

    /// Samples older than this are taken as late ones only, if at all.
    pub fn min_valid_ms(&self) -> i64 {
        unimplemented!()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Batches that are open now.
    pub fn open_batches(&self) -> u64 {
        unimplemented!()
    }

    /// Exemplars kept now, series that have some, and the time of the newest.
    pub fn exemplar_figures(&self) -> (u64, u64, Option<i64>) {
        unimplemented!()
    }

    /// Bytes of label strings and of posting lists.
    pub fn symbols_bytes(&self) -> u64 {
        unimplemented!()
    }
}

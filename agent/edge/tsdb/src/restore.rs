//! Building the head from the log at start.
//!
//! The log may say a thing twice, since a checkpoint is written while appends go on: a sample that
//! is not later than its series' last is known already and passed over.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

use crate::head::Head;
use crate::series::Appended;
use crate::wal::Target;
use crate::wal::record::{LoggedChunk, LoggedSample, LoggedSeries, Record};

#[derive(Default)]
pub(crate) struct Restore {
    pub(crate) head: Head,
    /// Samples that were logged one by one, not those in chunks.
    pub(crate) samples: u64,
    /// Samples and chunks whose series' definition is lost.
    pub(crate) unknown: u64,
    by_log_id: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    highest_log_id: u64,
}

impl Restore {
    /// The first id that the log has not used.
    pub(crate) fn next_log_id(&self) -> u64 {
        self.highest_log_id.saturating_add(1)
    }

    fn define(&mut self, series: &LoggedSeries<'_>) {
        let log_id = series.log_id;
        self.highest_log_id = self.highest_log_id.max(log_id);
        if self.by_log_id.contains_key(&log_id) {
            return;
        }
        let (id, created) = self.head.find_or_create_text(&series.labels);
        if !created {
            // A series gets a second id only when it was removed, its samples having been too old.
            self.head.reset(id);
        }
        if let Some(series) = self.head.get_mut(id) {
            series.log_id = log_id;
        }
        self.by_log_id.insert(log_id, id);
    }

    fn append(&mut self, sample: LoggedSample) {
        self.highest_log_id = self.highest_log_id.max(sample.log_id);
        let Some(id) = self.by_log_id.get(&sample.log_id) else {
            self.unknown += 1;
            return;
        };
        let appended = self.head.append(*id, sample.timestamp_ms, sample.value);
        if matches!(appended, Ok(Appended::Added { .. })) {
            self.samples += 1;
        }
    }

    fn append_chunk(&mut self, chunk: LoggedChunk<'_>) -> Result<(), String> {
        self.highest_log_id = self.highest_log_id.max(chunk.log_id);
        let Some(id) = self.by_log_id.get(&chunk.log_id) else {
            self.unknown += 1;
            return Ok(());
        };
        let appended = self.head.append_chunk(*id, chunk.bytes);
        appended.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Target for Restore {
    fn take(&mut self, record: Record<'_>) -> Result<(), String> {
        match record {
            Record::Series(series) => series.iter().for_each(|series| self.define(series)),
            Record::Samples(samples) => samples.into_iter().for_each(|s| self.append(s)),
            Record::Chunks(chunks) => {
                let results: Vec<_> = chunks.into_iter().map(|c| self.append_chunk(c)).collect();
                results.into_iter().collect::<Result<(), String>>()?;
            }
        }
        Ok(())
    }

    fn progress(&mut self, file: &Path, done: usize, of: usize) {
        tracing::info!(
            file = %file.display(), done, of,
            series = self.head.series_count(), chunks = self.head.chunk_count(),
            "replaying the log"
        );
    }
}

/// Ids are counted up by this program, so nobody can choose them to collide.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes its place from the low bits and its tag from the high ones.
        let product = u128::from(id) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(restore: &mut Restore, log_id: u64, value: &str) {
        let labels = vec![("a", value)];
        restore
            .take(Record::Series(vec![LoggedSeries { log_id, labels }]))
            .unwrap();
    }

    fn sample(restore: &mut Restore, log_id: u64, timestamp_ms: i64) {
        let sample = LoggedSample {
            log_id,
            timestamp_ms,
            value: 1.0,
        };
        restore.take(Record::Samples(vec![sample])).unwrap();
    }

    #[test]
    fn what_is_said_twice_counts_once() {
        let mut restore = Restore::default();
        for _ in 0..2 {
            define(&mut restore, 5, "x");
            sample(&mut restore, 5, 10);
        }
        sample(&mut restore, 5, 9);
        assert_eq!((restore.samples, restore.unknown), (1, 0));
        assert_eq!(restore.next_log_id(), 6);
    }

    #[test]
    fn a_series_that_came_again_begins_anew() {
        let mut restore = Restore::default();
        define(&mut restore, 1, "x");
        sample(&mut restore, 1, 10);
        define(&mut restore, 2, "x");
        sample(&mut restore, 2, 5);
        assert_eq!(restore.head.series_count(), 1);
        assert_eq!(restore.head.chunk_count(), 1);
        assert_eq!(restore.head.get(0).unwrap().first_ms(), Some(5));
    }

    #[test]
    fn samples_without_definition_are_counted_and_their_ids_not_used_again() {
        let mut restore = Restore::default();
        sample(&mut restore, 9, 10);
        let chunks = vec![LoggedChunk {
            log_id: 8,
            bytes: &[],
        }];
        restore.take(Record::Chunks(chunks)).unwrap();
        assert_eq!((restore.unknown, restore.next_log_id()), (2, 10));
    }

    #[test]
    fn a_bad_chunk_is_named_and_the_others_are_taken() {
        let mut restore = Restore::default();
        define(&mut restore, 1, "x");
        define(&mut restore, 2, "y");
        let mut good = crate::chunk::OpenChunk::default();
        good.push(7, 7.0);
        let good = good.snapshot().bytes;
        let chunks = vec![
            LoggedChunk {
                log_id: 1,
                bytes: &[0, 1],
            },
            LoggedChunk {
                log_id: 2,
                bytes: &good,
            },
        ];
        let error = restore.take(Record::Chunks(chunks)).unwrap_err();
        assert_eq!(error, "the chunk ends inside a sample");
        assert_eq!(restore.head.chunk_count(), 1);
    }
}

//! What the tests of the head share: a log in memory, and reading everything.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use narthex_head::{ChunkRef, ChunkSource, Head, Log, LogError, NoChunks, Options, SealedChunk};
use narthex_model::histogram::CounterReset;
use narthex_model::{CancelToken, Histogram, Labels, Matcher, SampleValue};
use narthex_storage::{Column, SelectQuery, Series, StorageError};

pub(crate) type Samples = BTreeMap<i64, SampleValue>;

/// Keeps the records, each with the epoch that it was written in.
#[derive(Default)]
pub(crate) struct TestLog {
    pub(crate) epoch: AtomicU32,
    pub(crate) records: Mutex<Vec<(u32, Vec<u8>)>>,
    pub(crate) fails: AtomicBool,
    /// The next write finds that the log has gone on.
    pub(crate) cuts: AtomicBool,
}

impl TestLog {
    pub(crate) fn take(&self) -> Vec<(u32, Vec<u8>)> {
        std::mem::take(&mut self.records.lock().unwrap())
    }

    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

impl Log for TestLog {
    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }

    fn write(&self, epoch: u32, record: &[u8]) -> Result<(), LogError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(LogError::Io(io::Error::other("the disk is full")));
        }
        if self.cuts.swap(false, Ordering::SeqCst) {
            self.next_epoch();
        }
        let now = self.epoch();
        if epoch != now {
            return Err(LogError::Stale(now));
        }
        self.records.lock().unwrap().push((epoch, record.to_vec()));
        Ok(())
    }
}

/// Head chunk files in memory.
#[derive(Default)]
pub(crate) struct TestFiles(Mutex<Vec<Vec<u8>>>);

impl TestFiles {
    pub(crate) fn put(&self, chunk: SealedChunk<'_>) -> io::Result<ChunkRef> {
        let mut files = self.0.lock().unwrap();
        files.push(chunk.bytes.to_vec());
        let offset = files.len() as u32 - 1;
        Ok(ChunkRef { file: 7, offset })
    }
}

impl ChunkSource for TestFiles {
    fn read(&self, at: ChunkRef, read: &mut dyn FnMut(&[u8])) -> Result<(), StorageError> {
        let bytes = self.0.lock().unwrap().get(at.offset as usize).cloned();
        let missing = || StorageError::Internal("no such chunk".to_owned());
        read(&bytes.filter(|_| at.file == 7).ok_or_else(missing)?);
        Ok(())
    }
}

pub(crate) fn head(options: Options) -> Arc<Head> {
    Arc::new(Head::new(options, Arc::new(NoChunks)))
}

pub(crate) fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", "test"), ("series", name)])
}

pub(crate) fn select(
    head: &Arc<Head>,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> Vec<Box<dyn Series>> {
    head.select(&SelectQuery {
        matchers,
        start_ms,
        end_ms,
        cancel: CancelToken::default(),
    })
    .unwrap()
}

/// The samples of a series, which must rise strictly and lie where the series says they do.
pub(crate) fn samples(series: &dyn Series) -> Samples {
    let mut all: Vec<(i64, SampleValue)> = Vec::new();
    series
        .visit(&mut |column| match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => {
                assert!(!timestamps_ms.is_empty() && timestamps_ms.len() == values.len());
                let values = values.iter().map(|value| SampleValue::Float(*value));
                all.extend(timestamps_ms.iter().copied().zip(values));
            }
            Column::Histograms {
                timestamps_ms,
                values,
            } => {
                assert!(!timestamps_ms.is_empty() && timestamps_ms.len() == values.len());
                let values = values.iter().cloned().map(SampleValue::Histogram);
                all.extend(timestamps_ms.iter().copied().zip(values));
            }
        })
        .unwrap();
    assert!(
        all.is_sorted_by(|a, b| a.0 < b.0),
        "not rising: {:?}",
        all.iter().map(|s| s.0).collect::<Vec<_>>()
    );
    check_newest(series, all.last());
    if let Some((start_ms, end_ms)) = series.time_range_ms() {
        assert!(
            all.iter()
                .all(|(time, _)| (start_ms..=end_ms).contains(time))
        );
    }
    all.into_iter().collect()
}

/// The newest sample alone is the last of all.
fn check_newest(series: &dyn Series, last: Option<&(i64, SampleValue)>) {
    let mut newest = None;
    let visited = series.visit_newest(&mut |column| match column {
        Column::Floats {
            timestamps_ms,
            values,
        } => {
            newest = timestamps_ms
                .last()
                .copied()
                .zip(values.last().map(|v| v.to_bits()));
        }
        Column::Histograms {
            timestamps_ms,
            values,
        } => {
            newest = timestamps_ms
                .last()
                .copied()
                .zip(values.last().map(|h| h.sum.to_bits()));
        }
    });
    visited.unwrap();
    let expected = last.map(|(time_ms, value)| match value {
        SampleValue::Float(value) => (*time_ms, value.to_bits()),
        SampleValue::Histogram(histogram) => (*time_ms, histogram.sum.to_bits()),
    });
    assert_eq!(newest, expected, "the newest of {}", series.labels());
}

/// Everything in a range, series without samples left out; they must be sorted by labels.
pub(crate) fn read(head: &Arc<Head>, start_ms: i64, end_ms: i64) -> BTreeMap<Labels, Samples> {
    read_all(&select(head, &[], start_ms, end_ms))
}

pub(crate) fn read_all(series: &[Box<dyn Series>]) -> BTreeMap<Labels, Samples> {
    assert!(series.is_sorted_by(|a, b| a.labels() < b.labels()));
    let all = series
        .iter()
        .map(|series| (series.labels().clone(), samples(&**series)));
    all.filter(|(_, samples)| !samples.is_empty()).collect()
}

/// Floats to the bit; histograms without what they say of resets, and of buckets that are empty.
pub(crate) fn same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => plain(a) == plain(b),
        _ => false,
    }
}

fn plain(histogram: &Histogram) -> String {
    let mut at = 0;
    let mut buckets = Vec::new();
    let mut counts = histogram.positive_buckets.iter();
    for span in &histogram.positive_spans {
        at += span.offset;
        for count in counts.by_ref().take(span.length as usize) {
            buckets.push((at, *count));
            at += 1;
        }
    }
    buckets.retain(|(_, count)| *count != 0.0);
    let mut rest = histogram.clone();
    rest.counter_reset = CounterReset::Unknown;
    rest.positive_spans.clear();
    rest.positive_buckets.clear();
    format!("{buckets:?} {rest:?} {:x}", histogram.sum.to_bits())
}

pub(crate) fn assert_same(there: &BTreeMap<Labels, Samples>, expected: &BTreeMap<Labels, Samples>) {
    let lacks = |a: &BTreeMap<Labels, Samples>, b: &BTreeMap<Labels, Samples>| {
        let lacking = a.iter().find(|(labels, _)| !b.contains_key(labels));
        lacking.map(|(labels, samples)| format!("{labels} {samples:?}"))
    };
    assert_eq!(lacks(expected, there), None, "is missing");
    assert_eq!(lacks(there, expected), None, "is too much");
    for (labels, samples) in there {
        let expected = &expected[labels];
        let times = |samples: &Samples| samples.keys().copied().collect::<Vec<_>>();
        assert_eq!(times(samples), times(expected), "{labels}");
        for (time, value) in samples {
            assert!(
                same(value, &expected[time]),
                "{labels} at {time}: {value:?}, not {:?}",
                expected[time]
            );
        }
    }
}

/// A head that replays these records in parts.
pub(crate) fn replay(head: &Head, records: &[(u32, Vec<u8>)], parts: usize) -> (u64, u64) {
    let mut lost = 0;
    // The samples first, then the definitions: neither needs the other.
    for part in 0..parts {
        for (_, record) in records {
            lost += head.replay_samples(record, part, parts).unwrap().lost;
        }
    }
    for (_, record) in records {
        head.replay_definitions(record).unwrap();
    }
    (lost, head.finish_replay().without_labels)
}

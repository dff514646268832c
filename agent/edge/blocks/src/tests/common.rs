//! Series made for tests, and blocks written from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use narthex_model::histogram::{CounterReset, Span};
use narthex_model::{CancelToken, Histogram, Labels, Matcher, SampleValue};
use narthex_storage::{Column, LabelQuery, SelectQuery, Series, StorageError};
use prometheus::Registry;

use crate::{Blocks, Metrics, NewBlock, Options, WriteOptions, steady};

pub(crate) type Samples = BTreeMap<i64, SampleValue>;
pub(crate) type Content = BTreeMap<Labels, Samples>;

pub(crate) struct TestSeries {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<(i64, SampleValue)>,
    pub(crate) tells_range: bool,
}

impl TestSeries {
    pub(crate) fn boxed(labels: &Labels, samples: &Samples) -> Box<dyn Series> {
        Box::new(TestSeries {
            labels: labels.clone(),
            samples: samples.iter().map(|(t, v)| (*t, v.clone())).collect(),
            tells_range: true,
        })
    }
}

impl Series for TestSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let is_float = |s: &(i64, SampleValue)| s.1.as_float().is_some();
        for run in self.samples.chunk_by(|a, b| is_float(a) == is_float(b)) {
            let timestamps_ms: Vec<i64> = run.iter().map(|(t, _)| *t).collect();
            let floats: Vec<f64> = run.iter().filter_map(|(_, v)| v.as_float()).collect();
            let histograms: Vec<Arc<Histogram>> = run
                .iter()
                .filter_map(|(_, v)| match v {
                    SampleValue::Histogram(h) => Some(h.clone()),
                    SampleValue::Float(_) => None,
                })
                .collect();
            if floats.is_empty() {
                visit(Column::Histograms {
                    timestamps_ms: &timestamps_ms,
                    values: &histograms,
                });
            } else {
                visit(Column::Floats {
                    timestamps_ms: &timestamps_ms,
                    values: &floats,
                });
            }
        }
        Ok(())
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        let ends = (self.samples.first()?.0, self.samples.last()?.0);
        self.tells_range.then_some(ends)
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

pub(crate) fn floats(samples: impl IntoIterator<Item = (i64, f64)>) -> Samples {
    let value = |(t, v)| (t, SampleValue::Float(v));
    samples.into_iter().map(value).collect()
}

/// A histogram that has counted so much.
pub(crate) fn histogram(count: u32, counter_reset: CounterReset) -> Arc<Histogram> {
    let buckets = [f64::from(count), f64::from(count / 2), 3.0];
    Arc::new(Histogram {
        counter_reset,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: buckets.iter().sum::<f64>() + 1.0,
        sum: f64::from(count) * 1.5,
        positive_spans: vec![Span {
            offset: -1,
            length: 3,
        }],
        positive_buckets: buckets.to_vec(),
        ..Histogram::default()
    })
}

pub(crate) fn small_chunks() -> WriteOptions {
    WriteOptions {
        chunk_samples: 20,
        chunk_bytes: 120,
        segment_bytes: 4096,
    }
}

pub(crate) fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

pub(crate) fn open(data: &Path) -> Blocks {
    let options = Options {
        merge_overlaps: true,
        write: small_chunks(),
    };
    Blocks::open(data, options, metrics()).unwrap()
}

/// Writes a block of what of `content` is in the range, the end exclusive.
pub(crate) fn write(blocks: &Blocks, content: &Content, range_ms: (i64, i64)) {
    let new = NewBlock::first_level(range_ms.0, range_ms.1, &[]);
    let series = content
        .iter()
        .map(|(labels, samples)| Ok(TestSeries::boxed(labels, samples)));
    blocks.write(&new, series, &steady).unwrap();
}

pub(crate) fn select<'a>(matchers: &'a [Matcher], start_ms: i64, end_ms: i64) -> SelectQuery<'a> {
    SelectQuery {
        matchers,
        start_ms,
        end_ms,
        cancel: CancelToken::default(),
    }
}

pub(crate) fn label_query(sets: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> LabelQuery<'_> {
    LabelQuery {
        matcher_sets: sets,
        start_ms,
        end_ms,
        limit: 0,
        cancel: CancelToken::default(),
    }
}

/// Reads series; checks that they are sorted and that their samples ascend.
pub(crate) fn content(series: &[Box<dyn Series>]) -> Content {
    assert!(
        series.is_sorted_by(|a, b| a.labels() < b.labels()),
        "not sorted"
    );
    let read = series
        .iter()
        .map(|series| (series.labels().clone(), samples(series.as_ref())));
    read.filter(|(_, samples)| !samples.is_empty()).collect()
}

pub(crate) fn samples(series: &dyn Series) -> Samples {
    let mut found: Vec<(i64, SampleValue)> = Vec::new();
    series
        .visit(&mut |column| match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => {
                assert_eq!(timestamps_ms.len(), values.len());
                assert!(!values.is_empty());
                let values = values.iter().map(|value| SampleValue::Float(*value));
                found.extend(timestamps_ms.iter().copied().zip(values));
            }
            Column::Histograms {
                timestamps_ms,
                values,
            } => {
                assert_eq!(timestamps_ms.len(), values.len());
                assert!(!values.is_empty());
                let values = values.iter().cloned().map(SampleValue::Histogram);
                found.extend(timestamps_ms.iter().copied().zip(values));
            }
        })
        .unwrap();
    assert!(
        found.is_sorted_by(|a, b| a.0 < b.0),
        "times do not ascend: {found:?}"
    );
    check_newest(series, found.last());
    if let (Some((first, _)), Some((start, end))) = (found.first(), series.time_range_ms()) {
        assert!(start <= *first && found.last().unwrap().0 <= end);
    }
    found.into_iter().collect()
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

/// Whether two contents agree; NaNs by their bits, histograms without what they say of resets.
pub(crate) fn assert_same(found: &Content, expected: &Content, what: &str) {
    let bare = |content: &Content| -> Vec<(String, Vec<(i64, String)>)> {
        let text = |value: &SampleValue| match value {
            SampleValue::Float(value) => format!("{value} {:x}", value.to_bits()),
            SampleValue::Histogram(h) => {
                let bare = Histogram {
                    counter_reset: CounterReset::Unknown,
                    ..Histogram::clone(h)
                };
                format!("{bare:?}")
            }
        };
        let series = content.iter().filter(|(_, samples)| !samples.is_empty());
        series
            .map(|(labels, samples)| {
                let samples = samples.iter().map(|(t, v)| (*t, text(v))).collect();
                (labels.to_string(), samples)
            })
            .collect()
    };
    let (found, expected) = (bare(found), bare(expected));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.len(), expected.len(), "{what}: other series");
}

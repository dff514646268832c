//! A plain store for tests: a map from labels to samples, no log, no limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use narthex_model::matcher::all_match;
use narthex_model::{Histogram, Labels, SampleValue};

use crate::{
    AppendError, Appendable, Appender, Column, CommitError, LabelQuery, Queryable, SelectQuery,
    Series, SeriesRef, StorageError,
};

type Samples = BTreeMap<i64, SampleValue>;

#[derive(Default)]
pub struct MemoryStore {
    series: RwLock<BTreeMap<Labels, Samples>>,
}

impl MemoryStore {
    pub fn clear(&self) {
        self.write().clear();
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Labels, Samples>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Labels, Samples>> {
        self.series.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn matching(&self, query: &LabelQuery<'_>) -> Vec<Labels> {
        let hit = |labels: &Labels| {
            query.matcher_sets.is_empty()
                || query.matcher_sets.iter().any(|set| all_match(set, labels))
        };
        let series = self.read();
        let in_range = |samples: &Samples| {
            query.start_ms <= query.end_ms
                && samples
                    .range(query.start_ms..=query.end_ms)
                    .next()
                    .is_some()
        };
        let matching = series
            .iter()
            .filter(|(labels, samples)| hit(labels) && in_range(samples));
        matching.map(|(labels, _)| labels.clone()).collect()
    }
}

impl Appendable for MemoryStore {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(MemoryAppender {
            store: self,
            batch: Vec::new(),
        })
    }
}

struct MemoryAppender<'a> {
    store: &'a MemoryStore,
    batch: Vec<(Labels, i64, SampleValue)>,
}

impl MemoryAppender<'_> {
    fn add(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: SampleValue,
    ) -> Result<SeriesRef, AppendError> {
        if labels.is_empty() {
            return Err(AppendError::NoLabels);
        }
        let series = self.store.read();
        let last = series
            .get(labels)
            .and_then(|samples| samples.last_key_value());
        match last {
            Some((last_ms, _)) if timestamp_ms < *last_ms => return Err(AppendError::OutOfOrder),
            Some((last_ms, last)) if timestamp_ms == *last_ms && *last != value => {
                return Err(AppendError::DuplicateTimestamp);
            }
            _ => {}
        }
        drop(series);
        self.batch.push((labels.clone(), timestamp_ms, value));
        Ok(SeriesRef(labels.fingerprint()))
    }
}

impl Appender for MemoryAppender<'_> {
    fn append(
        &mut self,
        _known: Option<SeriesRef>,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        self.add(labels, timestamp_ms, SampleValue::Float(value))
    }

    fn append_histogram(
        &mut self,
        _known: Option<SeriesRef>,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        self.add(labels, timestamp_ms, SampleValue::Histogram(histogram))
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let mut series = self.store.write();
        for (labels, timestamp_ms, value) in self.batch {
            series
                .entry(labels)
                .or_default()
                .insert(timestamp_ms, value);
        }
        Ok(())
    }
}

struct MemorySeries {
    labels: Labels,
    samples: Vec<(i64, SampleValue)>,
}

impl Series for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let is_float = |s: &(i64, SampleValue)| matches!(s.1, SampleValue::Float(_));
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
}

impl Queryable for MemoryStore {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        if query.start_ms > query.end_ms {
            return Ok(Vec::new());
        }
        let series = self.read();
        let matching = series
            .iter()
            .filter(|(labels, _)| all_match(query.matchers, labels));
        Ok(matching
            .map(|(labels, samples)| {
                let range = samples.range(query.start_ms..=query.end_ms);
                let samples = range.map(|(t, v)| (*t, v.clone())).collect();
                Box::new(MemorySeries {
                    labels: labels.clone(),
                    samples,
                }) as Box<dyn Series>
            })
            .collect())
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let series = self.matching(query);
        let names: BTreeSet<Arc<str>> = series
            .iter()
            .flat_map(|labels| labels.iter().map(|l| l.name.clone()))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let series = self.matching(query);
        let values: BTreeSet<Arc<str>> = series
            .iter()
            .filter_map(|labels| labels.get_shared(name).cloned())
            .collect();
        Ok(values.into_iter().collect())
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        Ok(self.matching(query))
    }
}

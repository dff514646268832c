//! A plain store for tests: a map from labels to samples, no log, no limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use narthex_model::matcher::all_match;
use narthex_model::{Exemplar, Histogram, Labels, Metadata, SampleValue};

use crate::{
    AppendError, Appendable, Appender, Column, CommitError, CommitReport, LabelQuery, Queryable,
    Refused, SelectQuery, Series, SeriesRef, StorageError,
};

type Samples = BTreeMap<i64, SampleValue>;

#[derive(Default)]
pub struct MemoryStore {
    series: RwLock<BTreeMap<Labels, Samples>>,
    starts_ms: RwLock<BTreeMap<Labels, BTreeMap<i64, i64>>>,
    references: Mutex<HashMap<SeriesRef, Labels>>,
}

impl MemoryStore {
    pub fn clear(&self) {
        self.write().clear();
        let starts = self.starts_ms.write();
        starts.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Says when the counter started whose sample this is.
    pub fn set_start(&self, labels: &Labels, timestamp_ms: i64, start_ms: i64) {
        let starts = self.starts_ms.write();
        let mut starts = starts.unwrap_or_else(PoisonError::into_inner);
        let of_series = starts.entry(labels.clone()).or_default();
        of_series.insert(timestamp_ms, start_ms);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Labels, Samples>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn references(&self) -> MutexGuard<'_, HashMap<SeriesRef, Labels>> {
        let references = self.references.lock();
        references.unwrap_or_else(PoisonError::into_inner)
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
            starts_ms: BTreeMap::new(),
        })
    }
}

struct MemoryAppender<'a> {
    store: &'a MemoryStore,
    batch: Vec<(Labels, i64, SampleValue)>,
    starts_ms: BTreeMap<u32, i64>,
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
        let reference = SeriesRef(labels.fingerprint());
        let mut references = self.store.references();
        references
            .entry(reference)
            .or_insert_with(|| labels.clone());
        self.batch.push((labels.clone(), timestamp_ms, value));
        Ok(reference)
    }

    fn add_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: SampleValue,
    ) -> Result<(), AppendError> {
        let references = self.store.references();
        let labels = references.get(&series).ok_or(AppendError::UnknownSeries)?;
        self.batch.push((labels.clone(), timestamp_ms, value));
        Ok(())
    }
}

impl Appender for MemoryAppender<'_> {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        self.add(labels, timestamp_ms, SampleValue::Float(value))
    }

    fn append_known(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        self.add_known(series, timestamp_ms, SampleValue::Float(value))
    }

    fn append_histogram(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<SeriesRef, AppendError> {
        self.add(labels, timestamp_ms, SampleValue::Histogram(histogram))
    }

    fn append_known_histogram(
        &mut self,
        series: SeriesRef,
        timestamp_ms: i64,
        histogram: Arc<Histogram>,
    ) -> Result<(), AppendError> {
        self.add_known(series, timestamp_ms, SampleValue::Histogram(histogram))
    }

    fn set_start(&mut self, sample: u32, start_ms: i64) {
        self.starts_ms.insert(sample, start_ms);
    }

    /// Exemplars are not kept here.
    fn append_exemplar(&mut self, _: SeriesRef, _: &Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    /// Metadata is not kept here.
    fn set_metadata(&mut self, _: &str, _: &Metadata) {}

    fn commit(self: Box<Self>) -> Result<CommitReport, CommitError> {
        let mut report = CommitReport::default();
        for (sample, start_ms) in &self.starts_ms {
            if let Some((labels, timestamp_ms, _)) = self.batch.get(*sample as usize) {
                self.store.set_start(labels, *timestamp_ms, *start_ms);
            }
        }
        let mut series = self.store.write();
        for (index, (labels, timestamp_ms, value)) in (0..).zip(self.batch) {
            let samples = series.entry(labels).or_default();
            match fit(samples, timestamp_ms, &value) {
                Ok(true) => {
                    samples.insert(timestamp_ms, value);
                    report.stored += 1;
                }
                Ok(false) => {}
                Err(error) => report.refused.push(Refused { index, error }),
            }
        }
        Ok(report)
    }
}

/// Whether the sample can be appended; false if it is there already.
fn fit(samples: &Samples, timestamp_ms: i64, value: &SampleValue) -> Result<bool, AppendError> {
    match samples.last_key_value() {
        Some((last_ms, _)) if timestamp_ms < *last_ms => Err(AppendError::OutOfOrder),
        Some((last_ms, last)) if timestamp_ms == *last_ms && last != value => {
            Err(AppendError::DuplicateTimestamp)
        }
        Some((last_ms, _)) => Ok(timestamp_ms > *last_ms),
        None => Ok(true),
    }
}

struct MemorySeries {
    labels: Labels,
    samples: Vec<(i64, SampleValue)>,
    starts_ms: BTreeMap<i64, i64>,
}

impl Series for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.visit_with_starts(&mut |column, _| visit(column))
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        let is_float = |s: &(i64, SampleValue)| matches!(s.1, SampleValue::Float(_));
        for run in self.samples.chunk_by(|a, b| is_float(a) == is_float(b)) {
            let timestamps_ms: Vec<i64> = run.iter().map(|(t, _)| *t).collect();
            let start = |t| self.starts_ms.get(t).copied().unwrap_or(0);
            let starts_ms: Vec<i64> = timestamps_ms.iter().map(start).collect();
            let floats: Vec<f64> = run.iter().filter_map(|(_, v)| v.as_float()).collect();
            let histograms: Vec<Arc<Histogram>> = run
                .iter()
                .filter_map(|(_, v)| match v {
                    SampleValue::Histogram(h) => Some(h.clone()),
                    SampleValue::Float(_) => None,
                })
                .collect();
            if floats.is_empty() {
                let column = Column::Histograms {
                    timestamps_ms: &timestamps_ms,
                    values: &histograms,
                };
                visit(column, &starts_ms);
            } else {
                let column = Column::Floats {
                    timestamps_ms: &timestamps_ms,
                    values: &floats,
                };
                visit(column, &starts_ms);
            }
        }
        Ok(())
    }
}

impl MemoryStore {
    /// The series with the labels that `shown` gives for theirs.
    fn select_shown(
        &self,
        query: &SelectQuery<'_>,
        shown: impl Fn(&Labels) -> Labels,
    ) -> Vec<Box<dyn Series>> {
        if query.start_ms > query.end_ms {
            return Vec::new();
        }
        let series = self.read();
        let starts = self.starts_ms.read();
        let starts = starts.unwrap_or_else(PoisonError::into_inner);
        let matching = series
            .iter()
            .filter(|(labels, _)| all_match(query.matchers, labels));
        matching
            .map(|(labels, samples)| {
                let range = samples.range(query.start_ms..=query.end_ms);
                let samples = range.map(|(t, v)| (*t, v.clone())).collect();
                Box::new(MemorySeries {
                    starts_ms: starts.get(labels).cloned().unwrap_or_default(),
                    labels: shown(labels),
                    samples,
                }) as Box<dyn Series>
            })
            .collect()
    }
}

impl Queryable for MemoryStore {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        Ok(self.select_shown(query, Labels::clone))
    }

    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let shown = |labels: &Labels| labels.filtered(|label| names.contains(&label.name));
        Ok(self.select_shown(query, shown))
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

//! Reading: series with their chunks, label names, label values.
//!
//! A selection takes the chunks of its series under one lock, so it sees each commit whole or not
//! at all; decoding is done later, without the lock, when the series is visited.

use std::sync::Arc;

use narthex_model::{CancelToken, Labels};
use narthex_storage::{Column, LabelQuery, Queryable, SelectQuery, Series, StorageError};

use crate::chunk::{SealedChunk, decode};
use crate::db::Db;
use crate::head::Head;
use crate::matching::matching;
use crate::postings::Values;

/// Whether the query was canceled is asked once for so many series.
const CANCEL_INTERVAL: usize = 1024;

impl Queryable for Db {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        if query.start_ms > query.end_ms {
            return Ok(Vec::new());
        }
        let mut selected = collect(&self.head(), query)?;
        selected.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let boxed = |series| Box::new(series) as Box<dyn Series>;
        Ok(selected.into_iter().map(boxed).collect())
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        let head = self.head();
        let mut names: Vec<Arc<str>> = if query.matcher_sets.is_empty() {
            let in_range = |values: &Values| {
                values
                    .values()
                    .any(|ids| ids.iter().any(|id| is_in_range(&head, id, query)))
            };
            let all = head.postings().iter();
            let all = all.filter(|(_, values)| in_range(values));
            all.map(|(name, _)| name.clone()).collect()
        } else {
            let series = matching_in_range(&head, query)?;
            let labels = series.iter().flat_map(Labels::iter);
            labels.map(|label| label.name.clone()).collect()
        };
        drop(head);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        let head = self.head();
        let mut values: Vec<Arc<str>> = if query.matcher_sets.is_empty() {
            let all = head.postings().values(name).into_iter().flatten();
            let all = all.filter(|(_, ids)| ids.iter().any(|id| is_in_range(&head, id, query)));
            all.map(|(value, _)| value.clone()).collect()
        } else {
            let series = matching_in_range(&head, query)?;
            let values = series.iter().filter_map(|labels| labels.get_shared(name));
            values.cloned().collect()
        };
        drop(head);
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        let mut series = matching_in_range(&self.head(), query)?;
        series.sort_unstable();
        Ok(series)
    }
}

/// A series of a selection, with the chunks that reach into the range.
struct HeadSeries {
    labels: Labels,
    chunks: Vec<SealedChunk>,
    start_ms: i64,
    end_ms: i64,
}

impl Series for HeadSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let (mut timestamps_ms, mut values) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            decode(&chunk.bytes, &mut timestamps_ms, &mut values)
                .map_err(|error| StorageError::Internal(format!("{}: {error}", self.labels)))?;
            let from = timestamps_ms.partition_point(|time| *time < self.start_ms);
            let to = timestamps_ms.partition_point(|time| *time <= self.end_ms);
            if from < to {
                visit(Column::Floats {
                    timestamps_ms: &timestamps_ms[from..to],
                    values: &values[from..to],
                });
            }
        }
        Ok(())
    }
}

fn collect(head: &Head, query: &SelectQuery<'_>) -> Result<Vec<HeadSeries>, StorageError> {
    let mut selected = Vec::new();
    for (count, id) in matching(head, query.matchers).into_iter().enumerate() {
        if count % CANCEL_INTERVAL == 0 {
            check(&query.cancel)?;
        }
        let Some(series) = head.get(id) else { continue };
        let chunks = series.chunks_in(query.start_ms, query.end_ms);
        if !chunks.is_empty() {
            selected.push(HeadSeries {
                labels: series.labels.clone(),
                chunks,
                start_ms: query.start_ms,
                end_ms: query.end_ms,
            });
        }
    }
    Ok(selected)
}

/// Labels of the series that meet any of the sets and have a chunk in the range, unsorted.
fn matching_in_range(head: &Head, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
    let mut ids = match query.matcher_sets {
        [] => matching(head, &[]),
        sets => {
            let mut ids = Vec::new();
            for set in sets {
                check(&query.cancel)?;
                ids.append(&mut matching(head, set));
            }
            ids
        }
    };
    if query.matcher_sets.len() > 1 {
        ids.sort_unstable();
        ids.dedup();
    }
    check(&query.cancel)?;
    let in_range = ids.into_iter().filter(|id| is_in_range(head, *id, query));
    let labels = in_range.filter_map(|id| Some(head.get(id)?.labels.clone()));
    Ok(labels.collect())
}

fn is_in_range(head: &Head, id: u32, query: &LabelQuery<'_>) -> bool {
    query.start_ms <= query.end_ms
        && head
            .get(id)
            .is_some_and(|series| series.overlaps(query.start_ms, query.end_ms))
}

fn check(cancel: &CancelToken) -> Result<(), StorageError> {
    match cancel.reason() {
        Some(_) => Err(StorageError::Canceled),
        None => Ok(()),
    }
}

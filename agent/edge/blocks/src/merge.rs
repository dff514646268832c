//! Joining series of several sources: blocks with each other, blocks with the head.
//!
//! Keeps true: what comes out is sorted by labels and, within a series, ascending in time with one
//! sample per time. Of several samples at one time that of the first source stays, so the result
//! depends on the order of the sources alone. Where a histogram follows one of another source, its
//! hint on counter resets is made unknown: it was said of another predecessor.
//!
//! Parts of a series that do not overlap are visited one after another, nothing is copied; only
//! parts that overlap are read into memory and joined sample by sample.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::{Histogram, Labels};
use narthex_storage::{Column, Series, StorageError};

/// Series sorted by labels, made when they are asked for.
pub type SeriesStream<'a> = Box<dyn Iterator<Item = Result<Box<dyn Series>, StorageError>> + 'a>;

/// How many samples are handed on at once where sources overlap.
const RUN_SAMPLES: usize = 1024;

/// Joins lists of series, each sorted by labels.
pub fn merge(mut sources: Vec<Vec<Box<dyn Series>>>) -> Vec<Box<dyn Series>> {
    sources.retain(|source| !source.is_empty());
    if sources.len() < 2 {
        return sources.pop().unwrap_or_default();
    }
    let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
    let mut merged = Vec::with_capacity(longest);
    let sources = sources
        .into_iter()
        .map(|source| source.into_iter().map(Ok))
        .collect();
    // Sources that are lists do not fail.
    merged.extend(Grouped::new(sources).flatten().map(join));
    merged
}

/// Joins streams of series, each sorted by labels; only one series of each is in memory.
pub fn merge_streams<'a>(sources: Vec<SeriesStream<'a>>) -> SeriesStream<'a> {
    Box::new(Grouped::new(sources).map(|group| group.map(join)))
}

/// One series of parts that have the same labels, the first source's part first.
pub fn join(mut parts: Vec<Box<dyn Series>>) -> Box<dyn Series> {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            parts.push(last);
            Box::new(MergedSeries::new(parts))
        }
        (None, _) => Box::new(MergedSeries::new(parts)),
    }
}

/// What the streams that are joined give.
pub(crate) trait Labelled {
    fn label_set(&self) -> &Labels;
}

impl Labelled for Box<dyn Series> {
    fn label_set(&self) -> &Labels {
        self.labels()
    }
}

/// Puts together what has the same labels in several sorted streams, in the order of the streams.
pub(crate) struct Grouped<T, I> {
    sources: Vec<I>,
    heads: BinaryHeap<Head<T>>,
    started: bool,
    /// Ends the stream once it was given out.
    failure: Option<StorageError>,
}

impl<T: Labelled, I: Iterator<Item = Result<T, StorageError>>> Grouped<T, I> {
    pub(crate) fn new(sources: Vec<I>) -> Self {
        Grouped {
            heads: BinaryHeap::with_capacity(sources.len()),
            sources,
            started: false,
            failure: None,
        }
    }

    fn advance(&mut self, source: usize) {
        match self.sources.get_mut(source).and_then(Iterator::next) {
            Some(Ok(item)) => self.heads.push(Head { item, source }),
            Some(Err(error)) => self.failure = Some(error),
            None => {}
        }
    }
}

impl<T: Labelled, I: Iterator<Item = Result<T, StorageError>>> Iterator for Grouped<T, I> {
    type Item = Result<Vec<T>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            (0..self.sources.len()).for_each(|source| self.advance(source));
        }
        let mut group: Vec<T> = Vec::new();
        while self.failure.is_none() {
            let same = match (self.heads.peek(), group.first()) {
                (Some(next), Some(first)) => next.item.label_set() == first.label_set(),
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !same {
                break;
            }
            if let Some(head) = self.heads.pop() {
                group.push(head.item);
                self.advance(head.source);
            }
        }
        if let Some(error) = self.failure.take() {
            self.heads.clear();
            self.sources.clear();
            return Some(Err(error));
        }
        (!group.is_empty()).then_some(Ok(group))
    }
}

/// The next of a stream; the greatest is the one with the smallest labels, as the heap wants it.
struct Head<T> {
    item: T,
    source: usize,
}

impl<T: Labelled> Ord for Head<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let labels = other.item.label_set().cmp(self.item.label_set());
        labels.then(other.source.cmp(&self.source))
    }
}

impl<T: Labelled> PartialOrd for Head<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Labelled> PartialEq for Head<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Labelled> Eq for Head<T> {}

/// A series whose samples come from several sources.
struct MergedSeries {
    labels: Labels,
    /// Ascending in time, save for those that overlap: they stand in the order of the sources.
    parts: Vec<Box<dyn Series>>,
    /// Where in `parts` each group of overlapping ones ends; empty if none overlaps.
    cluster_ends: Box<[usize]>,
    range_ms: Option<(i64, i64)>,
}

impl MergedSeries {
    fn new(parts: Vec<Box<dyn Series>>) -> Self {
        let first = parts.first().map(|part| part.labels().clone());
        let mut series = MergedSeries {
            labels: first.unwrap_or_default(),
            range_ms: whole_range_ms(&parts),
            parts,
            cluster_ends: Box::default(),
        };
        let ranges = series.parts.iter().map(|part| part.time_range_ms());
        let follows = |a: &Option<(i64, i64)>, b: &Option<(i64, i64)>| match (a, b) {
            (Some(a), Some(b)) => a.1 < b.0,
            _ => false,
        };
        if !ranges.is_sorted_by(follows) {
            let clusters = clusters(std::mem::take(&mut series.parts), |part| {
                part.time_range_ms()
            });
            let mut ends = Vec::with_capacity(clusters.len());
            for cluster in clusters {
                series.parts.extend(cluster);
                ends.push(series.parts.len());
            }
            series.cluster_ends = ends.into();
        }
        series
    }

    fn visit_clusters(&self, with_starts: bool, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        for (at, cluster) in self.clusters().enumerate() {
            match cluster {
                [only] if at == 0 => visit_part(only.as_ref(), with_starts, visit)?,
                [only] => visit_after_another(only.as_ref(), with_starts, visit)?,
                several => visit_interleaved(several, with_starts, visit)?,
            }
        }
        Ok(())
    }

    /// Parts that overlap, together; ascending in time.
    fn clusters(&self) -> impl Iterator<Item = &[Box<dyn Series>]> {
        let count = match self.cluster_ends.len() {
            0 => self.parts.len(),
            count => count,
        };
        let end = |cluster: usize| {
            self.cluster_ends
                .get(cluster)
                .copied()
                .unwrap_or(cluster + 1)
        };
        (0..count).map(move |cluster| {
            let start = cluster.checked_sub(1).map_or(0, end);
            self.parts.get(start..end(cluster)).unwrap_or_default()
        })
    }
}

/// Takes a run of samples with the starts of their counters, which may be none.
type Visit<'a> = dyn FnMut(Column<'_>, &[i64]) + 'a;

/// Visits a part, with starts if they are asked for.
fn visit_part(
    part: &dyn Series,
    with_starts: bool,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    match with_starts {
        true => part.visit_with_starts(visit),
        false => part.visit(&mut |column| visit(column, &[])),
    }
}

fn whole_range_ms(parts: &[Box<dyn Series>]) -> Option<(i64, i64)> {
    let mut whole: Option<(i64, i64)> = None;
    for part in parts {
        let (start_ms, end_ms) = part.time_range_ms()?;
        whole = Some(whole.map_or((start_ms, end_ms), |(first_ms, last_ms)| {
            (first_ms.min(start_ms), last_ms.max(end_ms))
        }));
    }
    whole
}

/// Splits parts into groups that do not overlap with each other, ascending in time. The order of
/// the parts of one group is kept.
pub(crate) fn clusters<T>(
    parts: Vec<T>,
    range_ms: impl Fn(&T) -> Option<(i64, i64)>,
) -> Vec<Vec<T>> {
    let mut ranged: Vec<((i64, i64), usize, T)> = parts
        .into_iter()
        .enumerate()
        .map(|(at, part)| (range_ms(&part).unwrap_or((i64::MIN, i64::MAX)), at, part))
        .collect();
    ranged.sort_by_key(|(range, at, _)| (range.0, *at));
    let mut found: Vec<Vec<(usize, T)>> = Vec::new();
    let mut end_ms = None;
    for ((first_ms, last_ms), at, part) in ranged {
        match (found.last_mut(), end_ms) {
            (Some(cluster), Some(end)) if first_ms <= end => {
                cluster.push((at, part));
                end_ms = Some(last_ms.max(end));
            }
            _ => {
                found.push(vec![(at, part)]);
                end_ms = Some(last_ms);
            }
        }
    }
    let in_order = |mut cluster: Vec<(usize, T)>| {
        cluster.sort_by_key(|(at, _)| *at);
        cluster.into_iter().map(|(_, part)| part).collect()
    };
    found.into_iter().map(in_order).collect()
}

impl Series for MergedSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.visit_clusters(false, &mut |column, _| visit(column))
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.visit_clusters(true, visit)
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        self.range_ms
    }

    /// That of the newest part: blocks hold series in the order in which they are read anyway.
    fn place(&self) -> u64 {
        let places = self.parts.iter().map(|part| part.place());
        places.max().unwrap_or(0)
    }
}

/// Visits a part whose first sample follows one of another part.
fn visit_after_another(
    part: &dyn Series,
    with_starts: bool,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    let mut is_first = true;
    visit_part(part, with_starts, &mut |column, starts_ms| {
        let was_first = std::mem::replace(&mut is_first, false);
        let Column::Histograms {
            timestamps_ms,
            values,
        } = column
        else {
            return visit(column, starts_ms);
        };
        let (true, [first, rest @ ..]) = (was_first, values) else {
            return visit(column, starts_ms);
        };
        if !speaks_of_predecessor(first) {
            return visit(column, starts_ms);
        }
        let (first_time, rest_times) = timestamps_ms.split_at(1);
        let (first_start, rest_starts) = starts_ms.split_at(starts_ms.len().min(1));
        let column = Column::Histograms {
            timestamps_ms: first_time,
            values: &[without_hint(first)],
        };
        visit(column, first_start);
        if !rest.is_empty() {
            let column = Column::Histograms {
                timestamps_ms: rest_times,
                values: rest,
            };
            visit(column, rest_starts);
        }
    })
}

fn speaks_of_predecessor(histogram: &Histogram) -> bool {
    matches!(
        histogram.counter_reset,
        CounterReset::Reset | CounterReset::NotReset
    )
}

/// The histogram for a place where its predecessor is another one than it was written after.
pub(crate) fn without_hint(histogram: &Arc<Histogram>) -> Arc<Histogram> {
    if !speaks_of_predecessor(histogram) {
        return histogram.clone();
    }
    Arc::new(Histogram {
        counter_reset: CounterReset::Unknown,
        ..Histogram::clone(histogram)
    })
}

/// Joins parts that overlap, sample by sample.
fn visit_interleaved(
    parts: &[Box<dyn Series>],
    with_starts: bool,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    let mut cursors = Vec::with_capacity(parts.len());
    for part in parts {
        cursors.push(Cursor::read(part.as_ref(), with_starts)?);
    }
    let mut output = Output::new(visit);
    let mut last_source = None;
    while let Some((source, limit_ms)) = earliest(&cursors) {
        let Some(cursor) = cursors.get_mut(source) else {
            break;
        };
        let last_ms = cursor.take_until(limit_ms, last_source == Some(source), &mut output);
        last_source = Some(source);
        for other in &mut cursors {
            other.pass_over(last_ms);
        }
    }
    output.flush();
    Ok(())
}

/// Whose sample is next, and the time at which another one's turn comes.
fn earliest(cursors: &[Cursor]) -> Option<(usize, i64)> {
    let mut next: Option<(usize, i64)> = None;
    let mut limit_ms = i64::MAX;
    for (source, cursor) in cursors.iter().enumerate() {
        let Some(time_ms) = cursor.time_ms() else {
            continue;
        };
        match next {
            Some((_, best_ms)) if time_ms >= best_ms => limit_ms = limit_ms.min(time_ms),
            Some((_, best_ms)) => {
                limit_ms = limit_ms.min(best_ms);
                next = Some((source, time_ms));
            }
            None => next = Some((source, time_ms)),
        }
    }
    next.map(|(source, _)| (source, limit_ms))
}

enum Values {
    Floats(Vec<f64>),
    Histograms(Vec<Arc<Histogram>>),
}

/// Samples of one kind that follow each other.
struct Run {
    times_ms: Vec<i64>,
    values: Values,
    /// None, or of the first so many samples.
    starts_ms: Vec<i64>,
}

/// The samples of one part, and how far they are taken.
#[derive(Default)]
struct Cursor {
    /// Not empty, each of them.
    runs: Vec<Run>,
    run: usize,
    at: usize,
}

impl Cursor {
    fn read(part: &dyn Series, with_starts: bool) -> Result<Self, StorageError> {
        let mut runs: Vec<Run> = Vec::new();
        visit_part(part, with_starts, &mut |column, starts_ms| match column {
            Column::Floats {
                timestamps_ms,
                values,
            } => match runs.last_mut() {
                Some(Run {
                    times_ms,
                    values: Values::Floats(floats),
                    starts_ms: starts,
                }) => {
                    add_starts(starts, times_ms.len(), starts_ms);
                    times_ms.extend_from_slice(timestamps_ms);
                    floats.extend_from_slice(values);
                }
                _ => runs.push(Run {
                    times_ms: timestamps_ms.to_vec(),
                    values: Values::Floats(values.to_vec()),
                    starts_ms: starts_ms.to_vec(),
                }),
            },
            Column::Histograms {
                timestamps_ms,
                values,
            } => runs.push(Run {
                times_ms: timestamps_ms.to_vec(),
                values: Values::Histograms(values.to_vec()),
                starts_ms: starts_ms.to_vec(),
            }),
        })?;
        runs.retain(|run| !run.times_ms.is_empty());
        Ok(Cursor {
            runs,
            run: 0,
            at: 0,
        })
    }

    fn time_ms(&self) -> Option<i64> {
        self.runs.get(self.run)?.times_ms.get(self.at).copied()
    }

    fn step(&mut self, count: usize) {
        self.at += count;
        if self
            .runs
            .get(self.run)
            .is_some_and(|run| self.at >= run.times_ms.len())
        {
            self.run += 1;
            self.at = 0;
        }
    }

    fn pass_over(&mut self, until_ms: i64) {
        while self.time_ms().is_some_and(|time_ms| time_ms <= until_ms) {
            self.step(1);
        }
    }

    /// Hands on the next sample and those of its run before `limit_ms`; gives the last one's time.
    fn take_until(&mut self, limit_ms: i64, continues: bool, output: &mut Output<'_>) -> i64 {
        let Some(run) = self.runs.get(self.run) else {
            return i64::MIN;
        };
        let rest = run.times_ms.get(self.at..).unwrap_or(&[]);
        let count = rest.partition_point(|time_ms| *time_ms < limit_ms).max(1);
        let taken = rest.get(..count).unwrap_or(rest);
        let range = self.at..self.at + taken.len();
        let starts = run.starts_ms.get(range.start..).unwrap_or(&[]);
        let starts = starts.get(..taken.len()).unwrap_or(starts);
        match &run.values {
            Values::Floats(floats) => {
                output.floats(taken, floats.get(range).unwrap_or(&[]), starts);
            }
            Values::Histograms(histograms) => {
                let histograms = histograms.get(range).unwrap_or(&[]);
                output.histograms(taken, histograms, starts, continues);
            }
        }
        let last_ms = taken.last().copied().unwrap_or(i64::MIN);
        self.step(taken.len());
        last_ms
    }
}

/// Adds the starts of samples, which may be none, behind those of `count` samples.
fn add_starts(starts_ms: &mut Vec<i64>, count: usize, added_ms: &[i64]) {
    if !added_ms.is_empty() {
        starts_ms.resize(count, 0);
        starts_ms.extend_from_slice(added_ms);
    }
}

/// Collects samples to runs that are worth a call.
struct Output<'a> {
    visit: &'a mut Visit<'a>,
    times_ms: Vec<i64>,
    /// One of the two is empty.
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
    /// None, or of the first so many samples.
    starts_ms: Vec<i64>,
}

impl<'a> Output<'a> {
    fn new(visit: &'a mut Visit<'a>) -> Self {
        Output {
            visit,
            times_ms: Vec::new(),
            floats: Vec::new(),
            histograms: Vec::new(),
            starts_ms: Vec::new(),
        }
    }

    fn floats(&mut self, times_ms: &[i64], values: &[f64], starts_ms: &[i64]) {
        if !self.histograms.is_empty() || self.times_ms.len() >= RUN_SAMPLES {
            self.flush();
        }
        add_starts(&mut self.starts_ms, self.times_ms.len(), starts_ms);
        self.times_ms.extend_from_slice(times_ms);
        self.floats.extend_from_slice(values);
    }

    fn histograms(
        &mut self,
        times_ms: &[i64],
        values: &[Arc<Histogram>],
        starts_ms: &[i64],
        continues: bool,
    ) {
        if !self.floats.is_empty() || self.times_ms.len() >= RUN_SAMPLES {
            self.flush();
        }
        add_starts(&mut self.starts_ms, self.times_ms.len(), starts_ms);
        self.times_ms.extend_from_slice(times_ms);
        let (first, rest) = values.split_at(usize::from(!continues).min(values.len()));
        self.histograms.extend(first.iter().map(without_hint));
        self.histograms.extend_from_slice(rest);
    }

    fn flush(&mut self) {
        let timestamps_ms = self.times_ms.as_slice();
        if !self.starts_ms.is_empty() {
            self.starts_ms.resize(timestamps_ms.len(), 0);
        }
        if !self.floats.is_empty() {
            let column = Column::Floats {
                timestamps_ms,
                values: &self.floats,
            };
            (self.visit)(column, &self.starts_ms);
        } else if !self.histograms.is_empty() {
            let column = Column::Histograms {
                timestamps_ms,
                values: &self.histograms,
            };
            (self.visit)(column, &self.starts_ms);
        }
        self.times_ms.clear();
        self.floats.clear();
        self.histograms.clear();
        self.starts_ms.clear();
    }
}

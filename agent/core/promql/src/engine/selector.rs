//! Instant selectors: at each step the last sample of the lookback window.

use std::sync::Arc;

use narthex_model::{Histogram, Label, METRIC_NAME, MatchOp, Matcher, is_stale_nan};
use narthex_storage::{Column as Samples, SelectQuery, Series};

use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, is_name};
use super::query::Query;
use super::range::sizes;
use super::scan::{Read, scan};
use super::statistics::{Reader, Use};
use super::steps::{Shift, Steps};

/// What a selected sample gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Give {
    Value,
    /// Its own time in seconds, for `timestamp()`.
    Timestamp,
    /// When it started in seconds, 0 if that is not known, for `start_timestamp()`.
    StartTimestamp,
    /// As `Timestamp`, of an info series, which has no histograms.
    InfoTime,
}

/// What is selected.
#[derive(Clone, Copy)]
pub(super) struct Selection<'s> {
    pub matchers: &'s [Matcher],
    /// Names of the labels that anyone looks at; None: all of them.
    pub labels: Option<&'s [Arc<str>]>,
}

impl<'s> From<&'s [Matcher]> for Selection<'s> {
    fn from(matchers: &'s [Matcher]) -> Self {
        Selection {
            matchers,
            labels: None,
        }
    }
}

pub(super) fn instant_selector<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    selection: Selection<'_>,
    shift: Shift,
    give: Give,
    wanted: Use,
) -> Result<Vector<'q>, QueryError> {
    let (after, last) = shift.reach(steps, query.lookback_ms, 0);
    let stored = if steps.count == 0 {
        Stored::default()
    } else {
        select(query, selection, after, last)?
    };
    let infos = series_infos(&stored.series);
    let selector = InstantSelector {
        query,
        steps,
        shift,
        give,
        wanted,
    };
    scan(query, steps, stored, infos, selector)
}

/// Series of the store, sorted by all their labels.
#[derive(Default)]
pub(super) struct Stored {
    pub series: Vec<Box<dyn Series>>,
    /// Also without their names they are not the same, though they may look alike.
    pub distinct: bool,
}

/// The series with samples after `after_ms`, up to `last_ms`.
pub(super) fn select<'q>(
    query: &'q Query<'q>,
    selection: Selection<'_>,
    after_ms: i64,
    last_ms: i64,
) -> Result<Stored, QueryError> {
    query.check_canceled()?;
    let Selection { matchers, labels } = selection;
    let name_is_fixed = fixes_name(matchers);
    if let Some(names) = labels.filter(|_| name_is_fixed) {
        let series = select_anew(query, matchers, Some(names), after_ms, last_ms)?;
        if have_plain_names(&series) {
            let distinct = true;
            return Ok(Stored { series, distinct });
        }
    }
    let select = || select_anew(query, matchers, None, after_ms, last_ms);
    let series = query
        .selections
        .select(matchers, after_ms, last_ms, select)?;
    let distinct = name_is_fixed && have_plain_names(&series);
    Ok(Stored { series, distinct })
}

/// Whether all series that meet the matchers have the same metric name.
pub(super) fn fixes_name(matchers: &[Matcher]) -> bool {
    let mut matchers = matchers.iter();
    matchers.any(|matcher| &*matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
}

/// Whether nothing goes with the metric's name when it goes.
fn have_plain_names(series: &[Box<dyn Series>]) -> bool {
    let goes_too = |label: &Label| is_name(label) && &*label.name != METRIC_NAME;
    let mut labels = series.iter().flat_map(|series| series.labels().iter());
    !labels.any(goes_too)
}

fn select_anew(
    query: &Query<'_>,
    matchers: &[Matcher],
    labels: Option<&[Arc<str>]>,
    after_ms: i64,
    last_ms: i64,
) -> Result<Vec<Box<dyn Series>>, QueryError> {
    let select = SelectQuery {
        matchers,
        start_ms: after_ms.saturating_add(1),
        end_ms: last_ms,
        cancel: query.cancel.clone(),
    };
    let found = match labels {
        Some(names) => query.store.select_labels(&select, names),
        None => query.store.select(&select),
    };
    found.map_err(|error| {
        // A store that stopped knows only that it was told to; the token knows why.
        match query.check_canceled() {
            Err(reason) => reason,
            Ok(()) => match QueryError::from(error) {
                QueryError::Storage(message) => {
                    QueryError::Storage(format!("expanding series: {message}"))
                }
                other => other,
            },
        }
    })
}

pub(super) fn series_infos(stored: &[Box<dyn Series>]) -> Vec<SeriesInfo> {
    let infos = stored.iter().map(|s| SeriesInfo::new(s.labels().clone()));
    infos.collect()
}

struct InstantSelector<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    shift: Shift,
    give: Give,
    wanted: Use,
}

impl Read for InstantSelector<'_> {
    type State = ();

    fn state(&self) -> Result<(), QueryError> {
        Ok(())
    }

    fn read(
        &self,
        (): &mut (),
        series: &dyn Series,
        column: Column,
        all_read: &mut usize,
    ) -> Result<Column, QueryError> {
        let mut fill = Fill {
            column,
            steps: self.steps,
            shift: self.shift,
            lookback_ms: self.query.lookback_ms,
            give: self.give,
            next_step: 0,
            next_ref_ms: self.shift.apply(self.steps.start_ms),
            last: None,
            last_histogram: None,
            met_histogram: false,
            histograms: Reader::new(self.wanted),
            result: Ok(()),
        };
        let mut read = 0;
        if self.give == Give::StartTimestamp {
            series.visit_with_starts(&mut |samples, starts| read += fill.take(samples, starts))?;
        } else if self.steps.count == 1 {
            series.visit_newest(&mut |samples| read += fill.take(samples, &[]))?;
        } else {
            series.visit(&mut |samples| read += fill.take(samples, &[]))?;
        }
        fill.advance(i64::MAX);
        fill.result?;
        if fill.met_histogram {
            return Err(QueryError::execution(format!(
                "this should be an info metric, with float samples: {}",
                series.labels()
            )));
        }
        let histograms = || {
            let found = fill.column.histograms().iter();
            found.map(|(step, histogram)| (*step, histogram.size_in_samples()))
        };
        let floats = fill.column.floats();
        *all_read += read;
        let all = floats.count() + histograms().map(|(_, size)| size).sum::<usize>();
        self.query.count_queryable(all, |tell| {
            floats.iter().for_each(|step| tell(step, 1));
            histograms().for_each(|(step, size)| tell(step, size));
        });
        Ok(fill.column)
    }
}

/// Walks over samples and steps at the same time.
struct Fill {
    column: Column,
    steps: Steps,
    shift: Shift,
    lookback_ms: i64,
    give: Give,
    /// The first step that has not been decided.
    next_step: usize,
    /// The time it looks at.
    next_ref_ms: i64,
    last: Option<Sample>,
    /// The last sample that is a histogram; apart, so that walking over floats copies only numbers.
    last_histogram: Option<Arc<Histogram>>,
    histograms: Reader,
    /// A step found a histogram where only floats should be.
    met_histogram: bool,
    /// Whether there was room for all histograms.
    result: Result<(), QueryError>,
}

#[derive(Clone, Copy)]
struct Sample {
    time_ms: i64,
    /// 0: not known, or not of interest.
    start_ms: i64,
    found: Found,
}

#[derive(Clone, Copy)]
enum Found {
    Float(f64),
    Histogram,
    Stale,
}

impl Fill {
    /// Gives the number of samples.
    fn take(&mut self, samples: Samples<'_>, starts_ms: &[i64]) -> usize {
        let mut starts_ms = starts_ms.iter().copied();
        match samples {
            Samples::Floats {
                timestamps_ms,
                values,
            } => {
                for (time_ms, value) in timestamps_ms.iter().zip(values) {
                    let found = if is_stale_nan(*value) {
                        Found::Stale
                    } else {
                        Found::Float(*value)
                    };
                    self.sample(*time_ms, starts_ms.next(), found);
                }
                values.len()
            }
            Samples::Histograms {
                timestamps_ms,
                values,
            } => {
                for (time_ms, value) in timestamps_ms.iter().zip(values) {
                    let found = if is_stale_nan(value.sum) {
                        Found::Stale
                    } else {
                        Found::Histogram
                    };
                    self.sample(*time_ms, starts_ms.next(), found);
                    if let Found::Histogram = found {
                        self.last_histogram = Some(self.histograms.read(value));
                    }
                }
                sizes(values)
            }
        }
    }

    fn sample(&mut self, time_ms: i64, start_ms: Option<i64>, found: Found) {
        if self.next_ref_ms < time_ms {
            self.advance(time_ms);
        }
        self.last = Some(Sample {
            time_ms,
            start_ms: start_ms.unwrap_or(0),
            found,
        });
    }

    /// Decides the steps that look at a time before `until_ms`, where the next sample is.
    fn advance(&mut self, until_ms: i64) {
        while self.next_step < self.steps.count
            && (self.next_ref_ms < until_ms || until_ms == i64::MAX)
        {
            if let Some(sample) = self.last
                && sample.time_ms > self.next_ref_ms.saturating_sub(self.lookback_ms)
            {
                self.give(sample);
            }
            self.next_step += 1;
            self.next_ref_ms = self.shift.apply(self.steps.time_ms(self.next_step));
        }
    }

    fn give(&mut self, sample: Sample) {
        let seconds = super::functions::time::seconds;
        match (sample.found, self.give) {
            (Found::Stale, _) => {}
            (Found::Float(value), Give::Value) => self.column.set(self.next_step, value),
            (Found::Float(_) | Found::Histogram, Give::Timestamp)
            | (Found::Float(_), Give::InfoTime) => {
                self.column.set(self.next_step, seconds(sample.time_ms));
            }
            (Found::Float(_) | Found::Histogram, Give::StartTimestamp) => {
                self.column.set(self.next_step, seconds(sample.start_ms));
            }
            (Found::Histogram, Give::Value) => {
                if let Some(histogram) = self.last_histogram.clone() {
                    let set = self.column.set_histogram(self.next_step, histogram);
                    self.result = std::mem::replace(&mut self.result, Ok(())).and(set);
                }
            }
            (Found::Histogram, Give::InfoTime) => self.met_histogram = true,
        }
    }
}

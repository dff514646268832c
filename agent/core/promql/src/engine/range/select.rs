//! Range vectors out of the store and out of subqueries.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::{Histogram, is_stale_nan};
use narthex_storage::{Column, Series};

use super::{RangeSource, Samples, sizes};
use crate::engine::error::QueryError;
use crate::engine::operator::{SeriesInfo, Vector, exhausted};
use crate::engine::query::Query;
use crate::engine::selector::{Selection, Stored, select, series_infos};
use crate::engine::statistics::{Reader, Use};
use crate::engine::steps::{Shift, Steps};

/// All samples that windows look at which reach so far back and ahead from each step.
pub(in crate::engine) fn stored_ranges<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    selection: Selection<'_>,
    shift: Shift,
    (back_ms, ahead_ms): (i64, i64),
    wanted: Use,
) -> Result<Box<dyn RangeSource + 'q>, QueryError> {
    let (after, last) = shift.reach(steps, back_ms, ahead_ms);
    let stored = if steps.count == 0 {
        Stored::default()
    } else {
        select(query, selection, after, last)?
    };
    Ok(Box::new(StoredRanges {
        query,
        infos: series_infos(&stored.series),
        distinct: stored.distinct,
        series: stored.series.into_iter(),
        wanted,
    }))
}

/// Series of the store, and what is to be read of them.
pub(in crate::engine) struct StoredUse {
    pub stored: Stored,
    pub wanted: Use,
}

struct StoredRanges<'q> {
    query: &'q Query<'q>,
    infos: Vec<SeriesInfo>,
    distinct: bool,
    series: std::vec::IntoIter<Box<dyn Series>>,
    wanted: Use,
}

impl RangeSource for StoredRanges<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn next(&mut self, samples: &mut Samples) -> Result<(), QueryError> {
        let series = self.series.next().ok_or_else(exhausted)?;
        self.query.check_canceled()?;
        let mut read = 0;
        let result = read_samples(self.query, &*series, self.wanted, samples, &mut read);
        self.query.budget.count_read(read);
        result
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.series.next().map(drop).ok_or_else(exhausted)
    }

    fn take_stored(&mut self) -> Option<StoredUse> {
        let series = std::mem::take(&mut self.series);
        Some(StoredUse {
            stored: Stored {
                series: series.collect(),
                distinct: self.distinct,
            },
            wanted: self.wanted,
        })
    }
}

/// Replaces `samples` by those of a stored series.
pub(super) fn read_samples(
    query: &Query<'_>,
    series: &dyn Series,
    wanted: Use,
    samples: &mut Samples,
    all_read: &mut usize,
) -> Result<(), QueryError> {
    samples.clear();
    let mut read = 0;
    let mut reader = Reader::new(wanted);
    let with_starts = query.use_start_timestamps;
    let mut take = |stored: Column<'_>, starts_ms: &[i64]| match stored {
        Column::Floats {
            timestamps_ms,
            values,
        } => {
            read += values.len();
            // Most often nothing is stale, and whole runs can be copied.
            if !with_starts && !values.iter().any(|value| is_stale_nan(*value)) {
                samples.times_ms.extend_from_slice(timestamps_ms);
                samples.values.extend_from_slice(values);
                return;
            }
            for (at, (time_ms, value)) in timestamps_ms.iter().zip(values).enumerate() {
                if is_stale_nan(*value) {
                    continue;
                }
                samples.push(*time_ms, *value);
                if with_starts {
                    let start_ms = starts_ms.get(at).copied();
                    samples.starts_ms.push(start_ms.unwrap_or(0));
                }
            }
        }
        Column::Histograms {
            timestamps_ms,
            values,
        } => {
            read += sizes(values);
            for (at, (time_ms, value)) in timestamps_ms.iter().zip(values).enumerate() {
                if is_stale_nan(value.sum) {
                    continue;
                }
                samples.push_histogram(*time_ms, reader.read(value));
                if with_starts {
                    let start_ms = starts_ms.get(at).copied();
                    samples.histogram_starts_ms.push(start_ms.unwrap_or(0));
                }
            }
        }
    };
    if with_starts {
        series.visit_with_starts(&mut take)?;
    } else {
        series.visit(&mut |stored| take(stored, &[]))?;
    }
    *all_read += read;
    samples.account()
}

/// The results of a subquery's steps as samples.
pub(in crate::engine) struct SubqueryRanges<'q> {
    input: Vector<'q>,
    steps: Steps,
}

impl<'q> SubqueryRanges<'q> {
    pub(in crate::engine) fn new(input: Vector<'q>, steps: Steps) -> Self {
        SubqueryRanges { input, steps }
    }
}

impl RangeSource for SubqueryRanges<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn next(&mut self, samples: &mut Samples) -> Result<(), QueryError> {
        samples.clear();
        let column = self.input.next()?;
        for (step, value) in column.iter() {
            samples.push(self.steps.time_ms(step), value);
        }
        for (step, histogram) in column.histograms() {
            samples.push_histogram(self.steps.time_ms(*step), without_reset_hint(histogram));
        }
        self.input.reuse(column);
        samples.account()
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }
}

/// A subquery may pass over samples or give them several times, so what a sample says of the one
/// before it holds no longer.
fn without_reset_hint(histogram: &Arc<Histogram>) -> Arc<Histogram> {
    match histogram.counter_reset {
        CounterReset::Unknown | CounterReset::Gauge => histogram.clone(),
        CounterReset::Reset | CounterReset::NotReset => Arc::new(Histogram {
            counter_reset: CounterReset::Unknown,
            ..Histogram::clone(histogram)
        }),
    }
}

/// The steps at which a subquery's expression is evaluated: the multiples of its step that the
/// windows of the outer steps hold.
pub(in crate::engine) fn subquery_steps(
    outer: Steps,
    shift: Shift,
    range_ms: i64,
    step_ms: i64,
) -> Steps {
    if outer.count == 0 {
        return Steps { count: 0, ..outer };
    }
    let step_ms = step_ms.max(1);
    let after = shift.apply(outer.start_ms).saturating_sub(range_ms);
    let start_ms = after
        .div_euclid(step_ms)
        .saturating_add(1)
        .saturating_mul(step_ms);
    Steps::range(start_ms, shift.apply(outer.last_ms()), step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subquery_steps_are_multiples_after_the_windows_start() {
        let none = Shift {
            at_ms: None,
            offset_ms: 0,
        };
        for (time, range, step, start, count) in [
            (100, 50, 10, 60, 5),
            (105, 50, 10, 60, 5),
            (10, 50, 10, -30, 5),
            (-5, 50, 10, -50, 5),
            (100, 5, 10, 100, 1),
            (99, 5, 10, 100, 0),
        ] {
            let steps = subquery_steps(Steps::instant(time), none, range, step);
            assert_eq!((steps.start_ms, steps.count), (start, count), "{time}");
        }
    }
}

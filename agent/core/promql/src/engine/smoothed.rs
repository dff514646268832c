//! Instant selectors with `smoothed`: at each step the value on the line between the samples
//! around it.

use std::sync::Arc;

use narthex_model::histogram::CounterReset;
use narthex_model::{Histogram, SampleValue};

use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use super::query::Query;
use super::range::extended::{Extension, interpolate};
use super::range::histogram_extended::{self, Timed};
use super::range::select::stored_ranges;
use super::range::{Finding, Notes, RangeSource, Samples, tell};
use super::statistics::Use;
use super::steps::{Shift, Steps};
use crate::syntax::ast::{Span, VectorSelector};

pub(super) fn smoothed_selector<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    selector: &VectorSelector,
    shift: Shift,
    span: Span,
) -> Result<Vector<'q>, QueryError> {
    let reach_ms = Extension::Smoothed.reach_ms(query.lookback_ms);
    let matchers = &selector.matchers;
    let source = stored_ranges(
        query,
        steps,
        matchers[..].into(),
        shift,
        reach_ms,
        Use::Buckets,
    )?;
    Ok(Box::new(Smoothed {
        query,
        steps,
        shift,
        span,
        source,
        samples: Samples::new(query)?,
        next: 0,
    }))
}

struct Smoothed<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    shift: Shift,
    span: Span,
    source: Box<dyn RangeSource + 'q>,
    samples: Samples,
    next: usize,
}

/// The samples within the lookback of a time, before it and from it on.
struct Around {
    /// Up to and without `next`.
    first: usize,
    next: usize,
    end: usize,
}

impl Around {
    fn of(times_ms: &[i64], time_ms: i64, lookback_ms: i64) -> Self {
        let after_ms = time_ms.saturating_sub(lookback_ms);
        let until_ms = time_ms.saturating_add(lookback_ms);
        Around {
            first: times_ms.partition_point(|t| *t <= after_ms),
            next: times_ms.partition_point(|t| *t < time_ms),
            end: times_ms.partition_point(|t| *t <= until_ms),
        }
    }

    fn is_empty(&self) -> bool {
        self.first >= self.end
    }

    fn before(&self) -> Option<usize> {
        self.next.checked_sub(1).filter(|at| *at >= self.first)
    }

    fn after(&self) -> Option<usize> {
        Some(self.next).filter(|at| *at < self.end)
    }
}

impl Smoothed<'_> {
    fn at(&self, time_ms: i64, notes: &Notes<'_>) -> Option<SampleValue> {
        let lookback_ms = self.query.lookback_ms;
        let floats = Around::of(&self.samples.times_ms, time_ms, lookback_ms);
        let histograms = Around::of(&self.samples.histogram_times_ms, time_ms, lookback_ms);
        match (floats.is_empty(), histograms.is_empty()) {
            (true, true) => None,
            (false, true) => self.float_at(time_ms, &floats).map(SampleValue::Float),
            (true, false) => {
                let mut findings = Vec::new();
                let found = self.histogram_at(time_ms, &histograms, &mut findings);
                tell(&findings, notes);
                found.map(SampleValue::Histogram)
            }
            (false, false) => {
                notes.add(|annotations, name, span| {
                    annotations.mixed_floats_and_histograms(name, span);
                });
                None
            }
        }
    }

    fn float_at(&self, time_ms: i64, around: &Around) -> Option<f64> {
        let Samples {
            times_ms, values, ..
        } = &self.samples;
        let sample = |at: usize| Some((*times_ms.get(at)?, *values.get(at)?));
        let after = around.after().and_then(sample);
        if let Some((found_ms, value)) = after
            && found_ms == time_ms
        {
            return Some(value);
        }
        let before = sample(around.before()?)?;
        Some(match after {
            Some(after) => interpolate(before, after, time_ms, false),
            None => before.1,
        })
    }

    fn histogram_at(
        &self,
        time_ms: i64,
        around: &Around,
        findings: &mut Vec<Finding>,
    ) -> Option<Arc<Histogram>> {
        let sample = |at: usize| {
            Some(Timed {
                time_ms: *self.samples.histogram_times_ms.get(at)?,
                histogram: self.samples.histograms.get(at)?,
            })
        };
        let after = around.after().and_then(sample);
        if let Some(after) = after
            && after.time_ms == time_ms
        {
            return Some(after.histogram.clone());
        }
        let before = sample(around.before()?)?;
        let Some(after) = after else {
            // What the hint says of the sample before is not true of another time.
            return Some(Arc::new(Histogram {
                counter_reset: CounterReset::Unknown,
                ..Histogram::clone(before.histogram)
            }));
        };
        if before.histogram.uses_custom_bounds() != after.histogram.uses_custom_bounds() {
            findings.push(Finding::MixedSchemas);
            return None;
        }
        let is_counter = !(before.histogram.is_gauge() && after.histogram.is_gauge());
        histogram_extended::interpolate(before, after, time_ms, is_counter, findings).map(Arc::new)
    }
}

impl VectorOperator for Smoothed<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.source.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        self.source.next(&mut self.samples)?;
        let info = self.source.series().get(self.next).ok_or_else(exhausted)?;
        self.next += 1;
        let notes = Notes::new(self.query, self.span, &info.labels);
        let mut column = self.query.column(&self.steps)?;
        for step in 0..self.steps.count {
            let time_ms = self.shift.apply(self.steps.time_ms(step));
            if let Some(value) = self.at(time_ms, &notes) {
                column.set_value(step, value)?;
            }
        }
        let present = column.present();
        self.query.count_queryable(present.count(), |tell| {
            present.iter().for_each(|step| tell(step, 1));
        });
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        // It may have something to tell.
        self.next().map(drop)
    }
}

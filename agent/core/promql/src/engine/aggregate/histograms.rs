//! Sums and means of the histograms of a group, beside those of its floats.
//!
//! Nothing comes of a step at which a group has both floats and histograms, or histograms whose
//! buckets can't be brought together. What happened first decides what is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::Histogram;
use narthex_model::histogram_arithmetic::{HistogramError, HistogramSum};

use crate::engine::annotations::HistogramOperation;
use crate::engine::budget::Charge;
use crate::engine::column::{Bitmap, Column};
use crate::engine::error::QueryError;
use crate::engine::kahan::HistogramMean;
use crate::engine::query::Query;
use crate::engine::range::HintsSeen;
use crate::syntax::ast::Span;

/// Where to tell what was met.
pub(super) struct Notes<'n> {
    pub query: &'n Query<'n>,
    pub span: Span,
    /// Of the series that is being added.
    pub metric_name: &'n str,
}

/// A way to add histograms up.
pub(super) trait Total: Sized {
    fn begin(first: Histogram) -> Self;

    /// Whether custom bounds had to be reconciled.
    fn add(&mut self, histogram: &Histogram) -> Result<bool, HistogramError>;

    fn finish(self) -> Histogram;
}

impl Total for HistogramSum {
    fn begin(first: Histogram) -> Self {
        HistogramSum::new(first)
    }

    fn add(&mut self, histogram: &Histogram) -> Result<bool, HistogramError> {
        HistogramSum::add(self, histogram)
    }

    fn finish(self) -> Histogram {
        HistogramSum::finish(self)
    }
}

impl Total for HistogramMean {
    fn begin(first: Histogram) -> Self {
        HistogramMean::from_first(first)
    }

    fn add(&mut self, histogram: &Histogram) -> Result<bool, HistogramError> {
        HistogramMean::add(self, histogram)
    }

    fn finish(self) -> Histogram {
        HistogramMean::mean(self)
    }
}

/// The histograms of one group.
pub(super) struct Histograms<T> {
    steps: BTreeMap<usize, AtStep<T>>,
    charge: Charge,
}

enum AtStep<T> {
    /// A float came first, so the histograms don't matter any more.
    AfterFloat,
    Total {
        total: Box<T>,
        hints: HintsSeen,
        with_float: bool,
    },
    /// Exponential and custom buckets met.
    Incompatible,
}

impl<T: Total> Histograms<T> {
    pub(super) fn new(query: &Query<'_>) -> Result<Self, QueryError> {
        Ok(Histograms {
            steps: BTreeMap::new(),
            charge: query.charge(0)?,
        })
    }

    /// Whether a series can be added without a look at histograms.
    pub(super) fn concerns(&self, column: &Column) -> bool {
        !self.steps.is_empty() || column.has_histograms()
    }

    /// Adds the histograms of one more series, and notes its floats.
    pub(super) fn add(
        &mut self,
        column: &Column,
        has_float: impl Fn(usize) -> bool,
        notes: &Notes<'_>,
    ) -> Result<(), QueryError> {
        for (step, _) in column.iter() {
            if let Some(AtStep::Total { with_float, .. }) = self.steps.get_mut(&step) {
                *with_float = true;
            }
        }
        for (step, histogram) in column.histograms() {
            self.add_one(*step, histogram, has_float(*step), notes)?;
        }
        Ok(())
    }

    /// Whether a float at this step counts: not where a histogram came first.
    pub(super) fn admits_float(&self, step: usize) -> bool {
        matches!(self.steps.get(&step), None | Some(AtStep::AfterFloat))
    }

    /// Completes the column of the group's floats.
    pub(super) fn finish(
        self,
        mut column: Column,
        notes: &Notes<'_>,
    ) -> Result<Column, QueryError> {
        let mut removed = Bitmap::new(column.steps());
        let mut collided = false;
        for (step, found) in self.steps {
            match found {
                AtStep::Incompatible => {}
                AtStep::AfterFloat
                | AtStep::Total {
                    with_float: true, ..
                } => removed.set(step),
                AtStep::Total { total, hints, .. } => {
                    collided |= hints.collide();
                    let total = total.finish().compacted();
                    column.set_histogram(step, Arc::new(total))?;
                }
            }
        }
        if !removed.is_empty() {
            column.remove_all(&removed);
            notes.query.annotate(notes.span, |annotations, span| {
                annotations.mixed_floats_and_histograms_in_aggregation(span);
            });
        }
        if collided {
            notes.query.annotate(notes.span, |annotations, span| {
                annotations.counter_reset_collision(HistogramOperation::Aggregation, span);
            });
        }
        Ok(column)
    }

    fn add_one(
        &mut self,
        step: usize,
        histogram: &Arc<Histogram>,
        has_float: bool,
        notes: &Notes<'_>,
    ) -> Result<(), QueryError> {
        let Some(found) = self.steps.get_mut(&step) else {
            let first = if has_float {
                AtStep::AfterFloat
            } else {
                // The total and what rounding takes from it.
                self.charge.grow(histogram.size_in_samples() * 2)?;
                let mut hints = HintsSeen::default();
                hints.see(histogram);
                AtStep::Total {
                    total: Box::new(T::begin(Histogram::clone(histogram))),
                    hints,
                    with_float: false,
                }
            };
            self.steps.insert(step, first);
            return Ok(());
        };
        let AtStep::Total { total, hints, .. } = found else {
            return Ok(());
        };
        hints.see(histogram);
        match total.add(histogram) {
            Ok(false) => {}
            Ok(true) => notes.query.annotate(notes.span, |annotations, span| {
                annotations.bounds_reconciled(HistogramOperation::Aggregation, span);
            }),
            Err(HistogramError::MixedSchemas) => {
                *found = AtStep::Incompatible;
                notes.query.annotate(notes.span, |annotations, span| {
                    annotations.mixed_exponential_and_custom(notes.metric_name, span);
                });
            }
        }
        Ok(())
    }
}

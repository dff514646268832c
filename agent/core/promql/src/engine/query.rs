//! What all operators of one query share.

use std::sync::{Arc, Mutex, PoisonError};

use narthex_model::CancelToken;
use narthex_storage::Queryable;

use super::annotations::Annotations;
use super::budget::{Budget, Charge};
use super::column::Column;
use super::error::QueryError;
use super::explain::EvaluationTimes;
use super::output::QueryStats;
use super::selections::Selections;
use super::steps::Steps;
use super::tally::{Tally, Weight};
use super::workers::Workers;
use crate::syntax::ast::Span;

pub(super) struct Query<'q> {
    pub store: &'q dyn Queryable,
    pub cancel: CancelToken,
    pub lookback_ms: i64,
    pub delayed_name_removal: bool,
    pub use_start_timestamps: bool,
    pub type_and_unit_labels: bool,
    pub times: QueryTimes,
    pub budget: Arc<Budget>,
    pub annotations: Mutex<Annotations>,
    pub workers: &'q dyn Workers,
    pub selections: Arc<Selections>,
    pub tally: Arc<Tally>,
    /// How often a sample counts that is looked at.
    pub weight: Weight,
}

/// The times that were asked for: what `start()`, `end()`, `step()` and `range()` stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryTimes {
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0 in an instant query.
    pub step_ms: i64,
}

impl QueryTimes {
    pub(super) fn of(times: EvaluationTimes) -> Self {
        match times {
            EvaluationTimes::Instant(time_ms) => QueryTimes {
                start_ms: time_ms,
                end_ms: time_ms,
                step_ms: 0,
            },
            EvaluationTimes::Range(range) => QueryTimes {
                start_ms: range.start_ms,
                end_ms: range.end_ms,
                step_ms: range.step_ms,
            },
        }
    }

    pub(super) fn range_ms(&self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}

impl<'q> Query<'q> {
    /// The same query, with annotations of its own, and samples that count as often as this.
    pub(super) fn beside(&self, weight: Weight) -> Query<'q> {
        Query {
            weight,
            tally: self.tally.clone(),
            cancel: self.cancel.clone(),
            budget: self.budget.clone(),
            annotations: Mutex::default(),
            selections: self.selections.clone(),
            ..*self
        }
    }

    /// Takes out what was told.
    pub(super) fn take_annotations(&self) -> Annotations {
        let mut annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *annotations)
    }

    /// The error of a query that was told to stop.
    pub(super) fn check_canceled(&self) -> Result<(), QueryError> {
        match self.cancel.reason() {
            None => Ok(()),
            Some(reason) => Err(reason.into()),
        }
    }

    pub(super) fn charge(&self, samples: usize) -> Result<Charge, QueryError> {
        self.check_canceled()?;
        self.budget.charge(samples)
    }

    /// So many samples were looked at, and so many of them at each step that is told.
    pub(super) fn count_queryable(
        &self,
        samples: usize,
        tell: impl FnOnce(&mut dyn FnMut(usize, usize)),
    ) {
        self.tally.count(self.weight, samples, tell);
    }

    pub(super) fn stats(&self) -> QueryStats {
        QueryStats {
            samples_read: self.budget.samples_read(),
            total_queryable_samples: self.tally.total(),
            peak_samples: self.budget.peak_samples(),
        }
    }

    /// An empty column, charged to the budget.
    pub(super) fn column(&self, steps: &Steps) -> Result<Column, QueryError> {
        let charge = self.charge(steps.count)?;
        Ok(Column::new(steps.count, charge))
    }

    /// Runs `add` on the annotations; the span is where the user sees them.
    pub(super) fn annotate(&self, span: Span, add: impl FnOnce(&mut Annotations, Span)) {
        let mut annotations = self
            .annotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        add(&mut annotations, span);
    }
}

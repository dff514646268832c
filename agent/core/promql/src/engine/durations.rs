//! Works out what durations and `@` in the expression stand for in this query.

use super::error::QueryError;
use super::query::QueryTimes;
use super::steps::Shift;
use crate::syntax::ast::{AtModifier, DurationExpr, TimeModifiers};

impl QueryTimes {
    pub(super) fn shift(&self, time: &TimeModifiers) -> Result<Shift, QueryError> {
        let offset_ms = match &time.offset {
            Some(offset) => offset
                .eval_ms(self.start_ms, self.end_ms, self.step_ms)
                .map_err(QueryError::Execution)?,
            None => 0,
        };
        let at_ms = time.at.map(|at| match at {
            AtModifier::TimestampMs(at_ms) => at_ms,
            AtModifier::Start => self.start_ms,
            AtModifier::End => self.end_ms,
        });
        Ok(Shift { at_ms, offset_ms })
    }

    /// A range or a subquery's step.
    pub(super) fn length_ms(&self, length: &DurationExpr) -> Result<i64, QueryError> {
        length
            .eval_positive_ms(self.start_ms, self.end_ms, self.step_ms)
            .map_err(QueryError::Execution)
    }
}

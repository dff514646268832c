//! What gives the same at every step: evaluated once, and given out at all of them.

use super::column::{Column, Value};
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator};
use super::query::Query;
use super::steps::Steps;

/// The value of the only step, at every step.
pub(super) struct Repeated<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    input: Vector<'q>,
}

impl<'q> Repeated<'q> {
    pub(super) fn boxed(query: &'q Query<'q>, steps: Steps, input: Vector<'q>) -> Vector<'q> {
        Box::new(Repeated {
            query,
            steps,
            input,
        })
    }
}

impl VectorOperator for Repeated<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn are_distinct(&self) -> bool {
        self.input.are_distinct()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let once = self.input.next()?;
        let mut column = self.query.column(&self.steps)?;
        match once.value(0) {
            Some(Value::Float(value)) => {
                for step in 0..self.steps.count {
                    column.set(step, value);
                }
            }
            Some(Value::Histogram(histogram)) => {
                for step in 0..self.steps.count {
                    column.set_histogram(step, histogram.clone())?;
                }
            }
            None => {}
        }
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }
}

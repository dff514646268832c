//! Reading stored series: some at a time ahead of what is asked for, in the order in which they
//! lie in the store, and on several threads where there are any.
//!
//! Keeps true: columns are given out in the order of the series, whoever read them, so no result
//! depends on the number of threads; what is read ahead stays small, and nothing much is where
//! series are passed over.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use narthex_storage::Series;

use super::budget::SeriesCharge;
use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use super::query::Query;
use super::selector::Stored;
use super::steps::Steps;

/// Series that one task reads.
const TASK: usize = 64;

/// Series that are read ahead at first, and at most.
const FIRST_BATCH: usize = TASK;
const LARGEST_BATCH: usize = 4096;

/// Values that are held ahead at most, however many steps there are.
const VALUES_AHEAD: u64 = 1 << 19;

/// What is made of each series.
pub(super) trait Read: Send + Sync {
    /// What a thread keeps from one series to the next.
    type State: Send;

    fn state(&self) -> Result<Self::State, QueryError>;

    /// Fills an empty column. How many samples were read is added to `read`.
    fn read(
        &self,
        state: &mut Self::State,
        series: &dyn Series,
        column: Column,
        read: &mut usize,
    ) -> Result<Column, QueryError>;

    /// Whether a series must be read though nobody wants its values.
    fn must_read_all(&self) -> bool {
        false
    }
}

/// `infos` stands for the stored series, one for one.
pub(super) fn scan<'q, R: Read + 'q>(
    query: &'q Query<'q>,
    steps: Steps,
    stored: Stored,
    infos: Vec<SeriesInfo>,
    reader: R,
) -> Result<Vector<'q>, QueryError> {
    // A share of what the query may hold at all, so that it does not fail for being read ahead.
    let values = VALUES_AHEAD.min(query.budget.max_samples() / 16);
    let largest = values / (steps.count.max(1) as u64);
    Ok(Box::new(Scan {
        _held: query.budget.charge_series(stored.series.len())?,
        query,
        steps,
        infos,
        distinct: stored.distinct,
        stored: stored.series.into_iter(),
        reader,
        states: Mutex::default(),
        ahead: VecDeque::new(),
        spent: Mutex::default(),
        batch: FIRST_BATCH,
        largest: usize::try_from(largest).map_or(LARGEST_BATCH, |n| n.clamp(1, LARGEST_BATCH)),
    }))
}

struct Scan<'q, R: Read> {
    query: &'q Query<'q>,
    steps: Steps,
    infos: Vec<SeriesInfo>,
    distinct: bool,
    stored: std::vec::IntoIter<Box<dyn Series>>,
    reader: R,
    /// Those that no thread uses.
    states: Mutex<Vec<R::State>>,
    ahead: VecDeque<Result<Column, QueryError>>,
    /// Columns that came back, empty.
    spent: Mutex<Vec<Column>>,
    /// How many are read ahead the next time.
    batch: usize,
    largest: usize,
    _held: SeriesCharge,
}

impl<R: Read> VectorOperator for Scan<'_, R> {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn are_distinct(&self) -> bool {
        self.distinct
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        self.ahead.pop_front().ok_or_else(exhausted)?
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        if self.reader.must_read_all() {
            return self.next().map(drop);
        }
        if self.ahead.pop_front().is_none() {
            self.batch = FIRST_BATCH;
            self.stored.next().ok_or_else(exhausted)?;
        }
        Ok(())
    }

    fn reuse(&mut self, column: Column) {
        // Those that are still to come need no more.
        let needed = self.stored.len().min(self.largest);
        let spent = self.spent.get_mut();
        let spent = spent.unwrap_or_else(PoisonError::into_inner);
        if spent.len() < needed && column.steps() == self.steps.count {
            spent.extend(column.emptied());
        }
    }
}

impl<R: Read> Scan<'_, R> {
    fn read_ahead(&mut self) {
        let series = self.stored.by_ref().take(self.batch.min(self.largest));
        let mut batch: Vec<(u64, usize, Box<dyn Series>)> = series
            .enumerate()
            .map(|(index, series)| (series.place(), index, series))
            .collect();
        self.batch = self.batch.saturating_mul(4).min(LARGEST_BATCH);
        batch.sort_unstable_by_key(|(place, index, _)| (*place, *index));
        let tasks: Vec<_> = batch.chunks(TASK).collect();
        let done: Mutex<Vec<(usize, Result<Column, QueryError>)>> =
            Mutex::new(Vec::with_capacity(batch.len()));
        let this = &*self;
        let task = |number: usize| {
            let series = tasks.get(number).copied().unwrap_or_default();
            let columns = this.read_all(series);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(columns);
        };
        match tasks.len() {
            1 => task(0),
            count => self.query.workers.run(count, &task),
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(index, _)| *index);
        self.ahead = done.into_iter().map(|(_, column)| column).collect();
    }

    fn read_all(
        &self,
        series: &[(u64, usize, Box<dyn Series>)],
    ) -> Vec<(usize, Result<Column, QueryError>)> {
        let free = || self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let known = free().pop();
        let state = known.map_or_else(|| self.reader.state(), Ok);
        let mut spent = self.take_spent(series.len());
        // Taken at once, so that threads seldom write to the same place.
        let new = series.len().saturating_sub(spent.len());
        let charge = self.query.charge(new.saturating_mul(self.steps.count));
        let (mut state, mut charge) = match state.and_then(|state| Ok((state, charge?))) {
            Ok(ready) => ready,
            Err(error) => {
                let failed = series
                    .iter()
                    .map(|(_, index, _)| (*index, Err(error.clone())));
                return failed.collect();
            }
        };
        let (steps, mut samples_read) = (self.steps.count, 0);
        let mut read = |series: &dyn Series| {
            self.query.check_canceled()?;
            let new = || Column::new(steps, charge.split(steps));
            let column = spent.pop().unwrap_or_else(new);
            self.reader
                .read(&mut state, series, column, &mut samples_read)
        };
        let columns = series
            .iter()
            .map(|(_, index, series)| (*index, read(&**series)));
        let columns = columns.collect();
        self.query.budget.count_read(samples_read);
        free().push(state);
        columns
    }

    /// Columns that came back, so many or fewer.
    fn take_spent(&self, most: usize) -> Vec<Column> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = spent.len().saturating_sub(most);
        spent.split_off(kept)
    }
}

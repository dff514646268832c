//! One operator whose series several others take.
//!
//! Whoever comes first to a series has it evaluated; a copy is kept for those that come later, up
//! to the last of them. Consumers that go in step keep one series at a time this way.
//!
//! Keeps true: what is kept is spare: it goes as soon as the query needs the room otherwise, and
//! is not kept where there is no room. Who finds a series gone, or passed over as nobody wanted it
//! before, leaves: it gets an operator of its own, as if nothing were shared, whose annotations
//! nobody hears a second time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::budget::Spare;
use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator, exhausted};

type Result<T> = std::result::Result<T, QueryError>;

/// Makes the operator once more, for one consumer alone.
pub(super) type Again<'q> = Rc<dyn Fn() -> Result<Vector<'q>> + 'q>;

/// What is kept of an operator's series.
#[derive(Default)]
pub(super) struct Kept(Mutex<KeptColumns>);

#[derive(Default)]
struct KeptColumns {
    /// By the number of the series.
    columns: HashMap<usize, KeptColumn>,
    /// There was no room once, and there may be none again.
    given_up: bool,
}

struct KeptColumn {
    column: Column,
    /// How many will take it yet; at least one.
    takers: usize,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, KeptColumns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare for Kept {
    fn give_up(&self) -> bool {
        let mut kept = self.lock();
        kept.given_up = true;
        let columns = std::mem::take(&mut kept.columns);
        drop(kept);
        !columns.is_empty()
    }
}

struct Source<'q> {
    input: Vector<'q>,
    /// Series before this one were asked of the input.
    produced: usize,
    /// The series that each consumer takes next; None: it has left.
    positions: Vec<Option<usize>>,
    kept: Arc<Kept>,
}

/// Gives the same operator to several consumers.
pub(super) struct Shared<'q> {
    source: Rc<RefCell<Source<'q>>>,
    again: Again<'q>,
    next_consumer: usize,
}

impl<'q> Shared<'q> {
    /// Also what is kept, to be given up by the budget.
    pub(super) fn new(input: Vector<'q>, consumers: usize, again: Again<'q>) -> (Self, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let source = Source {
            input,
            produced: 0,
            positions: vec![Some(0); consumers],
            kept: kept.clone(),
        };
        let shared = Shared {
            source: Rc::new(RefCell::new(source)),
            again,
            next_consumer: 0,
        };
        (shared, kept)
    }

    /// To be called once for each consumer.
    pub(super) fn consumer(&mut self) -> Vector<'q> {
        let number = self.next_consumer;
        self.next_consumer += 1;
        let source = self.source.borrow();
        let (series, distinct) = (source.input.series().to_vec(), source.input.are_distinct());
        drop(source);
        Box::new(Consumer {
            series,
            distinct,
            number,
            next: 0,
            source: self.source.clone(),
            again: self.again.clone(),
            own: None,
        })
    }
}

struct Consumer<'q> {
    series: Vec<SeriesInfo>,
    distinct: bool,
    number: usize,
    next: usize,
    source: Rc<RefCell<Source<'q>>>,
    again: Again<'q>,
    /// Since this consumer has left.
    own: Option<Vector<'q>>,
}

impl VectorOperator for Consumer<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn are_distinct(&self) -> bool {
        self.distinct
    }

    fn next(&mut self) -> Result<Column> {
        let index = self.next;
        self.next += 1;
        if self.own.is_none() {
            let taken = self.source.borrow_mut().take(self.number, index)?;
            match taken {
                Some(column) => return Ok(column),
                None => self.leave(index)?,
            }
        }
        self.own.as_mut().ok_or_else(exhausted)?.next()
    }

    fn skip(&mut self) -> Result<()> {
        let index = self.next;
        self.next += 1;
        match &mut self.own {
            Some(own) => own.skip(),
            None => self.source.borrow_mut().pass(self.number, index),
        }
    }
}

impl Consumer<'_> {
    fn leave(&mut self, index: usize) -> Result<()> {
        self.source.borrow_mut().leave(self.number, index)?;
        let mut own = (self.again)()?;
        for _ in 0..index {
            own.skip()?;
        }
        self.own = Some(own);
        Ok(())
    }
}

impl Source<'_> {
    /// Series `index`; None: it is gone.
    fn take(&mut self, consumer: usize, index: usize) -> Result<Option<Column>> {
        if index < self.produced {
            let column = self.take_kept(index)?;
            if column.is_some() {
                self.move_to(consumer, index + 1);
            }
            return Ok(column);
        }
        while self.produced < index {
            self.produced += 1;
            self.input.skip()?;
        }
        self.produced += 1;
        let column = self.input.next()?;
        self.move_to(consumer, index + 1);
        self.keep(index, &column);
        Ok(Some(column))
    }

    /// Keeps a copy if anybody is to come for it.
    fn keep(&self, index: usize, column: &Column) {
        let behind = |position: &&Option<usize>| position.is_some_and(|at| at <= index);
        let takers = self.positions.iter().filter(behind).count();
        if takers == 0 || self.kept.lock().given_up {
            return;
        }
        match column.spare_copy() {
            Some(column) => {
                let mut kept = self.kept.lock();
                if !kept.given_up {
                    kept.columns.insert(index, KeptColumn { column, takers });
                }
            }
            None => {
                self.kept.give_up();
            }
        }
    }

    fn take_kept(&self, index: usize) -> Result<Option<Column>> {
        // Not held while there is something to be charged, which may want this to be given up.
        let known = self.kept.lock().columns.remove(&index);
        let Some(mut known) = known else {
            return Ok(None);
        };
        known.takers -= 1;
        if known.takers == 0 {
            return Ok(Some(known.column));
        }
        match known.column.spare_copy() {
            Some(column) => {
                let mut kept = self.kept.lock();
                if !kept.given_up {
                    kept.columns.insert(index, known);
                }
                Ok(Some(column))
            }
            None => {
                self.kept.give_up();
                Ok(Some(known.column))
            }
        }
    }

    /// A consumer does not want series `index`.
    fn pass(&mut self, consumer: usize, index: usize) -> Result<()> {
        self.move_to(consumer, index + 1);
        if index < self.produced {
            self.forget(index);
        }
        self.pass_unwanted()
    }

    /// A consumer will take nothing from `index` on.
    fn leave(&mut self, consumer: usize, index: usize) -> Result<()> {
        if let Some(position) = self.positions.get_mut(consumer) {
            *position = None;
        }
        for later in index..self.produced {
            self.forget(later);
        }
        self.pass_unwanted()
    }

    /// One consumer less will come for a series that is kept.
    fn forget(&self, index: usize) {
        let mut kept = self.kept.lock();
        if let Some(known) = kept.columns.get_mut(&index) {
            known.takers -= 1;
            if known.takers == 0 {
                kept.columns.remove(&index);
            }
        }
    }

    /// Goes past what all consumers have passed by, for its errors and annotations.
    fn pass_unwanted(&mut self) -> Result<()> {
        let Some(first) = self.positions.iter().flatten().min().copied() else {
            return Ok(());
        };
        while self.produced < first {
            self.produced += 1;
            self.input.skip()?;
        }
        Ok(())
    }

    fn move_to(&mut self, consumer: usize, next: usize) {
        if let Some(position) = self.positions.get_mut(consumer) {
            *position = Some(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::budget::Budget;
    use crate::engine::operator::Ready;
    use narthex_model::Labels;

    const SERIES: usize = 6;

    /// Series 0 to 5, each with its number as its only value.
    fn numbers(budget: &Arc<Budget>) -> Result<Vector<'static>> {
        let row = |number: usize| {
            let mut column = Column::new(1, budget.charge(1)?);
            column.set(0, number as f64);
            let labels = Labels::from_pairs([("n", number.to_string())]);
            Ok((SeriesInfo::new(labels), column))
        };
        let rows: Result<Vec<_>> = (0..SERIES).map(row).collect();
        rows.map(Ready::boxed)
    }

    fn shared(budget: &Arc<Budget>, consumers: usize) -> (Shared<'static>, Arc<Kept>) {
        let own = budget.clone();
        let again = Rc::new(move || numbers(&own));
        Shared::new(numbers(budget).unwrap(), consumers, again)
    }

    fn value(consumer: &mut Vector<'_>) -> f64 {
        consumer.next().unwrap().get(0).unwrap()
    }

    #[test]
    fn consumers_in_step_keep_one_series() {
        let budget = Budget::new(1000);
        let (mut shared, kept) = shared(&budget, 2);
        let (mut a, mut b) = (shared.consumer(), shared.consumer());
        for number in 0..SERIES {
            assert_eq!(value(&mut a), number as f64);
            assert_eq!(kept.lock().columns.len(), 1);
            assert_eq!(value(&mut b), number as f64);
            assert_eq!(kept.lock().columns.len(), 0);
        }
    }

    #[test]
    fn what_is_kept_is_given_up_for_something_better() {
        // Six for the series, six for a copy of each, and another six after these have gone.
        let budget = Budget::new(18);
        let (mut shared, kept) = shared(&budget, 2);
        let as_spare: Arc<dyn Spare> = kept.clone();
        budget.add_spare(&as_spare);
        let (mut a, mut b) = (shared.consumer(), shared.consumer());
        let all: Vec<Column> = (0..SERIES).map(|_| a.next().unwrap()).collect();
        assert_eq!(kept.lock().columns.len(), SERIES);
        assert_eq!(value(&mut b), 0.0);
        let large = budget.charge(12).unwrap();
        assert!(kept.lock().columns.is_empty());
        drop((large, all));
        for number in 1..SERIES {
            assert_eq!(value(&mut b), number as f64);
        }
    }

    #[test]
    fn any_order_of_taking_and_passing_gives_the_same() {
        let budget = Budget::new(1000);
        // Each consumer takes or passes each series, as the bits say, now the one and now the other.
        for choices in 0..1_u32 << (2 * SERIES) {
            let (mut shared, kept) = shared(&budget, 2);
            let mut consumers = [shared.consumer(), shared.consumer()];
            let lead = choices as usize % (SERIES + 1);
            for turn in 0..SERIES + lead {
                for (which, consumer) in consumers.iter_mut().enumerate() {
                    let number = match which {
                        0 => turn,
                        _ => turn.wrapping_sub(lead),
                    };
                    if number >= SERIES {
                        continue;
                    }
                    if choices >> (SERIES * which + number) & 1 == 1 {
                        assert_eq!(value(consumer), number as f64, "{choices:b}");
                    } else {
                        consumer.skip().unwrap();
                    }
                }
            }
            assert!(kept.lock().columns.is_empty(), "{choices:b}");
        }
    }
}

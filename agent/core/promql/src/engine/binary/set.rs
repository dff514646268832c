//! `and`, `or`, `unless`: which series of two vectors stay, by their matching labels.

use super::matching::Signatures;
use crate::engine::column::{Bitmap, Column};
use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{SeriesInfo, Vector, VectorOperator, exhausted, skip_all};
use crate::engine::steps::Steps;
use crate::syntax::ast::VectorMatching;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Keep {
    /// `and`
    Matched,
    /// `unless`
    Unmatched,
}

/// `and` and `unless`: the left side where the right side has, or lacks, a match.
pub(in crate::engine) fn filter<'q>(
    steps: Steps,
    keep: Keep,
    matching: &VectorMatching,
    left: Vector<'q>,
    mut right: Vector<'q>,
) -> Result<Vector<'q>, QueryError> {
    if left.series().is_empty() {
        skip_all(&mut right)?;
        return Ok(left);
    }
    let mut signatures = Signatures::new(matching);
    let left_of = signatures.of_all(left.series());
    let right_of = signatures.of_all(right.series());
    Ok(Box::new(Filter {
        keep,
        last_left: last_of_each(&left_of, signatures.count()),
        last_right: last_of_each(&right_of, signatures.count()),
        left,
        right,
        left_of,
        right_of,
        present: vec![None; signatures.count()],
        steps,
        next: 0,
        next_right: 0,
    }))
}

/// For each signature the last series that has it.
fn last_of_each(signature_of: &[usize], signatures: usize) -> Vec<Option<usize>> {
    let mut last = vec![None; signatures];
    for (index, signature) in signature_of.iter().enumerate() {
        if let Some(slot) = last.get_mut(*signature) {
            *slot = Some(index);
        }
    }
    last
}

struct Filter<'q> {
    keep: Keep,
    left: Vector<'q>,
    /// Read as far as the left side needs it.
    right: Vector<'q>,
    left_of: Vec<usize>,
    right_of: Vec<usize>,
    /// For each signature the last series of each side that has it.
    last_left: Vec<Option<usize>>,
    last_right: Vec<Option<usize>>,
    /// At which steps the right side has each signature, as far as it is read.
    present: Vec<Option<Bitmap>>,
    steps: Steps,
    next: usize,
    next_right: usize,
}

impl Filter<'_> {
    /// Goes to the next series of the left side, for which the right side is read up to its last
    /// series of the same signature, or to its end after the last series of all.
    fn advance(&mut self) -> Result<usize, QueryError> {
        let index = self.next;
        self.next += 1;
        let signature = *self.left_of.get(index).ok_or_else(exhausted)?;
        let last = self.last_right.get(signature).copied().flatten();
        self.read_right(last.map_or(0, |last| last + 1))?;
        if self.next == self.left_of.len() {
            self.read_right(self.right_of.len())?;
        }
        Ok(signature)
    }

    fn read_right(&mut self, end: usize) -> Result<(), QueryError> {
        while self.next_right < end {
            let signature = *self.right_of.get(self.next_right).ok_or_else(exhausted)?;
            self.next_right += 1;
            let last_left = self.last_left.get(signature).copied().flatten();
            // Of no interest if the left side never has it, or not any more.
            if last_left.is_some_and(|last| last + 1 >= self.next) {
                let column = self.right.next()?;
                note_presence(&mut self.present, signature, &column, &self.steps);
            } else {
                self.right.skip()?;
            }
        }
        Ok(())
    }

    /// The left side will not ask for the signature again.
    fn forget(&mut self, signature: usize) {
        let last_left = self.last_left.get(signature).copied().flatten();
        if last_left.is_some_and(|last| last + 1 == self.next)
            && let Some(present) = self.present.get_mut(signature)
        {
            *present = None;
        }
    }
}

impl VectorOperator for Filter<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.left.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let signature = self.advance()?;
        let mut column = self.left.next()?;
        let present = self.present.get(signature).and_then(Option::as_ref);
        match (self.keep, present) {
            (Keep::Matched, Some(present)) => column.keep_only(present),
            (Keep::Matched, None) => column.keep_only(&Bitmap::new(self.steps.count)),
            (Keep::Unmatched, Some(present)) => column.remove_all(present),
            (Keep::Unmatched, None) => {}
        }
        self.forget(signature);
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        let signature = self.advance()?;
        self.forget(signature);
        self.left.skip()
    }

    fn reuse(&mut self, column: Column) {
        self.left.reuse(column);
    }
}

fn note_presence(present: &mut [Option<Bitmap>], signature: usize, column: &Column, steps: &Steps) {
    if let Some(slot) = present.get_mut(signature) {
        slot.get_or_insert_with(|| Bitmap::new(steps.count))
            .add_all(&column.present());
    }
}

/// `or`: all of the left side, and the right side where the left has no match.
pub(in crate::engine) fn union<'q>(
    steps: Steps,
    matching: &VectorMatching,
    left: Vector<'q>,
    right: Vector<'q>,
) -> Vector<'q> {
    let mut signatures = Signatures::new(matching);
    let left_of = signatures.of_all(left.series());
    let right_of = signatures.of_all(right.series());
    let series = left.series().iter().chain(right.series()).cloned();
    let union = Union {
        series: series.collect(),
        left,
        right,
        left_of,
        right_of,
        present: vec![None; signatures.count()],
        steps,
        next: 0,
    };
    merge_same_labels(Box::new(union), Collision::Merge)
}

struct Union<'q> {
    series: Vec<SeriesInfo>,
    left: Vector<'q>,
    right: Vector<'q>,
    left_of: Vec<usize>,
    right_of: Vec<usize>,
    /// At which steps the left side has each signature.
    present: Vec<Option<Bitmap>>,
    steps: Steps,
    next: usize,
}

impl VectorOperator for Union<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let index = self.next;
        self.next += 1;
        if let Some(signature) = self.left_of.get(index) {
            let column = self.left.next()?;
            note_presence(&mut self.present, *signature, &column, &self.steps);
            return Ok(column);
        }
        let mut column = self.right.next()?;
        let signature = self.right_of.get(index - self.left_of.len());
        let present = signature.and_then(|signature| self.present.get(*signature)?.as_ref());
        if let Some(present) = present {
            column.remove_all(present);
        }
        Ok(column)
    }
}

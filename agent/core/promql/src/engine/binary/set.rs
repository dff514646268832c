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
        left,
        right: Some(right),
        left_of,
        right_of,
        present: vec![None; signatures.count()],
        steps,
        next: 0,
    }))
}

struct Filter<'q> {
    keep: Keep,
    left: Vector<'q>,
    /// Read at the first call.
    right: Option<Vector<'q>>,
    left_of: Vec<usize>,
    right_of: Vec<usize>,
    /// At which steps the right side has each signature.
    present: Vec<Option<Bitmap>>,
    steps: Steps,
    next: usize,
}

impl Filter<'_> {
    fn read_right(&mut self) -> Result<(), QueryError> {
        let Some(mut right) = self.right.take() else {
            return Ok(());
        };
        let mut wanted = vec![false; self.present.len()];
        for signature in &self.left_of {
            if let Some(slot) = wanted.get_mut(*signature) {
                *slot = true;
            }
        }
        for signature in &self.right_of {
            if wanted.get(*signature) == Some(&true) {
                let column = right.next()?;
                note_presence(&mut self.present, *signature, &column, &self.steps);
            } else {
                right.skip()?;
            }
        }
        Ok(())
    }
}

impl VectorOperator for Filter<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.left.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        self.read_right()?;
        let mut column = self.left.next()?;
        let signature = self.left_of.get(self.next).ok_or_else(exhausted)?;
        self.next += 1;
        let present = self.present.get(*signature).and_then(Option::as_ref);
        match (self.keep, present) {
            (Keep::Matched, Some(present)) => column.keep_only(present),
            (Keep::Matched, None) => column.keep_only(&Bitmap::new(self.steps.count)),
            (Keep::Unmatched, Some(present)) => column.remove_all(present),
            (Keep::Unmatched, None) => {}
        }
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.read_right()?;
        self.next += 1;
        self.left.skip()
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

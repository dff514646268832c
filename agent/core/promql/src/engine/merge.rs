//! Brings series together that have come to have the same labels.
//!
//! After a name was dropped or a label replaced, two series may look alike. Where they never have
//! a value at the same step they become one; else there is no telling them apart, and the query
//! fails.

use std::hash::Hash;

use hashbrown::{HashMap, HashSet};

use super::column::Column;
use super::error::QueryError;
use super::operator::{SeriesInfo, Vector, VectorOperator, exhausted};

pub(super) const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

/// Which inputs go into which output. Outputs are numbered by the last input they need, so that
/// they can be given out, and their memory with them, as the inputs pass by.
#[derive(Debug)]
pub(super) struct FanIn {
    pub output_of: Vec<usize>,
    pub last_input_of: Vec<usize>,
    /// An input that stands for each output: the first one.
    pub first_input_of: Vec<usize>,
}

impl FanIn {
    /// Inputs with equal keys share an output.
    pub(super) fn by_key<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> Self {
        let mut ids: HashMap<K, usize> = HashMap::new();
        let (mut id_of, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for (input, key) in keys.enumerate() {
            let new_id = ids.len();
            let id = *ids.entry(key).or_insert(new_id);
            if id == new_id {
                first.push(input);
                last.push(input);
            } else if let Some(slot) = last.get_mut(id) {
                *slot = input;
            }
            id_of.push(id);
        }
        let mut order: Vec<usize> = (0..first.len()).collect();
        order.sort_by_key(|id| last.get(*id).copied());
        let mut output_of_id = vec![0; order.len()];
        for (output, id) in order.iter().enumerate() {
            if let Some(slot) = output_of_id.get_mut(*id) {
                *slot = output;
            }
        }
        let pick = |from: &[usize], ids: &[usize]| -> Vec<usize> {
            ids.iter().filter_map(|id| from.get(*id).copied()).collect()
        };
        FanIn {
            output_of: pick(&output_of_id, &id_of),
            last_input_of: pick(&last, &order),
            first_input_of: pick(&first, &order),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        self.last_input_of.len()
    }
}

/// How alike series may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// They become one if they have no step in common.
    Merge,
    /// Two series that both have values anywhere are an error.
    Refuse,
}

/// `input` with each label set only once.
pub(super) fn merge_same_labels(input: Vector<'_>, collision: Collision) -> Vector<'_> {
    // As a store gives them: then nothing has to be hashed.
    if input.are_distinct() || input.series().is_sorted_by(|a, b| a.labels < b.labels) {
        return input;
    }
    if are_all_different(input.series()) {
        return input;
    }
    let fan_in = FanIn::by_key(input.series().iter().map(|info| &info.labels));
    let series = fan_in
        .first_input_of
        .iter()
        .filter_map(|first| input.series().get(*first).cloned())
        .collect();
    Box::new(Merged {
        merging: (0..fan_in.outputs()).map(|_| None).collect(),
        input,
        fan_in,
        series,
        collision,
        next_input: 0,
        next_output: 0,
    })
}

fn are_all_different(series: &[SeriesInfo]) -> bool {
    let mut seen = HashSet::with_capacity(series.len());
    series.iter().all(|info| seen.insert(&info.labels))
}

struct Merged<'q> {
    input: Vector<'q>,
    fan_in: FanIn,
    series: Vec<SeriesInfo>,
    collision: Collision,
    /// What each unfinished output has so far.
    merging: Vec<Option<Column>>,
    next_input: usize,
    next_output: usize,
}

impl Merged<'_> {
    fn take_input(&mut self) -> Result<(), QueryError> {
        let column = self.input.next()?;
        let output = self.fan_in.output_of.get(self.next_input).copied();
        self.next_input += 1;
        let slot = output.and_then(|output| self.merging.get_mut(output));
        let slot = slot.ok_or_else(exhausted)?;
        match slot {
            None => *slot = Some(column),
            Some(known) => merge_into(known, column, self.collision)?,
        }
        Ok(())
    }
}

impl VectorOperator for Merged<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let output = self.next_output;
        self.next_output += 1;
        let last = *self
            .fan_in
            .last_input_of
            .get(output)
            .ok_or_else(exhausted)?;
        while self.next_input <= last {
            self.take_input()?;
        }
        let column = self.merging.get_mut(output).and_then(Option::take);
        column.ok_or_else(exhausted)
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }
}

fn merge_into(known: &mut Column, more: Column, collision: Collision) -> Result<(), QueryError> {
    let refused = match collision {
        Collision::Merge => known.present().intersects(&more.present()),
        Collision::Refuse => !known.is_empty() && !more.is_empty(),
    };
    if refused {
        return Err(QueryError::execution(SAME_LABELSET));
    }
    known.take_over(more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::budget::Budget;
    use crate::engine::operator::Ready;
    use narthex_model::Labels;

    #[test]
    fn outputs_are_numbered_by_their_last_input() {
        let fan_in = FanIn::by_key("abacbd".chars());
        // a ends at 2, c at 3, b at 4, d at 5.
        assert_eq!(fan_in.output_of, [0, 2, 0, 1, 2, 3]);
        assert_eq!(fan_in.last_input_of, [2, 3, 4, 5]);
        assert_eq!(fan_in.first_input_of, [0, 3, 1, 5]);
    }

    fn vector(rows: &[(&str, &[usize])]) -> Vector<'static> {
        let budget = Budget::new(1000);
        let row = |(name, steps): &(&str, &[usize])| {
            let mut column = Column::new(4, budget.charge(4).unwrap());
            for step in *steps {
                column.set(*step, *step as f64);
            }
            (SeriesInfo::new(Labels::from_pairs([("a", *name)])), column)
        };
        Ready::boxed(rows.iter().map(row).collect())
    }

    #[test]
    fn series_merge_only_where_they_do_not_overlap() {
        let rows: [(&str, &[usize]); 4] = [("x", &[0]), ("y", &[1]), ("x", &[2, 3]), ("z", &[])];
        let mut merged = merge_same_labels(vector(&rows), Collision::Merge);
        assert_eq!(merged.series().len(), 3);
        let _y = merged.next().unwrap();
        let x = merged.next().unwrap();
        assert_eq!(
            x.iter().map(|(step, _)| step).collect::<Vec<_>>(),
            [0, 2, 3]
        );

        let mut refused = merge_same_labels(vector(&rows), Collision::Refuse);
        assert!(refused.next().is_ok());
        assert!(refused.next().is_err());

        let overlap: [(&str, &[usize]); 2] = [("x", &[0, 1]), ("x", &[1])];
        assert!(
            merge_same_labels(vector(&overlap), Collision::Merge)
                .next()
                .is_err()
        );
    }
}

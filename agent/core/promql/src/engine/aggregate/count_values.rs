//! `count_values`: one series for each value that occurs.

use std::collections::HashMap;
use std::sync::Arc;

use narthex_model::Labels;
use narthex_model::number::format_plain;

use super::Grouping;
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::functions::labels::is_valid_name;
use crate::engine::operator::{Ready, SeriesInfo, Vector};
use crate::engine::query::Query;
use crate::engine::steps::Steps;
use crate::syntax::ast::StringLiteral;

/// The values decide the labels, so all input is read before anything is known.
pub(in crate::engine) fn count_values<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    label: &StringLiteral,
    grouping: &Grouping<'_>,
    mut input: Vector<'q>,
) -> Result<Vector<'q>, QueryError> {
    if !is_valid_name(label) {
        let message = format!("invalid label name {label}");
        return Err(QueryError::execution(message));
    }
    let label: Arc<str> = label.text().into();
    let mut with_label = grouping.labels.to_vec();
    if !grouping.without {
        with_label.push(label.clone());
    }
    let grouping = Grouping {
        labels: &with_label,
        without: grouping.without,
    };
    let mut counts = Counts::default();
    for index in 0..input.series().len() {
        let column = input.next()?;
        let Some(info) = input.series().get(index).cloned() else {
            continue;
        };
        counts.known.clear();
        for (step, value) in column.iter() {
            let labels = || {
                let labels = info.labels.with(label.clone(), format_plain(value));
                grouping.of(&labels)
            };
            let counted = counts.of(value, labels, || query.column(&steps))?;
            counted.set(step, counted.get(step).unwrap_or(0.0) + 1.0);
        }
        for (step, histogram) in column.histograms() {
            let labels = grouping.of(&info.labels.with(label.clone(), histogram.to_string()));
            let index = counts.row(labels, || query.column(&steps))?;
            let counted = counts.at(index)?;
            counted.set(*step, counted.get(*step).unwrap_or(0.0) + 1.0);
        }
    }
    // Not in the order in which values came, which depends on the steps that were asked for.
    let mut rows = counts.rows;
    rows.sort_by(|(a, _), (b, _)| a.labels.cmp(&b.labels));
    Ok(Ready::boxed(rows))
}

#[derive(Default)]
struct Counts {
    rows: Vec<(SeriesInfo, Column)>,
    index_of: HashMap<Labels, usize>,
    /// Of the series that is being read: the row of each value by its bits.
    known: HashMap<u64, usize>,
}

impl Counts {
    fn of(
        &mut self,
        value: f64,
        labels: impl FnOnce() -> Labels,
        column: impl FnOnce() -> Result<Column, QueryError>,
    ) -> Result<&mut Column, QueryError> {
        let bits = value.to_bits();
        let index = match self.known.get(&bits) {
            Some(index) => *index,
            None => {
                let index = self.row(labels(), column)?;
                self.known.insert(bits, index);
                index
            }
        };
        self.at(index)
    }

    fn row(
        &mut self,
        labels: Labels,
        column: impl FnOnce() -> Result<Column, QueryError>,
    ) -> Result<usize, QueryError> {
        if let Some(index) = self.index_of.get(&labels) {
            return Ok(*index);
        }
        let info = SeriesInfo::new(labels.clone());
        self.rows.push((info, column()?));
        self.index_of.insert(labels, self.rows.len() - 1);
        Ok(self.rows.len() - 1)
    }

    fn at(&mut self, index: usize) -> Result<&mut Column, QueryError> {
        let row = self.rows.get_mut(index);
        row.map(|(_, column)| column)
            .ok_or_else(crate::engine::operator::exhausted)
    }
}

//! The shape of everything that gives an instant vector, and the plain ones.

use narthex_model::labels::Label;
use narthex_model::{Labels, METRIC_NAME};

use super::budget::SeriesCharge;
use super::column::Column;
use super::error::QueryError;

/// Gives series: first the labels of all of them, then the values, one series after the other.
///
/// Keeps true: `next` or `skip` is called once for each of `series()`, in their order, so that no
/// error is missed; a series may turn out to have no value at all, and then it counts for nothing.
pub(super) trait VectorOperator {
    fn series(&self) -> &[SeriesInfo];

    /// Whether no two series are the same, however alike they look.
    fn are_distinct(&self) -> bool {
        false
    }

    /// The values of the next series.
    fn next(&mut self) -> Result<Column, QueryError>;

    /// Goes past the next series, whose values are of no interest.
    fn skip(&mut self) -> Result<(), QueryError> {
        self.next().map(drop)
    }

    /// Takes back a column that `next` gave, or one made of it, whose values nobody needs any more:
    /// a later one may be given in its place, which takes less than a new one.
    fn reuse(&mut self, _column: Column) {}
}

pub(super) type Vector<'q> = Box<dyn VectorOperator + 'q>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeriesInfo {
    pub labels: Labels,
    /// Under delayed name removal: the name goes away at the end of the query.
    pub drop_name: bool,
}

impl SeriesInfo {
    pub(super) fn new(labels: Labels) -> Self {
        SeriesInfo {
            labels,
            drop_name: false,
        }
    }

    /// As after a function that changes what the values mean.
    pub(super) fn without_name(&self, delayed: bool) -> Self {
        SeriesInfo {
            labels: if delayed {
                self.labels.clone()
            } else {
                drop_name(&self.labels)
            },
            drop_name: true,
        }
    }
}

/// The labels that say what a series' values are: they go when a function changes the values.
pub(super) fn drop_name(labels: &Labels) -> Labels {
    labels.filtered(|label| !is_name(label))
}

pub(super) fn is_name(label: &Label) -> bool {
    matches!(&*label.name, METRIC_NAME | "__type__" | "__unit__")
}

/// Series whose columns are there already.
pub(super) struct Ready {
    series: Vec<SeriesInfo>,
    columns: std::vec::IntoIter<Column>,
    distinct: bool,
}

impl Ready {
    pub(super) fn new(series: Vec<(SeriesInfo, Column)>) -> Self {
        let (series, columns): (Vec<_>, Vec<_>) = series.into_iter().unzip();
        Ready {
            series,
            columns: columns.into_iter(),
            distinct: false,
        }
    }

    /// All that an operator gives.
    pub(super) fn collected(input: Vector<'_>) -> Result<Vector<'_>, QueryError> {
        let distinct = input.are_distinct();
        let ready = Ready::new(collect(input)?);
        Ok(Box::new(Ready { distinct, ..ready }))
    }

    pub(super) fn boxed<'q>(series: Vec<(SeriesInfo, Column)>) -> Vector<'q> {
        Box::new(Ready::new(series))
    }
}

impl VectorOperator for Ready {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn are_distinct(&self) -> bool {
        self.distinct
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        self.columns.next().ok_or_else(exhausted)
    }
}

/// Other labels for the same values.
pub(super) struct Relabeled<'q> {
    input: Vector<'q>,
    series: Vec<SeriesInfo>,
    /// For what the labels take.
    _held: Option<SeriesCharge>,
    distinct: bool,
}

impl<'q> Relabeled<'q> {
    /// `series` stands for the series of `input`, one for one.
    pub(super) fn boxed(input: Vector<'q>, series: Vec<SeriesInfo>) -> Vector<'q> {
        Relabeled::with(input, series, None)
    }

    /// The same for labels that were charged for.
    pub(super) fn holding(
        input: Vector<'q>,
        series: Vec<SeriesInfo>,
        held: SeriesCharge,
    ) -> Vector<'q> {
        Relabeled::with(input, series, Some(held))
    }

    fn with(input: Vector<'q>, series: Vec<SeriesInfo>, _held: Option<SeriesCharge>) -> Vector<'q> {
        debug_assert_eq!(input.series().len(), series.len());
        Box::new(Relabeled {
            input,
            series,
            _held,
            distinct: false,
        })
    }

    /// The same where only names went.
    pub(super) fn without_names(input: Vector<'q>, series: Vec<SeriesInfo>) -> Vector<'q> {
        debug_assert_eq!(input.series().len(), series.len());
        Box::new(Relabeled {
            distinct: input.are_distinct(),
            input,
            series,
            _held: None,
        })
    }
}

impl VectorOperator for Relabeled<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn are_distinct(&self) -> bool {
        self.distinct
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        self.input.next()
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }
}

/// Each series' floats changed by a function of the step and the value; histograms are dropped.
pub(super) struct Mapped<'q, F> {
    input: Vector<'q>,
    f: F,
}

impl<'q, F: FnMut(usize, f64) -> Option<f64> + 'q> Mapped<'q, F> {
    pub(super) fn boxed(input: Vector<'q>, f: F) -> Vector<'q> {
        Box::new(Mapped { input, f })
    }
}

impl<F: FnMut(usize, f64) -> Option<f64>> VectorOperator for Mapped<'_, F> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn are_distinct(&self) -> bool {
        self.input.are_distinct()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let mut column = self.input.next()?;
        column.remove_histograms();
        column.map(&mut self.f);
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }
}

/// Each series' column changed as a whole.
pub(super) struct Changed<'q, F> {
    input: Vector<'q>,
    f: F,
}

impl<'q, F: FnMut(&mut Column) -> Result<(), QueryError> + 'q> Changed<'q, F> {
    pub(super) fn boxed(input: Vector<'q>, f: F) -> Vector<'q> {
        Box::new(Changed { input, f })
    }
}

impl<F: FnMut(&mut Column) -> Result<(), QueryError>> VectorOperator for Changed<'_, F> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn are_distinct(&self) -> bool {
        self.input.are_distinct()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let mut column = self.input.next()?;
        (self.f)(&mut column)?;
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.input.skip()
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }
}

/// All series with their values; those without any value are left out.
pub(super) fn collect(mut input: Vector<'_>) -> Result<Vec<(SeriesInfo, Column)>, QueryError> {
    let mut out = Vec::new();
    for index in 0..input.series().len() {
        let column = input.next()?;
        if let Some(info) = input.series().get(index)
            && !column.is_empty()
        {
            out.push((info.clone(), column));
        }
    }
    Ok(out)
}

/// Goes past all series, for their errors and annotations alone.
pub(super) fn skip_all(input: &mut Vector<'_>) -> Result<(), QueryError> {
    for _ in 0..input.series().len() {
        input.skip()?;
    }
    Ok(())
}

/// An operator was asked for more series than it has: a mistake of the engine itself.
pub(super) fn exhausted() -> QueryError {
    QueryError::execution("internal error: a series was asked for twice")
}

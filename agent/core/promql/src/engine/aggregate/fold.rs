//! `sum`, `avg`, `count`, `group`, `min`, `max`, `stddev`, `stdvar` and `quantile`.

use narthex_model::histogram_arithmetic::HistogramSum;

use super::Grouping;
use super::histograms::{Histograms, Notes};
use crate::engine::budget::Charge;
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::kahan::{HistogramMean, KahanMean, KahanSum};
use crate::engine::merge::FanIn;
use crate::engine::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use crate::engine::quantile::quantile;
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::engine::steps::Steps;
use crate::syntax::ast::Span;

pub(in crate::engine) enum Fold {
    Sum,
    Avg,
    Count,
    Group,
    Min,
    Max,
    Stddev,
    Stdvar,
    Quantile(Scalar),
}

impl Fold {
    /// The aggregation's name if it looks at floats only.
    fn ignores_histograms(&self) -> Option<&'static str> {
        match self {
            Fold::Sum | Fold::Avg | Fold::Count | Fold::Group => None,
            Fold::Min => Some("min"),
            Fold::Max => Some("max"),
            Fold::Stddev => Some("stddev"),
            Fold::Stdvar => Some("stdvar"),
            Fold::Quantile(_) => Some("quantile"),
        }
    }
}

/// `span` is where the series stand.
pub(in crate::engine) fn fold<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    (fold, span): (Fold, Span),
    grouping: &Grouping<'_>,
    input: Vector<'q>,
) -> Vector<'q> {
    let (fan_in, groups) = grouping.of_all(input.series());
    let mut series: Vec<SeriesInfo> = groups.into_iter().map(SeriesInfo::new).collect();
    for (info, output) in input.series().iter().zip(&fan_in.output_of) {
        if let Some(group) = series.get_mut(*output) {
            group.drop_name |= info.drop_name;
        }
    }
    Box::new(Folded {
        states: (0..fan_in.outputs()).map(|_| None).collect(),
        query,
        steps,
        fold,
        span,
        input,
        fan_in,
        series,
        next_input: 0,
        next_output: 0,
    })
}

struct Folded<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    fold: Fold,
    span: Span,
    input: Vector<'q>,
    fan_in: FanIn,
    series: Vec<SeriesInfo>,
    states: Vec<Option<State>>,
    next_input: usize,
    next_output: usize,
}

impl VectorOperator for Folded<'_> {
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
        let state = self.states.get_mut(output).and_then(Option::take);
        let column = self.query.column(&self.steps)?;
        match state {
            Some(state) => {
                let notes = Notes {
                    query: self.query,
                    span: self.span,
                    metric_name: "",
                };
                state.finish(&self.fold, column, &notes)
            }
            None => Ok(column),
        }
    }
}

impl Folded<'_> {
    fn take_input(&mut self) -> Result<(), QueryError> {
        let column = self.input.next()?;
        let index = self.next_input;
        let group = self.fan_in.output_of.get(index).copied();
        self.next_input += 1;
        if column.is_empty() {
            self.input.reuse(column);
            return Ok(());
        }
        if column.has_histograms()
            && let Some(name) = self.fold.ignores_histograms()
        {
            self.query.annotate(self.span, |annotations, span| {
                annotations.histogram_ignored_in(name, span);
            });
            if column.floats().is_empty() {
                return Ok(());
            }
        }
        let info = self.input.series().get(index);
        let notes = Notes {
            query: self.query,
            span: self.span,
            metric_name: info.and_then(|i| i.labels.metric_name()).unwrap_or(""),
        };
        let group = group.and_then(|group| self.states.get_mut(group));
        let slot = group.ok_or_else(exhausted)?;
        let state = match slot {
            Some(state) => state,
            None => slot.insert(State::new(&self.fold, self.query, &self.steps)?),
        };
        if let Some(column) = state.add(column, &notes)? {
            self.input.reuse(column);
        }
        Ok(())
    }
}

/// What a group has so far, step by step.
enum State {
    Sum(PerStep<KahanSum>, Histograms<HistogramSum>),
    Avg(PerStep<KahanMean>, Histograms<HistogramMean>),
    Count(PerStep<f64>),
    Group(PerStep<()>),
    Min(PerStep<f64>),
    Max(PerStep<f64>),
    Variance(PerStep<Spread>),
    Columns(Vec<Column>),
}

impl State {
    fn new(fold: &Fold, query: &Query<'_>, steps: &Steps) -> Result<Self, QueryError> {
        Ok(match fold {
            Fold::Sum => State::Sum(PerStep::new(query, steps)?, Histograms::new(query)?),
            Fold::Avg => State::Avg(PerStep::new(query, steps)?, Histograms::new(query)?),
            Fold::Count => State::Count(PerStep::new(query, steps)?),
            Fold::Group => State::Group(PerStep::new(query, steps)?),
            Fold::Min => State::Min(PerStep::new(query, steps)?),
            Fold::Max => State::Max(PerStep::new(query, steps)?),
            Fold::Stddev | Fold::Stdvar => State::Variance(PerStep::new(query, steps)?),
            Fold::Quantile(_) => State::Columns(Vec::new()),
        })
    }

    /// Gives the column back if it is not needed any more.
    fn add(&mut self, column: Column, notes: &Notes<'_>) -> Result<Option<Column>, QueryError> {
        match self {
            State::Sum(sums, histograms) => {
                if histograms.concerns(&column) {
                    histograms.add(&column, |step| sums.has(step), notes)?;
                    let counts = |step| histograms.admits_float(step);
                    sums.add_where(&column, counts, KahanSum::from_first, KahanSum::add);
                } else {
                    sums.add(&column, KahanSum::from_first, KahanSum::add);
                }
            }
            State::Avg(means, histograms) => {
                if histograms.concerns(&column) {
                    histograms.add(&column, |step| means.has(step), notes)?;
                    let counts = |step| histograms.admits_float(step);
                    means.add_where(&column, counts, KahanMean::from_first, KahanMean::add);
                } else {
                    means.add(&column, KahanMean::from_first, KahanMean::add);
                }
            }
            State::Count(counts) => {
                counts.add(&column, |_| 1.0, |count, _| *count += 1.0);
                counts.note_histograms(&column, || 1.0, |count| *count += 1.0);
            }
            State::Group(groups) => {
                groups.add(&column, |_| (), |(), _| ());
                groups.note_histograms(&column, || (), |()| ());
            }
            State::Min(values) => values.add(
                &column,
                |value| value,
                |min, value| {
                    if *min > value || min.is_nan() {
                        *min = value;
                    }
                },
            ),
            State::Max(values) => values.add(
                &column,
                |value| value,
                |max, value| {
                    if *max < value || max.is_nan() {
                        *max = value;
                    }
                },
            ),
            State::Variance(spreads) => spreads.add(&column, Spread::from_first, Spread::add),
            State::Columns(columns) => {
                columns.push(column);
                return Ok(None);
            }
        }
        Ok(Some(column))
    }

    fn finish(self, fold: &Fold, column: Column, notes: &Notes<'_>) -> Result<Column, QueryError> {
        Ok(match self {
            State::Sum(sums, histograms) => {
                let column = sums.finish(column, |sum| sum.total());
                histograms.finish(column, notes)?
            }
            State::Avg(means, histograms) => {
                let column = means.finish(column, |mean| mean.mean());
                histograms.finish(column, notes)?
            }
            State::Count(values) | State::Min(values) | State::Max(values) => {
                values.finish(column, |value| *value)
            }
            State::Group(groups) => groups.finish(column, |()| 1.0),
            State::Variance(spreads) if matches!(fold, Fold::Stddev) => {
                spreads.finish(column, |spread| spread.variance().sqrt())
            }
            State::Variance(spreads) => spreads.finish(column, Spread::variance),
            State::Columns(columns) => finish_quantile(fold, &columns, column),
        })
    }
}

fn finish_quantile(fold: &Fold, columns: &[Column], mut column: Column) -> Column {
    let Fold::Quantile(q) = fold else {
        return column;
    };
    let mut values = Vec::with_capacity(columns.len());
    for step in 0..column.steps() {
        values.clear();
        values.extend(columns.iter().filter_map(|column| column.get(step)));
        if !values.is_empty() {
            column.set(step, quantile(q.at(step), &mut values));
        }
    }
    column
}

/// One accumulator for each step that has met a value.
struct PerStep<T> {
    states: Vec<Option<T>>,
    _charge: Charge,
}

impl<T> PerStep<T> {
    fn new(query: &Query<'_>, steps: &Steps) -> Result<Self, QueryError> {
        // Accumulators are larger than samples, so they count for more.
        let samples = (size_of::<Option<T>>() / size_of::<f64>()).max(1);
        let charge = query.charge(steps.count.saturating_mul(samples))?;
        Ok(PerStep {
            states: std::iter::repeat_with(|| None).take(steps.count).collect(),
            _charge: charge,
        })
    }

    fn add(&mut self, column: &Column, first: impl Fn(f64) -> T, add: impl Fn(&mut T, f64)) {
        self.add_where(column, |_| true, first, add);
    }

    /// Only the values at the steps that `counts`.
    fn add_where(
        &mut self,
        column: &Column,
        counts: impl Fn(usize) -> bool,
        first: impl Fn(f64) -> T,
        add: impl Fn(&mut T, f64),
    ) {
        for (step, value) in column.iter().filter(|(step, _)| counts(*step)) {
            if let Some(slot) = self.states.get_mut(step) {
                match slot {
                    None => *slot = Some(first(value)),
                    Some(state) => add(state, value),
                }
            }
        }
    }

    /// The steps at which there are histograms, whatever they are.
    fn note_histograms(&mut self, column: &Column, first: impl Fn() -> T, add: impl Fn(&mut T)) {
        for (step, _) in column.histograms() {
            if let Some(slot) = self.states.get_mut(*step) {
                match slot {
                    None => *slot = Some(first()),
                    Some(state) => add(state),
                }
            }
        }
    }

    fn has(&self, step: usize) -> bool {
        self.states.get(step).is_some_and(Option::is_some)
    }

    fn finish(self, mut column: Column, value: impl Fn(&T) -> f64) -> Column {
        for (step, state) in self.states.iter().enumerate() {
            if let Some(state) = state {
                column.set(step, value(state));
            }
        }
        column
    }
}

/// Mean and squared distances from it, by Welford's method.
struct Spread {
    mean: f64,
    squares: f64,
    count: f64,
}

impl Spread {
    fn from_first(value: f64) -> Self {
        Spread {
            mean: value,
            squares: if value.is_finite() { 0.0 } else { f64::NAN },
            count: 1.0,
        }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }
}

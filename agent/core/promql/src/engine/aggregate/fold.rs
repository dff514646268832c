//! `sum`, `avg`, `count`, `group`, `min`, `max`, `stddev`, `stdvar` and `quantile`.

use super::Grouping;
use crate::engine::budget::Charge;
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::kahan::{KahanMean, KahanSum};
use crate::engine::merge::FanIn;
use crate::engine::operator::{SeriesInfo, Vector, VectorOperator, exhausted};
use crate::engine::quantile::quantile;
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::engine::steps::Steps;

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

pub(in crate::engine) fn fold<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    fold: Fold,
    grouping: &Grouping<'_>,
    input: Vector<'q>,
) -> Vector<'q> {
    let groups: Vec<_> = input
        .series()
        .iter()
        .map(|info| grouping.of(&info.labels))
        .collect();
    let fan_in = FanIn::by_key(groups.iter());
    let mut series: Vec<SeriesInfo> = fan_in
        .first_input_of
        .iter()
        .filter_map(|first| groups.get(*first).cloned().map(SeriesInfo::new))
        .collect();
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
        Ok(match state {
            Some(state) => state.finish(&self.fold, column),
            None => column,
        })
    }
}

impl Folded<'_> {
    fn take_input(&mut self) -> Result<(), QueryError> {
        let column = self.input.next()?;
        let group = self.fan_in.output_of.get(self.next_input).copied();
        self.next_input += 1;
        if column.is_empty() {
            return Ok(());
        }
        let group = group.and_then(|group| self.states.get_mut(group));
        let slot = group.ok_or_else(exhausted)?;
        let state = match slot {
            Some(state) => state,
            None => slot.insert(State::new(&self.fold, self.query, &self.steps)?),
        };
        state.add(column);
        Ok(())
    }
}

/// What a group has so far, step by step.
enum State {
    Sum(PerStep<KahanSum>),
    Avg(PerStep<KahanMean>),
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
            Fold::Sum => State::Sum(PerStep::new(query, steps)?),
            Fold::Avg => State::Avg(PerStep::new(query, steps)?),
            Fold::Count => State::Count(PerStep::new(query, steps)?),
            Fold::Group => State::Group(PerStep::new(query, steps)?),
            Fold::Min => State::Min(PerStep::new(query, steps)?),
            Fold::Max => State::Max(PerStep::new(query, steps)?),
            Fold::Stddev | Fold::Stdvar => State::Variance(PerStep::new(query, steps)?),
            Fold::Quantile(_) => State::Columns(Vec::new()),
        })
    }

    fn add(&mut self, column: Column) {
        match self {
            State::Sum(sums) => sums.add(&column, KahanSum::from_first, KahanSum::add),
            State::Avg(means) => means.add(&column, KahanMean::from_first, KahanMean::add),
            State::Count(counts) => counts.add(&column, |_| 1.0, |count, _| *count += 1.0),
            State::Group(groups) => groups.add(&column, |_| (), |(), _| ()),
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
            State::Columns(columns) => columns.push(column),
        }
    }

    fn finish(self, fold: &Fold, column: Column) -> Column {
        match self {
            State::Sum(sums) => sums.finish(column, |sum| sum.total()),
            State::Avg(means) => means.finish(column, |mean| mean.mean()),
            State::Count(values) | State::Min(values) | State::Max(values) => {
                values.finish(column, |value| *value)
            }
            State::Group(groups) => groups.finish(column, |()| 1.0),
            State::Variance(spreads) if matches!(fold, Fold::Stddev) => {
                spreads.finish(column, |spread| spread.variance().sqrt())
            }
            State::Variance(spreads) => spreads.finish(column, Spread::variance),
            State::Columns(columns) => finish_quantile(fold, &columns, column),
        }
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
        for (step, value) in column.iter() {
            if let Some(slot) = self.states.get_mut(step) {
                match slot {
                    None => *slot = Some(first(value)),
                    Some(state) => add(state, value),
                }
            }
        }
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

//! Scalars: one value at every step.

use narthex_model::Labels;

use super::budget::Charge;
use super::column::Column;
use super::error::QueryError;
use super::functions::math::{max_of, min_of};
use super::operator::{Ready, SeriesInfo, Vector};
use super::query::Query;
use super::steps::Steps;

#[derive(Debug)]
pub(super) enum Scalar {
    Constant(f64),
    PerStep { values: Vec<f64>, _charge: Charge },
}

impl Scalar {
    pub(super) fn per_step(
        query: &Query<'_>,
        steps: &Steps,
        mut value: impl FnMut(usize) -> f64,
    ) -> Result<Self, QueryError> {
        let charge = query.charge(steps.count)?;
        Ok(Scalar::PerStep {
            values: (0..steps.count).map(&mut value).collect(),
            _charge: charge,
        })
    }

    /// The same once more, charged once more.
    pub(super) fn copy(&self, query: &Query<'_>) -> Result<Self, QueryError> {
        Ok(match self {
            Scalar::Constant(value) => Scalar::Constant(*value),
            Scalar::PerStep { values, .. } => Scalar::PerStep {
                _charge: query.charge(values.len())?,
                values: values.clone(),
            },
        })
    }

    pub(super) fn at(&self, step: usize) -> f64 {
        match self {
            Scalar::Constant(value) => *value,
            Scalar::PerStep { values, .. } => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    /// Has no effect on a constant.
    pub(super) fn set(&mut self, step: usize, value: f64) {
        if let Scalar::PerStep { values, .. } = self
            && let Some(slot) = values.get_mut(step)
        {
            *slot = value;
        }
    }

    pub(super) fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        match &mut self {
            Scalar::Constant(value) => *value = f(*value),
            Scalar::PerStep { values, .. } => {
                for value in values {
                    *value = f(*value);
                }
            }
        }
        self
    }

    /// Both sides combined; constant if both are.
    pub(super) fn combine(self, other: Scalar, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Scalar::Constant(left), right) => right.map(|right| f(left, right)),
            (left, Scalar::Constant(right)) => left.map(|left| f(left, right)),
            (mut left, right) => {
                if let Scalar::PerStep { values, .. } = &mut left {
                    for (step, value) in values.iter_mut().enumerate() {
                        *value = f(*value, right.at(step));
                    }
                }
                left
            }
        }
    }

    /// Smallest and largest value over the steps, NaN if any is NaN.
    pub(super) fn bounds(&self) -> Bounds {
        let mut bounds = Bounds {
            min: f64::MAX,
            max: -f64::MAX,
            has_nan: false,
        };
        match self {
            Scalar::Constant(value) => {
                bounds = Bounds {
                    min: *value,
                    max: *value,
                    has_nan: value.is_nan(),
                };
            }
            Scalar::PerStep { values, .. } => {
                for value in values {
                    bounds.min = min_of(bounds.min, *value);
                    bounds.max = max_of(bounds.max, *value);
                    bounds.has_nan |= value.is_nan();
                }
            }
        }
        bounds
    }

    /// A vector of one series without labels.
    pub(super) fn into_vector<'q>(
        self,
        query: &Query<'_>,
        steps: &Steps,
    ) -> Result<Vector<'q>, QueryError> {
        let mut column: Column = query.column(steps)?;
        for step in 0..steps.count {
            column.set(step, self.at(step));
        }
        Ok(Ready::boxed(vec![(
            SeriesInfo::new(Labels::empty()),
            column,
        )]))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub min: f64,
    pub max: f64,
    pub has_nan: bool,
}

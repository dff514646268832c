//! `quantile_over_time` and `mad_over_time`.

use std::sync::Arc;

use super::{Window, WindowFunction};
use crate::engine::error::QueryError;
use crate::engine::quantile::quantile;
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::Span;

pub(super) struct QuantileOverTime<'q> {
    pub query: &'q Query<'q>,
    pub quantile: Arc<Scalar>,
    /// Of the quantile.
    pub span: Span,
    pub scratch: Vec<f64>,
}

impl WindowFunction for QuantileOverTime<'_> {
    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let q = self.quantile.at(window.step);
        if !(0.0..=1.0).contains(&q) {
            self.query.annotate(self.span, |annotations, span| {
                annotations.invalid_quantile(q, span);
            });
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(window.values);
        Ok(Some(quantile(q, &mut self.scratch)))
    }

    fn annotates(&self) -> bool {
        true
    }
}

/// The median of the distances from the median.
pub(super) fn median_absolute_deviation(window: &Window<'_>) -> Option<f64> {
    if window.values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let mut values = window.values.to_vec();
    let median = quantile(0.5, &mut values);
    for value in &mut values {
        *value = (*value - median).abs();
    }
    Some(quantile(0.5, &mut values))
}

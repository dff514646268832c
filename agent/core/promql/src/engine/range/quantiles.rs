//! `quantile_over_time` and `mad_over_time`.

use std::sync::Arc;

use super::{Samples, Window, WindowFunction};
use crate::engine::error::QueryError;
use crate::engine::quantile::{Quantile, from_sort_key, quantile, sort_key};
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::Span;

pub(super) struct QuantileOverTime<'q> {
    pub query: &'q Query<'q>,
    pub quantile: Arc<Scalar>,
    /// Of the quantile.
    pub span: Span,
    pub sorted: SortedWindow,
}

impl WindowFunction for QuantileOverTime<'_> {
    fn begin(&mut self, _: &Samples) {
        self.sorted.end = 0;
    }

    fn evaluate(&mut self, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
        let q = self.quantile.at(window.step);
        if !(0.0..=1.0).contains(&q) {
            self.query.annotate(self.span, |annotations, span| {
                annotations.invalid_quantile(q, span);
            });
        }
        Ok(Some(self.sorted.quantile(q, window)))
    }

    fn annotates(&self) -> bool {
        true
    }
}

/// The values of the window before, sorted: of the next one most are the same.
#[derive(Default)]
pub(super) struct SortedWindow {
    keys: Vec<i64>,
    /// The window they are of.
    first: usize,
    end: usize,
    leaving: Vec<i64>,
    entering: Vec<i64>,
    next: Vec<i64>,
}

impl SortedWindow {
    fn quantile(&mut self, q: f64, window: &Window<'_>) -> f64 {
        let samples = window.values.len();
        let place = match Quantile::of(q, samples) {
            Quantile::Value(value) => return value,
            Quantile::Between(place) => place,
        };
        let shared = self.end.saturating_sub(window.first);
        if shared * 2 < samples {
            self.keys.clear();
            self.keys
                .extend(window.values.iter().copied().map(sort_key));
            self.keys.sort_unstable();
        } else {
            self.advance(window);
        }
        (self.first, self.end) = (window.first, window.end);
        let value = |at: usize| self.keys.get(at).copied().map_or(f64::NAN, from_sort_key);
        place.interpolate(value(place.lower), value(place.upper()))
    }

    /// From the window before to this one.
    fn advance(&mut self, window: &Window<'_>) {
        let all = &window.beside.samples.values;
        let left = all.get(self.first..window.first).unwrap_or_default();
        let entered = all.get(self.end..window.end).unwrap_or_default();
        for (changes, values) in [(&mut self.leaving, left), (&mut self.entering, entered)] {
            changes.clear();
            changes.extend(values.iter().copied().map(sort_key));
            changes.sort_unstable();
        }
        let mut leaving = self.leaving.iter().peekable();
        let mut entering = self.entering.iter().peekable();
        self.next.clear();
        for key in &self.keys {
            if leaving.next_if_eq(&key).is_some() {
                continue;
            }
            while let Some(earlier) = entering.next_if(|new| *new < key) {
                self.next.push(*earlier);
            }
            self.next.push(*key);
        }
        self.next.extend(entering);
        std::mem::swap(&mut self.keys, &mut self.next);
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

//! Which function of ranges stands behind which name.

use std::sync::Arc;

use super::changes::Events;
use super::extended::{Anchored, Extended, Extension};
use super::extremes::{Extreme, ExtremeTime, ExtremeValue};
use super::histogram_over_time::{self as histograms, Both};
use super::over_time::{self, Total, Totals, Variance};
use super::quantiles::{QuantileOverTime, SortedWindow, median_absolute_deviation};
use super::rate::{Extrapolated, Kind, OfLastTwo, Resets, seconds};
use super::regression::Regression;
use super::smoothing::Smoothing;
use super::{Plain, Window, WindowFunction};
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::syntax::ast::Span;

/// The arguments of a call, next to its range vector.
#[derive(Clone)]
pub(in crate::engine) struct Arguments {
    /// In their order, with where they stand.
    pub scalars: Vec<(Arc<Scalar>, Span)>,
    pub range_ms: i64,
    pub extension: Extension,
    /// Of the range vector.
    pub range_span: Span,
}

type Boxed<'q> = Box<dyn WindowFunction + 'q>;

/// None: no function of ranges has this name, or it lacks an argument.
pub(in crate::engine) fn window_function<'q>(
    query: &'q Query<'q>,
    name: &str,
    arguments: Arguments,
) -> Option<Boxed<'q>> {
    let Arguments {
        scalars,
        range_ms,
        extension,
        range_span: span,
    } = arguments;
    let rate_of = |kind| -> Boxed<'q> {
        match extension {
            Extension::None => Box::new(Extrapolated::new(query, kind, range_ms, span)),
            Extension::Anchored | Extension::Smoothed => Box::new(Extended {
                query,
                kind,
                smoothed: extension == Extension::Smoothed,
                range_ms,
                span,
                resets: Resets::default(),
            }),
        }
    };
    let counted = |events| -> Boxed<'q> {
        match extension {
            Extension::Anchored => Box::new(Anchored(events)),
            Extension::None | Extension::Smoothed => Box::new(events),
        }
    };
    let mut scalars = scalars.into_iter();
    Some(match name {
        "rate" => rate_of(Kind::Rate),
        "increase" => rate_of(Kind::Increase),
        "delta" => rate_of(Kind::Delta),
        "irate" => Box::new(OfLastTwo { per_second: true }),
        "idelta" => Box::new(OfLastTwo { per_second: false }),
        "changes" => counted(Events::changes()),
        "resets" => counted(Events::resets()),
        "predict_linear" => Box::new(Regression::Ahead(scalars.next()?.0)),
        "double_exponential_smoothing" => Box::new(Smoothing {
            smoothing: scalars.next()?.0,
            trend: scalars.next()?.0,
        }),
        "quantile_over_time" => {
            let (quantile, span) = scalars.next()?;
            Box::new(QuantileOverTime {
                query,
                quantile,
                span,
                sorted: SortedWindow::default(),
            })
        }
        _ => return simple(name),
    })
}

fn simple<'q>(name: &str) -> Option<Boxed<'q>> {
    Some(match name {
        "sum_over_time" => Box::new(Totals::new(Total::Sum, histograms::sum)),
        "avg_over_time" => Box::new(Totals::new(Total::Mean, histograms::avg)),
        "count_over_time" => both(over_time::samples, histograms::samples),
        "stddev_over_time" => Box::new(Variance(f64::sqrt)),
        "stdvar_over_time" => Box::new(Variance(|variance| variance)),
        "mad_over_time" => Box::new(Plain(median_absolute_deviation)),
        "max_over_time" => Box::new(ExtremeValue::new(Extreme::Max)),
        "min_over_time" => Box::new(ExtremeValue::new(Extreme::Min)),
        "ts_of_max_over_time" => Box::new(ExtremeTime::new(Extreme::Max)),
        "ts_of_min_over_time" => Box::new(ExtremeTime::new(Extreme::Min)),
        "deriv" => Box::new(Regression::Slope),
        "present_over_time" | "absent_over_time" => both(|_| Some(1.0), histograms::present),
        "last_over_time" => both(|w| w.values.last().copied(), histograms::last),
        "first_over_time" => both(|w| w.values.first().copied(), histograms::first),
        "ts_of_last_over_time" => both(
            |w| w.times_ms.last().copied().map(seconds),
            histograms::last_time,
        ),
        "ts_of_first_over_time" => both(
            |w| w.times_ms.first().copied().map(seconds),
            histograms::first_time,
        ),
        _ => return None,
    })
}

fn both<'q>(floats: fn(&Window<'_>) -> Option<f64>, histograms: histograms::Function) -> Boxed<'q> {
    Box::new(Both { floats, histograms })
}

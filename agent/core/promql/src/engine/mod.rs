//! The engine: evaluates a type-checked expression over a store.
//!
//! Evaluation goes series by series over all steps of the query. An expression becomes a tree of
//! operators, each of which first knows the labels of its series and then gives
//! their values one series at a time, so an aggregation over many series holds its groups and one
//! input series. Range functions slide a window over the samples of one series.
//!
//! Keeps true: results, errors and annotations are Prometheus's; what is missing is refused with
//! [`QueryError::NotSupported`], never answered wrongly; memory is charged to the query's budget
//! and the cancel token is looked at for every series.
//!
//! Doesn't know: clocks (whoever runs a query sets its [`CancelToken`] when the time is up),
//! threads, the query log, or how results are written as JSON.

use narthex_model::CancelToken;

mod error;
mod output;

pub use error::QueryError;
pub use output::{MatrixSeries, QueryOutput, QueryStats, QueryValue, VectorSample};

#[derive(Clone, Debug, PartialEq)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback_delta_ms: i64,
    /// Samples that one query may hold at a time.
    pub max_samples: u64,
    /// The step of subqueries that give none: the global evaluation interval.
    pub default_subquery_step_ms: i64,
    /// Metric names that a function drops go away only at the end of the query.
    pub delayed_name_removal: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_delta_ms: 300_000,
            max_samples: 50_000_000,
            default_subquery_step_ms: 60_000,
            delayed_name_removal: false,
        }
    }
}

/// What belongs to one query but not to its expression.
#[derive(Clone, Debug, Default)]
pub struct QueryContext {
    /// Set when the time is up or nobody wants the result any more.
    pub cancel: CancelToken,
    /// Instead of the engine's.
    pub lookback_delta_ms: Option<i64>,
    /// What was parsed: annotations tell line and column in it. Without it they tell none.
    pub text: String,
}

/// Steps from `start_ms` to `end_ms` inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeParams {
    pub start_ms: i64,
    pub end_ms: i64,
    /// More than zero.
    pub step_ms: i64,
}

/// Evaluates expressions; holds nothing but its options.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    pub fn new(options: EngineOptions) -> Self {
        Engine { options }
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }
}

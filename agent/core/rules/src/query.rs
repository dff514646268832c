//! What rules ask of the engine and the store.

use narthex_model::{CancelToken, Labels, Matcher, SampleValue};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_promql::{Engine, QueryContext, QueryError, QueryOutput, QueryValue, VectorSample};
use narthex_storage::{Column, Queryable, SelectQuery, StorageError};
use narthex_template::prometheus_functions::{QuerySample, TemplateQuery};

use crate::config::RuleExpr;

/// Why a rule gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{0}")]
    Query(#[from] QueryError),
    #[error("rule result is not a vector or scalar")]
    NotAVector,
    #[error("vector contains metrics with the same labelset after applying rule labels")]
    DuplicateSeries,
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    DuplicateAlerts,
    #[error("exceeded limit of {limit} with {series} series")]
    TooManySeries { limit: usize, series: usize },
    #[error("exceeded limit of {limit} with {alerts} alerts")]
    TooManyAlerts { limit: usize, alerts: usize },
    #[error("the result has a histogram with a negative count, which can't be stored: {labels}")]
    NegativeHistogram { labels: Labels },
}

impl RuleError {
    /// It was told to stop, as at a shutdown: nobody's fault.
    pub fn is_canceled(&self) -> bool {
        matches!(self, RuleError::Query(QueryError::Canceled))
    }
}

/// Keeps an account of queries. It runs what it is given, once.
pub trait QueryAccount: Send + Sync {
    fn run(
        &self,
        text: &str,
        at_ms: i64,
        evaluate: &mut dyn FnMut() -> Result<QueryOutput, QueryError>,
    ) -> Result<QueryOutput, QueryError>;
}

/// The engine with the store and the options that rules are evaluated with.
#[derive(Clone)]
pub struct RuleQuery<'a> {
    pub engine: &'a Engine,
    pub store: &'a dyn Queryable,
    /// For the queries that templates make.
    pub parser: ParserOptions,
    pub cancel: CancelToken,
    /// Where somebody wants to know of each query.
    pub account: Option<&'a dyn QueryAccount>,
}

impl RuleQuery<'_> {
    /// An instant vector; a scalar counts as a vector of one sample without labels.
    pub(crate) fn vector(
        &self,
        expr: &RuleExpr,
        at_ms: i64,
    ) -> Result<Vec<VectorSample>, RuleError> {
        let context = QueryContext {
            cancel: self.cancel.clone(),
            text: expr.text.clone(),
            ..QueryContext::default()
        };
        let mut evaluate = || self.engine.instant(self.store, &expr.tree, at_ms, &context);
        let output = match self.account {
            Some(account) => account.run(&expr.text, at_ms, &mut evaluate),
            None => evaluate(),
        }?;
        into_vector(output.value)
    }

    /// The last sample of each matching series, as labels, time and value.
    pub(crate) fn last_samples(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<(Labels, i64, f64)>, StorageError> {
        let query = SelectQuery {
            matchers,
            start_ms,
            end_ms,
            cancel: self.cancel.clone(),
        };
        let mut samples = Vec::new();
        for series in self.store.select(&query)? {
            let mut last = None;
            series.visit(&mut |column| {
                if let Column::Floats {
                    timestamps_ms,
                    values,
                } = column
                {
                    last = timestamps_ms.last().copied().zip(values.last().copied());
                }
            })?;
            samples.extend(last.map(|(ms, value)| (series.labels().clone(), ms, value)));
        }
        Ok(samples)
    }
}

fn into_vector(value: QueryValue) -> Result<Vec<VectorSample>, RuleError> {
    match value {
        QueryValue::Vector(samples) => Ok(samples),
        QueryValue::Scalar {
            timestamp_ms,
            value,
        } => Ok(vec![VectorSample {
            labels: Labels::empty(),
            timestamp_ms,
            value: value.into(),
        }]),
        QueryValue::String { .. } | QueryValue::Matrix(_) => Err(RuleError::NotAVector),
    }
}

/// The queries of templates, at one time.
pub(crate) struct QueryAt<'a> {
    pub(crate) query: &'a RuleQuery<'a>,
    pub(crate) at_ms: i64,
}

impl TemplateQuery for QueryAt<'_> {
    fn query(&self, expr: &str) -> Result<Vec<QuerySample>, String> {
        let tree = syntax::parse(expr, &self.query.parser).map_err(|e| e.to_string())?;
        let expr = RuleExpr {
            text: expr.to_owned(),
            tree: tree.into(),
        };
        let samples = self
            .query
            .vector(&expr, self.at_ms)
            .map_err(|e| e.to_string())?;
        let plain = samples.into_iter().map(|sample| QuerySample {
            labels: sample.labels,
            value: float_of(&sample.value),
        });
        Ok(plain.collect())
    }
}

/// A histogram counts as zero where only a number will do.
pub(crate) fn float_of(value: &SampleValue) -> f64 {
    value.as_float().unwrap_or(0.0)
}

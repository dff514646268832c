//! How scripts and plugins query: the engine and the store behind the extension's trait.

use std::sync::Arc;

use narthex_extension::{Queries, Query, QuerySeries};
use narthex_model::{CancelToken, SampleValue};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_promql::{Engine, MatrixSeries, QueryContext, QueryValue, RangeParams, VectorSample};
use narthex_storage::Queryable;

use crate::account::{Account, instant};
use crate::manager::Manager;

/// The most points per series that one range query may give, as in the HTTP API.
const MAX_POINTS: i64 = 11_000;

/// For one run of a script: the token ends its queries as well.
pub(crate) struct EngineQuery {
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: Arc<dyn Queryable>,
    pub(crate) parser: ParserOptions,
    pub(crate) account: Account,
    pub(crate) cancel: CancelToken,
}

impl EngineQuery {
    fn context(&self, expr: &str) -> QueryContext {
        QueryContext {
            cancel: self.cancel.clone(),
            text: expr.to_owned(),
            ..QueryContext::default()
        }
    }
}

impl Query for EngineQuery {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<QuerySeries>, String> {
        let tree = syntax::parse(expr, &self.parser).map_err(|e| e.to_string())?;
        let context = self.context(expr);
        let evaluate = || self.engine.instant(&*self.store, &tree, at_ms, &context);
        let output = self.account.run(expr, instant(at_ms), evaluate);
        let output = output.map_err(|e| e.to_string())?;
        series_of(output.value)
    }

    fn range(
        &self,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<QuerySeries>, String> {
        if step_ms <= 0 {
            return Err(format!("the step must be more than zero, not {step_ms} ms"));
        }
        if end_ms < start_ms {
            return Err("the end of the range is before its start".to_owned());
        }
        if end_ms.saturating_sub(start_ms) / step_ms > MAX_POINTS {
            return Err(format!(
                "the range has more than {MAX_POINTS} steps: make the step longer"
            ));
        }
        let tree = syntax::parse(expr, &self.parser).map_err(|e| e.to_string())?;
        let params = RangeParams {
            start_ms,
            end_ms,
            step_ms,
        };
        let context = self.context(expr);
        let evaluate = || self.engine.range(&*self.store, &tree, params, &context);
        let output = self.account.run(expr, params, evaluate);
        let output = output.map_err(|e| e.to_string())?;
        series_of(output.value)
    }
}

impl Queries for Manager {
    /// With the engine that rules have at the time; told to the query log under the plugin's name.
    fn for_plugin(&self, plugin: &str, cancel: CancelToken) -> Arc<dyn Query> {
        let settings = self.shared.settings();
        Arc::new(EngineQuery {
            engine: settings.engine.clone(),
            store: self.shared.queryable.clone(),
            parser: settings.parser,
            account: Account {
                queries: self.shared.queries.get().cloned(),
                file: format!("{plugin}.wasm"),
                name: plugin.to_owned(),
            },
            cancel,
        })
    }
}

/// Scripts and plugins see floats; histograms are left out.
fn series_of(value: QueryValue) -> Result<Vec<QuerySeries>, String> {
    match value {
        QueryValue::Scalar {
            timestamp_ms,
            value,
        } => Ok(vec![QuerySeries {
            labels: Default::default(),
            samples: vec![(timestamp_ms, value)],
        }]),
        QueryValue::Vector(samples) => Ok(samples.into_iter().filter_map(float_sample).collect()),
        QueryValue::Matrix(series) => Ok(series.into_iter().map(float_series).collect()),
        QueryValue::String { .. } => {
            Err("the expression gives a string, not a vector or scalar".to_owned())
        }
    }
}

fn float_sample(sample: VectorSample) -> Option<QuerySeries> {
    let SampleValue::Float(value) = sample.value else {
        return None;
    };
    Some(QuerySeries {
        labels: sample.labels,
        samples: vec![(sample.timestamp_ms, value)],
    })
}

fn float_series(series: MatrixSeries) -> QuerySeries {
    QuerySeries {
        labels: series.labels,
        samples: series.points,
    }
}

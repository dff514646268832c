//! PromQL, asked by extensions of the agent's own store.

use std::sync::Arc;

use narthex_model::{CancelToken, Labels};

/// Asks for one run of an extension. Owned (not borrowed) by that run, as script engines hold only
/// values without lifetimes.
pub trait Query: Send + Sync {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<QuerySeries>, String>;
    fn range(
        &self,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<QuerySeries>, String>;
}

/// A series of a query's result; an instant query gives one sample each.
#[derive(Clone, Debug, PartialEq)]
pub struct QuerySeries {
    pub labels: Labels,
    pub samples: Vec<(i64, f64)>,
}

/// Where those who run extensions get their [`Query`]s from.
pub trait Queries: Send + Sync {
    /// For a call of this plugin. The token ends the queries under way.
    fn for_plugin(&self, plugin: &str, cancel: CancelToken) -> Arc<dyn Query>;
}

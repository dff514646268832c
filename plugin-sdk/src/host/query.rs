//! PromQL, asked of the agent itself, where the plugin wants `query` and the user grants it.

use super::backend::query;
use crate::CallError;
pub use crate::bindings::host::narthex::plugin::query::Series;

/// The value of an expression at a time; a scalar is a series without labels.
pub fn instant(expr: &str, time_ms: i64) -> Result<Vec<Series>, CallError> {
    query::instant(expr, time_ms).map_err(CallError::from)
}

/// Its values from the start to the end inclusive.
pub fn range(
    expr: &str,
    start_ms: i64,
    end_ms: i64,
    step_ms: u64,
) -> Result<Vec<Series>, CallError> {
    query::range(expr, start_ms, end_ms, step_ms).map_err(CallError::from)
}

impl Series {
    /// A label's value; empty where there is no such label.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The last value.
    pub fn value(&self) -> Option<f64> {
        self.samples.last().map(|(_, value)| *value)
    }
}

//! Tells the query log of the queries that rules and scripts make. They run at once: the places
//! that queries of the API wait for are not theirs.

use std::sync::Arc;

use narthex_promql::{QueryError, QueryOutput, RangeParams};
use narthex_query_log::{Asked, Origin, Queries, Samples};
use narthex_rules::QueryAccount;

/// The account of one group, or of one script.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) queries: Option<Arc<Queries>>,
    pub(crate) file: String,
    pub(crate) name: String,
}

impl Account {
    /// `times` are a time twice and no step for an instant query.
    pub(crate) fn run(
        &self,
        text: &str,
        times: RangeParams,
        evaluate: impl FnOnce() -> Result<QueryOutput, QueryError>,
    ) -> Result<QueryOutput, QueryError> {
        let Some(queries) = &self.queries else {
            return evaluate();
        };
        let mut running = queries.begin(Asked {
            query: text.to_owned(),
            start_ms: times.start_ms,
            end_ms: times.end_ms,
            step_ms: times.step_ms,
            origin: Origin::RuleGroup {
                file: self.file.clone(),
                name: self.name.clone(),
            },
        });
        running.start();
        let result = evaluate();
        let samples = result.as_ref().map(|output| Samples {
            total_queryable_samples: output.stats.total_queryable_samples,
            samples_read: output.stats.samples_read,
            peak_samples: output.stats.peak_samples,
            ..Samples::default()
        });
        let error = result.as_ref().err().map(ToString::to_string);
        running.finish(None, samples.unwrap_or_default(), error.as_deref());
        result
    }
}

impl QueryAccount for Account {
    fn run(
        &self,
        text: &str,
        at_ms: i64,
        evaluate: &mut dyn FnMut() -> Result<QueryOutput, QueryError>,
    ) -> Result<QueryOutput, QueryError> {
        Account::run(self, text, instant(at_ms), evaluate)
    }
}

pub(crate) fn instant(at_ms: i64) -> RangeParams {
    RangeParams {
        start_ms: at_ms,
        end_ms: at_ms,
        step_ms: 0,
    }
}

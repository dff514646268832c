//! PromQL, asked for plugins.

use std::sync::Arc;

use narthex_extension::{Query, QuerySeries};
use narthex_model::{CancelReason, CancelToken};

use crate::bindings::plugin::CallError;
use crate::bindings::query::{Host, Series};
use crate::replay::Replay;

use super::State;

/// Ends a query that is no longer waited for.
struct Cancel(CancelToken);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::Canceled);
    }
}

impl Host for State {
    fn instant(
        &mut self,
        expr: String,
        time_ms: i64,
    ) -> wasmtime::Result<Result<Vec<Series>, CallError>> {
        if let Some(replay) = self.replay_of_queries() {
            return Ok(replay.and_then(|replay| replay.query(&expr, time_ms, time_ms, 1)));
        }
        self.answer(move |query| query.instant(&expr, time_ms))
    }

    fn range(
        &mut self,
        expr: String,
        start_ms: i64,
        end_ms: i64,
        step_ms: u64,
    ) -> wasmtime::Result<Result<Vec<Series>, CallError>> {
        let step_ms = i64::try_from(step_ms).unwrap_or(i64::MAX);
        if let Some(replay) = self.replay_of_queries() {
            return Ok(replay.and_then(|replay| replay.query(&expr, start_ms, end_ms, step_ms)));
        }
        self.answer(move |query| query.range(&expr, start_ms, end_ms, step_ms))
    }
}

impl State {
    /// The recorded world in which queries are answered, if they are and may be.
    fn replay_of_queries(&self) -> Option<Result<&Replay, CallError>> {
        let replay = self.shared.replay.as_deref()?;
        let permitted = self.shared.permits.load().query();
        Some(permitted.map(|()| replay).map_err(CallError::NotGranted))
    }

    fn answer(
        &mut self,
        ask: impl FnOnce(&dyn Query) -> Result<Vec<QuerySeries>, String> + Send + 'static,
    ) -> wasmtime::Result<Result<Vec<Series>, CallError>> {
        if let Err(text) = self.shared.permits.load().query() {
            self.shared.metrics.note_refusal("query");
            return Ok(Err(CallError::NotGranted(text)));
        }
        let Some(queries) = &self.shared.services.outside.queries else {
            let text = "there is no store that could be asked".to_owned();
            return Ok(Err(CallError::Failed(text)));
        };
        let cancel = Cancel(CancelToken::default());
        let query: Arc<dyn Query> = queries.for_plugin(&self.shared.name, cancel.0.clone());
        let runtime = self.shared.services.runtime.clone();
        let asked = runtime.spawn_blocking(move || ask(&*query));
        let answer = self.wait_for(asked)?;
        drop(cancel);
        Ok(match answer {
            Ok(Ok(series)) => self.within_limits(series),
            Ok(Err(text)) => Err(CallError::Failed(text)),
            Err(error) => Err(CallError::Failed(format!("interrupted: {error}"))),
        })
    }

    fn within_limits(&self, found: Vec<QuerySeries>) -> Result<Vec<Series>, CallError> {
        let limit = self.shared.limits.load().series;
        let samples: usize = found.iter().map(|series| series.samples.len()).sum();
        if samples > limit {
            self.shared.metrics.note_limit("series");
            return Err(CallError::Limit(format!(
                "the answer has {samples} samples, and the limit plugins.limits.series is {limit}"
            )));
        }
        Ok(found.into_iter().map(series).collect())
    }
}

fn series(found: QuerySeries) -> Series {
    let labels = found.labels.iter();
    Series {
        labels: labels
            .map(|label| (label.name.to_string(), label.value.to_string()))
            .collect(),
        samples: found.samples,
    }
}

//! Runs the queries that are asked over HTTP: waits for a place, keeps to the time, tells the query
//! log, and writes the result.
//!
//! Keeps true: a query that nobody waits for any more is cancelled, also in the store; its place is
//! free as soon as it is evaluated, however slowly the client reads.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use narthex_model::{CancelReason, CancelToken, Labels};
use narthex_promql::engine::{
    Clock, Engine, EvaluationTimes as Times, Explanation, QueryContext, QueryError, QueryOutput,
    QueryStats, QueryValue,
};
use narthex_promql::syntax::ast::Expr;
use narthex_query_log::{Asked, Origin, Running, Samples, Statistics, StepCount};
use narthex_storage::{LabelQuery, Queryable, SelectQuery, Series, StorageError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use crate::coding::Coding;
use crate::explain::write_explanation;
use crate::json::{StepTexts, write_result};
use crate::respond::{ApiError, ApiResult, ErrorKind, Remarks, stream_success};
use crate::server::Shared;
use crate::stream::{Out, Stop};

/// A query with its own bounds.
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) expr: Expr,
    pub(crate) times: Times,
    pub(crate) timeout: Duration,
    pub(crate) lookback_delta_ms: Option<i64>,
    /// Series of the result; 0 is no limit.
    pub(crate) limit: usize,
    /// The parameter `stats`, where it says something.
    pub(crate) stats: Option<String>,
    pub(crate) wanted: Wanted,
    /// Whether the statistics are to tell of each step.
    pub(crate) counts_steps: bool,
}

/// What of a query is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Value,
    /// What its evaluation cost, part by part.
    Explanation,
}

/// Counts of the steps, from the first on, with their times.
fn step_counts(times: Times, counts: &[u64]) -> Vec<StepCount> {
    let (start_ms, step_ms) = match times {
        Times::Instant(time_ms) => (time_ms, 0),
        Times::Range(range) => (range.start_ms, range.step_ms),
    };
    let times_ms = (0..).map(|step: i64| {
        let later_ms = step.saturating_mul(step_ms);
        start_ms.saturating_add(later_ms)
    });
    let counts = times_ms.zip(counts);
    counts
        .map(|(time_ms, count)| StepCount {
            time_ms,
            count: *count,
        })
        .collect()
}

/// Who asks, for the query log.
pub(crate) struct Caller(Origin);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Caller(Origin::Http {
            client_ip: address.map(|a| a.0.ip().to_string()).unwrap_or_default(),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
        }))
    }
}

/// Cancels when it is dropped: then the client has gone, or there is nothing to cancel any more.
pub(crate) struct CancelOnDrop(pub(crate) CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::Canceled);
    }
}

pub(crate) async fn answer(
    shared: &Shared,
    question: Question,
    caller: Caller,
    coding: Coding,
) -> ApiResult {
    let cancel = CancelToken::default();
    let _gone = CancelOnDrop(cancel.clone());
    let deadline = tokio::time::Instant::now() + question.timeout;
    let mut running = shared.parts.queries.begin(question.asked(caller));
    let place = shared.query_slots.clone().acquire_owned();
    let place = match timeout_at(deadline, place).await {
        Ok(place) if tokio::time::Instant::now() < deadline => {
            place.map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?
        }
        Ok(_) | Err(_) => {
            let message = "query timed out in query queue";
            running.finish(None, Samples::default(), Some(message));
            return Err(ApiError::new(ErrorKind::Timeout, message));
        }
    };
    running.start();
    let evaluation = Evaluation {
        engine: shared.parts.agent.engine(),
        store: shared.parts.store.clone(),
        question,
        cancel: cancel.clone(),
        running,
        place,
    };
    let answered = stream_success(&shared.answer_places, coding, move || {
        let (remarks, written) = evaluation.run()?;
        Ok((remarks, move |out: &mut Out| written.write(out)))
    });
    match timeout_at(deadline, answered).await {
        Ok(answer) => answer,
        Err(_) => {
            cancel.cancel(CancelReason::Timeout);
            Err(QueryError::Timeout.into())
        }
    }
}

impl Question {
    fn asked(&self, caller: Caller) -> Asked {
        let (start_ms, end_ms, step_ms) = match self.times {
            Times::Instant(time_ms) => (time_ms, time_ms, 0),
            Times::Range(range) => (range.start_ms, range.end_ms, range.step_ms),
        };
        Asked {
            query: self.text.clone(),
            start_ms,
            end_ms,
            step_ms,
            origin: caller.0,
        }
    }
}

/// What a blocking thread needs to evaluate a query.
struct Evaluation {
    engine: Arc<Engine>,
    store: Arc<dyn Queryable>,
    question: Question,
    cancel: CancelToken,
    running: Running,
    place: OwnedSemaphorePermit,
}

impl Evaluation {
    /// What is to be said beside the result, and what will write it.
    fn run(self) -> Result<(Remarks, Written), ApiError> {
        let store = Timed::new(&*self.store);
        let result = self.evaluate(&store);
        let samples = result.as_ref().map(|(output, _)| samples(&output.stats));
        let error = result.as_ref().err().map(ToString::to_string);
        let mut statistics = self.running.finish(
            Some(store.spent()),
            samples.unwrap_or_default(),
            error.as_deref(),
        );
        drop(self.place);
        let (mut output, explanation) = result?;
        if let Some(counts) = &output.queryable_per_step {
            let per_step = step_counts(self.question.times, counts);
            statistics.samples.total_queryable_samples_per_step = per_step;
        }
        let mut remarks = Remarks {
            warnings: output.warnings,
            infos: output.infos,
        };
        let question = self.question;
        if truncate(&mut output.value, question.limit) {
            remarks.warn_of_limit();
        }
        if let Some(warning) = question.stats.as_deref().and_then(stats_warning) {
            remarks.warnings.insert(0, warning);
        }
        let written = Written {
            explanation: explanation.map(|explanation| (question.text, explanation)),
            value: output.value,
            times: question.times,
            statistics: question.stats.is_some().then_some(statistics),
        };
        Ok((remarks, written))
    }

    fn evaluate(
        &self,
        store: &dyn Queryable,
    ) -> Result<(QueryOutput, Option<Explanation>), QueryError> {
        let context = QueryContext {
            cancel: self.cancel.clone(),
            lookback_delta_ms: self.question.lookback_delta_ms,
            text: self.question.text.clone(),
            counts_steps: self.question.counts_steps,
        };
        let Question { expr, times, .. } = &self.question;
        if self.question.wanted == Wanted::Explanation {
            let clock = SinceStart(Instant::now());
            let explained = self.engine.explain(store, expr, *times, &context, &clock)?;
            return Ok((explained.output, Some(explained.explanation)));
        }
        let output = match times {
            Times::Instant(time_ms) => self.engine.instant(store, expr, *time_ms, &context),
            Times::Range(range) => self.engine.range(store, expr, *range, &context),
        };
        Ok((output?, None))
    }
}

/// The clock of an explained query.
struct SinceStart(Instant);

impl Clock for SinceStart {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What goes out as data.
struct Written {
    /// With the query; instead of the value.
    explanation: Option<(String, Explanation)>,
    value: QueryValue,
    times: Times,
    statistics: Option<Statistics>,
}

impl Written {
    fn write(self, out: &mut Out) -> Result<(), Stop> {
        if let Some((text, explanation)) = &self.explanation {
            return write_explanation(out, text, explanation);
        }
        let steps = match self.times {
            Times::Instant(_) => StepTexts::none(),
            Times::Range(range) => StepTexts::of(range),
        };
        write_result(out, self.value, &steps)?;
        if let Some(statistics) = self.statistics {
            let json = serde_json::to_string(&statistics)
                .map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
            out.push_str(",\"stats\":");
            out.push_str(&json);
        }
        out.buffer.push(b'}');
        Ok(())
    }
}

fn samples(stats: &QueryStats) -> Samples {
    Samples {
        total_queryable_samples: stats.total_queryable_samples,
        samples_read: stats.samples_read,
        peak_samples: stats.peak_samples,
        ..Samples::default()
    }
}

/// Anything switches the statistics on, but not everything should.
fn stats_warning(stats: &str) -> Option<String> {
    let is_known = matches!(stats, "true" | "all");
    (!is_known).then(|| {
        format!(
            "value {stats:?} for parameter \"stats\" is deprecated and will be rejected in the \
             next major release, use \"true\" or \"all\""
        )
    })
}

/// Whether something was cut off.
fn truncate(value: &mut QueryValue, limit: usize) -> bool {
    let length = match value {
        QueryValue::Vector(samples) => samples.len(),
        QueryValue::Matrix(series) => series.len(),
        _ => 0,
    };
    if limit == 0 || length <= limit {
        return false;
    }
    match value {
        QueryValue::Vector(samples) => samples.truncate(limit),
        QueryValue::Matrix(series) => series.truncate(limit),
        _ => {}
    }
    true
}

/// A store that knows how long finding series took.
struct Timed<'a> {
    store: &'a dyn Queryable,
    spent_ns: AtomicU64,
}

impl<'a> Timed<'a> {
    fn new(store: &'a dyn Queryable) -> Self {
        Timed {
            store,
            spent_ns: AtomicU64::new(0),
        }
    }

    fn timed<T>(&self, work: impl FnOnce(&dyn Queryable) -> T) -> T {
        let started = Instant::now();
        let done = work(self.store);
        let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns.fetch_add(ns, Ordering::Relaxed);
        done
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed))
    }
}

impl Queryable for Timed<'_> {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.timed(|store| store.select(query))
    }

    fn select_labels(
        &self,
        query: &SelectQuery<'_>,
        names: &[Arc<str>],
    ) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.timed(|store| store.select_labels(query, names))
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        self.store.label_names(query)
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        self.store.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        self.store.series(query)
    }
}

//! `/api/v1/query`, `query_range`, `query_exemplars`, `format_query`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use narthex_model::{CancelReason, CancelToken, Matcher, number};
use narthex_promql::engine::{QueryContext, QueryError, QueryOutput, QueryValue, RangeParams};
use narthex_promql::syntax::ast::{Expr, ValueType};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_storage::SeriesExemplars;

use crate::json::{self, write_labels, write_time};
use crate::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use crate::respond::{ApiError, ApiResult, ErrorKind, Remarks, large, success, success_raw};
use crate::server::Shared;

/// Points per series that a range query may give.
const POINTS_MAX: i64 = 11_000;

pub(crate) async fn instant(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let time_ms = match params.time_ms("time")? {
        Some(time_ms) => time_ms,
        None => shared.parts.agent.now_ms(),
    };
    let (text, expr) = parse(&params, &shared.parts.parser)?;
    let (context, timeout) = context(&shared, &params, text)?;
    let limit = params.limit("limit")?;
    let engine = shared.parts.agent.engine();
    let store = shared.parts.store.clone();
    let output = run(&shared, context, timeout, move |context| {
        engine.instant(&*store, &expr, time_ms, &context)
    })
    .await?;
    large(move || respond(output, limit, &params)).await
}

pub(crate) async fn range(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let start_ms = params.required_time_ms("start")?;
    let end_ms = params.required_time_ms("end")?;
    if end_ms < start_ms {
        return Err(ApiError::bad_parameter(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step_ms = params
        .duration_ms("step")?
        .ok_or_else(|| ApiError::bad_parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        return Err(ApiError::bad_parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)",
        ));
    }
    let (text, expr) = parse(&params, &shared.parts.parser)?;
    let kind = expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::InstantVector) {
        let name = if kind == ValueType::String {
            "string"
        } else {
            "range vector"
        };
        return Err(ApiError::bad_parameter(
            "query",
            format!(
                "invalid expression type \"{name}\" for range query, must be Scalar or instant Vector"
            ),
        ));
    }
    let (context, timeout) = context(&shared, &params, text)?;
    let limit = params.limit("limit")?;
    let engine = shared.parts.agent.engine();
    let store = shared.parts.store.clone();
    let steps = RangeParams {
        start_ms,
        end_ms,
        step_ms,
    };
    let output = run(&shared, context, timeout, move |context| {
        engine.range(&*store, &expr, steps, &context)
    })
    .await?;
    large(move || respond(output, limit, &params)).await
}

pub(crate) async fn format(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let (_, expr) = parse(&params, &shared.parts.parser)?;
    success(&syntax::pretty(&expr))
}

/// The exemplars of the series that the expression's selectors name.
pub(crate) async fn exemplars(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let start_ms = params.time_ms("start")?.unwrap_or(MIN_TIME_MS);
    let end_ms = params.time_ms("end")?.unwrap_or(MAX_TIME_MS);
    if end_ms < start_ms {
        return Err(ApiError::bad_data(
            "end timestamp must not be before start timestamp",
        ));
    }
    let (_, expr) = parse(&params, &shared.parts.parser)?;
    let selectors = expr.selectors().into_iter();
    let sets: Vec<Vec<Matcher>> = selectors.map(|s| s.matchers.clone()).collect();
    if sets.is_empty() {
        return success(&[(); 0]);
    }
    large(move || {
        let found = shared.parts.exemplars.exemplars(&sets, start_ms, end_ms)?;
        Ok(success_raw(&exemplars_json(&found), &Remarks::default()))
    })
    .await
}

fn exemplars_json(found: &[SeriesExemplars]) -> String {
    let mut out = String::from("[");
    for (i, series) in found.iter().enumerate() {
        out.push_str(if i > 0 { ",{" } else { "{" });
        out.push_str("\"seriesLabels\":");
        write_labels(&mut out, &series.labels);
        out.push_str(",\"exemplars\":[");
        for (i, exemplar) in series.exemplars.iter().enumerate() {
            out.push_str(if i > 0 { ",{" } else { "{" });
            out.push_str("\"labels\":");
            write_labels(&mut out, &exemplar.labels);
            out.push_str(",\"value\":\"");
            out.push_str(&number::format_plain(exemplar.value));
            out.push_str("\",\"timestamp\":");
            write_time(&mut out, exemplar.timestamp_ms);
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push(']');
    out
}

fn parse(params: &Params, options: &ParserOptions) -> Result<(String, Expr), ApiError> {
    let text = params.required("query").to_owned();
    let expr = syntax::parse(&text, options).map_err(|e| ApiError::bad_parameter("query", e))?;
    Ok((text, expr))
}

/// The query's own bounds: lookback, and a timeout that the flag caps.
fn context(
    shared: &Shared,
    params: &Params,
    text: String,
) -> Result<(QueryContext, Duration), ApiError> {
    let lookback_delta_ms = params.duration_ms("lookback_delta")?.filter(|ms| *ms > 0);
    let timeout = match params.duration_ms("timeout")? {
        Some(ms) if ms > 0 => {
            Duration::from_millis(ms.unsigned_abs()).min(shared.options.query_timeout)
        }
        _ => shared.options.query_timeout,
    };
    Ok((
        QueryContext {
            cancel: CancelToken::default(),
            lookback_delta_ms,
            text,
        },
        timeout,
    ))
}

/// Runs a query on a blocking thread, when there is room for it, until it is done, its time is up
/// or the client has gone (then this future is dropped).
async fn run(
    shared: &Shared,
    context: QueryContext,
    timeout: Duration,
    query: impl FnOnce(QueryContext) -> Result<QueryOutput, QueryError> + Send + 'static,
) -> Result<QueryOutput, ApiError> {
    let cancel = context.cancel.clone();
    let _gone = CancelOnDrop(cancel.clone());
    let evaluated = async {
        let permit = shared.query_slots.clone().acquire_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            query(context)
        });
        task.await
    };
    match tokio::time::timeout(timeout, evaluated).await {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(failed)) => Err(ApiError::new(
            ErrorKind::Internal,
            format!("the query ended unexpectedly: {failed}"),
        )),
        Err(_) => {
            cancel.cancel(CancelReason::Timeout);
            Err(QueryError::Timeout.into())
        }
    }
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::Canceled);
    }
}

fn respond(mut output: QueryOutput, limit: usize, params: &Params) -> ApiResult {
    if truncate(&mut output.value, limit) {
        output
            .warnings
            .push("results truncated due to limit".to_owned());
    }
    let mut data = String::new();
    json::write_result(&mut data, &output.value)
        .map_err(|e| ApiError::new(ErrorKind::Execution, e))?;
    if params.get("stats").is_some() {
        data.push_str(&format!(
            ",\"stats\":{{\"timings\":{{}},\"samples\":{{\"totalQueryableSamples\":{},\
             \"samplesRead\":{},\"peakSamples\":{}}}}}",
            output.stats.total_queryable_samples,
            output.stats.samples_read,
            output.stats.peak_samples
        ));
    }
    data.push('}');
    Ok(success_raw(
        &data,
        &Remarks {
            warnings: output.warnings,
            infos: output.infos,
        },
    ))
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

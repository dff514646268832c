//! `/api/v1/query`, `query_range`, `query_exemplars`, `format_query`, `parse_query`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use narthex_model::Matcher;
use narthex_promql::engine::{EvaluationTimes as Times, RangeParams};
use narthex_promql::syntax::ast::{Expr, ValueType};
use narthex_promql::syntax::{self, ParserOptions};
use narthex_storage::SeriesExemplars;

use crate::coding::Coding;
use crate::json::{write_labels, write_list, write_quoted_float, write_time};
use crate::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use crate::respond::{ApiError, ApiResult, Remarks, stream_success, success};
use crate::run::{Caller, Question, Wanted, answer};
use crate::server::Shared;
use crate::stream::{Out, Stop};

/// Points per series that a range query may give.
const POINTS_MAX: i64 = 11_000;

pub(crate) async fn instant(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let limit = params.limit("limit")?;
    let time_ms = params.time_ms_or("time", shared.parts.agent.now_ms())?;
    let timeout = timeout(&shared, &params)?;
    let lookback_delta_ms = lookback_delta_ms(&params)?;
    let (text, expr) = parse(&params, &shared.parts.parser)?;
    let question = Question {
        text,
        expr,
        times: Times::Instant(time_ms),
        timeout,
        lookback_delta_ms,
        limit,
        stats: params.get("stats").map(str::to_owned),
        wanted: Wanted::Value,
        counts_steps: counts_steps(&shared, &params),
    };
    answer(&shared, question, caller, coding).await
}

pub(crate) async fn range(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let limit = params.limit("limit")?;
    let steps = steps(&params)?;
    let timeout = timeout(&shared, &params)?;
    let lookback_delta_ms = lookback_delta_ms(&params)?;
    let (text, expr) = parse(&params, &shared.parts.parser)?;
    check_has_steps(&expr)?;
    let question = Question {
        text,
        expr,
        times: Times::Range(steps),
        timeout,
        lookback_delta_ms,
        limit,
        stats: params.get("stats").map(str::to_owned),
        wanted: Wanted::Value,
        counts_steps: counts_steps(&shared, &params),
    };
    answer(&shared, question, caller, coding).await
}

pub(crate) async fn format(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let (_, expr) = parse(&params, &shared.parts.parser)?;
    success(&syntax::pretty(&expr))
}

/// The expression's tree.
pub(crate) async fn tree(
    State(shared): State<Arc<Shared>>,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let (_, expr) = parse(&params, &shared.parts.parser)?;
    let places = shared.answer_places.clone();
    let make = move || {
        let json = syntax::to_json(&expr);
        Ok((Remarks::default(), move |out: &mut Out| {
            out.push_str(&json);
            Ok(())
        }))
    };
    stream_success(&places, coding, make).await
}

/// The exemplars of the series that the expression's selectors name.
pub(crate) async fn exemplars(
    State(shared): State<Arc<Shared>>,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let start_ms = params.time_ms_or("start", MIN_TIME_MS)?;
    let end_ms = params.time_ms_or("end", MAX_TIME_MS)?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data(
            "end timestamp must not be before start timestamp",
        ));
    }
    let expr = syntax::parse(params.required("query"), &shared.parts.parser)
        .map_err(|e| ApiError::bad_data(e.to_string()))?;
    let selectors = expr.selectors().into_iter();
    let sets: Vec<Vec<Matcher>> = selectors.map(|s| s.matchers.clone()).collect();
    if sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let places = shared.answer_places.clone();
    let make = move || {
        let exemplars = &shared.parts.exemplars;
        let found = exemplars
            .exemplars(&sets, start_ms, end_ms)
            .map_err(ApiError::of_look_up)?;
        Ok((Remarks::default(), move |out: &mut Out| {
            write_list(out, found, write_exemplars)
        }))
    };
    stream_success(&places, coding, make).await
}

fn write_exemplars(out: &mut Out, series: SeriesExemplars) -> Result<(), Stop> {
    out.push_str("{\"seriesLabels\":");
    write_labels(&mut out.buffer, &series.labels);
    out.push_str(",\"exemplars\":");
    write_list(out, series.exemplars, |out, exemplar| {
        out.push_str("{\"labels\":");
        write_labels(&mut out.buffer, &exemplar.labels);
        out.push_str(",\"value\":");
        write_quoted_float(&mut out.buffer, exemplar.value);
        out.push_str(",\"timestamp\":");
        write_time(&mut out.buffer, exemplar.timestamp_ms);
        out.buffer.push(b'}');
        Ok(())
    })?;
    out.buffer.push(b'}');
    Ok(())
}

pub(crate) fn parse(params: &Params, options: &ParserOptions) -> Result<(String, Expr), ApiError> {
    let text = params.required("query").to_owned();
    let expr = syntax::parse(&text, options).map_err(|e| ApiError::bad_parameter("query", e))?;
    Ok((text, expr))
}

pub(crate) fn steps(params: &Params) -> Result<RangeParams, ApiError> {
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
    // The whole of time is more milliseconds than there are numbers.
    if end_ms.saturating_sub(start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)",
        ));
    }
    Ok(RangeParams {
        start_ms,
        end_ms,
        step_ms,
    })
}

pub(crate) fn check_has_steps(expr: &Expr) -> Result<(), ApiError> {
    let name = match expr.value_type() {
        ValueType::Scalar | ValueType::InstantVector => return Ok(()),
        ValueType::String => "string",
        ValueType::RangeVector => "range vector",
    };
    let why = format!(
        "invalid expression type \"{name}\" for range query, must be Scalar or instant Vector"
    );
    Err(ApiError::bad_parameter("query", why))
}

/// As asked, but not more than the flag allows.
pub(crate) fn timeout(shared: &Shared, params: &Params) -> Result<Duration, ApiError> {
    let most = shared.options.query_timeout;
    Ok(match params.duration_ms("timeout")? {
        Some(ms) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(most),
        None => most,
    })
}

fn counts_steps(shared: &Shared, params: &Params) -> bool {
    shared.options.per_step_stats && params.get("stats") == Some("all")
}

/// None stands for the engine's.
pub(crate) fn lookback_delta_ms(params: &Params) -> Result<Option<i64>, ApiError> {
    let given = params.duration_ms_plain("lookback_delta").map_err(|why| {
        ApiError::bad_data(format!("error parsing lookback delta duration: {why}"))
    })?;
    Ok(given.filter(|ms| *ms > 0))
}

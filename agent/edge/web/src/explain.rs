//! `/api/v1/narthex/explain`: how a query is evaluated, and what each part of it costs.
//!
//! Parameters are those of `query`, or with `start`, `end` and `step` those of `query_range`;
//! `run=false` gives the plan alone, without reading anything. The answer's data is
//!
//! ```json
//! {"query": "sum(up)", "totals": {…}, "nodes": [
//!   {"id": 1, "depth": 0, "inputs": [0], "operation": "sum", "text": "sum(up)",
//!    "position": {"start": 0, "end": 7, "line": 1, "column": 1}, "steps": 1, "once": false,
//!    "consumers": 1, "measured": {…}},
//!   {"id": 0, "depth": 1, …}]}
//! ```
//!
//! Nodes stand in the order in which a tree of them is drawn, from the root down, each with its
//! depth; `inputs` names the nodes right below it. They are no nested objects, as expressions may be
//! deeper than what readers of JSON take. A node with `sameAs` is the same as that other node and is
//! not evaluated again. `totals` and `measured` are there if the query ran; times are seconds.

use std::sync::Arc;

use axum::extract::State;
use narthex_promql::engine::{EvaluationTimes as Times, ExplainedNode, Explanation, QueryContext};
use serde_json::{Map, Value, json};

use crate::coding::Coding;
use crate::json::{write_list, write_string};
use crate::params::Params;
use crate::query::{check_has_steps, lookback_delta_ms, parse, steps, timeout};
use crate::respond::{ApiError, ApiResult, Remarks, stream_success};
use crate::run::{Caller, Question, Wanted, answer};
use crate::server::Shared;
use crate::stream::{Out, Stop};

/// So much of the query is repeated for each node.
const TEXT_BYTES_MAX: usize = 200;

pub(crate) async fn explain(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let times = times(&shared, &params)?;
    let timeout = timeout(&shared, &params)?;
    let lookback_delta_ms = lookback_delta_ms(&params)?;
    let (text, expr) = parse(&params, &shared.parts.parser)?;
    if let Times::Range(_) = times {
        check_has_steps(&expr)?;
    }
    if params.flag("run", true)? {
        let question = Question {
            text,
            expr,
            times,
            timeout,
            lookback_delta_ms,
            limit: 0,
            stats: None,
            counts_steps: false,
            wanted: Wanted::Explanation,
        };
        return answer(&shared, question, caller, coding).await;
    }
    let engine = shared.parts.agent.engine();
    let make = move || {
        let context = QueryContext {
            lookback_delta_ms,
            text: text.clone(),
            ..QueryContext::default()
        };
        let plan = engine.plan(&expr, times, &context)?;
        let write = move |out: &mut Out| write_explanation(out, &text, &plan);
        Ok((Remarks::default(), write))
    };
    stream_success(&shared.answer_places, coding, make).await
}

/// A range if any of its parameters is there.
fn times(shared: &Shared, params: &Params) -> Result<Times, ApiError> {
    let is_range = ["start", "end", "step"]
        .iter()
        .any(|name| params.get(name).is_some());
    if is_range {
        return steps(params).map(Times::Range);
    }
    let time_ms = params.time_ms_or("time", shared.parts.agent.now_ms())?;
    Ok(Times::Instant(time_ms))
}

pub(crate) fn write_explanation(
    out: &mut Out,
    text: &str,
    explanation: &Explanation,
) -> Result<(), Stop> {
    out.push_str("{\"query\":");
    write_string(&mut out.buffer, text);
    if let Some(totals) = &explanation.totals {
        let totals = json!({
            "seconds": seconds(totals.time_ns),
            "samplesRead": totals.stats.samples_read,
            "totalQueryableSamples": totals.stats.total_queryable_samples,
            "peakSamples": totals.stats.peak_samples,
            "peakBytes": totals.peak_bytes,
        });
        out.push_str(",\"totals\":");
        out.push_str(&totals.to_string());
    }
    out.push_str(",\"nodes\":");
    write_list(out, explanation.walk(), |out, (depth, node)| {
        out.push_str(&node_json(depth, node, text).to_string());
        Ok(())
    })?;
    out.buffer.push(b'}');
    Ok(())
}

fn node_json(depth: usize, node: &ExplainedNode, query: &str) -> Value {
    let (line, column) = node.span.line_and_column(query);
    let position = json!({
        "start": node.span.start,
        "end": node.span.end,
        "line": line,
        "column": column,
    });
    let mut fields = Map::from_iter([
        ("id".to_owned(), json!(node.id)),
        ("depth".to_owned(), json!(depth)),
        ("inputs".to_owned(), json!(node.inputs)),
        ("operation".to_owned(), json!(node.operation)),
        ("text".to_owned(), json!(text_of(node, query))),
        ("position".to_owned(), position),
        ("steps".to_owned(), json!(node.steps)),
        ("once".to_owned(), json!(node.once)),
        ("consumers".to_owned(), json!(node.consumers)),
    ]);
    if let Some(other) = node.same_as {
        fields.insert("sameAs".to_owned(), json!(other));
    }
    if let Some(measured) = &node.measured {
        let measured = json!({
            "seriesIn": measured.series_in,
            "series": measured.series,
            "values": measured.values,
            "samplesRead": measured.samples_read,
            "peakBytes": measured.peak_bytes,
            "ownSeconds": seconds(measured.own_ns),
            "totalSeconds": seconds(measured.total_ns),
        });
        fields.insert("measured".to_owned(), measured);
    }
    Value::Object(fields)
}

/// Where the node stands in the query, or the beginning of that.
fn text_of<'q>(node: &ExplainedNode, query: &'q str) -> &'q str {
    let text = query
        .get(node.span.start..node.span.end)
        .unwrap_or_default();
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

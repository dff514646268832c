//! `/api/v1/status/*`.

use std::sync::Arc;

use axum::extract::State;
use narthex_storage::{CardinalityStat, ReplayProgress};
use serde_json::{Value, json};

use crate::params::Params;
use crate::respond::{ApiError, ApiResult, ErrorKind, success};
use crate::server::Shared;
use crate::time::rfc3339;

const STATS_LIMIT_DEFAULT: usize = 10;
const STATS_LIMIT_MAX: usize = 10_000;

pub(crate) async fn config(State(shared): State<Arc<Shared>>) -> ApiResult {
    success(&json!({ "yaml": shared.parts.agent.config_yaml() }))
}

pub(crate) async fn flags(State(shared): State<Arc<Shared>>) -> ApiResult {
    success(&shared.parts.agent.flags())
}

pub(crate) async fn build(State(shared): State<Arc<Shared>>) -> ApiResult {
    // No field `features`: a client that finds one takes the server for another product.
    success(&build_json(&shared))
}

pub(crate) fn build_json(shared: &Shared) -> Value {
    let build = shared.parts.agent.build();
    json!({
        "version": build.version,
        "revision": build.revision,
        "branch": build.branch,
        "buildUser": build.build_user,
        "buildDate": build.build_date,
        "goVersion": build.compiler,
    })
}

pub(crate) async fn runtime(State(shared): State<Arc<Shared>>) -> ApiResult {
    let info = shared.parts.agent.runtime();
    let metrics = tokio::runtime::Handle::current().metrics();
    success(&json!({
        "startTime": rfc3339(info.start_time_ms),
        "CWD": info.working_directory,
        "hostname": info.hostname,
        "serverTime": rfc3339(shared.parts.agent.now_ms()),
        "reloadConfigSuccess": info.reload_config_success,
        "lastConfigTime": rfc3339(info.last_config_time_ms),
        "corruptionCount": info.corruption_count,
        // Clients expect Go's words: tasks alive, worker threads; the last three mean nothing here.
        "goroutineCount": metrics.num_alive_tasks(),
        "GOMAXPROCS": metrics.num_workers(),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": info.storage_retention,
    }))
}

pub(crate) async fn tsdb(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let limit = match params.get("limit") {
        None => STATS_LIMIT_DEFAULT,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) if (1..=STATS_LIMIT_MAX).contains(&limit) => limit,
            Ok(limit) if limit > STATS_LIMIT_MAX => {
                return Err(ApiError::bad_data(format!(
                    "limit must not exceed {STATS_LIMIT_MAX}"
                )));
            }
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let stats = shared.parts.store_status.stats(limit);
    success(&json!({
        "headStats": {
            "numSeries": stats.head.series,
            "numLabelPairs": stats.head.label_pairs,
            "chunkCount": stats.head.chunks,
            "minTime": stats.head.min_time_ms,
            "maxTime": stats.head.max_time_ms,
        },
        "seriesCountByMetricName": entries(&stats.series_count_by_metric_name),
        "labelValueCountByLabelName": entries(&stats.label_value_count_by_label_name),
        "memoryInBytesByLabelName": entries(&stats.memory_bytes_by_label_name),
        "seriesCountByLabelValuePair": entries(&stats.series_count_by_label_pair),
    }))
}

pub(crate) async fn blocks(State(shared): State<Arc<Shared>>) -> ApiResult {
    let metas = shared.parts.store_admin.block_metas();
    let parsed: Result<Vec<Value>, _> = metas.iter().map(|m| serde_json::from_str(m)).collect();
    let blocks = parsed.map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    success(&json!({ "blocks": blocks }))
}

pub(crate) async fn replay(State(shared): State<Arc<Shared>>) -> ApiResult {
    replay_of(&shared.parts.replay)
}

pub(crate) fn replay_of(progress: &ReplayProgress) -> ApiResult {
    let (first, last, current) = progress.get();
    success(&json!({ "min": first, "max": last, "current": current }))
}

fn entries(stats: &[CardinalityStat]) -> Vec<Value> {
    stats
        .iter()
        .map(|stat| json!({ "name": stat.name, "value": stat.value }))
        .collect()
}

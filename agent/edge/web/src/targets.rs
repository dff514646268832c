//! `/api/v1/targets`, `targets/metadata`, `metadata`, `scrape_pools`, `alertmanagers`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use narthex_model::family::Metadata;
use narthex_model::matcher::all_match;
use narthex_model::{Labels, duration};
use narthex_promql::syntax;
use serde_json::{Value, json};

use crate::backend::{ActiveTarget, DroppedTarget};
use crate::params::Params;
use crate::respond::{ApiError, ApiResult, success};
use crate::server::Shared;
use crate::time::rfc3339_or_never;

pub(crate) async fn targets(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let state = params.get("state").unwrap_or("any").to_ascii_lowercase();
    let pool = params.get("scrapePool");
    let of_pool = |name: &str| pool.is_none_or(|pool| pool == name);
    let found = shared.parts.scraping.targets();
    let active: Vec<Value> = match &*state {
        "active" | "any" | "" => found
            .active
            .iter()
            .filter(|t| of_pool(&t.pool))
            .map(active_target)
            .collect(),
        _ => Vec::new(),
    };
    let dropped: Vec<Value> = match &*state {
        "dropped" | "any" | "" => found
            .dropped
            .iter()
            .filter(|t| of_pool(&t.pool))
            .map(dropped_target)
            .collect(),
        _ => Vec::new(),
    };
    success(&json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": found.dropped_counts,
    }))
}

pub(crate) async fn scrape_pools(State(shared): State<Arc<Shared>>) -> ApiResult {
    let targets = shared.parts.scraping.targets();
    let of_active = targets.active.iter().map(|target| &target.pool);
    let pools: BTreeSet<&String> = of_active.chain(targets.dropped_counts.keys()).collect();
    success(&json!({ "scrapePools": pools }))
}

fn active_target(target: &ActiveTarget) -> Value {
    json!({
        "discoveredLabels": label_map(&target.discovered_labels),
        "labels": label_map(&target.labels),
        "scrapePool": target.pool,
        "scrapeUrl": target.url,
        "globalUrl": target.global_url,
        "lastError": target.last_error,
        "lastScrape": rfc3339_or_never(target.last_scrape_ms),
        "lastScrapeDuration": target.last_scrape_duration_seconds,
        "health": target.health,
        "scrapeInterval": duration::format_ms(target.interval_ms),
        "scrapeTimeout": duration::format_ms(target.timeout_ms),
    })
}

fn dropped_target(target: &DroppedTarget) -> Value {
    json!({
        "discoveredLabels": label_map(&target.discovered_labels),
        "scrapePool": target.pool,
    })
}

pub(crate) fn label_map(labels: &Labels) -> BTreeMap<&str, &str> {
    labels
        .iter()
        .map(|label| (&*label.name, &*label.value))
        .collect()
}

pub(crate) async fn metadata(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let limit = params.metadata_limit("limit")?;
    let per_metric = match params.metadata_limit("limit_per_metric")? {
        // Here it means no limit, as upstream has it.
        0 => usize::MAX,
        limit => limit,
    };
    let metric = params.get("metric");
    let mut found = shared.parts.scraping.metadata();
    found.retain(|name, _| metric.is_none_or(|metric| metric == name));
    let entries = |all: &Vec<Metadata>| {
        let shown = all.iter().take(per_metric);
        shown.map(metadata_entry).collect()
    };
    let data: BTreeMap<&String, Vec<Value>> = found
        .iter()
        .take(limit)
        .map(|(name, all)| (name, entries(all)))
        .collect();
    success(&data)
}

fn metadata_entry(metadata: &Metadata) -> Value {
    json!({
        "type": metadata.kind.as_str(),
        "help": metadata.help,
        "unit": metadata.unit,
    })
}

pub(crate) async fn target_metadata(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> ApiResult {
    let limit = params.metadata_limit("limit")?;
    let metric = params.get("metric");
    let matchers = match params.get("match_target") {
        None => Vec::new(),
        Some(text) => syntax::parse_any_selector(text)
            .map_err(|e| ApiError::bad_parameter("match_target", e))?,
    };
    let mut entries = Vec::new();
    let mut last = None;
    for (target, name, metadata) in shared.parts.scraping.target_metadata() {
        // A target is told whole or not at all.
        let is_new = last
            .replace(target.clone())
            .is_none_or(|last| last != target);
        if is_new && entries.len() >= limit {
            break;
        }
        if !all_match(&matchers, &target) || metric.is_some_and(|metric| metric != name) {
            continue;
        }
        let mut entry = metadata_entry(&metadata);
        entry["target"] = json!(label_map(&target));
        if metric.is_none() {
            entry["metric"] = json!(name);
        }
        entries.push(entry);
    }
    success(&entries)
}

pub(crate) async fn alertmanagers(State(shared): State<Arc<Shared>>) -> ApiResult {
    let urls = shared.parts.alerts.external_alertmanagers();
    let active: Vec<Value> = urls.iter().map(|url| json!({ "url": url })).collect();
    success(&json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] }))
}

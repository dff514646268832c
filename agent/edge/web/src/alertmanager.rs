//! The Alertmanager API: `/api/v2/*`.
//!
//! Errors are a JSON string with status 400, as that API has it; there is no envelope.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::backend::{AlertFilter, PostedAlert, RoutedAlert};
use crate::params::{Params, parse_time_ms};
use crate::respond::{ApiError, JSON};
use crate::server::Shared;
use crate::status::build_json;
use crate::time::{rfc3339, rfc3339_millis};

pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let runtime = shared.parts.agent.runtime();
    let mut version = build_json(&shared);
    version["version"] = json!(shared.parts.agent.build().alertmanager_version);
    answer(&json!({
        "cluster": { "status": "disabled", "peers": [] },
        "versionInfo": version,
        "config": { "original": shared.parts.alerts.config_yaml() },
        "uptime": rfc3339(runtime.start_time_ms),
    }))
}

pub(crate) async fn receivers(State(shared): State<Arc<Shared>>) -> Response {
    let names = shared.parts.alerts.receivers();
    answer(&json!(
        names
            .iter()
            .map(|name| json!({ "name": name }))
            .collect::<Vec<_>>()
    ))
}

pub(crate) async fn alerts(State(shared): State<Arc<Shared>>, params: Params) -> Response {
    let found = filter(&params).and_then(|filter| shared.parts.alerts.alerts(&filter));
    match found {
        Ok(alerts) => answer(&alerts.iter().map(alert_json).collect()),
        Err(error) => refuse(&error),
    }
}

pub(crate) async fn groups(State(shared): State<Arc<Shared>>, params: Params) -> Response {
    let found = filter(&params).and_then(|filter| shared.parts.alerts.groups(&filter));
    let groups = match found {
        Ok(groups) => groups,
        Err(error) => return refuse(&error),
    };
    let groups = groups.iter().map(|group| {
        json!({
            "labels": group.labels,
            "routeLabels": {},
            "receiver": { "name": group.receiver },
            "alerts": group.alerts.iter().map(alert_json).collect::<Vec<_>>(),
        })
    });
    answer(&groups.collect())
}

fn filter(params: &Params) -> Result<AlertFilter, String> {
    let flag = |name| {
        params
            .flag(name, true)
            .map_err(|e: ApiError| e.text().to_owned())
    };
    Ok(AlertFilter {
        matchers: params
            .all("filter")
            .chain(params.all("filter[]"))
            .map(str::to_owned)
            .collect(),
        receiver: params.get("receiver").map(str::to_owned),
        active: flag("active")?,
        silenced: flag("silenced")?,
        inhibited: flag("inhibited")?,
        muted: flag("muted")?,
    })
}

fn alert_json(alert: &RoutedAlert) -> Value {
    let receivers: Vec<Value> = alert
        .receivers
        .iter()
        .map(|n| json!({ "name": n }))
        .collect();
    json!({
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339_millis(alert.starts_at_ms),
        "endsAt": rfc3339_millis(alert.ends_at_ms),
        "updatedAt": rfc3339_millis(alert.updated_at_ms),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
        "receivers": receivers,
        "status": {
            "state": alert.state,
            "silencedBy": alert.silenced_by,
            "inhibitedBy": alert.inhibited_by,
            "mutedBy": alert.muted_by,
        },
    })
}

/// One posted alert as JSON has it; fields that are not known are passed over, as upstream does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertJson {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

pub(crate) async fn post_alerts(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let parsed: Vec<AlertJson> = match serde_json::from_slice(&body) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&format!("parsing alerts: {error}")),
    };
    let mut alerts = Vec::with_capacity(parsed.len());
    for (index, alert) in parsed.into_iter().enumerate() {
        match posted(alert) {
            Ok(alert) => alerts.push(alert),
            Err(error) => return refuse(&format!("alert {index}: {error}")),
        }
    }
    match shared.parts.alerts.post(alerts).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => refuse(&error),
    }
}

fn posted(alert: AlertJson) -> Result<PostedAlert, String> {
    let time = |name: &str, text: Option<String>| match text.as_deref() {
        // Go's zero time stands for a time that was not given.
        None | Some("" | "0001-01-01T00:00:00Z" | "0001-01-01T00:00:00.000Z") => Ok(None),
        Some(text) if text.contains('T') => parse_time_ms(text)
            .map(Some)
            .map_err(|e| format!("{name}: {e}")),
        Some(text) => Err(format!("{name}: {text:?} is no RFC 3339 time")),
    };
    Ok(PostedAlert {
        labels: alert.labels,
        annotations: alert.annotations,
        starts_at_ms: time("startsAt", alert.starts_at)?,
        ends_at_ms: time("endsAt", alert.ends_at)?,
        generator_url: alert.generator_url,
    })
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

fn refuse(error: &str) -> Response {
    let body = json!(error).to_string();
    (
        StatusCode::BAD_REQUEST,
        [(header::CONTENT_TYPE, JSON)],
        body,
    )
        .into_response()
}

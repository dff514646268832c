//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit`, `/metrics`, `/version` and the front page.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use prometheus::{Encoder, TextEncoder};

use crate::extensions::TEXT_FORMAT;
use crate::server::Shared;
use crate::status::build_json;

pub(crate) async fn healthy() -> &'static str {
    "Narthex is Healthy.\n"
}

pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.parts.agent.is_ready() {
        "Narthex is Ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
    }
}

pub(crate) async fn reload(State(shared): State<Arc<Shared>>) -> Response {
    if !shared.options.enable_lifecycle {
        return lifecycle_disabled();
    }
    match shared.parts.agent.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let text = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

pub(crate) async fn quit(State(shared): State<Arc<Shared>>) -> Response {
    if !shared.options.enable_lifecycle {
        return lifecycle_disabled();
    }
    shared.parts.agent.quit();
    "Requesting termination... Goodbye!".into_response()
}

fn lifecycle_disabled() -> Response {
    let text =
        "Lifecycle API is not enabled. Start Narthex with --web.enable-lifecycle to use it.\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&shared.parts.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub(crate) async fn version(State(shared): State<Arc<Shared>>) -> Response {
    Json(build_json(&shared)).into_response()
}

/// Path, and what it is for.
const LINKS: [(&str, &str); 19] = [
    ("/api/v1/targets", "what is scraped, and whether it answers"),
    ("/api/v1/query?query=up", "a query: which targets are up"),
    ("/api/v1/rules", "rules and their state"),
    ("/api/v1/alerts", "alerts that are pending or firing"),
    ("/api/v2/alerts", "alerts as they are routed"),
    ("/api/v2/alerts/groups", "alerts by group and receiver"),
    (
        "/api/v1/narthex/plugins",
        "plugins: state, limits, wants and grants",
    ),
    ("/api/v1/narthex/scripts", "scripts: state, limits and use"),
    ("/api/v1/label/__name__/values", "names of all metrics"),
    ("/api/v1/labels", "names of all labels"),
    ("/api/v1/metadata", "type and help of the metrics"),
    ("/api/v1/status/config", "the configuration in force"),
    ("/api/v1/status/flags", "the flags in force"),
    ("/api/v1/status/runtimeinfo", "the running process"),
    ("/api/v1/status/buildinfo", "version and build"),
    ("/api/v1/status/tsdb", "what the store holds"),
    ("/metrics", "Narthex's own metrics"),
    ("/-/healthy", "answers while the process runs"),
    ("/-/ready", "answers once requests can be served"),
];

pub(crate) async fn front_page(State(shared): State<Arc<Shared>>) -> Html<String> {
    let mut rows = String::new();
    for (path, purpose) in LINKS {
        // Writing into a String does not fail.
        let _ = writeln!(rows, "<tr><td><a href=\"{path}\">{path}</a><td>{purpose}");
    }
    let product = shared.parts.agent.build().product;
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Narthex</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}}\
         td{{padding:.1rem 1.5rem .1rem 0}}a{{font-family:ui-monospace,monospace}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}a{{color:#8bf}}}}</style>\n\
         <h1>{product}</h1>\n\
         <p>Scrapes, stores, queries, alerts and notifies. The HTTP API is Prometheus's \
         (<code>/api/v1</code>) and Alertmanager's (<code>/api/v2</code>): point Grafana, promtool \
         and amtool here.</p>\n<table>\n{rows}</table>\n</html>\n"
    ))
}

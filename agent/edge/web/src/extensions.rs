//! Plugins and scripts: `/api/v1/narthex/*` and `/plugins/<name>/metrics`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use narthex_exposition::write_text;

use crate::respond::{ApiResult, success};
use crate::server::Shared;

pub(crate) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn plugins(State(shared): State<Arc<Shared>>) -> ApiResult {
    success(&shared.parts.extensions.plugins())
}

pub(crate) async fn scripts(State(shared): State<Arc<Shared>>) -> ApiResult {
    success(&shared.parts.extensions.scripts())
}

/// What an exporter plugin gives, so that any Prometheus can scrape it. Collects anew.
pub(crate) async fn plugin_metrics(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Response {
    match shared.parts.extensions.collect(&name).await {
        Some(Ok(families)) => {
            let mut text = String::new();
            write_text(&families, &mut text);
            ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
        }
        Some(Err(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
        None => {
            let text = format!(
                "no exporter plugin {name:?} is running; /api/v1/narthex/plugins lists those there are\n"
            );
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

//! `/api/v1/admin/tsdb/*`: what an operator does to the store by hand. Off unless a flag allows it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use narthex_storage::{StorageError, StoreAdmin};
use serde_json::json;

use crate::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use crate::respond::{ApiError, ApiResult, ErrorKind, success};
use crate::server::Shared;

pub(crate) async fn delete_series(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<Response, ApiError> {
    check_allowed(&shared)?;
    let sets = params.matcher_sets()?;
    if sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let start_ms = params.time_ms_or("start", MIN_TIME_MS)?;
    let end_ms = params.time_ms_or("end", MAX_TIME_MS)?;
    on_store(&shared, move |store| {
        store.delete_series(&sets, start_ms, end_ms)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn clean_tombstones(
    State(shared): State<Arc<Shared>>,
) -> Result<Response, ApiError> {
    check_allowed(&shared)?;
    on_store(&shared, |store| store.clean_tombstones()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn snapshot(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    check_allowed(&shared)?;
    let skip_head = params.flag("skip_head", false)?;
    let name = on_store(&shared, move |store| store.snapshot(skip_head)).await?;
    success(&json!({ "name": name }))
}

fn check_allowed(shared: &Shared) -> Result<(), ApiError> {
    if shared.options.enable_admin_api {
        return Ok(());
    }
    let message = "admin APIs disabled: start with --web.enable-admin-api to allow them";
    Err(ApiError::new(ErrorKind::Unavailable, message))
}

/// Such work takes as long as it takes; it goes on when the client has gone.
async fn on_store<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&dyn StoreAdmin) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = shared.parts.store_admin.clone();
    let done = tokio::task::spawn_blocking(move || work(&*store)).await;
    let done = done.map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    Ok(done?)
}

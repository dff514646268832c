//! `/api/v1/series`, `labels`, `label/<name>/values`.

use std::sync::Arc;

use axum::extract::{Path, State};
use narthex_model::{CancelToken, Labels, Matcher};
use narthex_storage::{LabelQuery, Queryable, StorageError};

use crate::json::write_labels;
use crate::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use crate::respond::{ApiError, ApiResult, ErrorKind, Remarks, large, success_raw, success_with};
use crate::server::Shared;

pub(crate) async fn series(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let sets = params.matcher_sets()?;
    if sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit("limit")?;
    let (start_ms, end_ms) = time_range(&params)?;
    let mut found = on_store(&shared, sets, start_ms, end_ms, |store, query| {
        store.series(query)
    })
    .await?;
    large(move || {
        let remarks = truncate(&mut found, limit);
        Ok(success_raw(&label_sets(&found), &remarks))
    })
    .await
}

pub(crate) async fn names(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let sets = params.matcher_sets()?;
    let limit = params.limit("limit")?;
    let (start_ms, end_ms) = time_range(&params)?;
    let mut found = on_store(&shared, sets, start_ms, end_ms, |store, query| {
        store.label_names(query)
    })
    .await?;
    large(move || {
        let remarks = truncate(&mut found, limit);
        success_with(&texts(&found), &remarks)
    })
    .await
}

pub(crate) async fn values(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    params: Params,
) -> ApiResult {
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let sets = params.matcher_sets()?;
    let limit = params.limit("limit")?;
    let (start_ms, end_ms) = time_range(&params)?;
    let look_up =
        move |store: &dyn Queryable, query: &LabelQuery<'_>| store.label_values(&name, query);
    let mut found = on_store(&shared, sets, start_ms, end_ms, look_up).await?;
    large(move || {
        let remarks = truncate(&mut found, limit);
        success_with(&texts(&found), &remarks)
    })
    .await
}

fn time_range(params: &Params) -> Result<(i64, i64), ApiError> {
    let start_ms = params.time_ms("start")?.unwrap_or(MIN_TIME_MS);
    let end_ms = params.time_ms("end")?.unwrap_or(MAX_TIME_MS);
    if end_ms < start_ms {
        return Err(ApiError::bad_parameter(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    Ok((start_ms, end_ms))
}

/// Runs a look-up on a blocking thread.
async fn on_store<T: Send + 'static>(
    shared: &Shared,
    sets: Vec<Vec<Matcher>>,
    start_ms: i64,
    end_ms: i64,
    look_up: impl FnOnce(&dyn Queryable, &LabelQuery<'_>) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = shared.parts.store.clone();
    let task = tokio::task::spawn_blocking(move || {
        let query = LabelQuery {
            matcher_sets: &sets,
            start_ms,
            end_ms,
            cancel: CancelToken::default(),
        };
        look_up(&*store, &query)
    });
    let result = task
        .await
        .map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    Ok(result?)
}

fn truncate<T>(found: &mut Vec<T>, limit: usize) -> Remarks {
    let mut remarks = Remarks::default();
    if limit > 0 && found.len() > limit {
        found.truncate(limit);
        remarks
            .warnings
            .push("results truncated due to limit".to_owned());
    }
    remarks
}

fn texts(found: &[Arc<str>]) -> Vec<&str> {
    found.iter().map(|text| &**text).collect()
}

fn label_sets(sets: &[Labels]) -> String {
    let mut out = String::from("[");
    for (i, labels) in sets.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_labels(&mut out, labels);
    }
    out.push(']');
    out
}

/// Undoes the escaping of names that are no legacy ones: `U__` in front, `__` for `_`,
/// `_<hex>_` for any other character. What is not written so is taken as it is.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            out.push(c);
            continue;
        }
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let Some((code, after)) = rest.split_once('_') else {
            return name.to_owned();
        };
        let Some(c) = u32::from_str_radix(code, 16).ok().and_then(char::from_u32) else {
            return name.to_owned();
        };
        out.push(c);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape_name;

    #[test]
    fn unescapes_names() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__mysystem_2e_prod_2e_west__1", "mysystem.prod.west_1"),
            ("U__a_1F600_", "a😀"),
            ("U__bad_", "U__bad_"),
            ("U__bad_zz_", "U__bad_zz_"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}

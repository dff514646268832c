//! `/api/v1/series`, `labels`, `label/<name>/values`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use narthex_model::{CancelToken, Matcher};
use narthex_storage::{LabelQuery, Queryable, StorageError};

use crate::coding::Coding;
use crate::json::{write_labels, write_list, write_string};
use crate::params::{MAX_TIME_MS, MIN_TIME_MS, Params};
use crate::respond::{ApiError, ApiResult, Remarks, stream_success};
use crate::run::CancelOnDrop;
use crate::server::Shared;
use crate::stream::Out;

pub(crate) async fn series(
    State(shared): State<Arc<Shared>>,
    coding: Coding,
    params: Params,
) -> ApiResult {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let mut look_up = LookUp::of(&params)?;
    look_up.sets = params
        .matcher_sets()
        .map_err(|e| ApiError::bad_parameter("match[]", e.text()))?;
    let find = |store: &dyn Queryable, query: &LabelQuery<'_>| store.series(query);
    answer(&shared, look_up, coding, find, write_labels).await
}

pub(crate) async fn names(
    State(shared): State<Arc<Shared>>,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let mut look_up = LookUp::of(&params)?;
    look_up.sets = params.matcher_sets()?;
    let find = |store: &dyn Queryable, query: &LabelQuery<'_>| store.label_names(query);
    answer(&shared, look_up, coding, find, write_text).await
}

pub(crate) async fn values(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    coding: Coding,
    params: Params,
) -> ApiResult {
    let Ok(Path(name)) = name else {
        return Err(ApiError::bad_data("invalid label name: it is not UTF-8"));
    };
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let mut look_up = LookUp::of(&params)?;
    look_up.sets = params.matcher_sets()?;
    let find =
        move |store: &dyn Queryable, query: &LabelQuery<'_>| store.label_values(&name, query);
    answer(&shared, look_up, coding, find, write_text).await
}

/// What all three are asked with.
struct LookUp {
    sets: Vec<Vec<Matcher>>,
    start_ms: i64,
    end_ms: i64,
    limit: usize,
}

impl LookUp {
    /// Still without matchers.
    fn of(params: &Params) -> Result<LookUp, ApiError> {
        let limit = params.limit("limit")?;
        let start_ms = params.time_ms_or("start", MIN_TIME_MS)?;
        let end_ms = params.time_ms_or("end", MAX_TIME_MS)?;
        Ok(LookUp {
            sets: Vec::new(),
            start_ms,
            end_ms,
            limit,
        })
    }
}

async fn answer<T>(
    shared: &Shared,
    look_up: LookUp,
    coding: Coding,
    find: impl FnOnce(&dyn Queryable, &LabelQuery<'_>) -> Result<Vec<T>, StorageError> + Send + 'static,
    write: fn(&mut Vec<u8>, &T),
) -> ApiResult
where
    T: 'static,
{
    let store = shared.parts.store.clone();
    let cancel = CancelToken::default();
    let _gone = CancelOnDrop(cancel.clone());
    let make = move || {
        let query = LabelQuery {
            matcher_sets: &look_up.sets,
            start_ms: look_up.start_ms,
            end_ms: look_up.end_ms,
            // One more shows that there are more.
            limit: match look_up.limit {
                0 => 0,
                limit => limit.saturating_add(1),
            },
            cancel,
        };
        let mut found = find(&*store, &query).map_err(ApiError::of_look_up)?;
        let mut remarks = Remarks::default();
        if look_up.limit > 0 && found.len() > look_up.limit {
            found.truncate(look_up.limit);
            remarks.warn_of_limit();
        }
        Ok((remarks, move |out: &mut Out| {
            write_list(out, found, |out, item| {
                write(&mut out.buffer, &item);
                Ok(())
            })
        }))
    };
    stream_success(&shared.answer_places, coding, make).await
}

fn write_text(out: &mut Vec<u8>, text: &Arc<str>) {
    write_string(out, text);
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

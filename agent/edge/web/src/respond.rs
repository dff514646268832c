//! The envelope of `/api/v1`: `{"status": …, "data": …}`, error types and their status codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use narthex_promql::engine::QueryError;
use serde::Serialize;

/// How many warnings and infos are told; one more entry says how many there were besides.
const ANNOTATIONS_MAX: usize = 10;

/// An error as clients read it.
#[derive(Debug)]
pub(crate) struct ApiError {
    kind: ErrorKind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    /// What was asked for is switched off.
    Unavailable,
}

pub(crate) type ApiResult = Result<Response, ApiError>;

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    pub(crate) fn text(&self) -> &str {
        &self.message
    }

    pub(crate) fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Canceled => "canceled",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Internal => "internal",
            ErrorKind::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // No constant names nginx's 499, "client closed request".
            ErrorKind::Canceled => {
                StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
            ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal | ErrorKind::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match error {
            QueryError::Timeout => ErrorKind::Timeout,
            QueryError::Canceled => ErrorKind::Canceled,
            QueryError::Storage(_) => ErrorKind::Internal,
            QueryError::TooManySamples | QueryError::Execution(_) | QueryError::NotSupported(_) => {
                ErrorKind::Execution
            }
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<narthex_storage::StorageError> for ApiError {
    fn from(error: narthex_storage::StorageError) -> Self {
        let kind = match error {
            narthex_storage::StorageError::Canceled => ErrorKind::Canceled,
            narthex_storage::StorageError::Internal(_) => ErrorKind::Internal,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "status": "error",
            "errorType": self.kind.name(),
            "error": self.message,
        });
        (
            self.kind.status(),
            [(header::CONTENT_TYPE, JSON)],
            body.to_string(),
        )
            .into_response()
    }
}

pub(crate) const JSON: &str = "application/json";

/// What is said beside the data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remarks {
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

/// Makes an answer that may be large on a blocking thread: that can take seconds, and scrapes wait for
/// the async ones.
pub(crate) async fn large(make: impl FnOnce() -> ApiResult + Send + 'static) -> ApiResult {
    tokio::task::spawn_blocking(make)
        .await
        .unwrap_or_else(|failed| {
            let message = format!("writing the answer ended unexpectedly: {failed}");
            Err(ApiError::new(ErrorKind::Internal, message))
        })
}

/// `data` in the envelope.
pub(crate) fn success(data: &impl Serialize) -> ApiResult {
    success_with(data, &Remarks::default())
}

pub(crate) fn success_with(data: &impl Serialize, remarks: &Remarks) -> ApiResult {
    let data = serde_json::to_string(data)
        .map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    Ok(success_raw(&data, remarks))
}

/// As [`success_with`], for data that is JSON already.
pub(crate) fn success_raw(data: &str, remarks: &Remarks) -> Response {
    let mut body = String::with_capacity(data.len() + 64);
    body.push_str("{\"status\":\"success\",\"data\":");
    body.push_str(data);
    push_remarks(&mut body, "warnings", &remarks.warnings);
    push_remarks(&mut body, "infos", &remarks.infos);
    body.push('}');
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

fn push_remarks(body: &mut String, name: &str, remarks: &[String]) {
    if remarks.is_empty() {
        return;
    }
    let mut told: Vec<String> = remarks.iter().take(ANNOTATIONS_MAX).cloned().collect();
    if remarks.len() > ANNOTATIONS_MAX {
        let more = remarks.len() - ANNOTATIONS_MAX;
        let kind = if name == "warnings" {
            "warning"
        } else {
            "info"
        };
        told.push(format!("{more} more {kind} annotations omitted"));
    }
    body.push_str(&format!(",\"{name}\":{}", serde_json::json!(told)));
}

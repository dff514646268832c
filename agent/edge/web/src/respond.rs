//! The envelope of `/api/v1`: `{"status": …, "data": …}`, error types and their status codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use narthex_promql::engine::QueryError;
use serde::Serialize;

use crate::coding::Coding;
use crate::json::write_string;
use crate::stream::{Out, Places, Stop, stream};

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

    /// Finding series, labels or exemplars failed. Upstream tells it as it tells that a query did.
    pub(crate) fn of_look_up(error: narthex_storage::StorageError) -> Self {
        let mut error = ApiError::from(error);
        if error.kind == ErrorKind::Internal {
            error.kind = ErrorKind::Execution;
        }
        error
    }

    pub(crate) fn text(&self) -> &str {
        &self.message
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
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
            QueryError::TooManySamples { .. }
            | QueryError::Execution(_)
            | QueryError::NotSupported(_) => ErrorKind::Execution,
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

impl Remarks {
    /// Before what the engine said, of which only the first are told.
    pub(crate) fn warn_of_limit(&mut self) {
        let warning = "results truncated due to limit".to_owned();
        self.warnings.insert(0, warning);
    }
}

/// `data` in the envelope.
pub(crate) fn success(data: &impl Serialize) -> ApiResult {
    let envelope = Envelope {
        status: "success",
        data,
    };
    let body = serde_json::to_string(&envelope)
        .map_err(|e| ApiError::new(ErrorKind::Internal, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    status: &'static str,
    data: &'a T,
}

/// Streams data that may be large in the envelope. `make` runs on a blocking thread: it finds the
/// data with what is to be said beside it, and gives what will write it.
pub(crate) async fn stream_success<W>(
    places: &Places,
    coding: Coding,
    make: impl FnOnce() -> Result<(Remarks, W), ApiError> + Send + 'static,
) -> ApiResult
where
    W: FnOnce(&mut Out) -> Result<(), Stop>,
{
    let content_type = HeaderValue::from_static(JSON);
    stream(places, content_type, coding, |out| {
        let (remarks, write_data) = make()?;
        out.push_str("{\"status\":\"success\",\"data\":");
        write_data(out)?;
        push_remarks(&mut out.buffer, "warnings", &remarks.warnings);
        push_remarks(&mut out.buffer, "infos", &remarks.infos);
        out.buffer.push(b'}');
        Ok(())
    })
    .await
}

fn push_remarks(out: &mut Vec<u8>, name: &str, remarks: &[String]) {
    if remarks.is_empty() {
        return;
    }
    let more = remarks.len().saturating_sub(ANNOTATIONS_MAX);
    let kind = name.strip_suffix('s').unwrap_or(name);
    let omitted = (more > 0).then(|| format!("{more} more {kind} annotations omitted"));
    let told = remarks.iter().take(ANNOTATIONS_MAX).chain(&omitted);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":[");
    for (index, text) in told.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, text);
    }
    out.push(b']');
}

//! How asking an API server can fail, in words for people.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use narthex_plugin_sdk::events::timeout_ms;
use narthex_plugin_sdk::http::Incoming;
use narthex_plugin_sdk::{Error, HttpError};

use crate::pieces::TooLong;

/// How long the explanation of a refusal may take, and how long it may be.
const REASON_MS: u64 = 10_000;
const REASON_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The server no longer has what was asked for: 410 Gone.
    Gone,
    /// The server says no.
    Refused {
        status: u16,
        reason: String,
        retry_after_ms: Option<u64>,
    },
    /// No answer, or one that was cut off.
    Lost(String),
    /// An answer that makes no sense.
    Broken(String),
}

impl Failure {
    pub(crate) fn of_status(status: &Status) -> Self {
        let code = u16::try_from(status.code.unwrap_or_default()).unwrap_or_default();
        let is_gone = matches!(status.reason.as_deref(), Some("Expired" | "Gone"));
        if code == 410 || is_gone {
            return Failure::Gone;
        }
        let details = status.details.as_ref();
        let seconds = details.and_then(|details| details.retry_after_seconds);
        let text = [&status.message, &status.reason].into_iter().flatten();
        let mut text = text.filter(|text| !text.is_empty());
        Failure::Refused {
            status: code,
            reason: text.next().cloned().unwrap_or_default(),
            retry_after_ms: seconds
                .and_then(|s| u64::try_from(s).ok())
                .map(|s| s * 1000),
        }
    }

    /// Whether the server has judged what it was asked for. One that is busy has not.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Failure::Refused { status, .. } if ![429, 503].contains(status))
    }

    /// How long the server asks to be left alone.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Failure::Refused { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Gone => f.write_str("the server no longer has this version (410)"),
            Failure::Refused { status, reason, .. } => {
                write!(f, "the server answers {status}")?;
                match reason.as_str() {
                    "" => Ok(()),
                    reason => write!(f, ": {reason}"),
                }
            }
            Failure::Lost(text) | Failure::Broken(text) => f.write_str(text),
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Failure::Lost(error.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Lost(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::Broken(format!("the answer is not what was expected: {error}"))
    }
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Self {
        Failure::Broken("an object is longer than any can be".to_owned())
    }
}

/// The answer itself if it is a good one; else why it is not.
pub(crate) async fn check(incoming: Incoming) -> Result<Incoming, Failure> {
    let status = incoming.status();
    if (200..300).contains(&status) {
        return Ok(incoming);
    }
    let after = incoming.header("retry-after");
    let after_ms = after.and_then(|text| text.trim().parse::<u64>().ok());
    let after_ms = after_ms.map(|seconds| seconds.saturating_mul(1000));
    if status == 410 {
        return Err(Failure::Gone);
    }
    // What it says of it may be lost without harm.
    let body = timeout_ms(REASON_MS, beginning(incoming)).await;
    let body = body.unwrap_or_default();
    let told = serde_json::from_slice::<Status>(&body).map(|told| Failure::of_status(&told));
    match told {
        Ok(Failure::Gone) => Err(Failure::Gone),
        Ok(Failure::Refused {
            reason,
            retry_after_ms,
            ..
        }) => Err(Failure::Refused {
            status,
            reason,
            retry_after_ms: after_ms.or(retry_after_ms),
        }),
        _ => Err(Failure::Refused {
            status,
            reason: plain(&body),
            retry_after_ms: after_ms,
        }),
    }
}

async fn beginning(mut incoming: Incoming) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = incoming.chunk().await {
        let room = REASON_BYTES - body.len();
        body.extend(bytes.into_iter().take(room));
        if body.len() == REASON_BYTES {
            break;
        }
    }
    body
}

/// The first line of a text that is no JSON, not too long.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

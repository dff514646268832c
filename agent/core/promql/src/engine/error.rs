//! Why a query gave no result.

use narthex_model::CancelReason;
use narthex_storage::StorageError;

/// The stages that Prometheus names in these messages.
const EVALUATION: &str = "expression evaluation";
const EXECUTION: &str = "query execution";

/// Sorted by what a caller can do; the texts are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The time was up: ask for less, or allow more time.
    #[error("query timed out in {EVALUATION}")]
    Timeout,
    /// Whoever asked has gone.
    #[error("query was canceled in {EVALUATION}")]
    Canceled,
    /// Ask for less, or allow more samples.
    #[error(
        "query processing would load too many samples into memory in {EXECUTION}: {samples} at a \
         time, but the limit is {limit}"
    )]
    TooManySamples { samples: u64, limit: u64 },
    /// The expression can't be evaluated on this data.
    #[error("{0}")]
    Execution(String),
    /// Prometheus can do it; this engine refuses instead of giving a wrong result.
    #[error("not supported: {0}")]
    NotSupported(String),
    #[error("{0}")]
    Storage(String),
}

impl QueryError {
    pub(crate) fn execution(message: impl Into<String>) -> Self {
        QueryError::Execution(message.into())
    }

    pub(crate) fn not_supported(what: impl Into<String>) -> Self {
        QueryError::NotSupported(what.into())
    }
}

impl From<CancelReason> for QueryError {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::Timeout => QueryError::Timeout,
            CancelReason::Canceled => QueryError::Canceled,
        }
    }
}

impl From<StorageError> for QueryError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Canceled => QueryError::Canceled,
            StorageError::Internal(message) => QueryError::Storage(message),
        }
    }
}

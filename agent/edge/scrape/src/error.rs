//! Why a scrape failed, in the words that the target's status shows.

use std::time::Duration;

use narthex_exposition::ParseError;
use narthex_extension::ExporterError;
use narthex_storage::CommitError;

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ScrapeError {
    #[error(transparent)]
    Http(narthex_http_client::Error),
    #[error("{0} (scrape_timeout)")]
    Timeout(narthex_http_client::Error),
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error("{0}")]
    ContentType(String),
    #[error("the body is not valid gzip: {0}")]
    Gzip(String),
    #[error("body size limit exceeded: more than {limit_bytes} bytes (body_size_limit)")]
    BodySizeLimit { limit_bytes: u64 },
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("line {line}: {reason}")]
    InvalidSample { line: usize, reason: String },
    #[error("invalid sample: {0}")]
    InvalidFamily(String),
    #[error("sample_limit exceeded: {samples} samples, limit {limit}")]
    SampleLimit { samples: u64, limit: u64 },
    #[error("{0}")]
    LabelLimit(String),
    #[error("target_limit exceeded: {targets} targets, limit {limit}")]
    TargetLimit { targets: usize, limit: u64 },
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    #[error("timeout: the plugin did not answer within {0:?} (scrape_timeout)")]
    ExporterTimeout(Duration),
    #[error("cannot store the samples: {0}")]
    Store(#[from] CommitError),
}

impl From<narthex_http_client::Error> for ScrapeError {
    fn from(error: narthex_http_client::Error) -> Self {
        match error {
            narthex_http_client::Error::Timeout { .. } => ScrapeError::Timeout(error),
            error => ScrapeError::Http(error),
        }
    }
}

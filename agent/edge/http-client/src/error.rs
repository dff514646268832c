//! What can go wrong, in words for whoever runs the agent.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::resolver::ResolveError;

/// Why no client could be built: the configuration is at fault, or a file that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("cannot read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("tls_config: {0}")]
    Tls(String),
    #[error("proxy_url: {0}")]
    Proxy(String),
    #[error("{0}")]
    Client(String),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{url:?} is not a valid URL: {reason}")]
    Url { url: String, reason: String },
    /// A file with a secret or a certificate, or a header that cannot be sent.
    #[error("{0}")]
    Configuration(String),
    /// The host's name leads to no address.
    #[error("cannot connect to {host}: {reason}")]
    Name { host: String, reason: String },
    /// The host's name leads to addresses that the resolver refuses.
    #[error("{reason}")]
    Refused { host: String, reason: String },
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("TLS with {host} failed: {reason}")]
    Tls { host: String, reason: String },
    #[error("timeout: {host} did not {what} within {limit:?}")]
    Timeout {
        host: String,
        what: &'static str,
        limit: Duration,
    },
    #[error("{host} redirects more than {limit} times")]
    TooManyRedirects { host: String, limit: usize },
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge { limit_bytes: usize },
    /// The connection broke, or what came is no HTTP.
    #[error("no valid answer from {host}: {reason}")]
    Broken { host: String, reason: String },
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Error::Configuration(error.to_string())
    }
}

impl Error {
    pub(crate) fn from_reqwest(error: &reqwest::Error, host: &str) -> Self {
        let host = host.to_owned();
        if let Some(reason) = tls_reason(error) {
            return Error::Tls { host, reason };
        }
        if let Some(refusal) = chain(error).find_map(|error| error.downcast_ref()) {
            return match refusal {
                ResolveError::Unknown(_) => Error::Name {
                    host,
                    reason: refusal.to_string(),
                },
                ResolveError::Refused(_) => Error::Refused {
                    host,
                    reason: refusal.to_string(),
                },
            };
        }
        let reason = deepest_reason(error);
        if error.is_connect() {
            Error::Connect { host, reason }
        } else if error.is_builder() {
            Error::Configuration(reason)
        } else {
            Error::Broken { host, reason }
        }
    }
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        // What an I/O error wraps is not its source, but the source of its source.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn deepest_reason(error: &reqwest::Error) -> String {
    let kind = chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .last();
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "the connection was reset".to_owned(),
        Some(io::ErrorKind::TimedOut) => "the connection timed out".to_owned(),
        _ => chain(error)
            .last()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn tls_reason(error: &reqwest::Error) -> Option<String> {
    let error = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>())?;
    use rustls::CertificateError as Certificate;
    let reason = match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "the certificate is signed by an unknown authority (tls_config.ca_file names another)"
                .to_owned()
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the server does not speak TLS ({error})")
        }
        error => error.to_string(),
    };
    Some(reason)
}

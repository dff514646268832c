//! HTTP clients built from the fields of Prometheus's `http_config`: authentication, TLS, proxy,
//! redirects. The one place that knows reqwest and rustls.

mod config;

pub use config::{Authorization, BasicAuth, HttpClientConfig, Secret, SecretSource, TlsConfig};

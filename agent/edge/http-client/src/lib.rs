//! HTTP clients built from the fields of Prometheus's `http_config`: authentication, TLS, proxy,
//! redirects. The one place that knows reqwest and rustls.
//!
//! A [`Client`] keeps connections alive and is cheap to clone. Each request has one deadline, which
//! covers connecting, redirects and the body; a body is read up to a limit that the caller gives.
//! Secrets in files are read at each request; certificates in files are taken up when they change.
//!
//! Keeps true: a request ends by its deadline; no more of a body is held than the limit allows;
//! credentials and configured headers go to the host that was asked, not to where it redirects.
//! An error says in plain words what failed and where, without showing a secret.

mod client;
mod config;
mod error;
mod resolver;
mod tls;

#[cfg(test)]
mod tests;

pub use client::{Client, Redirect, Request, Response, redirect};
pub use config::{Authorization, BasicAuth, HttpClientConfig, Secret, SecretSource, TlsConfig};
pub use error::{BuildError, Error};
pub use resolver::{Lookup, ResolveError, Resolver};
pub use tls::install_crypto_provider;

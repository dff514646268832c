//! What plugins and scripts implement, and what they may do.
//!
//! This crate joins those who use extensions (scraping, discovery, rules, the web API) with those
//! who run them (`plugin-host`, `script-host`): neither side knows the other. It holds no task, no
//! clock and no engine.

pub mod capability;
pub mod discovery;
pub mod exporter;
pub mod query;
pub mod script;

pub use capability::{Capabilities, FileAccess, HttpAccess};
pub use discovery::{DiscoveryError, DiscoveryProvider, DiscoveryRequest, TargetSink};
pub use exporter::{Exporter, ExporterError, ExporterHandle};
pub use query::{Queries, Query, QuerySeries};
pub use script::{AlertScript, EvaluateContext, ScriptAlert, ScriptError};

use std::future::Future;
use std::pin::Pin;

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

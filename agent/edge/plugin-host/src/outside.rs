//! What the host is handed by the binary, as it knows neither YAML nor the store.

use std::path::Path;
use std::sync::Arc;

use narthex_extension::Queries;
use narthex_http_client::HttpClientConfig;

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// As `basic_auth.username`; empty where it is the whole.
    pub field: String,
    pub message: String,
}

/// Reads Prometheus's `http_config`, a JSON object, in which relative paths are relative to a folder.
pub type HttpConfigReader =
    Arc<dyn Fn(&str, &Path) -> Result<HttpClientConfig, FieldFault> + Send + Sync>;

/// The rest of the agent, as plugins reach it.
#[derive(Clone)]
pub struct Outside {
    pub http_config: HttpConfigReader,
    /// None: there is no store that could be asked.
    pub queries: Option<Arc<dyn Queries>>,
}

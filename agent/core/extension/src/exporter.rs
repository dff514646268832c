//! Exporters: they give metrics when asked.

use std::sync::Arc;

use narthex_model::MetricFamily;

use crate::BoxFuture;

/// Why a collection failed. The text is for the user: it names the plugin's fault or the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExporterError {
    /// The exporter itself said so.
    #[error("{0}")]
    Failed(String),
    /// It trapped and will be started again.
    #[error("{0}")]
    Trapped(String),
    /// It went over a limit; the text names the limit and the setting that raises it.
    #[error("{0}")]
    LimitExceeded(String),
    /// It waits for a grant, a restart, or is gone.
    #[error("{0}")]
    Unavailable(String),
}

/// A running exporter. The handle stays the same while the code behind it is swapped: a call made
/// after the swap meets the new code.
pub trait Exporter: Send + Sync {
    /// Collects once. The families are valid: names and labels checked, within the limits.
    fn collect(&self) -> BoxFuture<'_, Result<Vec<MetricFamily>, ExporterError>>;
}

/// One configured or dropped-in exporter.
#[derive(Clone)]
pub struct ExporterHandle {
    /// The job under which its samples are stored.
    pub job: String,
    /// The plugin it runs.
    pub plugin: String,
    /// How often it wants to be asked, where it says so; the configuration goes first.
    pub interval_ms: Option<u64>,
    pub exporter: Arc<dyn Exporter>,
}

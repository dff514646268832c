//! Discovery providers: they find targets and go on telling of changes.

use std::path::PathBuf;
use std::sync::Arc;

use narthex_model::TargetGroup;

use crate::BoxFuture;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The configuration is wrong: running again will not help.
    #[error("{0}")]
    Config(String),
    /// It ended or trapped: worth another try.
    #[error("{0}")]
    Stopped(String),
}

/// One entry of a `<name>_sd_configs` list.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveryRequest {
    /// As it stands in the file, converted to JSON.
    pub config: serde_json::Value,
    /// What relative paths in the configuration are relative to.
    pub base_directory: PathBuf,
}

/// Takes what a discovery finds. Groups replace earlier ones of the same source; one without
/// targets removes its source.
pub trait TargetSink: Send + Sync {
    fn publish(&self, groups: Vec<TargetGroup>);
}

/// Serves `<name>_sd_configs` for one name.
pub trait DiscoveryProvider: Send + Sync {
    /// Runs until dropped or failed, publishing at the start and at every change.
    fn run(
        &self,
        request: DiscoveryRequest,
        sink: Arc<dyn TargetSink>,
    ) -> BoxFuture<'_, Result<(), DiscoveryError>>;
}

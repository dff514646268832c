//! The plain configuration of discovery; `narthex-config` fills it from YAML.

use std::collections::BTreeMap;

use narthex_extension::DiscoveryRequest;
use narthex_model::TargetGroup;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What finds the targets of each job. A job without entries has no targets.
    pub jobs: BTreeMap<String, Vec<SdConfig>>,
}

/// One entry of a job's `static_configs` or `<name>_sd_configs`.
#[derive(Clone, Debug, PartialEq)]
pub enum SdConfig {
    Static(Vec<TargetGroup>),
    /// Served by the plugin of this name: `file` for `file_sd_configs`.
    Provider {
        name: String,
        request: DiscoveryRequest,
    },
}

//! Facts about a recorded machine, in the words of the contract's interface `system`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bindings::system::{ClockState, Disk, Identity, Memory, Network, Usage, Zone};

/// What is not there is not recorded.
#[derive(Clone, Debug, Default)]
pub struct SystemFacts {
    pub(crate) known: Known,
    /// What it was read from, by which two are compared.
    json: serde_json::Value,
}

impl PartialEq for SystemFacts {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Known {
    pub(crate) cpu_count: Option<u32>,
    pub(crate) page_bytes: Option<u32>,
    pub(crate) time_zone: Option<Zone>,
    pub(crate) boot_time_seconds: Option<u64>,
    pub(crate) identity: Option<Identity>,
    pub(crate) clock_adjustment: Option<ClockState>,
    pub(crate) memory: Option<Memory>,
    pub(crate) disks: Option<Vec<Disk>>,
    pub(crate) networks: Option<Vec<Network>>,
    /// By mount point.
    pub(crate) file_systems: BTreeMap<String, Usage>,
}

impl SystemFacts {
    /// The error is the field, and what is wrong with it.
    pub fn from_json(json: serde_json::Value) -> Result<SystemFacts, (String, String)> {
        let known = serde_path_to_error::deserialize(&json).map_err(|error| {
            let field = match error.path().to_string() {
                field if field == "." => String::new(),
                field => field,
            };
            (field, error.into_inner().to_string())
        })?;
        Ok(SystemFacts { known, json })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_fact_is_named() {
        for (json, field) in [
            (json!({ "cpu_count": 4 }), None),
            (json!({}), None),
            (json!({ "cpu_count": "4" }), Some("cpu_count")),
            (json!({ "memory": { "total_bytes": 1 } }), Some("memory")),
            (json!({ "disks": [{ "name": 1 }] }), Some("disks[0].name")),
            (json!({ "cpus": 4 }), Some("cpus")),
        ] {
            let error = SystemFacts::from_json(json.clone()).err();
            let named = error.as_ref().map(|(field, _)| field.as_str());
            assert_eq!(named, field, "{json}: {error:?}");
        }
    }
}

//! The plain configuration of scripts; `narthex-config` fills it from `narthex.yml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Every `*.rhai` in it is a script.
    pub directory: PathBuf,
    /// For scripts that don't say how often they want to be evaluated.
    pub default_interval_ms: u64,
    pub limits: Limits,
    /// What each script (named by its file without the ending) reads as its parameters.
    pub params: BTreeMap<String, serde_json::Value>,
}

/// Bounds of one evaluation. None of them is 0: a script is never without bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub operations: u64,
    pub time_ms: u64,
    pub string_bytes: usize,
    pub array_items: usize,
    pub map_items: usize,
    pub call_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            operations: 5_000_000,
            time_ms: 1_000,
            string_bytes: 1 << 20,
            array_items: 100_000,
            map_items: 10_000,
            call_depth: 64,
        }
    }
}

//! The plain configuration of scripts; `narthex-config` fills it from `narthex.yml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where `*.rhai` files are looked for. It need not exist.
    pub directory: PathBuf,
    pub limits: Limits,
    /// `ctx.params` per script (the file's name without its ending), over the script's own `PARAMS`.
    pub params: BTreeMap<String, serde_json::Value>,
}

/// What one evaluation of one script may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub operations: u64,
    pub time_ms: u64,
    /// All that a run holds at a time, results of queries included.
    pub memory_bytes: usize,
    pub string_bytes: usize,
    pub array_items: usize,
    pub map_items: usize,
    pub call_depth: usize,
    pub variables: usize,
    /// Alerts that one evaluation may return.
    pub alerts: usize,
    /// Entries and bytes together that `ctx.state` may hold, in bytes.
    pub state_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            operations: 1_000_000,
            time_ms: 10_000,
            memory_bytes: 64 << 20,
            string_bytes: 256 << 10,
            array_items: 10_000,
            map_items: 10_000,
            call_depth: 32,
            variables: 100,
            alerts: 1_000,
            state_bytes: 64 << 10,
        }
    }
}

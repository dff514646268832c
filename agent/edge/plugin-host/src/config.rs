//! The host's plain configuration, as `plugins:` and `exporters:` of `narthex.yml` give it.
//!
//! Every path is absolute, or relative to the working directory: whoever reads the file resolves
//! what stands in it. Two equal configurations mean that nothing has to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use narthex_extension::Capabilities;
use narthex_http_client::HttpClientConfig;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The folder whose `*.wasm` files are the plugins; it need not be there yet.
    pub directory: PathBuf,
    /// Where compiled code is kept, in the data folder. Made with mode 0700; never a place that
    /// others may write to.
    pub cache_directory: PathBuf,
    /// For each plugin instance alike.
    pub limits: Limits,
    /// What each plugin may do, by the plugin's name. A plugin that is not listed may do nothing.
    pub grants: BTreeMap<String, Grant>,
    /// The exporters that run. A plugin that none of them names runs once, as the job of its name,
    /// with an empty configuration.
    pub exporters: Vec<ExporterInstance>,
    /// Plugins that stay unloaded although their file lies in the folder.
    pub disabled: BTreeSet<String>,
    /// Who is asked for names, by plugins and for them; empty: as the machine is set up.
    pub dns_servers: Vec<SocketAddr>,
}

/// What the user grants to one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    pub capabilities: Capabilities,
    /// What the host adds to requests, by the `url` of the entry that grants them; the plugin
    /// never sees it.
    pub http: BTreeMap<String, HttpClientConfig>,
}

impl From<Capabilities> for Grant {
    fn from(capabilities: Capabilities) -> Self {
        Grant {
            capabilities,
            http: BTreeMap::new(),
        }
    }
}

impl Config {
    /// A host on `directory`, with default limits and no grants.
    pub fn new(directory: impl Into<PathBuf>, cache_directory: impl Into<PathBuf>) -> Self {
        Config {
            directory: directory.into(),
            cache_directory: cache_directory.into(),
            limits: Limits::default(),
            grants: BTreeMap::new(),
            exporters: Vec::new(),
            disabled: BTreeSet::new(),
            dns_servers: Vec::new(),
        }
    }
}

/// One entry of `exporters:`. Jobs are unique.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterInstance {
    /// The job under which its samples are stored; the plugin's name where the file gives none.
    pub job: String,
    /// The plugin's name: its file's without `.wasm`.
    pub plugin: String,
    /// How often it is collected; without it as the plugin suggests, else the global interval.
    pub interval_ms: Option<u64>,
    /// Handed to the plugin as it is; `{}` where the file gives none.
    pub config: serde_json::Value,
}

/// What one instance may use. Zero is no special value: it means none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `memory`: linear memories and tables.
    pub memory_bytes: u64,
    /// `total_memory`: the same of all instances of all plugins together.
    pub total_memory_bytes: u64,
    /// `call_timeout`: one collection with all its host calls; for a discovery, computing between
    /// two waits.
    pub call_timeout_ms: u64,
    /// `series`: one collection's samples, a histogram's buckets counted singly.
    pub series: usize,
    /// `targets`: what one discovery has published.
    pub targets: usize,
    /// `labels`: labels of one metric or target. Two for each label and annotation of a Kubernetes
    /// object come together.
    pub labels: usize,
    /// `label_name_bytes`: a label's or a metric's name.
    pub label_name_bytes: usize,
    /// `label_value_bytes`: a label's value.
    pub label_value_bytes: usize,
    /// `transfer_bytes`: what one call may hand over to the host.
    pub transfer_bytes: usize,
    /// `file_bytes`: one file that is read.
    pub file_bytes: u64,
    /// `http_requests`: requests and look-ups of one collection, and of a discovery between two
    /// waits. Redirects count.
    pub http_requests: usize,
    /// `http_bytes`: one whole answer, and what a stream may hold that was not taken yet.
    pub http_bytes: usize,
    /// `subscriptions`: watches, timers and streams that are open at once.
    pub subscriptions: usize,
    /// `log_lines`: per second; the rest is counted and dropped.
    pub log_lines_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 64 << 20,
            total_memory_bytes: default_total_memory_bytes(),
            call_timeout_ms: 10_000,
            series: 100_000,
            targets: 100_000,
            labels: 1024,
            label_name_bytes: 1024,
            label_value_bytes: 64 << 10,
            transfer_bytes: 128 << 20,
            file_bytes: 16 << 20,
            http_requests: 1000,
            http_bytes: 32 << 20,
            subscriptions: 256,
            log_lines_per_second: 20,
        }
    }
}

/// A quarter of the machine's memory, but no more than a gibibyte.
fn default_total_memory_bytes() -> u64 {
    const MOST: u64 = 1 << 30;
    let mut system = match sysinfo::System::new() {
        Ok(system) => system,
        Err(_) => return MOST,
    };
    system.refresh_memory();
    match system.total_memory() {
        0 => MOST,
        total => MOST.min(total / 4),
    }
}

//! Capabilities: what an extension wants, and what the user has granted.
//!
//! A call needs both. The empty set means *nothing*, on either side.

/// Used for wants (as the plugin declares them) and for grants (as `narthex.yml` gives them).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub files: Vec<FileAccess>,
    pub http: Vec<HttpAccess>,
    /// Names that may be looked up, as `*.internal.example.com`.
    pub dns: Vec<String>,
    /// Names of environment variables.
    pub env: Vec<String>,
    /// Facts about the machine: CPU, memory, disks, networks, host name.
    pub system: bool,
    /// PromQL queries against the agent's own store.
    pub query: bool,
}

impl Capabilities {
    pub fn is_empty(&self) -> bool {
        *self == Capabilities::default()
    }
}

/// Reading below a path. `/proc` grants the folder and all below it; a `*` stands for any run of
/// characters but `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileAccess {
    pub path: String,
}

/// Requests to URLs that match, as `https://api.example.com/v1/*`: scheme, host, port and path, each
/// of which may hold `*`s for any run of characters. Without a path any is meant; without a port the
/// scheme's own, or any where the host is just `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpAccess {
    pub url: String,
    /// In capitals; empty: any. Plugins don't say this of their wants, users may of their grants.
    pub methods: Vec<String>,
}

//! What a plugin says of itself.

use crate::bindings::host::narthex::plugin::plugin as raw;

/// What a plugin is for and what it wants to be allowed. The version is added by the macro that
/// exports the plugin: it is the crate's.
///
/// ```ignore
/// Manifest::new("temperatures of the coffee machine")
///     .reads("/sys/class/hwmon")
///     .every_ms(30_000)
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub description: String,
    pub wants: Wants,
    pub optional: Wants,
    pub interval_ms: Option<u64>,
}

/// What a plugin wants to be allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    pub files: Vec<String>,
    pub http: Vec<String>,
    pub dns: Vec<String>,
    pub environment: Vec<String>,
    pub system: bool,
    pub query: bool,
}

impl Manifest {
    /// `description` is one line for people.
    pub fn new(description: impl Into<String>) -> Self {
        Manifest {
            description: description.into(),
            ..Manifest::default()
        }
    }

    /// Wants to read this path and all below it; `*` stands for any run of characters but `/`.
    /// A plugin that reads what its configuration names wants `/`.
    pub fn reads(mut self, path: impl Into<String>) -> Self {
        self.wants.files.push(path.into());
        self
    }

    /// Reads this path too, where that is granted, but can do without.
    pub fn may_read(mut self, path: impl Into<String>) -> Self {
        self.optional.files.push(path.into());
        self
    }

    /// Wants to request these URLs, as `https://api.example.com/v1/*`: a `*` stands for any run of
    /// characters. A plugin that requests what its configuration names wants `*://*`.
    pub fn requests(mut self, url: impl Into<String>) -> Self {
        self.wants.http.push(url.into());
        self
    }

    /// Requests these URLs too, where that is granted, but can do without.
    pub fn may_request(mut self, url: impl Into<String>) -> Self {
        self.optional.http.push(url.into());
        self
    }

    /// Wants to look up these names, as `*.example.com`. A plugin that looks up what its
    /// configuration names wants `*`.
    pub fn looks_up(mut self, name: impl Into<String>) -> Self {
        self.wants.dns.push(name.into());
        self
    }

    /// Looks up these names too, where that is granted, but can do without.
    pub fn may_look_up(mut self, name: impl Into<String>) -> Self {
        self.optional.dns.push(name.into());
        self
    }

    /// Wants to read this environment variable.
    pub fn reads_environment(mut self, name: impl Into<String>) -> Self {
        self.wants.environment.push(name.into());
        self
    }

    /// Reads this environment variable too, where that is granted, but can do without.
    pub fn may_read_environment(mut self, name: impl Into<String>) -> Self {
        self.optional.environment.push(name.into());
        self
    }

    /// Wants facts about the machine: [`crate::system`].
    pub fn knows_system(mut self) -> Self {
        self.wants.system = true;
        self
    }

    /// Makes use of facts about the machine where that is granted, but can do without.
    pub fn may_know_system(mut self) -> Self {
        self.optional.system = true;
        self
    }

    /// Wants to ask the agent's own store: [`crate::query`].
    pub fn queries(mut self) -> Self {
        self.wants.query = true;
        self
    }

    /// How often an exporter would like to be collected.
    pub fn every_ms(mut self, interval_ms: u64) -> Self {
        self.interval_ms = Some(interval_ms);
        self
    }

    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "for the guest")
    )]
    pub(crate) fn into_raw(self, version: &str) -> raw::Manifest {
        raw::Manifest {
            description: self.description,
            version: version.to_owned(),
            wants: self.wants.into_raw(),
            optional: self.optional.into_raw(),
            interval_ms: self.interval_ms,
        }
    }
}

impl Wants {
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "for the guest")
    )]
    fn into_raw(self) -> raw::Wants {
        raw::Wants {
            files: self.files,
            http: self.http,
            dns: self.dns,
            environment: self.environment,
            system: self.system,
            query: self.query,
        }
    }
}

//! The three YAML files, checked and turned into each part's plain configuration.
//!
//! [`load`] reads everything (`prometheus.yml`, the rule files and scrape files it names,
//! `alertmanager.yml`, `narthex.yml`), checks all of it, and gives either a whole [`Loaded`] or a
//! [`ConfigError`] that lists every fault with file, line, column and field. Nothing is ever half
//! loaded: a broken rule file leaves scraping as untouched as a broken `prometheus.yml`.
//!
//! How it goes: a file becomes a tree of nodes that know their place (`yaml`), the tree is checked
//! against tables of fields (`schema`), and builders read the checked tree into the plain types of
//! the parts. All parts compare with `==`, so whoever reloads restarts only what differs.
//!
//! Besides, it reads what else is YAML: grants on the command line, and the recorded cases of plugins
//! ([`plugin_case()`]).
//!
//! Knows YAML, and is the only one. Doesn't know when to load (the binary watches
//! [`Loaded::watched`]) or what the parts do with their configuration.

mod alertmanager;
mod error;
mod glob;
mod http;
mod narthex;
mod plugin_case;
mod prometheus;
mod reading;
mod scalar;
mod schema;
mod show;
mod yaml;

use std::path::{Path, PathBuf};

use narthex_http_client::HttpClientConfig;
use narthex_promql::syntax::ParserOptions;
use narthex_rules::GroupConfig;

pub use error::{ConfigError, Fault};
pub use narthex::QueryBudget;
pub use plugin_case::{PluginCase, plugin_case};
pub use prometheus::{Alerting, ExternalAlertmanagers, Global, Storage};
pub use scalar::size_bytes;

use reading::{Document, Reading, directory_of};
use schema::Kind;

/// Where the files are. A file that is named must be there; one that isn't named is looked for
/// under its usual name (the second and third beside the first) and may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// `--config.file`; else `prometheus.yml` in the working directory.
    pub prometheus: Option<PathBuf>,
    /// `--alertmanager.config.file`
    pub alertmanager: Option<PathBuf>,
    /// `--narthex.config.file`
    pub narthex: Option<PathBuf>,
}

/// What the command line and the machine add to the files.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// Compiled plugins are kept below it.
    pub data_directory: PathBuf,
    /// Where this server is reached from outside, without a slash at the end: for links.
    pub external_url: String,
    /// Host and port at which this server reaches itself: what is scraped when there is no
    /// `prometheus.yml`.
    pub self_address: String,
    /// The label `instance` of what exporter plugins give.
    pub instance: String,
    /// The machine's memory, which percentages are of. None where it is not known.
    pub memory_bytes: Option<u64>,
    /// What of PromQL is switched on, for the expressions of rules.
    pub parser: ParserOptions,
    /// Looks up the environment variables in `external_labels`.
    pub environment: fn(&str) -> Option<String>,
}

impl Default for Overrides {
    fn default() -> Self {
        Overrides {
            data_directory: PathBuf::from("data"),
            external_url: "http://localhost:9090".to_owned(),
            self_address: "localhost:9090".to_owned(),
            instance: "localhost:9090".to_owned(),
            memory_bytes: None,
            parser: ParserOptions::default(),
            environment: |name| std::env::var(name).ok(),
        }
    }
}

/// A whole configuration without a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub prometheus: PrometheusConfig,
    /// None without `alertmanager.yml`: then alerts go to external Alertmanagers only.
    pub notify: Option<narthex_notify::Config>,
    pub plugin_host: narthex_plugin_host::Config,
    pub script_host: narthex_script_host::config::Config,
    /// How often scripts are evaluated that don't say it themselves.
    pub script_interval_ms: u64,
    /// All samples go into blocks at the end, for going on with Prometheus.
    pub seal_on_stop: bool,
    /// What queries may take of the machine.
    pub query: QueryBudget,
    /// What the user should know though nothing is wrong, above all which fields have no function
    /// yet: `file:line: field: text`.
    pub notices: Vec<String>,
    /// Files and patterns of files; when what they hold changes, it is time to load again.
    pub watched: Vec<PathBuf>,
    /// `prometheus.yml` normalised, secrets hidden, for `/api/v1/status/config`.
    pub yaml: String,
}

/// What `prometheus.yml` says, by part.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusConfig {
    pub global: Global,
    pub scrape: narthex_scrape::config::Config,
    /// The targets of the jobs in `scrape`.
    pub discovery: narthex_discovery::Config,
    pub rule_groups: Vec<GroupConfig>,
    pub alerting: Alerting,
    pub storage: Storage,
}

/// Reads and checks everything.
pub fn load(paths: &Paths, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let mut reading = Reading::default();
    let directory = paths.prometheus.as_deref().map(directory_of);
    let directory = directory.unwrap_or_default();
    let main = main_document(paths.prometheus.as_deref(), overrides, &mut reading);
    let alertmanager = beside(
        paths.alertmanager.as_deref(),
        &directory.join("alertmanager.yml"),
        alertmanager::SHAPE,
        "give the right path with --alertmanager.config.file",
        &mut reading,
    );
    let narthex = beside(
        paths.narthex.as_deref(),
        &directory.join("narthex.yml"),
        narthex::SHAPE,
        "give the right path with --narthex.config.file",
        &mut reading,
    );
    // Each file is built even if another one has faults, so that all of them are told at once.
    let built = main.map(|main| {
        let built = prometheus::build(&main, overrides, &mut reading);
        (show::yaml(&main.root, prometheus::SHAPE), built)
    });
    let notify = match alertmanager {
        Found::Document(document) => {
            let url = &overrides.external_url;
            Some(alertmanager::build(&document, url, &mut reading))
        }
        Found::Missing(_) | Found::Faulty => None,
    };
    let whole = match (built, narthex) {
        (Some((yaml, built)), Found::Document(document) | Found::Missing(document)) => Some(
            assemble(yaml, built, notify, &document, overrides, &mut reading),
        ),
        _ => None,
    };
    error::verdict(reading.take_faults())?;
    // Without a fault there are all documents, so there is the whole.
    whole
        .map(|loaded| Loaded {
            notices: reading.notices,
            watched: reading.watched.into_iter().collect(),
            ..loaded
        })
        .ok_or_else(|| ConfigError { faults: Vec::new() })
}

/// Reads one rule file and gives its groups, with the defaults of `global`.
pub fn check_rule_file(
    path: &Path,
    global: &Global,
    parser: &ParserOptions,
) -> Result<Vec<GroupConfig>, ConfigError> {
    let mut reading = Reading::default();
    let groups = prometheus::rules::file(path, global, parser, &mut reading);
    error::verdict(reading.take_faults())?;
    Ok(groups)
}

/// Reads a file that holds the fields of Prometheus's `http_config`, with what is to be said of it.
/// Relative paths in it are relative to it.
pub fn http_client_config(path: &Path) -> Result<(HttpClientConfig, Vec<String>), ConfigError> {
    let mut reading = Reading::default();
    let document = reading.document(path, http::SHAPE, "");
    let config = document.map(|document| {
        reading.build(path, |_, notices| {
            http::client(&document.root, &document.directory, notices)
        })
    });
    error::verdict(reading.take_faults())?;
    Ok((config.unwrap_or_default(), reading.notices))
}

/// Reads Prometheus's `http_config`, a JSON object, in which relative paths are below `directory`.
/// The error is the first fault: its field and what is wrong.
pub fn http_config(json: &str, directory: &Path) -> Result<HttpClientConfig, (String, String)> {
    let root = yaml::parse(json).map_err(|error| (String::new(), error.message))?;
    let mut faults = error::Faults::new(directory);
    schema::check(&root, http::SHAPE, &mut faults);
    match faults.into_found().into_iter().next() {
        Some(fault) => Err((fault.field, fault.message)),
        None => Ok(http::client(&root, directory, &mut Vec::new())),
    }
}

/// Reads a plugin's grant as it stands in `plugins.grants`; relative paths are below `directory`.
/// The error is the first fault: its field and what is wrong.
pub fn plugin_grant(
    yaml: &str,
    directory: &Path,
) -> Result<narthex_plugin_host::Grant, (String, String)> {
    let root = yaml::parse(yaml).map_err(|error| (String::new(), error.message))?;
    let mut faults = error::Faults::new(directory);
    schema::check(&root, Kind::Object(&schema::narthex::GRANT), &mut faults);
    match faults.into_found().into_iter().next() {
        Some(fault) => Err((fault.field, fault.message)),
        None => Ok(narthex::grant(&root, directory, &mut Vec::new())),
    }
}

/// YAML of any shape as JSON: anchors followed, no comments. The error says where it is wrong.
pub fn yaml_to_json(yaml: &str) -> Result<serde_json::Value, String> {
    let root = yaml::parse(yaml).map_err(|error| {
        format!(
            "line {}, column {}: {}",
            error.at.line, error.at.column, error.message
        )
    })?;
    Ok(schema::to_json(&root, Kind::Anything))
}

fn assemble(
    yaml: String,
    built: prometheus::Built,
    notify: Option<narthex_notify::Config>,
    narthex: &Document,
    overrides: &Overrides,
    reading: &mut Reading,
) -> Loaded {
    let surroundings = narthex::Surroundings {
        global: &built.global,
        defaults: &built.defaults,
        jobs: built.jobs.iter().map(|job| job.job_name.clone()).collect(),
        instance: &overrides.instance,
        plugin_cache: overrides.data_directory.join("plugin-cache"),
        memory_bytes: overrides.memory_bytes,
    };
    let own = narthex::build(narthex, &surroundings, reading);
    Loaded {
        prometheus: PrometheusConfig {
            scrape: narthex_scrape::config::Config {
                jobs: built.jobs,
                exporters: own.exporters,
                external_labels: built.global.external_labels.clone(),
            },
            global: built.global,
            discovery: built.discovery,
            rule_groups: built.rule_groups,
            alerting: built.alerting,
            storage: built.storage,
        },
        notify,
        plugin_host: own.plugin_host,
        script_host: own.script_host,
        script_interval_ms: own.script_interval_ms,
        seal_on_stop: own.seal_on_stop,
        query: own.query,
        notices: Vec::new(),
        watched: Vec::new(),
        yaml,
    }
}

/// `prometheus.yml`; where none is named and none is there, what stands in for it.
fn main_document(
    named: Option<&Path>,
    overrides: &Overrides,
    reading: &mut Reading,
) -> Option<Document> {
    let usual = Path::new("prometheus.yml");
    if named.is_none() && !usual.exists() {
        reading.watched.insert(usual.to_owned());
        reading.notices.push(format!(
            "there is no prometheus.yml: only Narthex itself is scraped, at {}",
            overrides.self_address
        ));
        let root = yaml::parse(&stand_in(&overrides.self_address)).unwrap_or_default();
        return Some(Document::new(usual, root));
    }
    reading.document(
        named.unwrap_or(usual),
        prometheus::SHAPE,
        "give the right path with --config.file",
    )
}

fn stand_in(self_address: &str) -> String {
    let address = self_address.replace('\'', "''");
    format!("scrape_configs: [{{job_name: narthex, static_configs: [{{targets: ['{address}']}}]}}]")
}

enum Found {
    Document(Document),
    /// Not named and not there: an empty one stands in for it.
    Missing(Document),
    /// Its faults are noted.
    Faulty,
}

fn beside(
    named: Option<&Path>,
    usual: &Path,
    shape: Kind,
    hint: &str,
    reading: &mut Reading,
) -> Found {
    if named.is_none() && !usual.exists() {
        reading.watched.insert(usual.to_owned());
        return Found::Missing(Document::new(usual, yaml::Node::default()));
    }
    match reading.document(named.unwrap_or(usual), shape, hint) {
        Some(document) => Found::Document(document),
        None => Found::Faulty,
    }
}

#[cfg(test)]
mod tests;

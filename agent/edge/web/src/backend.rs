//! What the API asks of the other parts. The binary implements these traits over the real parts;
//! the types here are plain, so that no part knows another.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use narthex_model::family::Metadata;
use narthex_model::{Labels, MetricFamily};
use narthex_promql::engine::Engine;
use narthex_promql::syntax::ParserOptions;
use narthex_query_log::Queries;
use narthex_storage::{ExemplarQueryable, Queryable, ReplayProgress, StoreAdmin, StoreStatus};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything the API stands on.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn Queryable>,
    pub store_status: Arc<dyn StoreStatus>,
    pub store_admin: Arc<dyn StoreAdmin>,
    pub exemplars: Arc<dyn ExemplarQueryable>,
    pub replay: Arc<ReplayProgress>,
    pub parser: ParserOptions,
    pub scraping: Arc<dyn Scraping>,
    pub rules: Arc<dyn Rules>,
    pub alerts: Arc<dyn AlertRouting>,
    pub extensions: Arc<dyn Extensions>,
    pub agent: Arc<dyn Agent>,
    /// Every query is told to it.
    pub queries: Arc<Queries>,
    /// What `/metrics` gives.
    pub registry: prometheus::Registry,
}

pub trait Scraping: Send + Sync {
    fn targets(&self) -> Targets;
    /// Per metric name what the targets say of it, each once.
    fn metadata(&self) -> BTreeMap<String, Vec<Metadata>>;
    /// Per target, metric by metric.
    fn target_metadata(&self) -> Vec<(Labels, String, Metadata)>;
}

#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub active: Vec<ActiveTarget>,
    pub dropped: Vec<DroppedTarget>,
    /// Exact, also where the list is cut.
    pub dropped_counts: BTreeMap<String, usize>,
}

#[derive(Clone, Debug)]
pub struct ActiveTarget {
    pub discovered_labels: Labels,
    pub labels: Labels,
    pub pool: String,
    pub url: String,
    pub global_url: String,
    pub last_error: String,
    /// None before the first scrape.
    pub last_scrape_ms: Option<i64>,
    pub last_scrape_duration_seconds: f64,
    /// `up`, `down` or `unknown`.
    pub health: &'static str,
    pub interval_ms: u64,
    pub timeout_ms: u64,
}

#[derive(Clone, Debug)]
pub struct DroppedTarget {
    pub discovered_labels: Labels,
    pub pool: String,
}

pub trait Rules: Send + Sync {
    /// Sorted by file, then name.
    fn groups(&self) -> Vec<RuleGroup>;
}

#[derive(Clone, Debug)]
pub struct RuleGroup {
    pub name: String,
    pub file: String,
    pub rules: Vec<Rule>,
    pub interval_ms: u64,
    pub limit: usize,
    pub evaluation_seconds: f64,
    pub last_evaluation_ms: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub query: String,
    pub labels: BTreeMap<String, String>,
    /// `ok`, `err` or `unknown`.
    pub health: &'static str,
    pub last_error: Option<String>,
    pub evaluation_seconds: f64,
    pub last_evaluation_ms: Option<i64>,
    pub alerting: Option<AlertingRule>,
}

#[derive(Clone, Debug)]
pub struct AlertingRule {
    /// `unknown`, `inactive`, `pending` or `firing`.
    pub state: &'static str,
    pub for_ms: u64,
    pub keep_firing_for_ms: u64,
    pub annotations: BTreeMap<String, String>,
    pub alerts: Vec<RuleAlert>,
}

#[derive(Clone, Debug)]
pub struct RuleAlert {
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: &'static str,
    pub active_at_ms: i64,
    pub keep_firing_since_ms: Option<i64>,
    pub value: f64,
}

/// The Alertmanager side.
pub trait AlertRouting: Send + Sync {
    /// Without resolved ones, sorted by fingerprint. The error says what is wrong with the filter.
    fn alerts(&self, filter: &AlertFilter) -> Result<Vec<RoutedAlert>, String>;
    fn groups(&self, filter: &AlertFilter) -> Result<Vec<AlertGroup>, String>;
    fn receivers(&self) -> Vec<String>;
    /// The alertmanager.yml in force.
    fn config_yaml(&self) -> String;
    /// Takes what is valid; the error joins what is wrong with the rest.
    fn post(&self, alerts: Vec<PostedAlert>) -> BoxFuture<'_, Result<(), String>>;
    /// Alertmanagers outside that alerts are sent to, as URLs.
    fn external_alertmanagers(&self) -> Vec<String>;
}

#[derive(Clone, Debug)]
pub struct AlertFilter {
    /// Matchers in Alertmanager's syntax; an alert must meet all.
    pub matchers: Vec<String>,
    /// An anchored regular expression on receivers' names.
    pub receiver: Option<String>,
    pub active: bool,
    pub silenced: bool,
    pub inhibited: bool,
    pub muted: bool,
}

#[derive(Clone, Debug)]
pub struct RoutedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at_ms: i64,
    pub ends_at_ms: i64,
    pub updated_at_ms: i64,
    pub generator_url: String,
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    pub receivers: Vec<String>,
    /// `active`, `suppressed` or `unprocessed`.
    pub state: &'static str,
    pub silenced_by: Vec<String>,
    pub inhibited_by: Vec<String>,
    pub muted_by: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct AlertGroup {
    pub labels: BTreeMap<String, String>,
    pub receiver: String,
    pub alerts: Vec<RoutedAlert>,
}

/// As it was posted; what is missing is None or empty.
#[derive(Clone, Debug, Default)]
pub struct PostedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at_ms: Option<i64>,
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
}

pub trait Extensions: Send + Sync {
    /// For `/api/v1/narthex/plugins`.
    fn plugins(&self) -> serde_json::Value;
    /// For `/api/v1/narthex/scripts`.
    fn scripts(&self) -> serde_json::Value;
    /// Collects from an exporter plugin. None: there is no such exporter.
    fn collect(&self, plugin: &str) -> BoxFuture<'_, Option<Result<Vec<MetricFamily>, String>>>;
}

/// The agent as a whole.
pub trait Agent: Send + Sync {
    /// The engine in force: a reload may bring one with other options.
    fn engine(&self) -> Arc<Engine>;
    fn is_ready(&self) -> bool;
    /// What federated series get where they lack it.
    fn external_labels(&self) -> Labels;
    /// The configuration in force, with secrets hidden.
    fn config_yaml(&self) -> String;
    fn flags(&self) -> BTreeMap<String, String>;
    fn runtime(&self) -> RuntimeInfo;
    fn build(&self) -> BuildInfo;
    fn now_ms(&self) -> i64;
    /// Reads the configuration again; the error says what is wrong with it.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Starts to shut down.
    fn quit(&self);
}

#[derive(Clone, Debug)]
pub struct RuntimeInfo {
    pub start_time_ms: i64,
    pub working_directory: String,
    pub hostname: String,
    pub reload_config_success: bool,
    pub last_config_time_ms: i64,
    pub corruption_count: u64,
    pub storage_retention: String,
}

#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Of the Prometheus whose API this is.
    pub version: String,
    /// Of the Alertmanager whose API this is.
    pub alertmanager_version: String,
    /// What this really is, with its version.
    pub product: String,
    pub revision: String,
    pub branch: String,
    pub build_user: String,
    pub build_date: String,
    /// Clients expect the field `goVersion`; it tells the compiler here.
    pub compiler: String,
}

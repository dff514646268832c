//! The plain configuration of scraping; `narthex-config` fills it from YAML.

use std::collections::BTreeMap;

use narthex_http_client::HttpClientConfig;
use narthex_model::Labels;
use narthex_relabel::RelabelRule;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub jobs: Vec<JobConfig>,
    pub exporters: ExporterConfig,
    /// Added to what leaves the agent; here they spread agents' scrapes apart.
    pub external_labels: Labels,
}

/// One entry of `scrape_configs`, with the global defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct JobConfig {
    pub job_name: String,
    pub scrape_interval_ms: u64,
    pub scrape_timeout_ms: u64,
    /// Media types for the Accept header, most wanted first.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    pub params: BTreeMap<String, Vec<String>>,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    pub track_timestamps_staleness: bool,
    pub enable_compression: bool,
    pub extra_scrape_metrics: bool,
    /// Names must be legacy ones (`metric_name_validation_scheme: legacy`).
    pub legacy_names: bool,
    pub limits: Limits,
    pub relabel: Vec<RelabelRule>,
    pub metric_relabel: Vec<RelabelRule>,
    pub http: HttpClientConfig,
}

/// 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub body_size_bytes: u64,
    pub samples: u64,
    pub targets: u64,
    pub labels: u64,
    pub label_name_length: u64,
    pub label_value_length: u64,
    pub keep_dropped_targets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeProtocol {
    PrometheusProto,
    PrometheusText0_0_4,
    PrometheusText1_0_0,
    OpenMetricsText0_0_1,
    OpenMetricsText1_0_0,
}

/// How exporter plugins are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterConfig {
    /// For exporters that `jobs` doesn't name: those that were just dropped in.
    pub defaults: ExporterJob,
    pub jobs: BTreeMap<String, ExporterJob>,
    /// The label `instance` of their series.
    pub instance: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExporterJob {
    /// None: what the plugin asks for, else the global scrape interval.
    pub interval_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub global_interval_ms: u64,
    pub global_timeout_ms: u64,
    pub labels: Labels,
    pub limits: Limits,
    pub metric_relabel: Vec<RelabelRule>,
}

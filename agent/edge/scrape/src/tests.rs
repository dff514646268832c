use crate::config::{JobConfig, Limits, ScrapeProtocol};
use narthex_http_client::HttpClientConfig;
use std::collections::BTreeMap;

/// A job with Prometheus's defaults.
pub(crate) fn job(name: &str) -> JobConfig {
    JobConfig {
        job_name: name.to_owned(),
        scrape_interval_ms: 60_000,
        scrape_timeout_ms: 10_000,
        scrape_protocols: vec![
            ScrapeProtocol::OpenMetricsText1_0_0,
            ScrapeProtocol::OpenMetricsText0_0_1,
            ScrapeProtocol::PrometheusText1_0_0,
            ScrapeProtocol::PrometheusText0_0_4,
        ],
        fallback_scrape_protocol: None,
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        params: BTreeMap::new(),
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        enable_compression: true,
        extra_scrape_metrics: false,
        legacy_names: false,
        limits: Limits::default(),
        relabel: Vec::new(),
        metric_relabel: Vec::new(),
        http: HttpClientConfig::default(),
    }
}

//! Asks a server for targets: `http_sd_configs`.
//!
//! Keeps true: an answer that does not come, has another status than 200, is no JSON or is wrong in
//! any part changes nothing; the log says what was wrong. A good answer is all there is.

use narthex_plugin_sdk::events::{sleep_ms, timeout_ms};
use narthex_plugin_sdk::http::{Client, Response};
use narthex_plugin_sdk::target_groups::{self, Published, StaticGroup};
use narthex_plugin_sdk::telemetry::{Counter, REFRESH_FAILURES};
use narthex_plugin_sdk::{
    ConfigError, Discovery, Duration, Error, Manifest, TargetGroup, WithHttp, tracing,
};
use serde::Deserialize;

narthex_plugin_sdk::discovery!(HttpDiscovery);

/// An entry of `http_sd_configs`, without the fields of `http_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    url: String,
    #[serde(default = "default_refresh_interval")]
    refresh_interval: Duration,
}

const FAILURES: Counter = Counter::new(
    "prometheus_sd_http_failures_total",
    "Requests for targets that failed, or whose answers were wrong.",
);

fn default_refresh_interval() -> Duration {
    Duration { ms: 60_000 }
}

pub struct HttpDiscovery {
    config: Config,
    client: Client,
}

impl Discovery for HttpDiscovery {
    type Config = WithHttp<Config>;

    fn manifest() -> Manifest {
        Manifest::new("asks HTTP servers for targets")
            .requests("*://*")
            // Certificates and passwords, where the configuration has them in files.
            .may_read("/")
    }

    fn new(config: WithHttp<Config>, base_directory: &str) -> Result<Self, ConfigError> {
        check_url(&config.own.url).map_err(|error| ConfigError::new("url", error))?;
        if config.own.refresh_interval.ms == 0 {
            return Err(ConfigError::new("refresh_interval", "must be more than 0"));
        }
        Ok(HttpDiscovery {
            client: Client::with_options(&config.http, base_directory)?,
            config: config.own,
        })
    }

    async fn run(self) -> Result<(), Error> {
        FAILURES.add(&[], 0.0);
        REFRESH_FAILURES.add(&[], 0.0);
        let mut published = Published::new();
        loop {
            let next = sleep_ms(self.config.refresh_interval.ms);
            let done = match self.refresh().await {
                Ok(groups) => published.set_all(groups).map_err(Error::from),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                FAILURES.add(&[], 1.0);
                REFRESH_FAILURES.add(&[], 1.0);
                tracing::error!("{}: {error}", self.config.url);
            }
            next.await?;
        }
    }
}

impl HttpDiscovery {
    async fn refresh(&self) -> Result<Vec<TargetGroup>, Error> {
        let interval_ms = self.config.refresh_interval.ms;
        let request = self
            .client
            .get(&self.config.url)
            .header("accept", "application/json")
            .header(
                "x-prometheus-refresh-interval-seconds",
                (interval_ms as f64 / 1000.0).to_string(),
            );
        let answer = async { request.send().await?.whole().await };
        let response = timeout_ms(interval_ms, answer).await??;
        groups(&self.config.url, &response)
    }
}

fn groups(url: &str, response: &Response) -> Result<Vec<TargetGroup>, Error> {
    if response.status() != 200 {
        return Err(Error::new(format!(
            "the server answered with status {}, not 200",
            response.status()
        )));
    }
    let content_type = response.header("content-type").unwrap_or_default();
    if !is_json(content_type) {
        return Err(Error::new(format!(
            "the answer's content type is {content_type:?}, not application/json"
        )));
    }
    let list: Option<Vec<Option<StaticGroup>>> = serde_json::from_slice(&response.body)?;
    target_groups::from_list(list.unwrap_or_default(), url, "__meta_url")
}

/// `application/json`, with nothing after it but `charset=utf-8`.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.trim().to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("application/json") else {
        return false;
    };
    let parameter = rest.strip_prefix(';').map(str::trim_start);
    rest.is_empty() || matches!(parameter, Some("charset=utf-8" | "charset=\"utf-8\""))
}

fn check_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("expected the URL of the server to ask".to_owned());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(format!("{url:?} does not begin with http:// or https://"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    match host.is_empty() {
        true => Err(format!("{url:?} has no host")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;

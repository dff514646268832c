//! The plain configuration of notifying; `narthex-config` fills it from `alertmanager.yml` and
//! from `alerting:` in `prometheus.yml`.

use std::path::PathBuf;

use narthex_alerting::config::Route;
use narthex_http_client::{HttpClientConfig, Secret};
use narthex_model::Labels;
use narthex_relabel::RelabelRule;

/// What `alertmanager.yml` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub routing: narthex_alerting::config::Config,
    /// In the order of the file; each name once.
    pub receivers: Vec<ReceiverConfig>,
    /// Where this server is reached from outside, without a slash at the end: for links.
    pub external_url: String,
    /// The file's text with its secrets blotted out, for `/api/v2/status`.
    pub original: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceiverConfig {
    pub name: String,
    pub webhooks: Vec<WebhookConfig>,
}

/// An entry of `webhook_configs`.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookConfig {
    pub send_resolved: bool,
    pub url: WebhookUrl,
    /// The receiver's own `http_config`, else the global one.
    pub http: HttpClientConfig,
    /// More alerts than this are left out of a notification; 0 means no limit.
    pub max_alerts: u64,
    /// For one attempt; 0 means as long as the whole notification may take.
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum WebhookUrl {
    /// `url`, which may carry credentials.
    Inline(Secret),
    /// `url_file`, read again for every notification.
    File(PathBuf),
}

/// One Alertmanager elsewhere, to which alerts are forwarded: a target of `alertmanagers:` after
/// relabelling.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerTarget {
    /// The whole address, `…/api/v2/alerts` included.
    pub url: String,
    /// For one request.
    pub timeout_ms: u64,
    pub http: HttpClientConfig,
    /// The entry's own `alert_relabel_configs`.
    pub alert_relabel: Vec<RelabelRule>,
}

/// What is done to every alert of our own before it goes anywhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labelling {
    /// `global.external_labels`: added where an alert lacks them.
    pub external_labels: Labels,
    /// `alerting.alert_relabel_configs`, after that.
    pub relabel: Vec<RelabelRule>,
}

impl Config {
    /// Without an `alertmanager.yml`: alerts are listed, and nobody is told.
    pub fn without_receivers() -> Config {
        const NOBODY: &str = "none";
        Config {
            routing: narthex_alerting::config::Config::new(Route {
                receiver: Some(NOBODY.to_owned()),
                ..Route::default()
            }),
            receivers: vec![ReceiverConfig {
                name: NOBODY.to_owned(),
                webhooks: Vec::new(),
            }],
            external_url: String::new(),
            original: String::new(),
        }
    }
}

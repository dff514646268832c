//! One way of telling one receiver: made from its configuration, with its own connections.
//!
//! Keeps true: what is not changed by a new configuration goes on, connections and all; what is
//! gone or changed stops sending at once. Attempts of one integration are limited in number, so
//! that an outage doesn't open a connection per group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use narthex_alerting::config::{Integration as Routed, Receiver};
use narthex_http_client::{BuildError, Client, Error as HttpError, Request, Response};
use narthex_model::Labels;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{ReceiverConfig, WebhookConfig, WebhookUrl};
use crate::metrics::FailureReason;

/// Attempts that one integration may have under way.
const CONCURRENT_ATTEMPTS: usize = 64;

/// So much of an answer is shown when it is a refusal.
const SHOWN_ANSWER_CHARS: usize = 200;

const USER_AGENT: &str = concat!("Alertmanager/0.34.0 Narthex/", env!("CARGO_PKG_VERSION"));

pub(crate) struct Integration {
    pub(crate) config: WebhookConfig,
    pub(crate) identity: String,
    revision: u64,
    client: Client,
    permits: Semaphore,
    /// Set when the configuration no longer has it.
    pub(crate) gone: CancellationToken,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) reason: FailureReason,
    pub(crate) retryable: bool,
    /// The server asks not to come back before.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) message: String,
}

/// By receiver.
pub(crate) type Integrations = BTreeMap<String, Vec<Arc<Integration>>>;

impl Integration {
    pub(crate) const KIND: &'static str = "webhook";

    fn new(config: WebhookConfig, identity: String, revision: u64) -> Result<Self, BuildError> {
        Ok(Integration {
            client: Client::new(config.http.clone())?,
            config,
            identity,
            revision,
            permits: Semaphore::new(CONCURRENT_ATTEMPTS),
            gone: CancellationToken::new(),
        })
    }

    /// The address, not yet expanded.
    pub(crate) async fn url(&self) -> Result<String, AttemptError> {
        match &self.config.url {
            WebhookUrl::Inline(url) => Ok(url.0.clone()),
            WebhookUrl::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(error) => {
                    let path = path.display();
                    Err(AttemptError::permanent(format!("url_file {path}: {error}")))
                }
            },
        }
    }

    /// Sends once, within `limit`.
    pub(crate) async fn attempt(
        &self,
        url: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<(), AttemptError> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(AttemptError::permanent("sending has ended".to_owned()));
        };
        let own = Duration::from_millis(self.config.timeout_ms);
        let request = Request {
            url,
            headers: &[
                ("Content-Type", "application/json"),
                ("User-Agent", USER_AGENT),
            ],
            timeout: if own.is_zero() { limit } else { own.min(limit) },
        };
        match self.client.post(&request, body).await {
            Ok(response) if response.is_success() => Ok(()),
            Ok(response) => Err(refusal(response).await),
            Err(error) => Err(failure(&error)),
        }
    }
}

impl AttemptError {
    pub(crate) fn permanent(message: String) -> AttemptError {
        AttemptError {
            reason: FailureReason::Other,
            retryable: false,
            retry_after: None,
            message,
        }
    }
}

async fn refusal(mut response: Response) -> AttemptError {
    let status = response.status();
    let retry_after = response.header("retry-after").map(str::trim);
    let retry_after: Option<u32> = retry_after.and_then(|text| text.parse().ok());
    let mut message = format!("unexpected status {}", response.status_text());
    if let Ok(Some(body)) = response.chunk().await {
        let body = String::from_utf8_lossy(&body);
        let shown: String = body.trim().chars().take(SHOWN_ANSWER_CHARS).collect();
        if !shown.is_empty() {
            message = format!("{message}: {shown}");
        }
    }
    AttemptError {
        reason: match status {
            401 | 403 => FailureReason::AuthError,
            429 => FailureReason::RateLimited,
            400..=499 => FailureReason::ClientError,
            500..=599 => FailureReason::ServerError,
            _ => FailureReason::Other,
        },
        retryable: status == 429 || (500..=599).contains(&status),
        retry_after: retry_after.map(|seconds| Duration::from_secs(seconds.into())),
        message,
    }
}

fn failure(error: &HttpError) -> AttemptError {
    match error {
        // The address may carry a credential, so it is not shown.
        HttpError::Url { reason, .. } => {
            AttemptError::permanent(format!("the url is not valid: {reason}"))
        }
        HttpError::Configuration(message) => AttemptError::permanent(message.clone()),
        error => AttemptError {
            reason: match error {
                HttpError::Timeout { .. } => FailureReason::ContextDeadlineExceeded,
                _ => FailureReason::Other,
            },
            retryable: true,
            retry_after: None,
            message: error.to_string(),
        },
    }
}

/// Integrations for `receivers`; what `old` has unchanged is taken over. Nothing of `old` is stopped
/// yet. `revision` is another number each time.
pub(crate) fn build(
    receivers: &[ReceiverConfig],
    old: &Integrations,
    revision: u64,
) -> Result<Integrations, (String, BuildError)> {
    let mut integrations = Integrations::new();
    for receiver in receivers {
        let old = old.get(&receiver.name).map_or(&[][..], Vec::as_slice);
        let mut list: Vec<Arc<Integration>> = Vec::with_capacity(receiver.webhooks.len());
        for (number, config) in receiver.webhooks.iter().enumerate() {
            let identity = unique_identity(config, &list);
            let same = |old: &&Arc<Integration>| old.identity == identity && old.config == *config;
            let integration = match old.iter().find(same) {
                Some(same) => same.clone(),
                None => {
                    let built = Integration::new(config.clone(), identity, revision);
                    let place =
                        || format!("receiver {:?}: webhook_configs[{number}]", receiver.name);
                    Arc::new(built.map_err(|e| (place(), e))?)
                }
            };
            list.push(integration);
        }
        integrations.insert(receiver.name.clone(), list);
    }
    Ok(integrations)
}

/// Stops what `new` doesn't have.
pub(crate) fn retire(old: &Integrations, new: &Integrations) {
    let kept = |one: &Arc<Integration>| {
        let mut all = new.values().flatten();
        all.any(|other| Arc::ptr_eq(one, other))
    };
    for integration in old.values().flatten().filter(|one| !kept(one)) {
        integration.gone.cancel();
    }
}

/// What the router has to know of them.
pub(crate) fn receivers(integrations: &Integrations, order: &[ReceiverConfig]) -> Vec<Receiver> {
    let routed = |integration: &Arc<Integration>| Routed {
        kind: Integration::KIND.to_owned(),
        identity: integration.identity.clone(),
        revision: integration.revision,
        send_resolved: integration.config.send_resolved,
    };
    order
        .iter()
        .map(|receiver| Receiver {
            name: receiver.name.clone(),
            integrations: match integrations.get(&receiver.name) {
                Some(list) => list.iter().map(routed).collect(),
                None => Vec::new(),
            },
        })
        .collect()
}

/// Made from where it sends to, so that another order of the list changes nothing; a hash, because
/// the address may be secret. The same address a second time gets a number.
fn unique_identity(config: &WebhookConfig, earlier: &[Arc<Integration>]) -> String {
    let address = match &config.url {
        WebhookUrl::Inline(url) => Labels::from_pairs([("url", url.0.as_str())]),
        WebhookUrl::File(path) => Labels::from_pairs([("url_file", &*path.to_string_lossy())]),
    };
    let first = format!("{}-{:016x}", Integration::KIND, address.fingerprint());
    let taken = |identity: &str| earlier.iter().any(|other| other.identity == identity);
    let numbered = (2..).map(|number| format!("{first}-{number}"));
    std::iter::once(first.clone())
        .chain(numbered)
        .find(|identity| !taken(identity))
        .unwrap_or(first)
}

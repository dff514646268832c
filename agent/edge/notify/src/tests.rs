//! Real sending to servers on this machine: what arrives, and what becomes of what doesn't.

mod external;
mod payload;
mod receivers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use narthex_alerting::PostedAlert;
use narthex_alerting::config::Route;
use narthex_http_client::{HttpClientConfig, Secret};
use prometheus::Registry;
use serde_json::Value;

use super::*;

/// Long enough for a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server answers one request.
#[derive(Clone, Debug, Default)]
struct Answer {
    status: u16,
    after: Duration,
    retry_after: Option<u64>,
}

impl Answer {
    fn status(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }
}

#[derive(Clone, Debug)]
struct Received {
    path: String,
    body: Value,
    answered: u16,
}

/// A server that remembers what it gets. It answers as it was told, then with 200.
struct Server {
    address: String,
    state: Arc<ServerState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct ServerState {
    answers: Mutex<VecDeque<Answer>>,
    received: Mutex<Vec<Received>>,
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Server {
        let state = Arc::new(ServerState {
            answers: Mutex::new(answers.into_iter().collect()),
            received: Mutex::default(),
        });
        let app = axum::Router::new().fallback(take).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        Server {
            address,
            state,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    fn accepted(&self) -> Vec<Received> {
        let all = self.received().into_iter();
        all.filter(|request| request.answered == 200).collect()
    }

    /// Waits until that many requests were answered with 200.
    async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually(|| self.accepted().len() >= count).await;
        self.accepted()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(state): State<Arc<ServerState>>, uri: Uri, body: Bytes) -> Response {
    let answer = state.answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or(Answer::status(200));
    state.received.lock().unwrap().push(Received {
        path: uri.path().to_owned(),
        body: serde_json::from_slice(&body).unwrap(),
        answered: answer.status,
    });
    tokio::time::sleep(answer.after).await;
    let status = StatusCode::from_u16(answer.status).unwrap();
    match answer.retry_after {
        Some(seconds) => (status, [("Retry-After", seconds.to_string())], "later").into_response(),
        None => (status, "what the server says").into_response(),
    }
}

async fn eventually(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it never came true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn counted(registry: &Registry, name: &str, expected: f64) {
    counted_at(registry, name, &[], expected).await;
}

/// Waits for a count: it is noted a moment after the server has answered.
async fn counted_at(registry: &Registry, name: &str, labels: &[(&str, &str)], expected: f64) {
    let started = Instant::now();
    while metric(registry, name, labels) != expected && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(metric(registry, name, labels), expected, "{name}{labels:?}");
}

fn webhook(url: &str) -> WebhookConfig {
    WebhookConfig {
        send_resolved: true,
        url: WebhookUrl::Inline(Secret(url.to_owned())),
        http: HttpClientConfig::default(),
        max_alerts: 0,
        timeout_ms: 0,
    }
}

/// One route to one receiver, with short times.
fn config(webhooks: Vec<WebhookConfig>) -> Config {
    Config {
        routing: narthex_alerting::config::Config::new(Route {
            receiver: Some("ops".to_owned()),
            group_by: Some(vec!["alertname".to_owned()]),
            group_wait_ms: Some(20),
            group_interval_ms: Some(100),
            ..Route::default()
        }),
        receivers: vec![ReceiverConfig {
            name: "ops".to_owned(),
            webhooks,
        }],
        external_url: "http://narthex.example".to_owned(),
        original: "route:\n  receiver: ops\n".to_owned(),
    }
}

fn start(config: Config) -> (Handle, Registry) {
    let registry = Registry::new();
    let handle = Manager::start(config, &registry, Options::default()).unwrap();
    (handle, registry)
}

fn alert(name: &str) -> PostedAlert {
    PostedAlert {
        labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
        ..PostedAlert::default()
    }
}

fn resolved(name: &str) -> PostedAlert {
    PostedAlert {
        ends_at_ms: Some(time::now_ms()),
        ..alert(name)
    }
}

/// The names of a notification's alerts, `!` at those that are resolved.
fn names(request: &Received) -> Vec<String> {
    let alerts = request.body["alerts"].as_array().unwrap();
    let name = |alert: &Value| {
        let name = alert["labels"]["alertname"].as_str().unwrap();
        let mark = if alert["status"] == "resolved" {
            "!"
        } else {
            ""
        };
        format!("{name}{mark}")
    };
    alerts.iter().map(name).collect()
}

/// The value of a metric with all of these labels, 0 if there is none.
fn metric(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let matches = |metric: &&prometheus::proto::Metric| {
        labels.iter().all(|(name, value)| {
            let mut pairs = metric.get_label().iter();
            pairs.any(|pair| pair.name() == *name && pair.value() == *value)
        })
    };
    metrics
        .iter()
        .filter(matches)
        .map(|metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        })
        .sum()
}

//! Forwarding alerts to Alertmanagers elsewhere, as Prometheus does.
//!
//! Each Alertmanager has a queue and a worker of its own, so that one that is slow or away doesn't
//! hold up another. Keeps true: a queue holds at most its capacity, the oldest alerts giving way to
//! newer ones; nothing is sent twice, because what fails is reported again by its rule anyway.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use narthex_alerting::PostedAlert;
use narthex_http_client::{BuildError, Client, Error as HttpError, Request};
use narthex_model::Labels;
use narthex_relabel::RelabelRule;
use serde::{Serialize, Serializer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::{AlertmanagerTarget, Labelling};
use crate::metrics::ExternalMetrics;
use crate::payload::LabelMap;
use crate::time;

/// Alerts in one request, as Prometheus has it.
const BATCH_SIZE: usize = 256;

/// How long the queues may take to empty when the agent stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("Narthex/", env!("CARGO_PKG_VERSION"));

pub(crate) struct External {
    workers: Mutex<Vec<Worker>>,
    capacity: usize,
    metrics: ExternalMetrics,
}

struct Worker {
    queue: Arc<Queue>,
    task: JoinHandle<()>,
}

struct Queue {
    target: AlertmanagerTarget,
    client: Client,
    items: Mutex<VecDeque<Forwarded>>,
    capacity: usize,
    added: Notify,
    /// Nothing will be added any more.
    draining: CancellationToken,
    metrics: ExternalMetrics,
}

/// An alert as it is sent.
#[derive(Clone)]
struct Forwarded {
    labels: Labels,
    annotations: Arc<BTreeMap<String, String>>,
    starts_at_ms: Option<i64>,
    ends_at_ms: Option<i64>,
    generator_url: Arc<str>,
}

impl Labelling {
    /// The labels that an alert goes out with, or None if it doesn't.
    pub(crate) fn apply(&self, alert: &PostedAlert) -> Option<Labels> {
        let own = alert.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let external = self.external_labels.iter();
        let external = external.map(|label| (&*label.name, &*label.value));
        let lacks = |name: &str| alert.labels.get(name).is_none_or(String::is_empty);
        let missing = external.filter(|(name, _)| lacks(name));
        relabel(&self.relabel, Labels::from_pairs(own.chain(missing)))
    }
}

fn relabel(rules: &[RelabelRule], labels: Labels) -> Option<Labels> {
    narthex_relabel::apply(rules, labels).filter(|labels| !labels.is_empty())
}

impl External {
    pub(crate) fn new(capacity: usize, metrics: ExternalMetrics) -> External {
        let shown = i64::try_from(capacity).unwrap_or(i64::MAX);
        metrics.queue_capacity.set(shown);
        External {
            workers: Mutex::new(Vec::new()),
            capacity,
            metrics,
        }
    }

    /// Forwards to these from now on. Queues of those that stay are kept; what waits for one that
    /// goes is dropped. Those for which no client can be built are left out and given back with the
    /// reason.
    pub(crate) fn set_targets(
        &self,
        targets: Vec<AlertmanagerTarget>,
    ) -> Vec<(AlertmanagerTarget, BuildError)> {
        let mut workers = self.lock();
        let mut old = std::mem::take(&mut *workers);
        let mut refused = Vec::new();
        for target in targets {
            if workers.iter().any(|worker| worker.queue.target == target) {
                continue;
            }
            let same = old.iter().position(|worker| worker.queue.target == target);
            match same {
                Some(at) => workers.push(old.swap_remove(at)),
                None => match Worker::start(target.clone(), self.capacity, &self.metrics) {
                    Ok(worker) => workers.push(worker),
                    Err(error) => refused.push((target, error)),
                },
            }
        }
        for worker in old {
            worker.task.abort();
            worker.queue.drop_all();
            let url = &worker.queue.target.url;
            if !workers.iter().any(|worker| worker.queue.target.url == *url) {
                self.metrics.forget(url);
            }
        }
        let count = i64::try_from(workers.len()).unwrap_or(i64::MAX);
        self.metrics.discovered.set(count);
        refused
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let workers = self.lock();
        let urls = workers.iter().map(|worker| worker.queue.target.url.clone());
        urls.collect()
    }

    /// Queues alerts, with the labels they go out with, for every Alertmanager.
    pub(crate) fn send(&self, alerts: &[(PostedAlert, Labels)]) {
        let workers = self.lock();
        if workers.is_empty() {
            return;
        }
        let forwarded: Vec<Forwarded> = alerts.iter().map(Forwarded::new).collect();
        for worker in workers.iter() {
            worker.queue.add(&forwarded);
        }
    }

    /// Sends what is queued, for a while, and ends.
    pub(crate) async fn drain(&self) {
        let workers = std::mem::take(&mut *self.lock());
        for worker in &workers {
            worker.queue.draining.cancel();
        }
        let deadline = Instant::now() + DRAIN_LIMIT;
        for mut worker in workers {
            if timeout_at(deadline, &mut worker.task).await.is_err() {
                worker.task.abort();
                worker.queue.drop_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn start(
        target: AlertmanagerTarget,
        capacity: usize,
        metrics: &ExternalMetrics,
    ) -> Result<Worker, BuildError> {
        metrics.show_zeros(&target.url);
        let queue = Arc::new(Queue {
            client: Client::new(target.http.clone())?,
            target,
            items: Mutex::new(VecDeque::new()),
            capacity,
            added: Notify::new(),
            draining: CancellationToken::new(),
            metrics: metrics.clone(),
        });
        let task = tokio::spawn(queue.clone().work());
        Ok(Worker { queue, task })
    }
}

impl Queue {
    fn add(&self, alerts: &[Forwarded]) {
        let rules = &self.target.alert_relabel;
        let wanted = alerts.iter().filter_map(|alert| {
            let labels = relabel(rules, alert.labels.clone())?;
            let alert = alert.clone();
            Some(Forwarded { labels, ..alert })
        });
        let mut items = self.lock();
        items.extend(wanted);
        let excess = items.len().saturating_sub(self.capacity);
        items.drain(..excess);
        self.show_length(&items);
        drop(items);
        self.count_dropped(excess);
        if excess > 0 {
            let url = &self.target.url;
            tracing::warn!(
                url,
                dropped = excess,
                "alert queue is full, dropping the oldest"
            );
        }
        self.added.notify_one();
    }

    async fn work(self: Arc<Self>) {
        loop {
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.send(&batch).await;
                continue;
            }
            if self.draining.is_cancelled() {
                return;
            }
            tokio::select! {
                () = self.added.notified() => {}
                () = self.draining.cancelled() => {}
            }
        }
    }

    fn next_batch(&self) -> Vec<Forwarded> {
        let mut items = self.lock();
        let count = items.len().min(BATCH_SIZE);
        let batch = items.drain(..count).collect();
        self.show_length(&items);
        batch
    }

    async fn send(&self, batch: &[Forwarded]) {
        let started = Instant::now();
        let result = self.post(batch).await;
        let labels = [self.target.url.as_str()];
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.metrics.sent.with_label_values(&labels).inc_by(count);
        let seconds = started.elapsed().as_secs_f64();
        let latency = self.metrics.latency_seconds.with_label_values(&labels);
        latency.observe(seconds);
        if let Err(error) = result {
            self.metrics.errors.with_label_values(&labels).inc_by(count);
            self.count_dropped(batch.len());
            let alertmanager = &self.target.url;
            tracing::error!(alertmanager, count, error, "error sending alerts");
        }
    }

    async fn post(&self, batch: &[Forwarded]) -> Result<(), String> {
        let body = serde_json::to_vec(batch).map_err(|e| e.to_string())?;
        let request = Request {
            url: &self.target.url,
            headers: &[
                ("Content-Type", "application/json"),
                ("User-Agent", USER_AGENT),
            ],
            timeout: Duration::from_millis(self.target.timeout_ms),
        };
        let response = self.client.post(&request, Bytes::from(body)).await;
        let response = response.map_err(|e: HttpError| e.to_string())?;
        match response.is_success() {
            true => Ok(()),
            false => Err(format!("bad response status {}", response.status_text())),
        }
    }

    fn drop_all(&self) {
        let mut items = self.lock();
        let count = items.len();
        items.clear();
        self.show_length(&items);
        drop(items);
        self.count_dropped(count);
    }

    fn count_dropped(&self, count: usize) {
        let dropped = self.metrics.dropped.with_label_values(&[&self.target.url]);
        dropped.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn show_length(&self, items: &VecDeque<Forwarded>) {
        let length = self
            .metrics
            .queue_length
            .with_label_values(&[&self.target.url]);
        length.set(i64::try_from(items.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Forwarded>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forwarded {
    fn new((alert, labels): &(PostedAlert, Labels)) -> Forwarded {
        Forwarded {
            labels: labels.clone(),
            annotations: Arc::new(alert.annotations.clone()),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: alert.ends_at_ms,
            generator_url: alert.generator_url.as_str().into(),
        }
    }
}

#[derive(Serialize)]
struct ForwardedJson<'a> {
    annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "endsAt", skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(rename = "startsAt", skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    labels: LabelMap<'a>,
}

impl Serialize for Forwarded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = ForwardedJson {
            annotations: &self.annotations,
            ends_at: self.ends_at_ms.map(time::rfc3339),
            starts_at: self.starts_at_ms.map(time::rfc3339),
            generator_url: &self.generator_url,
            labels: LabelMap(&self.labels),
        };
        json.serialize(serializer)
    }
}

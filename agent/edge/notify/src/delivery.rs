//! Getting one notification through: attempts with growing pauses until the deadline.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use narthex_alerting::Notification;
use tokio::time::{Instant, sleep, timeout_at};

use crate::expand::Expander;
use crate::integration::{AttemptError, Integration};
use crate::metrics::{FailureReason, Metrics};
use crate::payload::Data;
use crate::time::now_ms;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const PAUSE_GROWTH: f64 = 1.5;
/// Each pause is longer or shorter by up to this share, so that senders don't march in step.
const PAUSE_JITTER: f64 = 0.5;

/// Why a notification was given up.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: FailureReason,
    pub(crate) message: String,
}

struct Message {
    url: String,
    body: Bytes,
}

/// Sends `notification` until it is taken, is refused for good, or its deadline comes.
pub(crate) async fn deliver(
    integration: &Integration,
    notification: &Notification,
    external_url: &str,
    metrics: &Metrics,
) -> Result<(), Failure> {
    let left_ms = notification.deadline_ms.saturating_sub(now_ms());
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    let deadline = Instant::now() + left;
    let message = match message(integration, notification, external_url).await {
        Ok(message) => message,
        Err(error) => return Err(Failure::from(error)),
    };
    let mut pause = FIRST_PAUSE;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match attempt(integration, &message, deadline, metrics).await {
            Ok(()) => return Ok(()),
            Err(error) if error.retryable => error,
            Err(error) => return Err(Failure::from(error)),
        };
        let wait = with_jitter(pause).max(error.retry_after.unwrap_or_default());
        if Instant::now() + wait >= deadline {
            return Err(Failure {
                reason: FailureReason::ContextDeadlineExceeded,
                message: format!(
                    "given up after {attempts} attempts, the last: {}",
                    error.message
                ),
            });
        }
        if attempts == 1 {
            tracing::warn!(
                receiver = %notification.receiver,
                integration = integration.identity,
                group = %notification.group_key,
                error = error.message,
                "notify attempt failed, will retry"
            );
        }
        sleep(wait).await;
        pause = pause.mul_f64(PAUSE_GROWTH).min(LONGEST_PAUSE);
    }
}

/// One attempt, counted. It may have to wait for its turn among the integration's others.
async fn attempt(
    integration: &Integration,
    message: &Message,
    deadline: Instant,
    metrics: &Metrics,
) -> Result<(), AttemptError> {
    let started = Instant::now();
    let limit = deadline.saturating_duration_since(started);
    let attempt = integration.attempt(&message.url, message.body.clone(), limit);
    let result = match timeout_at(deadline, attempt).await {
        Ok(result) => result,
        Err(_) => Err(AttemptError {
            reason: FailureReason::ContextDeadlineExceeded,
            retryable: true,
            retry_after: None,
            message: "no answer before the deadline".to_owned(),
        }),
    };
    let labels = [Integration::KIND];
    metrics.requests.with_label_values(&labels).inc();
    let seconds = started.elapsed().as_secs_f64();
    metrics
        .latency_seconds
        .with_label_values(&labels)
        .observe(seconds);
    if result.is_err() {
        metrics.requests_failed.with_label_values(&labels).inc();
    }
    result
}

async fn message(
    integration: &Integration,
    notification: &Notification,
    external_url: &str,
) -> Result<Message, AttemptError> {
    let url = integration.url().await?;
    let (mut data, truncated) =
        Data::new(notification, external_url, integration.config.max_alerts);
    let now_ms = now_ms();
    let route_labels = Expander::new(&data, &notification.route_labels, now_ms).route_labels();
    data.route_labels = route_labels.map_err(AttemptError::permanent)?;
    let expander = Expander::new(&data, &notification.route_labels, now_ms);
    let url = expander
        .expand("url", &url)
        .map_err(AttemptError::permanent)?;
    let body = data.webhook_json(&notification.group_key, truncated);
    let body = body.map_err(|e| AttemptError::permanent(e.to_string()))?;
    Ok(Message {
        url: url.trim().to_owned(),
        body: body.into(),
    })
}

impl From<AttemptError> for Failure {
    fn from(error: AttemptError) -> Self {
        Failure {
            reason: error.reason,
            message: error.message,
        }
    }
}

fn with_jitter(pause: Duration) -> Duration {
    // The standard library has no random numbers, but each of its hashers starts at one.
    let random = RandomState::new().build_hasher().finish();
    let share = random as f64 / u64::MAX as f64;
    pause.mul_f64(1.0 - PAUSE_JITTER + 2.0 * PAUSE_JITTER * share)
}

//! The router on the clock: who calls it when, and who carries out what it says.
//!
//! There is no queue before the router: an alert that is posted has been routed when the call
//! returns, so nothing can overflow or be lost in between. What is bounded is sending (see
//! `integration`) and forwarding (see `external`).
//!
//! Keeps true: every notification the router issues is answered, also when its integration
//! vanishes or the agent stops; the router and the integrations it speaks of change together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use narthex_alerting::{
    Action, Alert, AlertFilter, AlertView, CheckedConfig, ConfigError, Event, GroupView,
    Notification, PostedAlert, Router,
};
use narthex_http_client::BuildError;
use prometheus::Registry;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{AlertmanagerTarget, Config, Labelling};
use crate::delivery::{Failure, deliver};
use crate::external::External;
use crate::integration::{Integration, Integrations, build, receivers, retire};
use crate::metrics::{FailureReason, Metrics};
use crate::state::{StateStore, decode, encode};
use crate::time::now_ms;

/// The wall clock may jump, so it is looked at this often though nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The notification log is saved this soon after a notification; what is lost in a crash is told
/// twice.
const SAVE_DELAY_MS: i64 = 1000;

pub struct Options {
    /// Without one, a restart tells everybody everything again.
    pub store: Option<Arc<dyn StateStore>>,
    /// Groups gather alerts for so long after the start before the first is told
    /// (`--dispatch.start-delay`).
    pub start_delay_ms: u64,
    /// Alerts that may wait for each Alertmanager elsewhere
    /// (`--alertmanager.notification-queue-capacity`).
    pub queue_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            store: None,
            start_delay_ms: 0,
            queue_capacity: 10_000,
        }
    }
}

/// Why a configuration can't be used. The one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A receiver's connections can't be set up.
    #[error("{place}: {error}")]
    Client { place: String, error: BuildError },
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("cannot register the metrics of notifying: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Alerts that were refused, while the others of the batch were taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", reasons.join("; "))]
pub struct PostError {
    pub reasons: Vec<String>,
}

pub struct Manager;

impl Manager {
    /// Starts routing and sending; must be called within a tokio runtime. Blocks for a moment if
    /// there is a saved notification log.
    pub fn start(
        config: Config,
        registry: &Registry,
        options: Options,
    ) -> Result<Handle, StartError> {
        let metrics = Metrics::new(registry)?;
        let now_ms = now_ms();
        let (checked, integrations) = prepare(&config, &Integrations::new(), 0)?;
        let delay_ms = i64::try_from(options.start_delay_ms).unwrap_or(i64::MAX);
        let mut router = Router::new(checked, now_ms, now_ms.saturating_add(delay_ms));
        if let Some(store) = &options.store {
            restore(&mut router, &**store);
        }
        let shared = Arc::new(Shared {
            external: External::new(options.queue_capacity, metrics.external.clone()),
            core: Mutex::new(Core {
                router,
                integrations,
                config,
                revision: 0,
                labelling: Labelling::default(),
                save_at_ms: None,
            }),
            metrics,
            store: options.store,
            stepped: Notify::new(),
            stopping: CancellationToken::new(),
        });
        shared.show_config();
        tokio::spawn(shared.clone().drive());
        Ok(Handle(shared))
    }
}

/// The way to the running router; clones lead to the same.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Takes up a new `alertmanager.yml`. Alerts are routed anew; groups whose route is still there
    /// keep their timers, integrations that are the same their connections. Blocks for a moment
    /// where certificates are read.
    pub fn apply(&self, config: Config) -> Result<(), ApplyError> {
        let shared = &self.0;
        let mut core = shared.lock();
        if core.config == config {
            drop(core);
            shared.show_config();
            return Ok(());
        }
        let revision = core.revision + 1;
        let (checked, integrations) = prepare(&config, &core.integrations, revision)?;
        retire(&core.integrations, &integrations);
        core.integrations = integrations;
        core.revision = revision;
        core.config = config;
        shared.step(core, Event::ConfigChanged(Box::new(checked)));
        shared.show_config();
        Ok(())
    }

    /// Notes for the metrics that a new configuration couldn't be used.
    pub fn reload_failed(&self) {
        self.0.metrics.reload_successful.set(0);
    }

    /// What every alert that comes by [`Handle::send_alerts`] is given, and by which rules.
    pub fn set_labelling(&self, labelling: Labelling) {
        self.0.lock().labelling = labelling;
    }

    /// Forwards to these Alertmanagers from now on. Those that can't be reached because of their
    /// configuration are left out and given back with the reason.
    pub fn set_alertmanagers(
        &self,
        targets: Vec<AlertmanagerTarget>,
    ) -> Vec<(AlertmanagerTarget, BuildError)> {
        self.0.external.set_targets(targets)
    }

    /// The addresses of the Alertmanagers that alerts are forwarded to.
    pub fn alertmanagers(&self) -> Vec<String> {
        self.0.external.urls()
    }

    /// The way for alerts of our own rules and scripts: they are labelled, routed here and
    /// forwarded. Never waits.
    pub fn send_alerts(&self, alerts: Vec<PostedAlert>) {
        let core = self.0.lock();
        let label = |alert| Some((core.labelling.apply(&alert)?, alert));
        let labelled = alerts.into_iter().filter_map(label);
        let labelled: Vec<_> = labelled.map(|(labels, alert)| (alert, labels)).collect();
        drop(core);
        self.0.external.send(&labelled);
        let posted = labelled.into_iter().map(|(alert, labels)| PostedAlert {
            labels: labels
                .iter()
                .map(|label| (label.name.to_string(), label.value.to_string()))
                .collect(),
            ..alert
        });
        if let Err(error) = self.post_alerts(posted.collect()) {
            tracing::error!(%error, "alerts of a rule were refused");
        }
    }

    /// The way for alerts from outside (`POST /api/v2/alerts`): valid ones are taken, and routed
    /// when this returns; the error joins what is wrong with the others.
    pub fn post_alerts(&self, posted: Vec<PostedAlert>) -> Result<(), PostError> {
        let shared = &self.0;
        let core = shared.lock();
        let (timeout_ms, names) = (core.router.resolve_timeout_ms(), core.router.label_names());
        let now_ms = now_ms();
        let (mut alerts, mut reasons) = (Vec::with_capacity(posted.len()), Vec::new());
        for alert in posted {
            shared.count_received(&alert, now_ms);
            match Alert::admit(alert, now_ms, timeout_ms, names) {
                Ok(alert) => alerts.push(alert),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let invalid = u64::try_from(reasons.len()).unwrap_or(u64::MAX);
        let counter = shared.metrics.alerts_invalid.with_label_values(&["v2"]);
        counter.inc_by(invalid);
        if !alerts.is_empty() {
            shared.step(core, Event::Alerts(alerts));
        }
        match reasons.is_empty() {
            true => Ok(()),
            false => Err(PostError { reasons }),
        }
    }

    /// For `/api/v2/alerts`.
    pub fn alerts(&self, filter: &AlertFilter) -> Vec<AlertView> {
        self.0.lock().router.alerts(filter, now_ms())
    }

    /// For `/api/v2/alerts/groups`.
    pub fn groups(&self, filter: &AlertFilter) -> Vec<GroupView> {
        self.0.lock().router.groups(filter, now_ms())
    }

    /// For `/api/v2/receivers`: the names, in the order of the file.
    pub fn receivers(&self) -> Vec<String> {
        let core = self.0.lock();
        let names = core.config.receivers.iter().map(|r| r.name.clone());
        names.collect()
    }

    /// For `/api/v2/status`: the `alertmanager.yml` in force, secrets blotted out.
    pub fn original_config(&self) -> String {
        self.0.lock().config.original.clone()
    }

    /// Stops sending, saves the notification log and empties the queues to other Alertmanagers,
    /// which takes at most ten seconds.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        self.0.external.drain().await;
        self.0.save(i64::MAX).await;
    }
}

struct Shared {
    core: Mutex<Core>,
    external: External,
    metrics: Metrics,
    store: Option<Arc<dyn StateStore>>,
    /// The router has something new to wait for.
    stepped: Notify,
    stopping: CancellationToken,
}

struct Core {
    router: Router,
    integrations: Integrations,
    config: Config,
    /// Counts the configurations.
    revision: u64,
    labelling: Labelling,
    /// When the notification log is to be saved, if it has changed.
    save_at_ms: Option<i64>,
}

impl Core {
    fn integration(&self, receiver: &str, number: usize) -> Option<&Arc<Integration>> {
        self.integrations.get(receiver)?.get(number)
    }

    fn log_changed(&mut self, now_ms: i64) {
        self.save_at_ms = self
            .save_at_ms
            .or(Some(now_ms.saturating_add(SAVE_DELAY_MS)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is due next, until the agent stops.
    async fn drive(self: Arc<Self>) {
        loop {
            let wait = self.until_next();
            tokio::select! {
                () = sleep(wait) => {}
                () = self.stepped.notified() => continue,
                () = self.stopping.cancelled() => return,
            }
            let core = self.lock();
            self.step(core, Event::Tick);
            self.show_state();
            self.save(now_ms()).await;
        }
    }

    fn until_next(&self) -> Duration {
        let core = self.lock();
        let next_ms = core.router.next_wake_ms();
        let next_ms = core
            .save_at_ms
            .map_or(next_ms, |save_ms| save_ms.min(next_ms));
        let wait_ms = u64::try_from(next_ms.saturating_sub(now_ms())).unwrap_or(0);
        Duration::from_millis(wait_ms).min(LONGEST_SLEEP)
    }

    /// Lets the router take an event and carries out what it says.
    fn step(self: &Arc<Self>, mut core: MutexGuard<'_, Core>, event: Event) {
        let now_ms = now_ms();
        let actions = core.router.step(now_ms, event);
        for action in actions {
            match action {
                Action::Notify(notification) => self.notify(&mut core, notification),
                Action::NothingToSend { .. } => {
                    self.count_notification();
                    core.log_changed(now_ms);
                }
                Action::Suppressed { reason, alerts } => {
                    let labels = [reason.as_str()];
                    let counter = self
                        .metrics
                        .notifications_suppressed
                        .with_label_values(&labels);
                    counter.inc_by(u64::try_from(alerts).unwrap_or(u64::MAX));
                }
            }
        }
        drop(core);
        self.stepped.notify_one();
    }

    fn notify(self: &Arc<Self>, core: &mut Core, notification: Notification) {
        self.count_notification();
        let integration = core.integration(&notification.receiver, notification.integration);
        let integration = integration.cloned();
        let external_url = core.config.external_url.clone();
        let shared = self.clone();
        tokio::spawn(async move {
            let id = notification.id;
            let sent = match integration {
                Some(integration) => {
                    shared
                        .deliver(&integration, &notification, &external_url)
                        .await
                }
                None => Err(Failure {
                    reason: FailureReason::Other,
                    message: "the receiver has no such integration".to_owned(),
                }),
            };
            let delivered = sent.is_ok();
            if let Err(failure) = sent {
                shared.note_failure(&notification, &failure);
            }
            let mut core = shared.lock();
            if delivered {
                core.log_changed(now_ms());
            }
            shared.step(core, Event::NotifyResult { id, delivered });
        });
    }

    async fn deliver(
        &self,
        integration: &Integration,
        notification: &Notification,
        external_url: &str,
    ) -> Result<(), Failure> {
        let canceled = |message: &str| {
            Err(Failure {
                reason: FailureReason::ContextCanceled,
                message: message.to_owned(),
            })
        };
        tokio::select! {
            biased;
            () = integration.gone.cancelled() => canceled("the configuration has changed"),
            () = self.stopping.cancelled() => canceled("the agent is stopping"),
            sent = deliver(integration, notification, external_url, &self.metrics) => sent,
        }
    }

    fn count_notification(&self) {
        let labels = [Integration::KIND];
        self.metrics.notifications.with_label_values(&labels).inc();
    }

    fn note_failure(&self, notification: &Notification, failure: &Failure) {
        let labels = [Integration::KIND, failure.reason.as_str()];
        let counter = self.metrics.notifications_failed.with_label_values(&labels);
        counter.inc();
        tracing::error!(
            receiver = %notification.receiver,
            integration = format!("{}[{}]", Integration::KIND, notification.integration),
            group = %notification.group_key,
            alerts = notification.alerts.len(),
            error = failure.message,
            "notify failed"
        );
    }

    fn count_received(&self, alert: &PostedAlert, now_ms: i64) {
        let resolved = alert.ends_at_ms.is_some_and(|end| end <= now_ms);
        let status = if resolved { "resolved" } else { "firing" };
        let labels = [status, "v2"];
        self.metrics
            .alerts_received
            .with_label_values(&labels)
            .inc();
    }

    fn show_state(&self) {
        let core = self.lock();
        let (active, suppressed) = core.router.alert_counts(now_ms());
        let groups = core.router.group_count();
        drop(core);
        for (state, count) in [("active", active), ("suppressed", suppressed)] {
            let gauge = self.metrics.alerts.with_label_values(&[state]);
            gauge.set(gauge_value(count));
        }
        self.metrics.groups.set(gauge_value(groups));
    }

    /// A configuration has come into force, if only again.
    fn show_config(&self) {
        let core = self.lock();
        let integrations = core.integrations.values().map(Vec::len).sum();
        self.metrics
            .receivers
            .set(gauge_value(core.config.receivers.len()));
        self.metrics.integrations.set(gauge_value(integrations));
        let rules = core.config.routing.inhibit_rules.len();
        self.metrics.inhibition_rules.set(gauge_value(rules));
        self.metrics.reload_successful.set(1);
        let seconds = now_ms() as f64 / 1000.0;
        self.metrics.reload_success_seconds.set(seconds);
    }

    /// Saves the notification log if that is due.
    async fn save(&self, now_ms: i64) {
        let (store, encoded) = {
            let mut core = self.lock();
            if core.save_at_ms.is_none_or(|at| at > now_ms) {
                return;
            }
            core.save_at_ms = None;
            let Some(store) = self.store.clone() else {
                return;
            };
            (store, encode(core.router.log_entries()))
        };
        let saved = tokio::task::spawn_blocking(move || match encoded {
            Ok(bytes) => store.save(&bytes).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        });
        if let Ok(Err(error)) = saved.await {
            tracing::error!(error, "cannot save the notification log");
        }
    }
}

/// Checks a configuration and sets up what it needs, taking over what `old` has unchanged.
fn prepare(
    config: &Config,
    old: &Integrations,
    revision: u64,
) -> Result<(CheckedConfig, Integrations), ApplyError> {
    let integrations = build(&config.receivers, old, revision)
        .map_err(|(place, error)| ApplyError::Client { place, error })?;
    let receivers = receivers(&integrations, &config.receivers);
    let checked = CheckedConfig::new(&config.routing, receivers, &zone)?;
    Ok((checked, integrations))
}

fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

/// A log that can't be read is no reason not to start: then things are told twice.
fn restore(router: &mut Router, store: &dyn StateStore) {
    match store.load() {
        Ok(None) => {}
        Ok(Some(bytes)) => match decode(&bytes) {
            Ok(entries) => router.restore_log(entries),
            Err(error) => {
                tracing::warn!(%error, "the saved notification log can't be used; starting without");
            }
        },
        Err(error) => {
            tracing::warn!(%error, "cannot read the saved notification log; starting without");
        }
    }
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

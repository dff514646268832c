//! Alerts and their life: pending, firing, resolved.
//!
//! An [`AlertSet`] holds the alerts of one rule or one script. [`AlertSet::advance`] moves it on by
//! one evaluation; what is then to be stored and to be sent is asked for separately. Keeps true: an
//! alert is sent only once it fires; a resolved one is sent again for [`RESOLVED_RETENTION_MS`], so
//! that a lost message heals. Time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::{Labels, LabelsBuilder, METRIC_NAME};

/// The label that names an alert.
pub const ALERT_NAME: &str = "alertname";
const ALERT_STATE: &str = "alertstate";
const ALERTS: &str = "ALERTS";
/// The series whose value is the time since when an alert is active.
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// How long a resolved alert is kept and sent again.
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// An alert stays valid at its receiver for so many of the longer of interval and resend delay:
/// some evaluations or messages may fail.
const VALID_DELAYS: i64 = 4;

pub type Annotations = Arc<BTreeMap<String, String>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// How alerts are sent and taken up again after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertOptions {
    /// The least time between two messages about the same alert.
    pub resend_delay_ms: i64,
    /// How long an outage may be so that `for` goes on from where it was.
    pub outage_tolerance_ms: i64,
    /// After a restart no alert fires earlier than this; alerts with a shorter `for` start anew.
    pub grace_period_ms: i64,
}

impl Default for AlertOptions {
    fn default() -> Self {
        AlertOptions {
            resend_delay_ms: 60_000,
            outage_tolerance_ms: 3_600_000,
            grace_period_ms: 600_000,
        }
    }
}

/// An alert whose condition holds in this evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) labels: Labels,
    pub(crate) annotations: Annotations,
    pub(crate) value: f64,
    pub(crate) for_ms: i64,
    pub(crate) keep_firing_for_ms: i64,
}

/// An alert that is or was active.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Annotations,
    pub state: AlertState,
    pub value: f64,
    /// Since when the condition holds.
    pub active_at_ms: i64,
    pub fired_at_ms: Option<i64>,
    /// Since when it fires only because it is kept firing.
    pub keep_firing_since_ms: Option<i64>,
    resolved_at_ms: Option<i64>,
    last_sent_ms: Option<i64>,
    for_ms: i64,
    keep_firing_for_ms: i64,
}

/// An alert on its way to whoever routes alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertNotice {
    pub labels: Labels,
    pub annotations: Annotations,
    pub starts_at_ms: i64,
    /// When it ended, or until when it counts as firing if nothing more is heard.
    pub ends_at_ms: i64,
    /// Where its expression can be looked at.
    pub generator_url: String,
}

/// Two conditions had the same labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DuplicateLabels;

/// What was stored of an alert before a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StoredState {
    pub(crate) at_ms: i64,
    pub(crate) active_at_ms: i64,
}

/// The alerts of one rule or script, by their labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertSet {
    alerts: BTreeMap<Labels, Alert>,
}

impl AlertSet {
    /// Alerts that are pending or firing.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|a| a.is_active())
    }

    /// The gravest state among the alerts.
    pub(crate) fn state(&self) -> AlertState {
        let states = self.alerts.values().map(|alert| alert.state);
        states.max().unwrap_or(AlertState::Inactive)
    }

    pub(crate) fn clear(&mut self) {
        self.alerts.clear();
    }

    /// Adds the alerts of another set, which go before those it has.
    pub(crate) fn take_over(&mut self, other: AlertSet) {
        self.alerts.extend(other.alerts);
    }

    /// Moves on to `now_ms`, where exactly these conditions hold.
    pub(crate) fn advance(
        &mut self,
        now_ms: i64,
        conditions: Vec<Condition>,
    ) -> Result<(), DuplicateLabels> {
        let mut current: BTreeMap<Labels, Condition> = BTreeMap::new();
        for condition in conditions {
            let labels = condition.labels.clone();
            if current.insert(labels, condition).is_some() {
                return Err(DuplicateLabels);
            }
        }
        self.alerts.retain(|labels, alert| {
            current.contains_key(labels) || alert.without_condition(now_ms)
        });
        for (labels, condition) in current {
            match self.alerts.get_mut(&labels) {
                Some(alert) if alert.is_active() => alert.update(condition),
                _ => {
                    let alert = Alert::new(condition, now_ms);
                    self.alerts.insert(labels.clone(), alert);
                }
            }
            if let Some(alert) = self.alerts.get_mut(&labels) {
                alert.with_condition(now_ms);
            }
        }
        Ok(())
    }

    /// The series of the active alerts, with their values.
    pub(crate) fn series(&self) -> Vec<(Labels, f64)> {
        let mut series = Vec::new();
        for alert in self.active() {
            let mut state = LabelsBuilder::from(&alert.labels);
            state
                .set(METRIC_NAME, ALERTS)
                .set(ALERT_STATE, alert.state.as_str());
            series.push((state.build(), 1.0));
            let since_seconds = alert.active_at_ms.div_euclid(1000) as f64;
            series.push((alert.for_state_labels(), since_seconds));
        }
        series
    }

    /// The alerts that are to be sent now; they count as sent then. `link` gives an alert's
    /// generator URL.
    pub(crate) fn take_notices(
        &mut self,
        now_ms: i64,
        interval_ms: i64,
        resend_delay_ms: i64,
        link: &dyn Fn(&Alert) -> String,
    ) -> Vec<AlertNotice> {
        let valid_for_ms = interval_ms
            .max(resend_delay_ms)
            .saturating_mul(VALID_DELAYS);
        let mut notices = Vec::new();
        for alert in self.alerts.values_mut() {
            if alert.needs_sending(now_ms, resend_delay_ms) {
                alert.last_sent_ms = Some(now_ms);
                notices.push(AlertNotice {
                    labels: alert.labels.clone(),
                    annotations: alert.annotations.clone(),
                    starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
                    ends_at_ms: alert
                        .resolved_at_ms
                        .unwrap_or(now_ms.saturating_add(valid_for_ms)),
                    generator_url: link(alert),
                });
            }
        }
        notices
    }

    /// Takes up where the alerts were before a restart, as far as `stored` knows them. The time of
    /// the outage does not count as active.
    pub(crate) fn restore(
        &mut self,
        now_ms: i64,
        options: &AlertOptions,
        stored: &BTreeMap<Labels, StoredState>,
    ) {
        let waiting = self.alerts.values_mut().filter(|alert| {
            // A shorter `for` would be over before the grace period is.
            alert.is_active() && alert.for_ms >= options.grace_period_ms
        });
        for alert in waiting {
            if let Some(stored) = stored.get(&alert.for_state_labels()) {
                alert.restore(now_ms, options, *stored);
            }
        }
    }
}

impl Alert {
    fn new(condition: Condition, now_ms: i64) -> Alert {
        Alert {
            labels: condition.labels,
            annotations: condition.annotations,
            state: AlertState::Pending,
            value: condition.value,
            active_at_ms: now_ms,
            fired_at_ms: None,
            keep_firing_since_ms: None,
            resolved_at_ms: None,
            last_sent_ms: None,
            for_ms: condition.for_ms,
            keep_firing_for_ms: condition.keep_firing_for_ms,
        }
    }

    fn is_active(&self) -> bool {
        self.state != AlertState::Inactive
    }

    pub(crate) fn for_state_labels(&self) -> Labels {
        self.labels.with(METRIC_NAME, ALERTS_FOR_STATE)
    }

    fn update(&mut self, condition: Condition) {
        self.value = condition.value;
        self.annotations = condition.annotations;
        self.for_ms = condition.for_ms;
        self.keep_firing_for_ms = condition.keep_firing_for_ms;
    }

    fn with_condition(&mut self, now_ms: i64) {
        self.keep_firing_since_ms = None;
        let due = now_ms.saturating_sub(self.active_at_ms) >= self.for_ms;
        match self.state {
            AlertState::Pending if due => {
                self.state = AlertState::Firing;
                self.fired_at_ms = Some(now_ms);
            }
            // A reload has raised `for`: what fires too early by it waits again.
            AlertState::Firing if !due => {
                self.state = AlertState::Pending;
                self.fired_at_ms = None;
            }
            _ => {}
        }
    }

    /// The condition does not hold; gives whether the alert is still of interest.
    fn without_condition(&mut self, now_ms: i64) -> bool {
        match (self.state, self.resolved_at_ms) {
            (AlertState::Pending, _) => false,
            (AlertState::Inactive, Some(resolved_ms)) => {
                now_ms.saturating_sub(resolved_ms) <= RESOLVED_RETENTION_MS
            }
            (AlertState::Inactive, None) => false,
            (AlertState::Firing, _) => {
                if !self.is_kept_firing(now_ms) {
                    self.state = AlertState::Inactive;
                    self.resolved_at_ms = Some(now_ms);
                }
                true
            }
        }
    }

    fn is_kept_firing(&mut self, now_ms: i64) -> bool {
        if self.keep_firing_for_ms <= 0 {
            return false;
        }
        let since_ms = *self.keep_firing_since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since_ms) < self.keep_firing_for_ms
    }

    fn needs_sending(&self, now_ms: i64, resend_delay_ms: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        let Some(last_sent_ms) = self.last_sent_ms else {
            return true;
        };
        let news = self
            .resolved_at_ms
            .is_some_and(|at_ms| at_ms > last_sent_ms);
        news || last_sent_ms.saturating_add(resend_delay_ms) < now_ms
    }

    fn restore(&mut self, now_ms: i64, options: &AlertOptions, stored: StoredState) {
        let down_at_ms = stored.at_ms.div_euclid(1000) * 1000;
        let spent_ms = down_at_ms.saturating_sub(stored.active_at_ms);
        let remaining_ms = self.for_ms.saturating_sub(spent_ms);
        self.active_at_ms = if remaining_ms <= 0 {
            // It fired when the outage began, and does so again.
            stored.active_at_ms
        } else if remaining_ms < options.grace_period_ms {
            now_ms
                .saturating_add(options.grace_period_ms)
                .saturating_sub(self.for_ms)
        } else {
            stored
                .active_at_ms
                .saturating_add(now_ms.saturating_sub(down_at_ms))
        };
    }
}

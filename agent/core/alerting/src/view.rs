//! What the API shows: the alerts and groups of a router at one moment.
//!
//! States are computed when asked, not remembered, so that an answer never lags behind a silence or
//! an inhibiting alert.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_model::matcher::all_match;
use narthex_model::{Labels, Matcher, Regexp};

use crate::alert::{Alert, compare_labels};
use crate::router::Router;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    Active,
    Suppressed,
}

impl AlertState {
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Active => "active",
            AlertState::Suppressed => "suppressed",
        }
    }
}

/// An alert that fires, with what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView {
    pub fingerprint: u64,
    pub alert: Arc<Alert>,
    /// By name, each once.
    pub receivers: Vec<Arc<str>>,
    pub state: AlertState,
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts.
    pub inhibited_by: Vec<u64>,
    /// Names of time intervals; known for the alerts of a group only.
    pub muted_by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    pub labels: Labels,
    pub route_labels: Arc<BTreeMap<String, String>>,
    pub receiver: Arc<str>,
    /// By fingerprint.
    pub alerts: Vec<AlertView>,
}

/// Which alerts are wanted. The default lets all through.
#[derive(Clone, Debug)]
pub struct AlertFilter {
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Must match the receiver's name.
    pub receiver: Option<Regexp>,
    pub active: bool,
    pub silenced: bool,
    pub inhibited: bool,
    /// Groups whose route is muted by a time interval.
    pub muted: bool,
}

impl Default for AlertFilter {
    fn default() -> Self {
        AlertFilter {
            matchers: Vec::new(),
            receiver: None,
            active: true,
            silenced: true,
            inhibited: true,
            muted: true,
        }
    }
}

impl AlertFilter {
    fn wants(&self, view: &AlertView) -> bool {
        all_match(&self.matchers, &view.alert.labels)
            && (self.active || view.state != AlertState::Active)
            && (self.silenced || view.silenced_by.is_empty())
            && (self.inhibited || view.inhibited_by.is_empty())
    }

    fn wants_receiver(&self, name: &str) -> bool {
        let regexp = self.receiver.as_ref();
        regexp.is_none_or(|regexp| regexp.is_match(name))
    }
}

impl Router {
    /// The alerts that fire, by fingerprint.
    pub fn alerts(&self, filter: &AlertFilter, now_ms: i64) -> Vec<AlertView> {
        let views = self.firing(now_ms).map(|(f, a)| self.view(f, a, now_ms));
        views
            .filter(|view| filter.wants(view))
            .filter(|view| view.receivers.iter().any(|r| filter.wants_receiver(r)))
            .collect()
    }

    /// The groups that have a wanted alert, by labels and then receiver.
    pub fn groups(&self, filter: &AlertFilter, now_ms: i64) -> Vec<GroupView> {
        let mut views = Vec::new();
        for (id, group) in &self.groups {
            let Some(node) = self.config.routes.get(group.route) else {
                continue;
            };
            let muted_by = match self.muted(id, now_ms) {
                Some((_, names)) => names,
                None => Vec::new(),
            };
            let unwanted = !filter.muted && !muted_by.is_empty();
            if unwanted || !filter.wants_receiver(&group.receiver) {
                continue;
            }
            let firing = group.alerts.iter().filter(|(_, a)| !a.is_resolved(now_ms));
            let views_of_group = firing.map(|(fingerprint, alert)| {
                let view = self.view(*fingerprint, alert, now_ms);
                muted(view, &muted_by)
            });
            let alerts: Vec<AlertView> = views_of_group.filter(|v| filter.wants(v)).collect();
            if !alerts.is_empty() {
                views.push(GroupView {
                    labels: group.labels.clone(),
                    route_labels: node.labels.clone(),
                    receiver: group.receiver.clone(),
                    alerts,
                });
            }
        }
        views.sort_by(|a, b| {
            compare_labels(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver))
        });
        views
    }

    /// The names of the receivers that routes lead to.
    pub fn receivers(&self) -> BTreeSet<Arc<str>> {
        let routes = self.config.routes.iter();
        routes.map(|route| route.receiver.clone()).collect()
    }

    /// How many alerts fire, by state.
    pub fn alert_counts(&self, now_ms: i64) -> (usize, usize) {
        let inhibited = |labels: &Labels| {
            let source = self.inhibitor.inhibited_by(labels, &self.alerts, now_ms);
            source.is_some()
        };
        let alerts = self.firing(now_ms);
        let (suppressed, active): (Vec<_>, Vec<_>) =
            alerts.partition(|(_, alert)| inhibited(&alert.labels));
        (active.len(), suppressed.len())
    }

    fn firing(&self, now_ms: i64) -> impl Iterator<Item = (u64, &Arc<Alert>)> {
        let alerts = self.alerts.iter().map(|(f, alert)| (*f, alert));
        alerts.filter(move |(_, alert)| !alert.is_resolved(now_ms))
    }

    fn view(&self, fingerprint: u64, alert: &Arc<Alert>, now_ms: i64) -> AlertView {
        let receivers: BTreeSet<Arc<str>> = self
            .config
            .receivers_of(&alert.labels)
            .into_iter()
            .collect();
        let inhibited_by = self
            .inhibitor
            .inhibited_by(&alert.labels, &self.alerts, now_ms);
        AlertView {
            fingerprint,
            alert: alert.clone(),
            receivers: receivers.into_iter().collect(),
            state: match inhibited_by {
                Some(_) => AlertState::Suppressed,
                None => AlertState::Active,
            },
            silenced_by: Vec::new(),
            inhibited_by: inhibited_by.into_iter().collect(),
            muted_by: Vec::new(),
        }
    }
}

fn muted(mut view: AlertView, muted_by: &[String]) -> AlertView {
    if !muted_by.is_empty() {
        view.state = AlertState::Suppressed;
        view.muted_by = muted_by.to_vec();
    }
    view
}

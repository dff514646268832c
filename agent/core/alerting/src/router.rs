//! The router: alerts and time in, notifications out.
//!
//! A state machine without a clock. Whoever drives it calls [`Router::step`] when something has
//! happened and no later than [`Router::next_wake_ms`], carries out the actions it gets, and
//! reports how each notification went; until then its group is not flushed again.
//!
//! Keeps true: a group is removed only when everybody has heard that its last alert is resolved; a
//! notification that failed leaves the group and the log as they were, so that the next flush
//! decides anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_model::Labels;

use crate::alert::{Alert, compare_alerts};
use crate::checked::{CheckedConfig, RouteNode};
use crate::config::{Integration, LabelNames, Receiver};
use crate::group::{Flush, Group, GroupId, flush_duration_ms};
use crate::inhibit::Inhibitor;
use crate::log::{LogEntry, LogKey, News, NotificationLog, Reason, decide};

/// How often expired entries leave the notification log.
const LOG_GC_INTERVAL_MS: i64 = 15 * 60_000;

/// An entry of the log lives for two repeat intervals, but at least this: it has to outlive an
/// outage of its receiver, or nobody would be told that the alerts in it are resolved.
const LOG_LIFETIME_MS: i64 = 24 * 3_600_000;

#[derive(Debug)]
pub enum Event {
    /// Alerts that were reported, as [`Alert::admit`] makes them.
    Alerts(Vec<Alert>),
    /// Nothing but time has passed.
    Tick,
    /// What became of an [`Action::Notify`].
    NotifyResult { id: NotificationId, delivered: bool },
    /// Alerts are routed anew; groups whose route is still there keep their timers.
    ConfigChanged(Box<CheckedConfig>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this and report the outcome.
    Notify(Notification),
    /// An integration that doesn't want to hear of resolved alerts had nothing else to hear. Counts
    /// as a notification that was sent.
    NothingToSend {
        receiver: Arc<str>,
        integration: usize,
    },
    /// Alerts were held back.
    Suppressed { reason: Suppression, alerts: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(u64);

#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    pub id: NotificationId,
    pub receiver: Arc<str>,
    /// Which of the receiver's integrations.
    pub integration: usize,
    pub group_key: Arc<str>,
    pub group_labels: Labels,
    /// The `labels` of the route, as written.
    pub route_labels: Arc<BTreeMap<String, String>>,
    pub reason: Reason,
    /// In the order of the notification; the resolved ones left out if nobody wants them.
    pub alerts: Vec<NotifiedAlert>,
    /// Sending must be given up by then.
    pub deadline_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NotifiedAlert {
    pub alert: Arc<Alert>,
    pub resolved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    Inhibition,
    ActiveTimeInterval,
    MuteTimeInterval,
}

impl Suppression {
    pub fn as_str(self) -> &'static str {
        match self {
            Suppression::Inhibition => "inhibition",
            Suppression::ActiveTimeInterval => "active_time_interval",
            Suppression::MuteTimeInterval => "mute_time_interval",
        }
    }
}

#[derive(Debug)]
pub struct Router {
    pub(crate) config: Box<CheckedConfig>,
    /// By fingerprint; resolved ones too until they are collected.
    pub(crate) alerts: BTreeMap<u64, Arc<Alert>>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) inhibitor: Inhibitor,
    log: NotificationLog,
    /// Notifications under way.
    pending: BTreeMap<NotificationId, Pending>,
    next_id: u64,
    /// No group is flushed before (`--dispatch.start-delay`).
    not_before_ms: i64,
    next_alerts_gc_ms: i64,
    next_log_gc_ms: i64,
}

#[derive(Debug)]
struct Pending {
    group: GroupId,
    key: LogKey,
    /// What the log will say if it gets through.
    entry: LogEntry,
}

/// A flush's alerts, as they stand when it begins.
struct Snapshot {
    alerts: Vec<NotifiedAlert>,
    firing: BTreeSet<u64>,
    resolved: BTreeSet<u64>,
}

impl Router {
    /// Starts without alerts. Groups gather alerts at once but are not flushed before
    /// `not_before_ms`.
    pub fn new(config: CheckedConfig, now_ms: i64, not_before_ms: i64) -> Router {
        let alerts = BTreeMap::new();
        Router {
            inhibitor: Inhibitor::new(&config.inhibit_rules, &alerts),
            next_alerts_gc_ms: now_ms.saturating_add(alerts_gc_interval_ms(&config)),
            next_log_gc_ms: now_ms.saturating_add(LOG_GC_INTERVAL_MS),
            config: Box::new(config),
            alerts,
            groups: BTreeMap::new(),
            log: NotificationLog::default(),
            pending: BTreeMap::new(),
            next_id: 0,
            not_before_ms,
        }
    }

    /// Takes one event in, then does all that is due at `now_ms`.
    pub fn step(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        match event {
            Event::Alerts(alerts) => {
                for alert in alerts {
                    self.take_alert(alert, now_ms);
                }
            }
            Event::Tick => {}
            Event::NotifyResult { id, delivered } => self.take_result(id, delivered),
            Event::ConfigChanged(config) => self.take_config(config, now_ms),
        }
        self.collect_garbage(now_ms);
        let mut actions = Vec::new();
        for id in self.due_groups(now_ms) {
            self.flush(&id, now_ms, &mut actions);
        }
        actions
    }

    /// When `step` has to be called at the latest.
    pub fn next_wake_ms(&self) -> i64 {
        let groups = self
            .groups
            .values()
            .filter(|group| group.in_flight.is_none());
        let due = groups
            .map(|group| group.due_ms.max(self.not_before_ms))
            .min();
        let collection = self.next_alerts_gc_ms.min(self.next_log_gc_ms);
        due.unwrap_or(collection).min(collection)
    }

    pub fn resolve_timeout_ms(&self) -> u64 {
        self.config.resolve_timeout_ms
    }

    pub fn label_names(&self) -> LabelNames {
        self.config.label_names
    }

    /// The notification log, to be kept over a restart.
    pub fn log_entries(&self) -> impl Iterator<Item = (&LogKey, &LogEntry)> {
        self.log.iter()
    }

    /// Takes over a log that was kept. What has expired meanwhile is never asked for.
    pub fn restore_log(&mut self, entries: impl IntoIterator<Item = (LogKey, LogEntry)>) {
        for (key, entry) in entries {
            self.log.put(key, entry);
        }
    }

    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    fn take_alert(&mut self, alert: Alert, now_ms: i64) {
        let fingerprint = alert.fingerprint();
        let alert = match self.alerts.get(&fingerprint) {
            Some(earlier) => alert.following(earlier, now_ms),
            None => alert,
        };
        let alert = Arc::new(alert);
        self.inhibitor.add(fingerprint, &alert.labels);
        for route in self.config.routes_of(&alert.labels) {
            self.put_into_group(route, &alert, now_ms);
        }
        self.alerts.insert(fingerprint, alert);
    }

    fn put_into_group(&mut self, route: usize, alert: &Arc<Alert>, now_ms: i64) {
        let Some(node) = self.config.routes.get(route) else {
            return;
        };
        let id = group_id(node, &alert.labels);
        let group = self
            .groups
            .entry(id)
            .or_insert_with(|| Group::new(route, node, alert, now_ms));
        group.alerts.insert(alert.fingerprint(), alert.clone());
    }

    fn take_result(&mut self, id: NotificationId, delivered: bool) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        if delivered {
            self.log.put(pending.key, pending.entry);
        }
        // The group may be gone with its route.
        let Some(group) = self.groups.get_mut(&pending.group) else {
            return;
        };
        let Some(flush) = &mut group.in_flight else {
            return;
        };
        // A group that was made anew under the same name has flushes of its own.
        if !flush.waiting_for.remove(&id) {
            return;
        }
        flush.failed |= !delivered;
        if flush.waiting_for.is_empty()
            && let Some(flush) = group.in_flight.take()
        {
            self.finish(&pending.group, &flush);
        }
    }

    fn finish(&mut self, id: &GroupId, flush: &Flush) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if !flush.failed {
            group.end_flush(&flush.resolved);
        }
        if group.alerts.is_empty() {
            self.groups.remove(id);
        }
    }

    /// Those that have waited longest first. Flushing one never makes another due.
    fn due_groups(&self, now_ms: i64) -> Vec<GroupId> {
        if now_ms < self.not_before_ms {
            return Vec::new();
        }
        let is_due = |group: &Group| group.in_flight.is_none() && group.due_ms <= now_ms;
        let due = self.groups.iter().filter(|(_, group)| is_due(group));
        let mut due: Vec<(i64, &GroupId)> = due.map(|(id, group)| (group.due_ms, id)).collect();
        due.sort();
        due.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn flush(&mut self, id: &GroupId, now_ms: i64, actions: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let Some(node) = self.config.routes.get(group.route) else {
            self.groups.remove(id);
            return;
        };
        group.due_ms = group.due_ms.max(self.not_before_ms);
        let due_ms = group.begin_flush(node, now_ms);
        let resolved = |(_, alert): &(&u64, &Arc<Alert>)| alert.is_resolved(now_ms);
        let resolved = group.alerts.iter().filter(resolved);
        let mut flush = Flush {
            resolved: resolved.map(|(f, a)| (*f, a.clone())).collect(),
            ..Flush::default()
        };
        let snapshot = self.snapshot(id, now_ms, actions);
        if !snapshot.alerts.is_empty() {
            flush.waiting_for = self.notify(id, &snapshot, (now_ms, due_ms), actions);
        }
        match flush.waiting_for.is_empty() {
            true => self.finish(id, &flush),
            false => {
                if let Some(group) = self.groups.get_mut(id) {
                    group.in_flight = Some(flush);
                }
            }
        }
    }

    /// The group's alerts that get through all that may hold them back, in this order: inhibition,
    /// active and mute time intervals, silences.
    fn snapshot(&self, id: &GroupId, now_ms: i64, actions: &mut Vec<Action>) -> Snapshot {
        let mut alerts: Vec<Arc<Alert>> = match self.groups.get(id) {
            Some(group) => group.alerts.values().cloned().collect(),
            None => Vec::new(),
        };
        let mut suppress = |reason, before: usize, after: usize| {
            if after < before {
                let alerts = before - after;
                actions.push(Action::Suppressed { reason, alerts });
            }
        };
        let all = alerts.len();
        alerts.retain(|alert| {
            let inhibited = self
                .inhibitor
                .inhibited_by(&alert.labels, &self.alerts, now_ms);
            inhibited.is_none()
        });
        suppress(Suppression::Inhibition, all, alerts.len());
        let uninhibited = alerts.len();
        if let Some((reason, _)) = self.muted(id, now_ms) {
            alerts.clear();
            suppress(reason, uninhibited, 0);
        }
        Snapshot::new(alerts, now_ms)
    }

    /// The time intervals that keep a group's route silent now.
    pub(crate) fn muted(&self, id: &GroupId, now_ms: i64) -> Option<(Suppression, Vec<String>)> {
        let route = self.groups.get(id)?.route;
        let node = self.config.routes.get(route)?;
        let contains = |name: &String| {
            let intervals = self.config.time_intervals.get(name);
            intervals.is_some_and(|list| list.iter().any(|i| i.contains(now_ms)))
        };
        let active = &node.active_time_intervals;
        if !active.is_empty() && !active.iter().any(contains) {
            return Some((Suppression::ActiveTimeInterval, active.clone()));
        }
        let muting = node
            .mute_time_intervals
            .iter()
            .filter(|name| contains(name));
        let muting: Vec<String> = muting.cloned().collect();
        (!muting.is_empty()).then_some((Suppression::MuteTimeInterval, muting))
    }

    /// Asks the log for every integration; gives the notifications that were issued.
    fn notify(
        &mut self,
        id: &GroupId,
        snapshot: &Snapshot,
        (now_ms, due_ms): (i64, i64),
        actions: &mut Vec<Action>,
    ) -> BTreeSet<NotificationId> {
        let mut issued = BTreeSet::new();
        let Some(group) = self.groups.get(id) else {
            return issued;
        };
        let Some(node) = self.config.routes.get(group.route) else {
            return issued;
        };
        let Some(receiver) = self.config.receivers.get(&group.receiver) else {
            return issued;
        };
        for (number, integration) in receiver.integrations.iter().enumerate() {
            let key = LogKey {
                group_key: group.key.clone(),
                receiver: group.receiver.clone(),
                integration: integration.identity.as_str().into(),
            };
            let news = snapshot.news(integration, node, due_ms);
            let Some(reason) = decide(self.log.get(&key, now_ms), news) else {
                continue;
            };
            let entry = snapshot.entry(node, self.config.retention_ms, now_ms, due_ms);
            let alerts = snapshot.alerts_for(integration);
            if alerts.is_empty() {
                self.log.put(key, entry);
                actions.push(Action::NothingToSend {
                    receiver: group.receiver.clone(),
                    integration: number,
                });
                continue;
            }
            let notification = NotificationId(self.next_id);
            self.next_id += 1;
            issued.insert(notification);
            let pending = Pending {
                group: id.clone(),
                key,
                entry,
            };
            self.pending.insert(notification, pending);
            actions.push(Action::Notify(Notification {
                id: notification,
                receiver: group.receiver.clone(),
                integration: number,
                group_key: group.key.clone(),
                group_labels: group.labels.clone(),
                route_labels: node.labels.clone(),
                reason,
                alerts,
                deadline_ms: now_ms.saturating_add(flush_duration_ms(node)),
            }));
        }
        issued
    }

    fn take_config(&mut self, config: Box<CheckedConfig>, now_ms: i64) {
        self.inhibitor = Inhibitor::new(&config.inhibit_rules, &self.alerts);
        let gc_ms = now_ms.saturating_add(alerts_gc_interval_ms(&config));
        self.next_alerts_gc_ms = self.next_alerts_gc_ms.min(gc_ms);
        let old_config = std::mem::replace(&mut self.config, config);
        let old = std::mem::take(&mut self.groups);
        let to_route = self.alerts_to_route(&old, now_ms);
        self.keep_groups(old, &old_config.receivers, now_ms);
        for alert in to_route.values() {
            for route in self.config.routes_of(&alert.labels) {
                self.put_into_group(route, alert, now_ms);
            }
        }
        self.groups
            .retain(|_, group| !group.alerts.is_empty() || group.in_flight.is_some());
    }

    /// The alerts that fire, and those resolved ones of which somebody may still have to hear.
    fn alerts_to_route(
        &self,
        groups: &BTreeMap<GroupId, Group>,
        now_ms: i64,
    ) -> BTreeMap<u64, Arc<Alert>> {
        let firing = self.alerts.iter().filter(|(_, a)| !a.is_resolved(now_ms));
        let grouped = groups.values().flat_map(|group| &group.alerts);
        let both = grouped.chain(firing);
        both.map(|(f, a)| (*f, a.clone())).collect()
    }

    /// Keeps the groups whose route is still there and has the same receiver, emptied: their alerts
    /// are routed again.
    fn keep_groups(
        &mut self,
        old: BTreeMap<GroupId, Group>,
        old_receivers: &BTreeMap<Arc<str>, Receiver>,
        now_ms: i64,
    ) {
        let routes = self.config.routes.iter().enumerate();
        let by_id: BTreeMap<&str, (usize, &RouteNode)> =
            routes.map(|(at, node)| (&*node.id, (at, node))).collect();
        for (id, mut group) in old {
            let Some(&(route, node)) = by_id.get(&*id.route) else {
                continue;
            };
            let grouped_alike = |alert: &Alert| node.group_by.labels_of(&alert.labels) == id.labels;
            let still_its_alerts = group.alerts.values().all(|alert| grouped_alike(alert));
            if node.receiver == group.receiver && still_its_alerts {
                let receiver = self.config.receivers.get(&node.receiver);
                let changed = receiver != old_receivers.get(&node.receiver);
                group.alerts.clear();
                group.adopt(route, node, changed, now_ms);
                self.groups.insert(id, group);
            }
        }
    }

    fn collect_garbage(&mut self, now_ms: i64) {
        if self.next_alerts_gc_ms <= now_ms {
            self.next_alerts_gc_ms = now_ms.saturating_add(alerts_gc_interval_ms(&self.config));
            let inhibitor = &mut self.inhibitor;
            self.alerts.retain(|fingerprint, alert| {
                let keep = !alert.is_resolved(now_ms);
                if !keep {
                    inhibitor.remove(*fingerprint, &alert.labels);
                }
                keep
            });
        }
        if self.next_log_gc_ms <= now_ms {
            self.next_log_gc_ms = now_ms.saturating_add(LOG_GC_INTERVAL_MS);
            self.log.forget_expired(now_ms);
        }
    }
}

impl Snapshot {
    fn new(mut alerts: Vec<Arc<Alert>>, now_ms: i64) -> Snapshot {
        alerts.sort_by(|a, b| compare_alerts(a, b));
        let (mut firing, mut resolved) = (BTreeSet::new(), BTreeSet::new());
        let alerts = alerts.into_iter().map(|alert| {
            let is_resolved = alert.is_resolved(now_ms);
            let set = if is_resolved {
                &mut resolved
            } else {
                &mut firing
            };
            set.insert(alert.fingerprint());
            NotifiedAlert {
                alert,
                resolved: is_resolved,
            }
        });
        Snapshot {
            alerts: alerts.collect(),
            firing,
            resolved,
        }
    }

    fn news(&self, integration: &Integration, node: &RouteNode, due_ms: i64) -> News<'_> {
        News {
            firing: &self.firing,
            resolved: &self.resolved,
            send_resolved: integration.send_resolved,
            due_ms,
            repeat_interval_ms: node.repeat_interval_ms,
        }
    }

    fn entry(&self, node: &RouteNode, retention_ms: u64, now_ms: i64, due_ms: i64) -> LogEntry {
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        let lifetime_ms = node.repeat_interval_ms.saturating_mul(2);
        let lifetime_ms = lifetime_ms.max(LOG_LIFETIME_MS).min(retention_ms);
        LogEntry {
            notified_at_ms: due_ms,
            expires_at_ms: now_ms.saturating_add(lifetime_ms),
            firing: self.firing.clone(),
            resolved: self.resolved.clone(),
        }
    }

    fn alerts_for(&self, integration: &Integration) -> Vec<NotifiedAlert> {
        let wanted = |alert: &&NotifiedAlert| integration.send_resolved || !alert.resolved;
        self.alerts.iter().filter(wanted).cloned().collect()
    }
}

fn group_id(node: &RouteNode, labels: &Labels) -> GroupId {
    GroupId {
        route: node.id.clone(),
        labels: node.group_by.labels_of(labels),
    }
}

fn alerts_gc_interval_ms(config: &CheckedConfig) -> i64 {
    i64::try_from(config.alerts_gc_interval_ms)
        .unwrap_or(i64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests;

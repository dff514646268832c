//! An aggregation group: the alerts of one route that share its `group_by` labels, and when they
//! are due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_model::Labels;

use crate::alert::Alert;
use crate::checked::RouteNode;
use crate::router::NotificationId;

/// A flush may take at least this long, however short the group interval is.
const SHORTEST_FLUSH_MS: i64 = 10_000;

/// Which group: the same across a change of the configuration if its route is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId {
    /// The route's id.
    pub(crate) route: Arc<str>,
    pub(crate) labels: Labels,
}

#[derive(Debug)]
pub(crate) struct Group {
    /// The index of its route in the present configuration.
    pub(crate) route: usize,
    /// What the notification log and the receivers know it by.
    pub(crate) key: Arc<str>,
    pub(crate) receiver: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) alerts: BTreeMap<u64, Arc<Alert>>,
    /// When it is flushed next; not before a flush under way has ended.
    pub(crate) due_ms: i64,
    /// It has been flushed at least once, so that it waits for group intervals.
    pub(crate) flushed: bool,
    pub(crate) in_flight: Option<Flush>,
}

/// A flush of which some integrations have not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    /// The alerts that were resolved in it.
    pub(crate) resolved: Vec<(u64, Arc<Alert>)>,
    pub(crate) waiting_for: BTreeSet<NotificationId>,
    pub(crate) failed: bool,
}

impl Group {
    /// A group for its first alert. An alert that has been firing for longer than the group wait is
    /// not made to wait again.
    pub(crate) fn new(route: usize, node: &RouteNode, first: &Alert, now_ms: i64) -> Group {
        let labels = node.group_by.labels_of(&first.labels);
        let waited = first.starts_at_ms.saturating_add(node.group_wait_ms) < now_ms;
        let wait_ms = if waited { 0 } else { node.group_wait_ms };
        Group {
            route,
            key: format!("{}:{labels}", node.key).into(),
            receiver: node.receiver.clone(),
            labels,
            alerts: BTreeMap::new(),
            due_ms: now_ms.saturating_add(wait_ms),
            flushed: false,
            in_flight: None,
        }
    }

    /// Takes over the timers of a route that has changed: none may be longer than the new one, and
    /// a receiver that has changed is tried after the group wait.
    pub(crate) fn adopt(
        &mut self,
        route: usize,
        node: &RouteNode,
        receiver_changed: bool,
        now_ms: i64,
    ) {
        self.route = route;
        let wait_ms = match self.flushed && !receiver_changed {
            true => node.group_interval_ms,
            false => node.group_wait_ms,
        };
        self.due_ms = self.due_ms.min(now_ms.saturating_add(wait_ms));
    }

    /// Sets the timer for the next flush and gives the time this one was due: the schedule's, so
    /// that being late doesn't add up, unless a whole interval was missed.
    pub(crate) fn begin_flush(&mut self, node: &RouteNode, now_ms: i64) -> i64 {
        let on_time = now_ms < self.due_ms.saturating_add(node.group_interval_ms);
        let due_ms = if on_time { self.due_ms } else { now_ms };
        self.due_ms = due_ms.saturating_add(node.group_interval_ms);
        self.flushed = true;
        due_ms
    }

    /// Forgets the alerts that everybody has heard to be resolved, unless they were reported again
    /// meanwhile.
    pub(crate) fn end_flush(&mut self, resolved: &[(u64, Arc<Alert>)]) {
        for (fingerprint, told) in resolved {
            let unchanged = |alert: &Arc<Alert>| Arc::ptr_eq(alert, told);
            if self.alerts.get(fingerprint).is_some_and(unchanged) {
                self.alerts.remove(fingerprint);
            }
        }
    }
}

/// How long sending may be tried.
pub(crate) fn flush_duration_ms(node: &RouteNode) -> i64 {
    node.group_interval_ms.max(SHORTEST_FLUSH_MS)
}

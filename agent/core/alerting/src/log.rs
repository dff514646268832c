//! The notification log: who was told what when, and whether there is news for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whose entry it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogKey {
    pub group_key: Arc<str>,
    pub receiver: Arc<str>,
    /// The integration's identity.
    pub integration: Arc<str>,
}

/// What the last notification that got through said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// When its group was due.
    pub notified_at_ms: i64,
    pub expires_at_ms: i64,
    /// Fingerprints of the alerts that were firing.
    pub firing: BTreeSet<u64>,
    pub resolved: BTreeSet<u64>,
}

/// Why a notification is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    FirstNotification,
    NewAlertsAdded,
    AllAlertsResolved,
    SomeAlertsResolved,
    RepeatIntervalElapsed,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::FirstNotification => "first notification",
            Reason::NewAlertsAdded => "new alerts added",
            Reason::AllAlertsResolved => "all alerts resolved",
            Reason::SomeAlertsResolved => "some alerts resolved",
            Reason::RepeatIntervalElapsed => "repeat interval elapsed",
        }
    }
}

/// What a group has to say now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News<'a> {
    pub(crate) firing: &'a BTreeSet<u64>,
    pub(crate) resolved: &'a BTreeSet<u64>,
    pub(crate) send_resolved: bool,
    /// When the group was due.
    pub(crate) due_ms: i64,
    pub(crate) repeat_interval_ms: i64,
}

/// Whether the one whose last entry this is has to be notified. The order of the questions matters.
///
/// Times of the group's schedule are compared, not of sending, so that a repeat interval of some
/// group intervals is met exactly; Alertmanager, comparing with the clock, repeats one group
/// interval later.
pub(crate) fn decide(entry: Option<&LogEntry>, news: News<'_>) -> Option<Reason> {
    let Some(entry) = entry else {
        return (!news.firing.is_empty()).then_some(Reason::FirstNotification);
    };
    if !news.firing.is_subset(&entry.firing) {
        return Some(match entry.firing.is_empty() {
            true => Reason::FirstNotification,
            false => Reason::NewAlertsAdded,
        });
    }
    if news.firing.is_empty() {
        // Also without `send_resolved`: the entry has to forget what was firing.
        return (!entry.firing.is_empty()).then_some(Reason::AllAlertsResolved);
    }
    if news.send_resolved && !news.resolved.is_subset(&entry.resolved) {
        return Some(Reason::SomeAlertsResolved);
    }
    let repeat_at_ms = entry.notified_at_ms.saturating_add(news.repeat_interval_ms);
    (repeat_at_ms <= news.due_ms).then_some(Reason::RepeatIntervalElapsed)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NotificationLog {
    entries: BTreeMap<LogKey, LogEntry>,
}

impl NotificationLog {
    pub(crate) fn get(&self, key: &LogKey, now_ms: i64) -> Option<&LogEntry> {
        let entry = self.entries.get(key)?;
        (entry.expires_at_ms > now_ms).then_some(entry)
    }

    /// The newer of two entries stays.
    pub(crate) fn put(&mut self, key: LogKey, entry: LogEntry) {
        match self.entries.get(&key) {
            Some(known) if known.notified_at_ms > entry.notified_at_ms => {}
            _ => {
                self.entries.insert(key, entry);
            }
        }
    }

    pub(crate) fn forget_expired(&mut self, now_ms: i64) {
        self.entries.retain(|_, entry| entry.expires_at_ms > now_ms);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LogKey, &LogEntry)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const NOW: i64 = 1_000 * MINUTE;

    fn set(fingerprints: &[u64]) -> BTreeSet<u64> {
        fingerprints.iter().copied().collect()
    }

    fn entry(firing: &[u64], resolved: &[u64], age_minutes: i64) -> Option<LogEntry> {
        Some(LogEntry {
            notified_at_ms: NOW - age_minutes * MINUTE,
            expires_at_ms: i64::MAX,
            firing: set(firing),
            resolved: set(resolved),
        })
    }

    struct Row {
        entry: Option<LogEntry>,
        firing: &'static [u64],
        resolved: &'static [u64],
        send_resolved: bool,
        expected: Option<Reason>,
    }

    fn row(
        entry: Option<LogEntry>,
        firing: &'static [u64],
        resolved: &'static [u64],
        send_resolved: bool,
        expected: Option<Reason>,
    ) -> Row {
        Row {
            entry,
            firing,
            resolved,
            send_resolved,
            expected,
        }
    }

    #[test]
    fn decides_as_alertmanager_does() {
        use Reason::{
            AllAlertsResolved, FirstNotification, NewAlertsAdded, RepeatIntervalElapsed,
            SomeAlertsResolved,
        };
        let rows = [
            row(None, &[2, 3, 4], &[], true, Some(FirstNotification)),
            row(None, &[], &[2, 3, 4], true, None),
            row(
                entry(&[1, 2, 3], &[], 1),
                &[2, 3, 4],
                &[],
                true,
                Some(NewAlertsAdded),
            ),
            row(
                entry(&[1, 2, 3], &[], 1000),
                &[1, 2, 3],
                &[],
                true,
                Some(RepeatIntervalElapsed),
            ),
            row(entry(&[1, 2, 3], &[], 9), &[1, 2, 3], &[], true, None),
            row(
                entry(&[1, 2, 3], &[], 10),
                &[1, 2, 3],
                &[],
                true,
                Some(RepeatIntervalElapsed),
            ),
            row(
                entry(&[1, 2, 3], &[], 11),
                &[1, 2, 3],
                &[],
                true,
                Some(RepeatIntervalElapsed),
            ),
            row(entry(&[], &[1, 2, 3], 11), &[], &[3, 4, 5], true, None),
            row(entry(&[1, 2], &[3], 9), &[1], &[2, 3], false, None),
            row(
                entry(&[1, 2], &[3], 9),
                &[1],
                &[2, 3],
                true,
                Some(SomeAlertsResolved),
            ),
            row(
                entry(&[1, 2], &[3], 9),
                &[],
                &[1, 2, 3],
                false,
                Some(AllAlertsResolved),
            ),
            row(
                entry(&[1, 2], &[3], 9),
                &[],
                &[1, 2, 3],
                true,
                Some(AllAlertsResolved),
            ),
            row(entry(&[1, 2, 3], &[], 1), &[1, 2], &[], true, None),
            row(
                entry(&[], &[1], 1),
                &[1],
                &[],
                true,
                Some(FirstNotification),
            ),
        ];
        for (number, row) in rows.iter().enumerate() {
            let decision = decide(
                row.entry.as_ref(),
                News {
                    firing: &set(row.firing),
                    resolved: &set(row.resolved),
                    send_resolved: row.send_resolved,
                    due_ms: NOW,
                    repeat_interval_ms: 10 * MINUTE,
                },
            );
            assert_eq!(decision, row.expected, "row {number}");
        }
    }

    #[test]
    fn newer_entries_stay_and_expired_ones_go() {
        let key = LogKey {
            group_key: "{}:{}".into(),
            receiver: "r".into(),
            integration: "webhook".into(),
        };
        let at = |notified_at_ms| LogEntry {
            notified_at_ms,
            expires_at_ms: 100,
            ..LogEntry::default()
        };
        let mut log = NotificationLog::default();
        log.put(key.clone(), at(2));
        log.put(key.clone(), at(1));
        assert_eq!(log.get(&key, 99), Some(&at(2)));
        assert_eq!(log.get(&key, 100), None);
        log.forget_expired(99);
        assert_eq!(log.iter().count(), 1);
        log.forget_expired(100);
        assert_eq!(log.iter().count(), 0);
    }
}

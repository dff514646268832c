//! The notification log over restarts, so that nobody is told again what they know.
//!
//! The format is JSON, of version 1:
//!
//! ```json
//! {"version": 1, "notifications": [{
//!     "groupKey": "{}:{alertname=\"a\"}", "receiver": "ops", "integration": "webhook-0123456789abcdef",
//!     "notifiedAt": 1700000000000, "expiresAt": 1700028800000,
//!     "firing": ["5ae90ff6f82ebe6b"], "resolved": []
//! }]}
//! ```
//!
//! Times are milliseconds since 1970, alerts their fingerprints. Another version is refused.

use std::collections::BTreeSet;
use std::io;

use narthex_alerting::{LogEntry, LogKey, format_fingerprint};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// Where the log is kept; given by whoever owns the data folder. May block.
pub trait StateStore: Send + Sync {
    /// Replaces what was saved before; a crash in between must leave the old or the new.
    fn save(&self, bytes: &[u8]) -> io::Result<()>;
    /// What was saved last, or None at the first start.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("not a notification log: {0}")]
    Json(#[from] serde_json::Error),
    #[error("version {0} of the notification log is not known here (expected {VERSION})")]
    Version(u32),
    #[error("not a fingerprint: {0:?}")]
    Fingerprint(String),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    notifications: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    group_key: String,
    receiver: String,
    integration: String,
    notified_at: i64,
    expires_at: i64,
    firing: Vec<String>,
    resolved: Vec<String>,
}

pub(crate) fn encode<'a>(
    entries: impl Iterator<Item = (&'a LogKey, &'a LogEntry)>,
) -> Result<Vec<u8>, StateError> {
    let texts = |set: &BTreeSet<u64>| set.iter().map(|f| format_fingerprint(*f)).collect();
    let records = entries.map(|(key, entry)| Record {
        group_key: key.group_key.to_string(),
        receiver: key.receiver.to_string(),
        integration: key.integration.to_string(),
        notified_at: entry.notified_at_ms,
        expires_at: entry.expires_at_ms,
        firing: texts(&entry.firing),
        resolved: texts(&entry.resolved),
    });
    let snapshot = Snapshot {
        version: VERSION,
        notifications: records.collect(),
    };
    Ok(serde_json::to_vec(&snapshot)?)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<(LogKey, LogEntry)>, StateError> {
    let Versioned { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(StateError::Version(version));
    }
    let snapshot: Snapshot = serde_json::from_slice(bytes)?;
    snapshot
        .notifications
        .into_iter()
        .map(decode_record)
        .collect()
}

fn decode_record(record: Record) -> Result<(LogKey, LogEntry), StateError> {
    let key = LogKey {
        group_key: record.group_key.into(),
        receiver: record.receiver.into(),
        integration: record.integration.into(),
    };
    let entry = LogEntry {
        notified_at_ms: record.notified_at,
        expires_at_ms: record.expires_at,
        firing: fingerprints(record.firing)?,
        resolved: fingerprints(record.resolved)?,
    };
    Ok((key, entry))
}

fn fingerprints(texts: Vec<String>) -> Result<BTreeSet<u64>, StateError> {
    let read =
        |text: String| u64::from_str_radix(&text, 16).map_err(|_| StateError::Fingerprint(text));
    texts.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_survives() {
        let key = LogKey {
            group_key: "{}:{alertname=\"a\"}".into(),
            receiver: "ops".into(),
            integration: "webhook-1".into(),
        };
        let entry = LogEntry {
            notified_at_ms: 1,
            expires_at_ms: i64::MAX,
            firing: [0, u64::MAX].into(),
            resolved: BTreeSet::new(),
        };
        let bytes = encode([(&key, &entry)].into_iter()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), [(key, entry)]);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        for (text, expected) in [
            (
                "",
                "not a notification log: EOF while parsing a value at line 1 column 0",
            ),
            (
                "{\"version\":2,\"log\":[]}",
                "version 2 of the notification log is not known here (expected 1)",
            ),
            (
                "{\"version\":1}",
                "not a notification log: missing field `notifications` at line 1 column 13",
            ),
            (
                r#"{"version":1,"notifications":[{"groupKey":"","receiver":"","integration":"","notifiedAt":1,"expiresAt":2,"firing":["x"],"resolved":[]}]}"#,
                "not a fingerprint: \"x\"",
            ),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}

//! Alerts: what is posted, what is kept, and how a new report of an alert joins the old one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::Labels;
use narthex_model::labels::is_legacy_label_name;

use crate::config::LabelNames;

/// An alert as someone reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Missing: it started when it is reported (or ended, if that is given).
    pub starts_at_ms: Option<i64>,
    /// Missing: it ends when it hasn't been reported again for the resolve timeout.
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    #[error("start time must be before end time")]
    EndsBeforeStart,
    #[error("at least one label pair required")]
    NoLabels,
    #[error("invalid label set: invalid name {0:?}")]
    LabelName(String),
    #[error("invalid annotation set: invalid name {0:?}")]
    AnnotationName(String),
}

/// An alert as it is kept. Its labels are its identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Arc<BTreeMap<String, String>>,
    pub starts_at_ms: i64,
    /// When it ended or, while it fires, when it will count as ended unless reported again.
    pub ends_at_ms: i64,
    pub updated_at_ms: i64,
    pub generator_url: Arc<str>,
    /// The end is only the resolve timeout's guess.
    pub ends_by_timeout: bool,
}

impl Alert {
    /// Fills in what was left out and checks the rest.
    pub fn admit(
        posted: PostedAlert,
        now_ms: i64,
        resolve_timeout_ms: u64,
        names: LabelNames,
    ) -> Result<Alert, AlertError> {
        let labels = posted.labels.into_iter();
        let labels: Vec<_> = labels.filter(|(_, value)| !value.is_empty()).collect();
        if labels.is_empty() {
            return Err(AlertError::NoLabels);
        }
        if let Some((name, _)) = labels.iter().find(|(name, _)| !valid_name(name, names)) {
            return Err(AlertError::LabelName(name.clone()));
        }
        if let Some(name) = posted.annotations.keys().find(|n| !valid_name(n, names)) {
            return Err(AlertError::AnnotationName(name.clone()));
        }
        let starts_at_ms = posted.starts_at_ms.or(posted.ends_at_ms).unwrap_or(now_ms);
        let resolve_timeout_ms = i64::try_from(resolve_timeout_ms).unwrap_or(i64::MAX);
        let timeout_ms = now_ms.saturating_add(resolve_timeout_ms);
        if posted.ends_at_ms.is_some_and(|end| end < starts_at_ms) {
            return Err(AlertError::EndsBeforeStart);
        }
        Ok(Alert {
            labels: Labels::from_pairs(labels),
            annotations: Arc::new(posted.annotations),
            starts_at_ms,
            ends_at_ms: posted.ends_at_ms.unwrap_or(timeout_ms),
            updated_at_ms: now_ms,
            generator_url: posted.generator_url.into(),
            ends_by_timeout: posted.ends_at_ms.is_none(),
        })
    }

    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }

    pub fn is_resolved(&self, now_ms: i64) -> bool {
        self.ends_at_ms <= now_ms
    }

    /// The value of the label `alertname`.
    pub fn name(&self) -> &str {
        self.labels.value_or_empty("alertname")
    }

    /// What is kept once `self` is reported after `earlier` of the same labels: if their times
    /// overlap it is one alert that goes on, else a new one.
    pub(crate) fn following(mut self, earlier: &Alert, now_ms: i64) -> Alert {
        let within = |at| earlier.starts_at_ms < at && at < earlier.ends_at_ms;
        if !within(self.starts_at_ms) && !within(self.ends_at_ms) {
            return self;
        }
        self.starts_at_ms = self.starts_at_ms.min(earlier.starts_at_ms);
        let earlier_end_counts = match self.is_resolved(now_ms) {
            true => earlier.is_resolved(now_ms),
            false => !earlier.ends_by_timeout,
        };
        if earlier_end_counts && earlier.ends_at_ms > self.ends_at_ms {
            self.ends_at_ms = earlier.ends_at_ms;
        }
        self
    }
}

/// Alertmanager's fingerprint of a label set: FNV-1a of 64 bits.
pub fn fingerprint(labels: &Labels) -> u64 {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    labels.iter().fold(OFFSET, |hash, label| {
        let hash = label.name.bytes().fold(hash, add);
        let hash = label.value.bytes().fold(add(hash, 0xff), add);
        add(hash, 0xff)
    })
}

/// A fingerprint as the API and notifications show it.
pub fn format_fingerprint(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// The order of label sets in the API: fewer labels first, then by the first that differs.
pub fn compare_labels(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        let differing = a.iter().zip(b.iter()).find(|(a, b)| a != b);
        differing.map_or(Ordering::Equal, |(a, b)| {
            (&a.name, &a.value).cmp(&(&b.name, &b.value))
        })
    })
}

/// The order of alerts in a notification: by job, then instance, then the other labels.
pub(crate) fn compare_alerts(a: &Alert, b: &Alert) -> Ordering {
    let by = |name| {
        let value = a.labels.value_or_empty(name);
        value.cmp(b.labels.value_or_empty(name))
    };
    by("job")
        .then_with(|| by("instance"))
        .then_with(|| compare_labels(&a.labels, &b.labels))
}

fn valid_name(name: &str, names: LabelNames) -> bool {
    match names {
        LabelNames::Utf8 => !name.is_empty(),
        LabelNames::Classic => is_legacy_label_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const RESOLVE_TIMEOUT: u64 = 300_000;

    fn posted(labels: &[(&str, &str)], times: (Option<i64>, Option<i64>)) -> PostedAlert {
        PostedAlert {
            labels: labels
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            starts_at_ms: times.0,
            ends_at_ms: times.1,
            ..PostedAlert::default()
        }
    }

    fn admit(alert: PostedAlert) -> Result<Alert, AlertError> {
        Alert::admit(alert, NOW, RESOLVE_TIMEOUT, LabelNames::Utf8)
    }

    #[test]
    fn fills_in_the_times_that_are_missing() {
        let timeout = NOW + 300_000;
        for (given, starts_at_ms, ends_at_ms, by_timeout) in [
            ((None, None), NOW, timeout, true),
            ((Some(5), None), 5, timeout, true),
            ((None, Some(7)), 7, 7, false),
            ((Some(5), Some(7)), 5, 7, false),
            ((Some(5), Some(5)), 5, 5, false),
        ] {
            let alert = admit(posted(&[("a", "b")], given)).unwrap();
            let times = (alert.starts_at_ms, alert.ends_at_ms, alert.ends_by_timeout);
            assert_eq!(times, (starts_at_ms, ends_at_ms, by_timeout), "{given:?}");
            assert_eq!(alert.updated_at_ms, NOW);
        }
    }

    #[test]
    fn refuses_what_is_no_alert() {
        let none = (None, None);
        for (alert, error) in [
            (posted(&[], none), AlertError::NoLabels),
            (posted(&[("a", "")], none), AlertError::NoLabels),
            (
                posted(&[("", "b")], none),
                AlertError::LabelName(String::new()),
            ),
            (
                posted(&[("a", "b")], (Some(2), Some(1))),
                AlertError::EndsBeforeStart,
            ),
        ] {
            assert_eq!(admit(alert), Err(error));
        }
        let alert = posted(&[("00", "b")], none);
        assert!(admit(alert.clone()).is_ok());
        assert_eq!(
            Alert::admit(alert, NOW, RESOLVE_TIMEOUT, LabelNames::Classic),
            Err(AlertError::LabelName("00".to_owned()))
        );
    }

    #[test]
    fn fingerprints_are_alertmanagers() {
        for (labels, expected) in [
            (vec![], "cbf29ce484222325"),
            (vec![("alertname", "test1")], "5ae90ff6f82ebe6b"),
            (
                vec![("job", "foo"), ("severity", "warning")],
                "9266ef3da838ad95",
            ),
            (
                vec![("job", "foo"), ("severity", "critical")],
                "3b15fd163d36582e",
            ),
            (
                vec![("job", "bar"), ("severity", "critical")],
                "c7e68cb08e3e67f9",
            ),
        ] {
            let labels = Labels::from_pairs(labels);
            assert_eq!(format_fingerprint(fingerprint(&labels)), expected);
        }
    }

    /// Each alert as start, end and whether the end is a guess.
    #[test]
    fn reports_of_one_alert_join() {
        let firing = NOW + 500;
        let later = NOW + 900;
        for (name, earlier, new, expected) in [
            (
                "no overlap",
                (10, 20, false),
                (30, firing, false),
                (30, firing),
            ),
            (
                "touching is no overlap",
                (10, 20, false),
                (20, firing, true),
                (20, firing),
            ),
            (
                "goes on",
                (10, firing, true),
                (20, later, true),
                (10, later),
            ),
            (
                "earlier start wins",
                (20, firing, true),
                (10, later, true),
                (10, later),
            ),
            (
                "a guess gives way",
                (10, later, true),
                (20, firing, false),
                (10, firing),
            ),
            (
                "a known end stays",
                (10, later, false),
                (20, firing, false),
                (10, later),
            ),
            (
                "resolved now",
                (10, firing, true),
                (20, 30, false),
                (10, 30),
            ),
            (
                "both resolved, later end",
                (10, 40, false),
                (20, 30, false),
                (10, 40),
            ),
            (
                "both resolved, later end again",
                (10, 30, false),
                (20, 40, false),
                (10, 40),
            ),
        ] {
            let alert = |(starts_at_ms, ends_at_ms, ends_by_timeout)| Alert {
                starts_at_ms,
                ends_at_ms,
                ends_by_timeout,
                ..admit(posted(&[("a", "b")], (None, None))).unwrap()
            };
            let joined = alert(new).following(&alert(earlier), NOW);
            assert_eq!((joined.starts_at_ms, joined.ends_at_ms), expected, "{name}");
        }
    }
}

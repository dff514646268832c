//! What a notification says: the data that templates see, and the webhook's JSON of version 4.

use std::collections::BTreeMap;

use narthex_alerting::{Alert, Notification, NotifiedAlert, format_fingerprint};
use narthex_model::Labels;
use serde::ser::{Serialize, Serializer};

use crate::time;

/// A notification's content. Fields stand in the order of the JSON.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Data {
    /// With the characters escaped that mean something in a regular expression: it goes into links.
    pub(crate) receiver: String,
    pub(crate) status: &'static str,
    pub(crate) alerts: Vec<AlertData>,
    pub(crate) notification_reason: &'static str,
    #[serde(rename = "groupLabels", serialize_with = "labels")]
    pub(crate) group_labels: Labels,
    #[serde(rename = "commonLabels", serialize_with = "labels")]
    pub(crate) common_labels: Labels,
    #[serde(rename = "commonAnnotations")]
    pub(crate) common_annotations: BTreeMap<String, String>,
    #[serde(rename = "routeLabels")]
    pub(crate) route_labels: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
}

#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct AlertData {
    pub(crate) status: &'static str,
    #[serde(serialize_with = "labels")]
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip)]
    pub(crate) starts_at_ms: i64,
    /// None while it fires.
    #[serde(skip)]
    pub(crate) ends_at_ms: Option<i64>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL")]
    pub(crate) generator_url: String,
    pub(crate) fingerprint: String,
}

#[derive(serde::Serialize)]
struct Webhook<'a> {
    #[serde(flatten)]
    data: &'a Data,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: &'a str,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
}

impl Data {
    /// Without the route's labels, which are templates over the rest. `max_alerts` of 0 keeps all;
    /// gives also how many were left out.
    pub(crate) fn new(
        notification: &Notification,
        external_url: &str,
        max_alerts: u64,
    ) -> (Data, usize) {
        let all = &notification.alerts;
        let kept = match usize::try_from(max_alerts) {
            Ok(0) | Err(_) => all.len(),
            Ok(limit) => limit.min(all.len()),
        };
        let (alerts, left_out) = all.split_at(kept);
        let fires = alerts.iter().any(|alert| !alert.resolved);
        let data = Data {
            receiver: quote_regexp(&notification.receiver),
            status: status(!fires),
            alerts: alerts.iter().map(AlertData::new).collect(),
            notification_reason: notification.reason.as_str(),
            group_labels: notification.group_labels.clone(),
            common_labels: common_labels(alerts),
            common_annotations: common_annotations(alerts),
            route_labels: BTreeMap::new(),
            external_url: external_url.to_owned(),
        };
        (data, left_out.len())
    }

    /// The body of a webhook.
    pub(crate) fn webhook_json(
        &self,
        group_key: &str,
        truncated_alerts: usize,
    ) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Webhook {
            data: self,
            version: "4",
            group_key,
            truncated_alerts,
        })
    }
}

impl AlertData {
    fn new(told: &NotifiedAlert) -> AlertData {
        let alert: &Alert = &told.alert;
        let ends_at_ms = told.resolved.then_some(alert.ends_at_ms);
        AlertData {
            status: status(told.resolved),
            labels: alert.labels.clone(),
            annotations: (*alert.annotations).clone(),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms,
            starts_at: time::rfc3339(alert.starts_at_ms),
            ends_at: ends_at_ms.map_or_else(|| time::ZERO.to_owned(), time::rfc3339),
            generator_url: alert.generator_url.to_string(),
            fingerprint: format_fingerprint(alert.fingerprint()),
        }
    }
}

fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

/// The labels that all alerts have with the same value.
fn common_labels(alerts: &[NotifiedAlert]) -> Labels {
    let Some((first, others)) = alerts.split_first() else {
        return Labels::empty();
    };
    first.alert.labels.filtered(|label| {
        let same = |told: &NotifiedAlert| told.alert.labels.get(&label.name) == Some(&*label.value);
        others.iter().all(same)
    })
}

fn common_annotations(alerts: &[NotifiedAlert]) -> BTreeMap<String, String> {
    let Some((first, others)) = alerts.split_first() else {
        return BTreeMap::new();
    };
    let mut common = (*first.alert.annotations).clone();
    common.retain(|name, value| {
        let same = |told: &NotifiedAlert| told.alert.annotations.get(name) == Some(value);
        others.iter().all(same)
    });
    common
}

/// As Go's `regexp.QuoteMeta`.
fn quote_regexp(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A label set as a JSON object.
pub(crate) fn labels<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    let pairs = labels.iter().map(|label| (&*label.name, &*label.value));
    serializer.collect_map(pairs)
}

/// For where a field's attribute can't be used.
pub(crate) struct LabelMap<'a>(pub(crate) &'a Labels);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        labels(self.0, serializer)
    }
}

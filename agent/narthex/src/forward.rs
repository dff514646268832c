//! Alertmanagers outside: their discovered target groups become addresses that alerts are sent to.

use std::collections::BTreeMap;

use narthex_config::{Alerting, ExternalAlertmanagers};
use narthex_model::{Labels, LabelsBuilder, TargetGroup};
use narthex_notify::AlertmanagerTarget;

/// The addresses of all entries, each once.
pub(crate) fn targets(
    alerting: &Alerting,
    groups: &BTreeMap<String, Vec<TargetGroup>>,
) -> Vec<AlertmanagerTarget> {
    let mut targets: Vec<AlertmanagerTarget> = Vec::new();
    for entry in &alerting.alertmanagers {
        for group in groups.get(&entry.job).into_iter().flatten() {
            for target in &group.targets {
                let Some(url) = url(entry, target, &group.labels) else {
                    continue;
                };
                if targets.iter().any(|known| known.url == url) {
                    continue;
                }
                targets.push(AlertmanagerTarget {
                    url,
                    timeout_ms: entry.timeout_ms,
                    http: entry.http.clone(),
                    alert_relabel: entry.alert_relabel.clone(),
                });
            }
        }
    }
    targets
}

/// Where alerts are posted to; None if relabelling drops the target.
fn url(entry: &ExternalAlertmanagers, target: &Labels, group: &Labels) -> Option<String> {
    let path = format!("{}/api/v2/alerts", entry.path_prefix.trim_end_matches('/'));
    let mut labels = LabelsBuilder::default();
    labels
        .set("__scheme__", entry.scheme.as_str())
        .set("__alerts_path__", path);
    for label in group.iter().chain(target.iter()) {
        labels.set(label.name.clone(), label.value.clone());
    }
    let labels = narthex_relabel::apply(&entry.relabel, labels.build())?;
    let address = labels.get("__address__")?;
    let (scheme, path) = (
        labels.get("__scheme__")?,
        labels.value_or_empty("__alerts_path__"),
    );
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{address}{slash}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_targets_labels() {
        let entry = ExternalAlertmanagers {
            job: "alertmanager/0".to_owned(),
            scheme: "https".to_owned(),
            path_prefix: "/am/".to_owned(),
            timeout_ms: 10_000,
            relabel: Vec::new(),
            alert_relabel: Vec::new(),
            http: Default::default(),
        };
        let group = |targets: &[&str]| TargetGroup {
            source: "0".to_owned(),
            targets: targets
                .iter()
                .map(|t| Labels::from_pairs([("__address__", *t)]))
                .collect(),
            labels: Labels::from_pairs([("__scheme__", "http")]),
        };
        let groups = BTreeMap::from([(
            "alertmanager/0".to_owned(),
            vec![group(&["a:1", "b:2", "a:1"])],
        )]);
        let alerting = Alerting {
            alertmanagers: vec![entry],
            ..Alerting::default()
        };
        let urls: Vec<String> = targets(&alerting, &groups)
            .into_iter()
            .map(|t| t.url)
            .collect();
        assert_eq!(
            urls,
            ["http://a:1/am/api/v2/alerts", "http://b:2/am/api/v2/alerts"]
        );
    }
}

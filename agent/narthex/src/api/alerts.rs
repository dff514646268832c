//! The Alertmanager side for the API.

use std::collections::BTreeMap;

use narthex_alerting::matchers::{self, Syntax};
use narthex_alerting::{AlertFilter, AlertView, PostedAlert, format_fingerprint};
use narthex_extension::BoxFuture;
use narthex_model::{Labels, Regexp};
use narthex_web::backend::{self, AlertGroup, AlertRouting, RoutedAlert};

pub(crate) struct AlertsView(pub(crate) narthex_notify::Handle);

impl AlertRouting for AlertsView {
    fn alerts(&self, filter: &backend::AlertFilter) -> Result<Vec<RoutedAlert>, String> {
        Ok(self
            .0
            .alerts(&alert_filter(filter)?)
            .iter()
            .map(routed)
            .collect())
    }

    fn groups(&self, filter: &backend::AlertFilter) -> Result<Vec<AlertGroup>, String> {
        let groups = self.0.groups(&alert_filter(filter)?).into_iter();
        Ok(groups
            .map(|group| AlertGroup {
                labels: label_map(&group.labels),
                receiver: group.receiver.to_string(),
                alerts: group.alerts.iter().map(routed).collect(),
            })
            .collect())
    }

    fn receivers(&self) -> Vec<String> {
        self.0.receivers()
    }

    fn config_yaml(&self) -> String {
        self.0.original_config()
    }

    fn post(&self, alerts: Vec<backend::PostedAlert>) -> BoxFuture<'_, Result<(), String>> {
        let alerts = alerts.into_iter().map(|alert| PostedAlert {
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: alert.ends_at_ms,
            generator_url: alert.generator_url,
        });
        let result = self
            .0
            .post_alerts(alerts.collect())
            .map_err(|e| e.to_string());
        Box::pin(async move { result })
    }

    fn external_alertmanagers(&self) -> Vec<String> {
        self.0.alertmanagers()
    }
}

fn alert_filter(filter: &backend::AlertFilter) -> Result<AlertFilter, String> {
    let mut all = Vec::new();
    for text in &filter.matchers {
        all.push(matchers::parse_one(text, Syntax::Fallback).map_err(|e| e.to_string())?);
    }
    let receiver = filter.receiver.as_deref().map(Regexp::anchored).transpose();
    Ok(AlertFilter {
        matchers: all,
        receiver: receiver.map_err(|e| format!("receiver: {e}"))?,
        active: filter.active,
        silenced: filter.silenced,
        inhibited: filter.inhibited,
        muted: filter.muted,
    })
}

fn routed(view: &AlertView) -> RoutedAlert {
    RoutedAlert {
        labels: label_map(&view.alert.labels),
        annotations: (*view.alert.annotations).clone(),
        starts_at_ms: view.alert.starts_at_ms,
        ends_at_ms: view.alert.ends_at_ms,
        updated_at_ms: view.alert.updated_at_ms,
        generator_url: view.alert.generator_url.to_string(),
        fingerprint: format_fingerprint(view.fingerprint),
        receivers: view.receivers.iter().map(ToString::to_string).collect(),
        state: view.state.as_str(),
        silenced_by: view.silenced_by.clone(),
        inhibited_by: view
            .inhibited_by
            .iter()
            .copied()
            .map(format_fingerprint)
            .collect(),
        muted_by: view.muted_by.clone(),
    }
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|label| (label.name.to_string(), label.value.to_string()))
        .collect()
}

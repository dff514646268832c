//! Rule groups for the API. Scripts are listed under `/api/v1/narthex/scripts`; their alerts are
//! among the alerts here, as a group of the script's name.

use std::sync::Arc;

use narthex_ruler::Manager;
use narthex_rules::{AlertState, AlertingStatus, GroupStatus, RuleStatus};
use narthex_web::backend::{AlertingRule, Rule, RuleAlert, RuleGroup, Rules};

pub(crate) struct RulesView(pub(crate) Arc<Manager>);

impl Rules for RulesView {
    fn groups(&self) -> Vec<RuleGroup> {
        let mut groups: Vec<RuleGroup> =
            self.0.groups().iter().map(|status| group(status)).collect();
        groups.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
        groups
    }
}

fn group(status: &GroupStatus) -> RuleGroup {
    RuleGroup {
        name: status.name.clone(),
        file: status.file.clone(),
        rules: status.rules.iter().map(rule).collect(),
        interval_ms: status.interval_ms,
        limit: status.limit,
        evaluation_seconds: status.evaluation_seconds,
        last_evaluation_ms: status.last_evaluation_ms,
    }
}

fn rule(status: &RuleStatus) -> Rule {
    Rule {
        name: status.name.clone(),
        query: status.query.clone(),
        labels: status.labels.clone(),
        health: status.health.as_str(),
        last_error: status.last_error.clone(),
        evaluation_seconds: status.evaluation_seconds,
        last_evaluation_ms: status.last_evaluation_ms,
        alerting: status.alerting.as_ref().map(alerting),
    }
}

fn alerting(status: &AlertingStatus) -> AlertingRule {
    let alerts = status.alerts.iter().map(|alert| RuleAlert {
        labels: alert.labels.clone(),
        annotations: (*alert.annotations).clone(),
        state: if alert.state == AlertState::Firing {
            "firing"
        } else {
            "pending"
        },
        active_at_ms: alert.active_at_ms,
        keep_firing_since_ms: alert.keep_firing_since_ms,
        value: alert.value,
    });
    AlertingRule {
        state: status.state_str(),
        for_ms: status.for_ms,
        keep_firing_for_ms: status.keep_firing_for_ms,
        annotations: status.annotations.clone(),
        alerts: alerts.collect(),
    }
}

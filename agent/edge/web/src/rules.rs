//! `/api/v1/rules` and `/api/v1/alerts`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use narthex_model::matcher::all_match;
use narthex_model::{Labels, Matcher, number};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::backend::{AlertingRule, Rule, RuleAlert, RuleGroup};
use crate::params::Params;
use crate::respond::{ApiError, ApiResult, success};
use crate::server::Shared;
use crate::targets::label_map;
use crate::time::{rfc3339, rfc3339_or_never};

pub(crate) async fn rules(State(shared): State<Arc<Shared>>, params: Params) -> ApiResult {
    let filter = RuleFilter::read(&params)?;
    let page = Page::read(&params)?;
    let mut groups: Vec<(String, Value)> = Vec::new();
    for group in shared.parts.rules.groups() {
        let rules: Vec<Value> = group
            .rules
            .iter()
            .filter(|rule| filter.keeps(&group, rule))
            .map(|rule| rule_json(rule, filter.exclude_alerts))
            .collect();
        if !rules.is_empty() || filter.is_open() {
            groups.push((
                page_token(&group.file, &group.name),
                group_json(&group, &rules),
            ));
        }
    }
    success(&page.cut(groups)?)
}

pub(crate) async fn alerts(State(shared): State<Arc<Shared>>) -> ApiResult {
    let groups = shared.parts.rules.groups();
    let alerting = groups
        .iter()
        .flat_map(|group| &group.rules)
        .filter_map(|r| r.alerting.as_ref());
    let alerts: Vec<Value> = alerting
        .flat_map(|rule| &rule.alerts)
        .map(alert_json)
        .collect();
    success(&json!({ "alerts": alerts }))
}

struct RuleFilter {
    /// None: both kinds.
    alerting: Option<bool>,
    names: BTreeSet<String>,
    groups: BTreeSet<String>,
    files: BTreeSet<String>,
    /// Any of these sets on a rule's labels.
    matchers: Vec<Vec<Matcher>>,
    exclude_alerts: bool,
}

impl RuleFilter {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let alerting = match params.get("type") {
            None => None,
            Some("alert") => Some(true),
            Some("record") => Some(false),
            Some(other) => {
                return Err(ApiError::bad_parameter(
                    "type",
                    format!("not supported value {other:?} (expected alert or record)"),
                ));
            }
        };
        let texts = |name: &'static str| params.all(name).map(str::to_owned).collect();
        Ok(RuleFilter {
            alerting,
            names: texts("rule_name[]"),
            groups: texts("rule_group[]"),
            files: texts("file[]"),
            matchers: params.matcher_sets()?,
            exclude_alerts: params.flag("exclude_alerts", false)?,
        })
    }

    /// Whether nothing is filtered, so that groups without rules are shown too.
    fn is_open(&self) -> bool {
        self.alerting.is_none()
            && self.names.is_empty()
            && self.groups.is_empty()
            && self.files.is_empty()
            && self.matchers.is_empty()
    }

    fn keeps(&self, group: &RuleGroup, rule: &Rule) -> bool {
        let in_set = |set: &BTreeSet<String>, text: &str| set.is_empty() || set.contains(text);
        let labels = || Labels::from_pairs(rule.labels.iter().map(|(n, v)| (&**n, &**v)));
        self.alerting
            .is_none_or(|alerting| alerting == rule.alerting.is_some())
            && in_set(&self.names, &rule.name)
            && in_set(&self.groups, &group.name)
            && in_set(&self.files, &group.file)
            && (self.matchers.is_empty()
                || self.matchers.iter().any(|set| all_match(set, &labels())))
    }
}

/// Groups page by page: `group_limit` of them, from the one that `group_next_token` names on.
struct Page {
    limit: usize,
    token: Option<String>,
}

impl Page {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let token = params.get("group_next_token").map(str::to_owned);
        let limit = match params.get("group_limit") {
            None => 0,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| {
                    ApiError::bad_parameter(
                        "group_limit",
                        "group_limit needs to be a positive number",
                    )
                })?,
        };
        if token.is_some() && limit == 0 {
            return Err(ApiError::bad_parameter(
                "group_limit",
                "group_limit needs to be set in order to paginate over the groups",
            ));
        }
        Ok(Page { limit, token })
    }

    fn cut(&self, groups: Vec<(String, Value)>) -> Result<Value, ApiError> {
        let from = match &self.token {
            None => 0,
            Some(token) => groups.iter().position(|(t, _)| t == token).ok_or_else(|| {
                ApiError::bad_parameter(
                    "group_next_token",
                    format!(
                        "group_next_token {token:?} was not found: have the rule groups changed?"
                    ),
                )
            })?,
        };
        let count = if self.limit == 0 {
            groups.len()
        } else {
            self.limit
        };
        let next = groups.get(from + count).map(|(token, _)| token.clone());
        let shown: Vec<Value> = groups
            .into_iter()
            .skip(from)
            .take(count)
            .map(|(_, group)| group)
            .collect();
        Ok(match next {
            Some(token) => json!({ "groups": shown, "groupNextToken": token }),
            None => json!({ "groups": shown }),
        })
    }
}

/// The lower-case hexadecimal SHA-256 over `file;group`.
fn page_token(file: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{file};{name}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn group_json(group: &RuleGroup, rules: &[Value]) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval_ms as f64 / 1000.0,
        "limit": group.limit,
        "evaluationTime": group.evaluation_seconds,
        "lastEvaluation": rfc3339_or_never(group.last_evaluation_ms),
    })
}

fn rule_json(rule: &Rule, exclude_alerts: bool) -> Value {
    let mut json = json!({
        "name": rule.name,
        "query": rule.query,
        "health": rule.health,
        "evaluationTime": rule.evaluation_seconds,
        "lastEvaluation": rfc3339_or_never(rule.last_evaluation_ms),
        "type": if rule.alerting.is_some() { "alerting" } else { "recording" },
    });
    if let Some(error) = &rule.last_error {
        json["lastError"] = json!(error);
    }
    match &rule.alerting {
        Some(alerting) => add_alerting(&mut json, rule, alerting, exclude_alerts),
        None if rule.labels.is_empty() => {}
        None => json["labels"] = json!(rule.labels),
    }
    json
}

fn add_alerting(json: &mut Value, rule: &Rule, alerting: &AlertingRule, exclude_alerts: bool) {
    json["labels"] = json!(rule.labels);
    json["state"] = json!(alerting.state);
    json["duration"] = json!(alerting.for_ms as f64 / 1000.0);
    json["keepFiringFor"] = json!(alerting.keep_firing_for_ms as f64 / 1000.0);
    json["annotations"] = json!(alerting.annotations);
    let alerts = if exclude_alerts {
        &[][..]
    } else {
        &alerting.alerts[..]
    };
    json["alerts"] = alerts.iter().map(alert_json).collect();
}

fn alert_json(alert: &RuleAlert) -> Value {
    let mut json = json!({
        "labels": label_map(&alert.labels),
        "annotations": alert.annotations,
        "state": alert.state,
        "activeAt": rfc3339(alert.active_at_ms),
        "value": number::format_exponent(alert.value),
    });
    if let Some(since_ms) = alert.keep_firing_since_ms {
        json["keepFiringSince"] = json!(rfc3339(since_ms));
    }
    json
}

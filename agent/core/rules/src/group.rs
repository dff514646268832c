//! Groups of rules and their state.
//!
//! The one who has the clock evaluates a group rule by rule: [`Group::evaluate_rule`], then append
//! what it gave (so that the next rule sees it), then [`Group::finish_rule`]; after the last rule
//! [`Group::finish`]. A script is a group with one rule, evaluated by
//! [`Group::evaluate_script`]. Keeps true: a series that a rule gave and no longer gives gets a
//! stale marker, whatever becomes of the rule; a failed evaluation changes no alert and no series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narthex_extension::{ScriptAlert, ScriptError};
use narthex_model::{
    Histogram, Labels, LabelsBuilder, METRIC_NAME, Matcher, STALE_NAN, SampleValue,
};
use narthex_promql::VectorSample;
use narthex_storage::StorageError;
use narthex_template::prometheus_functions::{self, Surroundings, table_link};

use crate::alert::{
    ALERT_NAME, ALERTS_FOR_STATE, Alert, AlertOptions, AlertSet, Annotations, Condition,
    StoredState,
};
use crate::config::{GroupConfig, RuleConfig, RuleKind};
use crate::output::{
    AlertingStatus, AppendReport, Failure, GroupKind, GroupStatus, RuleHealth, RuleOutput,
    RuleSample, RuleStatus,
};
use crate::query::{QueryAt, RuleError, RuleQuery, float_of};
use crate::templates::{self, Seen, Texts};

/// What rules know of the server they run in.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub external_labels: Labels,
    /// Without a slash at its end.
    pub external_url: String,
    pub alerts: AlertOptions,
}

/// A group with its state.
#[derive(Debug)]
pub struct Group {
    kind: GroupKind,
    config: GroupConfig,
    rules: Vec<Rule>,
    /// Series of rules that are gone: they get a stale marker at the next evaluation.
    left_over: Vec<Labels>,
    evaluations: u64,
    restoration: Restoration,
    last_evaluation_ms: Option<i64>,
    evaluation_seconds: f64,
}

/// Alerts are taken up after a restart once two evaluations have been made, when scrapes and
/// recording rules have had their time; until then their series are not written, as that would
/// hide the state that is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restoration {
    Due,
    Done,
}

const EVALUATIONS_BEFORE_RESTORATION: u64 = 2;

#[derive(Debug)]
struct Rule {
    name: String,
    labels: BTreeMap<String, String>,
    body: Body,
    /// The series of the last evaluation that was stored.
    series: BTreeSet<Labels>,
    /// The series of the evaluation that is being stored.
    next_series: BTreeSet<Labels>,
    health: RuleHealth,
    last_error: Option<String>,
    last_evaluation_ms: Option<i64>,
    evaluation_seconds: f64,
}

#[derive(Debug)]
enum Body {
    Recording(RuleConfig, Printed),
    Alerting(Box<Alerting>),
    Script(AlertSet),
}

/// An expression as it is printed.
type Printed = String;

#[derive(Debug)]
struct Alerting {
    config: RuleConfig,
    query: Printed,
    for_ms: u64,
    keep_firing_for_ms: u64,
    labels: Texts,
    annotations: Texts,
    alerts: AlertSet,
}

impl Group {
    /// `restores`: its alerts are to be taken up from what was stored before a restart.
    pub fn new(config: GroupConfig, restores: bool) -> Group {
        let rules = config.rules.iter().map(Rule::from_config).collect();
        Group::with_rules(GroupKind::Rules, config, rules, restores)
    }

    /// The group of a script.
    pub fn for_script(name: &str, interval_ms: u64, restores: bool) -> Group {
        let config = GroupConfig {
            name: name.to_owned(),
            file: format!("{name}.rhai"),
            interval_ms,
            query_offset_ms: 0,
            limit: 0,
            labels: BTreeMap::new(),
            rules: Vec::new(),
        };
        let body = Body::Script(AlertSet::default());
        let rules = vec![Rule::new(name, BTreeMap::new(), body)];
        Group::with_rules(GroupKind::Script, config, rules, restores)
    }

    fn with_rules(kind: GroupKind, config: GroupConfig, rules: Vec<Rule>, restores: bool) -> Group {
        Group {
            kind,
            config,
            rules,
            left_over: Vec::new(),
            evaluations: 0,
            restoration: if restores {
                Restoration::Due
            } else {
                Restoration::Done
            },
            last_evaluation_ms: None,
            evaluation_seconds: 0.0,
        }
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub fn kind(&self) -> GroupKind {
        self.kind
    }

    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    pub fn rule_name(&self, index: usize) -> &str {
        self.rules.get(index).map_or("", |rule| &rule.name)
    }

    /// Takes the state of the group that this one replaces: of rules with the same name and
    /// labels, the alerts and series; of others, the series, to end them.
    pub fn take_over(&mut self, old: Group) {
        self.evaluations = old.evaluations;
        self.restoration = old.restoration;
        self.last_evaluation_ms = old.last_evaluation_ms;
        self.evaluation_seconds = old.evaluation_seconds;
        self.left_over = old.left_over;
        let mut old_rules: Vec<Option<Rule>> = old.rules.into_iter().map(Some).collect();
        for rule in &mut self.rules {
            let same = |old: &&mut Option<Rule>| {
                old.as_ref()
                    .is_some_and(|old| old.name == rule.name && old.labels == rule.labels)
            };
            if let Some(old) = old_rules.iter_mut().find(same).and_then(Option::take) {
                rule.take_over(old);
            }
        }
        for gone in old_rules.into_iter().flatten() {
            self.left_over.extend(gone.series);
        }
    }

    /// Evaluates one rule of a rule file. What it gives is to be stored before the next one is
    /// evaluated.
    pub fn evaluate_rule(
        &mut self,
        index: usize,
        now_ms: i64,
        query: &RuleQuery<'_>,
        environment: &Environment,
    ) -> RuleOutput {
        let moment = Moment {
            now_ms,
            samples_ms: self.samples_ms(now_ms),
            interval_ms: to_i64(self.config.interval_ms),
            limit: self.config.limit,
            writes_alert_series: self.restoration == Restoration::Done,
            environment,
        };
        let Some(rule) = self.rules.get_mut(index) else {
            return RuleOutput::default();
        };
        let result = match &mut rule.body {
            Body::Recording(config, _) => record(config, query, &moment),
            Body::Alerting(alerting) => alerting.evaluate(query, &moment),
            Body::Script(_) => Ok(RuleOutput::default()),
        };
        match result {
            Ok(output) => rule.succeed(output, &moment),
            Err(error) => rule.fail(error.to_string(), error.is_canceled(), now_ms),
        }
    }

    /// Moves the alerts of a script on. While it fails they stay as they are, and are still told
    /// of.
    pub fn evaluate_script(
        &mut self,
        now_ms: i64,
        result: Result<Vec<ScriptAlert>, ScriptError>,
        environment: &Environment,
    ) -> RuleOutput {
        let moment = Moment {
            now_ms,
            samples_ms: now_ms,
            interval_ms: to_i64(self.config.interval_ms),
            limit: 0,
            writes_alert_series: self.restoration == Restoration::Done,
            environment,
        };
        let Some(rule) = self.rules.first_mut() else {
            return RuleOutput::default();
        };
        let Body::Script(alerts) = &mut rule.body else {
            return RuleOutput::default();
        };
        let link = |alert: &Alert| {
            let name = alert.labels.value_or_empty(ALERT_NAME);
            let expr = Matcher::equal(ALERT_NAME, name);
            let link = table_link(&format!("ALERTS{{{expr}}}"));
            format!("{}{link}", environment.external_url)
        };
        let error = match result {
            Ok(found) => {
                let conditions = found.into_iter().map(script_condition).collect();
                match alerts.advance(now_ms, conditions) {
                    Ok(()) => None,
                    Err(_) => Some("the script gave two alerts with the same labels".to_owned()),
                }
            }
            Err(error) => Some(error.to_string()),
        };
        let output = alert_output(alerts, &moment, &link);
        let mut output = rule.succeed(output, &moment);
        if let Some(message) = error {
            output.failure = rule.fail(message, false, now_ms).failure;
        }
        output
    }

    /// Takes note of how the appending of a rule's output went, and how long it all took.
    pub fn finish_rule(&mut self, index: usize, report: AppendReport, seconds: f64) {
        let Some(rule) = self.rules.get_mut(index) else {
            return;
        };
        rule.evaluation_seconds = seconds;
        let stored = std::mem::take(&mut rule.next_series);
        if report.is_committed && rule.gave_series() {
            rule.series = stored;
        }
        if let Some(error) = report.error {
            rule.health = RuleHealth::Err;
            rule.last_error = Some(error);
        }
    }

    /// Ends an evaluation of all rules; gives the stale markers of rules that are gone.
    pub fn finish(&mut self, now_ms: i64, seconds: f64) -> Vec<RuleSample> {
        self.evaluations += 1;
        self.last_evaluation_ms = Some(now_ms);
        self.evaluation_seconds = seconds;
        let at_ms = self.samples_ms(now_ms);
        let gone = std::mem::take(&mut self.left_over);
        stale_markers(gone, at_ms)
    }

    /// Whether [`Group::restore`] is to be called now, between two evaluations.
    pub fn restoration_is_due(&self) -> bool {
        self.restoration == Restoration::Due && self.evaluations >= EVALUATIONS_BEFORE_RESTORATION
    }

    /// Takes up the alerts from what was stored before the restart. Done after this, whether it
    /// went well or not: there is no second chance, as the alerts' series are then written.
    pub fn restore(
        &mut self,
        now_ms: i64,
        query: &RuleQuery<'_>,
        environment: &Environment,
    ) -> Result<(), StorageError> {
        self.restoration = Restoration::Done;
        let options = &environment.alerts;
        let mut result = Ok(());
        for alerts in self.rules.iter_mut().filter_map(Rule::alerts_mut) {
            match stored_states(alerts, now_ms, query, options) {
                Ok(stored) => alerts.restore(now_ms, options, &stored),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// The group is gone: stale markers for all its series.
    pub fn end(self, now_ms: i64) -> Vec<RuleSample> {
        let at_ms = self.samples_ms(now_ms);
        let series = self.rules.into_iter().flat_map(|rule| rule.series);
        stale_markers(self.left_over.into_iter().chain(series), at_ms)
    }

    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            kind: self.kind,
            name: self.config.name.clone(),
            file: self.config.file.clone(),
            interval_ms: self.config.interval_ms,
            limit: self.config.limit,
            evaluation_seconds: self.evaluation_seconds,
            last_evaluation_ms: self.last_evaluation_ms,
            rules: self.rules.iter().map(Rule::status).collect(),
        }
    }

    fn samples_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(to_i64(self.config.query_offset_ms))
    }
}

/// One evaluation's time and circumstances.
struct Moment<'a> {
    now_ms: i64,
    /// What samples are stamped with, and the time of queries.
    samples_ms: i64,
    interval_ms: i64,
    limit: usize,
    writes_alert_series: bool,
    environment: &'a Environment,
}

impl Rule {
    fn from_config(config: &RuleConfig) -> Rule {
        let query = config.expr.tree.to_string();
        let body = match &config.kind {
            RuleKind::Recording { .. } => Body::Recording(config.clone(), query),
            RuleKind::Alerting {
                alert,
                for_ms,
                keep_firing_for_ms,
                annotations,
            } => Body::Alerting(Box::new(Alerting {
                config: config.clone(),
                query,
                for_ms: *for_ms,
                keep_firing_for_ms: *keep_firing_for_ms,
                labels: Texts::parse(alert, &config.labels),
                annotations: Texts::parse(alert, annotations),
                alerts: AlertSet::default(),
            })),
        };
        Rule::new(config.name(), config.labels.clone(), body)
    }

    fn new(name: &str, labels: BTreeMap<String, String>, body: Body) -> Rule {
        Rule {
            name: name.to_owned(),
            labels,
            body,
            series: BTreeSet::new(),
            next_series: BTreeSet::new(),
            health: RuleHealth::Unknown,
            last_error: None,
            last_evaluation_ms: None,
            evaluation_seconds: 0.0,
        }
    }

    fn alerts(&self) -> Option<&AlertSet> {
        match &self.body {
            Body::Recording(..) => None,
            Body::Alerting(alerting) => Some(&alerting.alerts),
            Body::Script(alerts) => Some(alerts),
        }
    }

    fn alerts_mut(&mut self) -> Option<&mut AlertSet> {
        match &mut self.body {
            Body::Recording(..) => None,
            Body::Alerting(alerting) => Some(&mut alerting.alerts),
            Body::Script(alerts) => Some(alerts),
        }
    }

    fn take_over(&mut self, mut old: Rule) {
        self.series = std::mem::take(&mut old.series);
        if let (Some(alerts), Some(old)) = (self.alerts_mut(), old.alerts_mut()) {
            alerts.take_over(std::mem::take(old));
        }
    }

    /// Whether the last evaluation says which series there are.
    fn gave_series(&self) -> bool {
        self.health == RuleHealth::Ok || matches!(self.body, Body::Script(_))
    }

    fn succeed(&mut self, mut output: RuleOutput, moment: &Moment<'_>) -> RuleOutput {
        self.health = RuleHealth::Ok;
        self.last_error = None;
        self.last_evaluation_ms = Some(moment.now_ms);
        let series = output.samples.iter().map(|sample| sample.labels.clone());
        self.next_series = series.collect();
        let gone = self.series.difference(&self.next_series).cloned();
        output.stale = stale_markers(gone, moment.samples_ms);
        output
    }

    fn fail(&mut self, message: String, is_canceled: bool, now_ms: i64) -> RuleOutput {
        self.health = RuleHealth::Err;
        self.last_error = Some(message.clone());
        self.last_evaluation_ms = Some(now_ms);
        RuleOutput {
            failure: Some(Failure {
                message,
                is_canceled,
            }),
            ..RuleOutput::default()
        }
    }

    fn status(&self) -> RuleStatus {
        let query = match &self.body {
            Body::Recording(_, query) => query.clone(),
            Body::Alerting(alerting) => alerting.query.clone(),
            Body::Script(_) => String::new(),
        };
        RuleStatus {
            name: self.name.clone(),
            query,
            labels: self.labels.clone(),
            health: self.health,
            last_error: self.last_error.clone(),
            evaluation_seconds: self.evaluation_seconds,
            last_evaluation_ms: self.last_evaluation_ms,
            alerting: self.alerts().map(|alerts| self.alerting_status(alerts)),
        }
    }

    fn alerting_status(&self, alerts: &AlertSet) -> AlertingStatus {
        let (for_ms, keep_firing_for_ms, annotations) = match &self.body {
            Body::Alerting(alerting) => (
                alerting.for_ms,
                alerting.keep_firing_for_ms,
                alerting.annotation_texts(),
            ),
            _ => (0, 0, BTreeMap::new()),
        };
        AlertingStatus {
            for_ms,
            keep_firing_for_ms,
            annotations,
            state: self.last_evaluation_ms.map(|_| alerts.state()),
            alerts: alerts.active().cloned().collect(),
        }
    }
}

/// Evaluates a recording rule.
fn record(
    config: &RuleConfig,
    query: &RuleQuery<'_>,
    moment: &Moment<'_>,
) -> Result<RuleOutput, RuleError> {
    let vector = query.vector(&config.expr, moment.samples_ms)?;
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(vector.len());
    for sample in vector {
        let labels = recorded_labels(config, &sample.labels);
        if let SampleValue::Histogram(histogram) = &sample.value
            && has_negative_count(histogram)
        {
            return Err(RuleError::NegativeHistogram { labels });
        }
        if !seen.insert(labels.clone()) {
            return Err(RuleError::DuplicateSeries);
        }
        samples.push(RuleSample {
            labels,
            timestamp_ms: moment.samples_ms,
            value: sample.value,
        });
    }
    let (limit, series) = (moment.limit, samples.len());
    if limit > 0 && series > limit {
        return Err(RuleError::TooManySeries { limit, series });
    }
    Ok(RuleOutput {
        samples,
        ..RuleOutput::default()
    })
}

fn recorded_labels(config: &RuleConfig, labels: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from(labels);
    builder.set(METRIC_NAME, config.name());
    for (name, value) in &config.labels {
        builder.set(name.as_str(), value.as_str());
    }
    builder.build()
}

fn has_negative_count(histogram: &Histogram) -> bool {
    let buckets = histogram
        .positive_buckets
        .iter()
        .chain(&histogram.negative_buckets);
    let mut counts = buckets.chain([&histogram.count, &histogram.zero_count]);
    counts.any(|count| *count < 0.0)
}

impl Alerting {
    fn evaluate(
        &mut self,
        query: &RuleQuery<'_>,
        moment: &Moment<'_>,
    ) -> Result<RuleOutput, RuleError> {
        let vector = query.vector(&self.config.expr, moment.samples_ms)?;
        let conditions = self.conditions(vector, query, moment);
        self.alerts
            .advance(moment.now_ms, conditions)
            .map_err(|_| RuleError::DuplicateAlerts)?;
        let (limit, alerts) = (moment.limit, self.alerts.active().count());
        if limit > 0 && alerts > limit {
            self.alerts.clear();
            return Err(RuleError::TooManyAlerts { limit, alerts });
        }
        let url = format!(
            "{}{}",
            moment.environment.external_url,
            table_link(&self.query)
        );
        Ok(alert_output(&mut self.alerts, moment, &|_| url.clone()))
    }

    fn conditions(
        &self,
        vector: Vec<VectorSample>,
        query: &RuleQuery<'_>,
        moment: &Moment<'_>,
    ) -> Vec<Condition> {
        let at = QueryAt {
            query,
            at_ms: moment.now_ms,
        };
        let functions = prometheus_functions::functions(Surroundings {
            now_ms: moment.now_ms,
            external_url: &moment.environment.external_url,
            query: &at,
        });
        let condition = |sample: VectorSample| {
            let environment = moment.environment;
            let data = templates::data(
                &sample.labels,
                &sample.value,
                &environment.external_labels,
                &environment.external_url,
            );
            let seen = Seen {
                data: &data,
                functions: &functions,
            };
            Condition {
                labels: self.alert_labels(&sample.labels, &seen),
                annotations: self.alert_annotations(&seen),
                value: float_of(&sample.value),
                for_ms: to_i64(self.for_ms),
                keep_firing_for_ms: to_i64(self.keep_firing_for_ms),
            }
        };
        vector.into_iter().map(condition).collect()
    }

    /// An empty text removes the label.
    fn alert_labels(&self, series: &Labels, seen: &Seen<'_>) -> Labels {
        let name = self.config.name();
        let mut labels = LabelsBuilder::from(series);
        labels.remove(METRIC_NAME);
        for (label, text) in self.labels.expand(name, seen) {
            labels.set(label, text);
        }
        labels.set(ALERT_NAME, name);
        labels.build()
    }

    fn alert_annotations(&self, seen: &Seen<'_>) -> Annotations {
        let texts = self.annotations.expand(self.config.name(), seen);
        Arc::new(texts.map(|(key, text)| (key.to_owned(), text)).collect())
    }

    fn annotation_texts(&self) -> BTreeMap<String, String> {
        match &self.config.kind {
            RuleKind::Alerting { annotations, .. } => annotations.clone(),
            RuleKind::Recording { .. } => BTreeMap::new(),
        }
    }
}

fn script_condition(alert: ScriptAlert) -> Condition {
    let mut labels = LabelsBuilder::from(&alert.labels);
    labels.remove(METRIC_NAME).set(ALERT_NAME, alert.name);
    Condition {
        labels: labels.build(),
        annotations: Arc::new(alert.annotations),
        value: alert.value,
        for_ms: to_i64(alert.for_ms),
        keep_firing_for_ms: to_i64(alert.keep_firing_for_ms),
    }
}

fn alert_output(
    alerts: &mut AlertSet,
    moment: &Moment<'_>,
    link: &dyn Fn(&Alert) -> String,
) -> RuleOutput {
    let series = if moment.writes_alert_series {
        alerts.series()
    } else {
        Vec::new()
    };
    let sample = |(labels, value): (Labels, f64)| RuleSample {
        labels,
        timestamp_ms: moment.samples_ms,
        value: value.into(),
    };
    let resend_delay_ms = moment.environment.alerts.resend_delay_ms;
    RuleOutput {
        samples: series.into_iter().map(sample).collect(),
        notices: alerts.take_notices(moment.now_ms, moment.interval_ms, resend_delay_ms, link),
        ..RuleOutput::default()
    }
}

/// What was stored of these alerts within the time that an outage may last. One that had ended
/// is not among it.
fn stored_states(
    alerts: &AlertSet,
    now_ms: i64,
    query: &RuleQuery<'_>,
    options: &AlertOptions,
) -> Result<BTreeMap<Labels, StoredState>, StorageError> {
    let names: BTreeSet<&str> = alerts
        .active()
        .map(|alert| alert.labels.value_or_empty(ALERT_NAME))
        .collect();
    let mut stored = BTreeMap::new();
    let start_ms = now_ms.saturating_sub(options.outage_tolerance_ms);
    for name in names {
        let matchers = [
            Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE),
            Matcher::equal(ALERT_NAME, name),
        ];
        for (labels, at_ms, since_seconds) in query.last_samples(&matchers, start_ms, now_ms)? {
            if !since_seconds.is_nan() {
                let state = StoredState {
                    at_ms,
                    active_at_ms: (since_seconds as i64).saturating_mul(1000),
                };
                stored.insert(labels, state);
            }
        }
    }
    Ok(stored)
}

fn stale_markers(series: impl IntoIterator<Item = Labels>, at_ms: i64) -> Vec<RuleSample> {
    let marker = |labels| RuleSample {
        labels,
        timestamp_ms: at_ms,
        value: STALE_NAN.into(),
    };
    series.into_iter().map(marker).collect()
}

/// Durations of a configuration are far from the end of the range.
fn to_i64(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

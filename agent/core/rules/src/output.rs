//! What evaluations yield and what is told of them.

use std::collections::BTreeMap;

use narthex_model::{Labels, SampleValue};

use crate::alert::{Alert, AlertNotice, AlertState};

#[derive(Clone, Debug, PartialEq)]
pub struct RuleSample {
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub value: SampleValue,
}

/// What one evaluation of one rule yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleOutput {
    /// Samples of the series that the rule gives.
    pub samples: Vec<RuleSample>,
    /// Stale markers of the series that it no longer gives. They belong into the same batch.
    pub stale: Vec<RuleSample>,
    /// Alerts to send.
    pub notices: Vec<AlertNotice>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// It was told to stop: neither to be counted nor to be logged.
    pub is_canceled: bool,
}

/// How the appending of an output went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppendReport {
    /// The first error of a sample or of the commit.
    pub error: Option<String>,
    /// The batch was committed, without the refused samples.
    pub is_committed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleHealth {
    #[default]
    Unknown,
    Ok,
    Err,
}

impl RuleHealth {
    pub fn as_str(self) -> &'static str {
        match self {
            RuleHealth::Unknown => "unknown",
            RuleHealth::Ok => "ok",
            RuleHealth::Err => "err",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Of a rule file.
    Rules,
    /// Of an alert script: it has one alerting rule, the script.
    Script,
}

/// A group as the API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    pub kind: GroupKind,
    pub name: String,
    pub file: String,
    pub interval_ms: u64,
    pub limit: usize,
    pub evaluation_seconds: f64,
    pub last_evaluation_ms: Option<i64>,
    pub rules: Vec<RuleStatus>,
}

/// A rule as the API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleStatus {
    pub name: String,
    /// The expression as it is printed; "" for a script.
    pub query: String,
    pub labels: BTreeMap<String, String>,
    pub health: RuleHealth,
    pub last_error: Option<String>,
    pub evaluation_seconds: f64,
    pub last_evaluation_ms: Option<i64>,
    /// Of alerting rules and scripts.
    pub alerting: Option<AlertingStatus>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AlertingStatus {
    pub for_ms: u64,
    pub keep_firing_for_ms: u64,
    pub annotations: BTreeMap<String, String>,
    /// Unknown before the first evaluation.
    pub state: Option<AlertState>,
    /// Those that are pending or firing.
    pub alerts: Vec<Alert>,
}

impl AlertingStatus {
    pub fn state_str(&self) -> &'static str {
        self.state.map_or("unknown", AlertState::as_str)
    }
}

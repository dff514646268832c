//! Scripts: custom alert logic.
//!
//! A script is pure: what it sees comes with the context, what it decides goes back as values.
//! `for`, keep-firing and resolution are the rule engine's, as for rules in YAML.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::{CancelToken, Labels};

use crate::Query;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The script's own fault, with the line where there is one.
    #[error("{0}")]
    Failed(String),
    /// It went over a limit; the text names it.
    #[error("{0}")]
    LimitExceeded(String),
    /// A query it made failed.
    #[error("{0}")]
    Query(String),
}

/// What one evaluation sees.
pub struct EvaluateContext {
    /// The time of the evaluation: the only clock a script has.
    pub now_ms: i64,
    pub query: Arc<dyn Query>,
    pub cancel: CancelToken,
}

/// An alert whose condition holds now.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptAlert {
    /// Becomes the label `alertname`.
    pub name: String,
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub value: f64,
    /// How long the condition must hold before the alert fires.
    pub for_ms: u64,
    /// How long it goes on firing after the condition has ended.
    pub keep_firing_for_ms: u64,
}

/// A loaded script with an `evaluate` hook. Evaluations of one script never overlap.
pub trait AlertScript: Send + Sync {
    /// The file's name without its ending.
    fn name(&self) -> &str;

    /// How often it asks to be evaluated; without it, the global evaluation interval.
    fn interval_ms(&self) -> Option<u64>;

    /// The alerts whose condition holds. What the script remembers between evaluations (for
    /// hysteresis) is kept only if this succeeds.
    fn evaluate(&self, context: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError>;
}

//! Recording and alerting rules: what one evaluation yields, and how alerts live.
//!
//! [`check_group`] turns what a rule file says into a [`GroupConfig`]. A [`Group`] is that with its
//! state: alerts, series, health. It is evaluated rule by rule at times that are given to it, asks
//! the engine through a [`RuleQuery`], and yields samples to store and alerts to send. Scripts are
//! groups as well; only where their conditions come from differs.
//!
//! Keeps true: what is yielded depends on the state, the store and the time given, nothing else.
//! Doesn't know: the clock, when to evaluate, where samples and alerts go.

mod alert;
pub mod config;
mod group;
mod output;
mod query;
mod templates;

pub use alert::{
    ALERT_NAME, Alert, AlertNotice, AlertOptions, AlertState, Annotations, RESOLVED_RETENTION_MS,
};
pub use config::{
    FaultPlace, GroupConfig, GroupDraft, NameScheme, RuleConfig, RuleDraft, RuleExpr, RuleFault,
    RuleKind, check_group, duplicate_rules, repeated_group_names,
};
pub use group::{Environment, Group};
pub use output::{
    AlertingStatus, AppendReport, Failure, GroupKind, GroupStatus, RuleHealth, RuleOutput,
    RuleSample, RuleStatus,
};
pub use query::{QueryAccount, RuleError, RuleQuery};

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

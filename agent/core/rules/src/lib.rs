//! Recording and alerting rule groups: what one evaluation yields.

pub mod config;

pub use config::{
    FaultPlace, GroupConfig, GroupDraft, NameScheme, RuleConfig, RuleDraft, RuleExpr, RuleFault,
    RuleKind, check_group, duplicate_rules, repeated_group_names,
};

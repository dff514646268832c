//! Relabelling: rules that rewrite, keep or drop label sets.

use std::sync::Arc;

use narthex_model::Regexp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// One checked rule. Defaults: separator `;`, regex `(.*)`, replacement `$1`, action replace.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelRule {
    pub source_labels: Vec<Arc<str>>,
    pub separator: String,
    pub regex: Regexp,
    pub modulus: u64,
    pub target_label: String,
    pub replacement: String,
    pub action: Action,
}

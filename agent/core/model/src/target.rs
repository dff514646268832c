//! Target groups: what a discovery publishes.

use crate::Labels;

/// Targets that share labels, from one place of one discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Names the group within its discovery (a file path, an object's key): a later group of the
    /// same source replaces it, one without targets removes it.
    pub source: String,
    /// A label set each, `__address__` among them.
    pub targets: Vec<Labels>,
    /// Labels that each target gets unless it has its own of that name.
    pub labels: Labels,
}

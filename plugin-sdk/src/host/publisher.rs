//! Where a discovery's targets go.

use super::backend::publisher;
use crate::CallError;
pub use crate::bindings::discovery::narthex::plugin::publisher::TargetGroup;

/// Publishes groups. The first call of a run gives all that was found, even if that is nothing;
/// later ones give what changed. A group replaces the former one of its source; one without targets
/// removes it.
pub fn publish(groups: &[TargetGroup]) -> Result<(), CallError> {
    publisher::publish(groups).map_err(CallError::from)
}

impl TargetGroup {
    /// A group of targets that are known by their addresses.
    pub fn of_addresses<A: Into<String>>(
        source: impl Into<String>,
        addresses: impl IntoIterator<Item = A>,
    ) -> Self {
        let target = |address: A| vec![("__address__".to_owned(), address.into())];
        TargetGroup {
            source: source.into(),
            targets: addresses.into_iter().map(target).collect(),
            labels: Vec::new(),
        }
    }

    /// What removes the group of this source.
    pub fn none(source: impl Into<String>) -> Self {
        TargetGroup {
            source: source.into(),
            targets: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Adds a label that every target of the group gets unless it has its own.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
}

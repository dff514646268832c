//! Role node: a target a node, at its kubelet's port.

use narthex_plugin_sdk::tracing;

use super::Group;
use crate::labels::{LabelSet, join_port, sanitize};
use crate::objects::Node;

/// Types of addresses; the first one that a node has is taken.
const PREFERRED: [&str; 6] = [
    "InternalIP",
    "InternalDNS",
    "ExternalIP",
    "ExternalDNS",
    "LegacyHostIP",
    "Hostname",
];

/// None where the node has no address.
pub(super) fn group(node: &Node) -> Option<Group> {
    let Some(address) = PREFERRED.into_iter().find_map(|kind| address(node, kind)) else {
        tracing::warn!("the node {} has no address", node.name);
        return None;
    };
    let mut labels = LabelSet::default();
    labels.set("node_provider_id", &node.provider_id);
    for (kind, state) in &node.conditions {
        let kind = sanitize(&kind.to_lowercase());
        labels.set(&format!("node_condition_{kind}"), &state.to_lowercase());
    }
    labels.describe("node", &node.name, &node.meta);
    let mut target = LabelSet::at(&join_port(address, node.kubelet_port));
    target.set_plain("instance", &node.name);
    // Of several of one type, the first counts.
    for (kind, address) in node.addresses.iter().rev() {
        target.set(&format!("node_address_{}", sanitize(kind)), address);
    }
    Some((labels, vec![target]))
}

fn address<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let mut addresses = node.addresses.iter();
    let found = addresses.find(|(of_kind, _)| &**of_kind == kind)?;
    Some(&found.1)
}

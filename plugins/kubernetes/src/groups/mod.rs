//! Objects become target groups: which targets there are, and their labels.

mod endpoints;
mod ingress;
mod node;
mod pod;
mod service;
mod slice;

use narthex_plugin_sdk::TargetGroup;

use crate::cluster::Cluster;
use crate::config::Role;
use crate::labels::LabelSet;
use crate::objects::Meta;

/// The group of the role's object of this key. `None`: there is no such object. `Some(None)`: it
/// has no group, and what was said of it before still holds.
pub(crate) fn group(cluster: &Cluster, at: &str) -> Option<Option<TargetGroup>> {
    let (labels, targets) = match cluster.role {
        Role::Node => match node::group(cluster.nodes.get(at)?) {
            Some(made) => made,
            None => return Some(None),
        },
        Role::Pod => pod::group(cluster, cluster.pods.get(at)?),
        Role::Service => service::group(cluster, cluster.services.get(at)?),
        Role::Endpoints => endpoints::group(cluster, cluster.endpoints.get(at)?),
        Role::EndpointSlice => slice::group(cluster, cluster.slices.get(at)?),
        Role::Ingress => ingress::group(cluster, cluster.ingresses.get(at)?),
    };
    // Without targets, there is nothing that labels would be on.
    let labels = match targets.is_empty() {
        true => LabelSet::default(),
        false => labels,
    };
    Some(Some(TargetGroup {
        source: cluster.role.source(at),
        targets: targets.into_iter().map(LabelSet::into_pairs).collect(),
        labels: labels.into_pairs(),
    }))
}

/// Labels of the group and of its targets.
type Group = (LabelSet, Vec<LabelSet>);

fn attach_namespace(cluster: &Cluster, namespace: &str, labels: &mut LabelSet) {
    if cluster.attach.namespace
        && let Some(meta) = cluster.namespaces.get(namespace)
    {
        labels.annotate("namespace", meta);
    }
}

fn attach_node(cluster: &Cluster, name: Option<&str>, labels: &mut LabelSet) {
    if cluster.attach.node
        && let Some(name) = name
        && let Some(meta) = cluster.node_metas.get(name)
    {
        labels.describe("node", name, meta);
    }
}

/// What stands on all targets of an object in a namespace.
fn of_object(kind: &str, namespace: &str, name: &str, meta: &Meta) -> LabelSet {
    let mut labels = LabelSet::default();
    labels.set("namespace", namespace);
    labels.describe(kind, name, meta);
    labels
}

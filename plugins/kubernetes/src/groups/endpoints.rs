//! Role endpoints: a target an address and port, and one for each other port of the pods behind.

use super::pod::Behind;
use super::{Group, attach_namespace, attach_node, service};
use crate::cluster::Cluster;
use crate::labels::{LabelSet, join_port};
use crate::objects::{Address, Endpoints, Port, key};

pub(super) fn group(cluster: &Cluster, endpoints: &Endpoints) -> Group {
    let at = key(&endpoints.namespace, &endpoints.name);
    let mut labels = match cluster.services.get(&at) {
        Some(service) => service::labels(service),
        None => LabelSet::default(),
    };
    labels.set("namespace", &endpoints.namespace);
    labels.describe("endpoints", &endpoints.name, &endpoints.meta);
    attach_namespace(cluster, &endpoints.namespace, &mut labels);
    let mut targets = Vec::new();
    let mut behind = Behind::default();
    for subset in &endpoints.subsets {
        for port in &subset.ports {
            for (addresses, is_ready) in [(&subset.ready, true), (&subset.not_ready, false)] {
                for address in addresses {
                    let mut target = target(cluster, address, port, is_ready);
                    let of = address.target.as_ref();
                    let protocol = Some(&*port.protocol);
                    behind.join(cluster, of, Some(port.number), protocol, &mut target);
                    targets.push(target);
                }
            }
        }
    }
    targets.extend(behind.other_ports(cluster));
    (labels, targets)
}

fn target(cluster: &Cluster, address: &Address, port: &Port, is_ready: bool) -> LabelSet {
    let mut target = LabelSet::at(&join_port(&address.ip, port.number));
    target.set("endpoint_port_name", &port.name);
    target.set("endpoint_port_protocol", &port.protocol);
    target.set_flag("endpoint_ready", Some(is_ready));
    target.set("endpoint_hostname", &address.hostname);
    let node_name = address.node_name.as_deref();
    target.set("endpoint_node_name", node_name.unwrap_or_default());
    let mut of_node = None;
    if let Some(of) = &address.target {
        target.set("endpoint_address_target_kind", &of.kind);
        target.set("endpoint_address_target_name", &of.name);
        of_node = Some(&*of.name).filter(|_| &*of.kind == "Node");
    }
    attach_node(cluster, node_name.or(of_node), &mut target);
    target
}

//! Role endpointslice: a target an address and port, and one for each other port of the pods behind.

use super::pod::Behind;
use super::{Group, attach_namespace, attach_node, of_object, service};
use crate::cluster::Cluster;
use crate::labels::{LabelSet, join_port};
use crate::objects::{Service, Slice, SliceEndpoint, SlicePort, key};

pub(super) fn group(cluster: &Cluster, slice: &Slice) -> Group {
    let service = slice
        .service_name()
        .and_then(|name| cluster.services.get(&key(&slice.namespace, name)));
    if service.is_some_and(|service| is_secondary(service, slice)) {
        return Group::default();
    }
    let mut labels = match service {
        Some(service) => service::labels(service),
        None => LabelSet::default(),
    };
    labels.merge(of_object(
        "endpointslice",
        &slice.namespace,
        &slice.name,
        &slice.meta,
    ));
    labels.set("endpointslice_address_type", &slice.address_type);
    attach_namespace(cluster, &slice.namespace, &mut labels);
    let mut targets = Vec::new();
    let mut behind = Behind::default();
    for endpoint in &slice.endpoints {
        for port in &slice.ports {
            for address in &endpoint.addresses {
                let mut target = target(cluster, endpoint, port, address);
                let of = endpoint.target.as_ref();
                behind.join(cluster, of, port.number, None, &mut target);
                targets.push(target);
            }
        }
    }
    targets.extend(behind.other_ports(cluster));
    (labels, targets)
}

/// A service with addresses of two families has slices of both, which lead to the same pods: those
/// of its first family are enough.
fn is_secondary(service: &Service, slice: &Slice) -> bool {
    let family = service.dual_stack_family.as_ref();
    family.is_some_and(|family| *family != slice.address_type)
}

fn target(
    cluster: &Cluster,
    endpoint: &SliceEndpoint,
    port: &SlicePort,
    address: &str,
) -> LabelSet {
    let mut target = match port.number {
        Some(number) => LabelSet::at(&join_port(address, number)),
        None => LabelSet::at(address),
    };
    if let Some(number) = port.number {
        target.set("endpointslice_port", &number.to_string());
    }
    target.set("endpointslice_port_name", &port.name);
    target.set("endpointslice_port_protocol", &port.protocol);
    target.set("endpointslice_port_app_protocol", &port.app_protocol);
    for (condition, is_met) in [
        ("ready", endpoint.ready),
        ("serving", endpoint.serving),
        ("terminating", endpoint.terminating),
    ] {
        let name = format!("endpointslice_endpoint_conditions_{condition}");
        target.set_flag(&name, is_met);
    }
    let node_name = endpoint.node_name.as_deref();
    for (name, value) in [
        ("endpointslice_endpoint_hostname", &*endpoint.hostname),
        (
            "endpointslice_endpoint_node_name",
            node_name.unwrap_or_default(),
        ),
        ("endpointslice_endpoint_zone", &*endpoint.zone),
    ] {
        target.set(name, value);
    }
    let topology = "endpointslice_endpoint_topology";
    target.mark(topology, "_present", &endpoint.topology);
    let mut of_node = None;
    if let Some(of) = &endpoint.target {
        target.set("endpointslice_address_target_kind", &of.kind);
        target.set("endpointslice_address_target_name", &of.name);
        of_node = Some(&*of.name).filter(|_| &*of.kind == "Node");
    }
    attach_node(cluster, of_node.or(node_name), &mut target);
    target
}

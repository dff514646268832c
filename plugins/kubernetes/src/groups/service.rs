//! Role service: a target a port, at the service's name in the cluster.

use super::{Group, attach_namespace, of_object};
use crate::cluster::Cluster;
use crate::labels::{LabelSet, join_port};
use crate::objects::{Port, Service};

pub(super) fn group(cluster: &Cluster, service: &Service) -> Group {
    let mut labels = labels(service);
    attach_namespace(cluster, &service.namespace, &mut labels);
    let targets = service.ports.iter().map(|port| target(service, port));
    (labels, targets.collect())
}

/// What stands on all that belongs to a service.
pub(super) fn labels(service: &Service) -> LabelSet {
    of_object("service", &service.namespace, &service.name, &service.meta)
}

fn target(service: &Service, port: &Port) -> LabelSet {
    let host = format!("{}.{}.svc", service.name, service.namespace);
    let mut target = LabelSet::at(&join_port(&host, port.number));
    target.set("service_port_name", &port.name);
    target.set("service_port_number", &port.number.to_string());
    target.set("service_port_protocol", &port.protocol);
    target.set("service_type", &service.kind);
    match &*service.kind {
        "ExternalName" => target.set("service_external_name", &service.external_name),
        _ => target.set("service_cluster_ip", &service.cluster_ip),
    }
    if &*service.kind == "LoadBalancer" {
        target.set("service_loadbalancer_ip", &service.load_balancer_ips);
    }
    target
}

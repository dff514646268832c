//! Kubernetes's own types become those that are kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{
    Address, Container, Endpoints, Ingress, IngressRule, Meta, Node, Owner, Pairs, Pod, Port,
    Service, Slice, SliceEndpoint, SlicePort, Subset, Target, Text,
};

fn text(text: Option<String>) -> Text {
    text.unwrap_or_default().into_boxed_str()
}

fn pairs(map: Option<BTreeMap<String, String>>) -> Pairs {
    let pairs = map.unwrap_or_default().into_iter();
    pairs
        .map(|(name, value)| (name.into_boxed_str(), value.into_boxed_str()))
        .collect()
}

fn all<A, B: From<A>>(list: Option<Vec<A>>) -> Box<[B]> {
    list.unwrap_or_default().into_iter().map(B::from).collect()
}

pub(super) fn controller(owners: Option<Vec<OwnerReference>>) -> Option<Owner> {
    let mut owners = owners.unwrap_or_default().into_iter();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: owner.kind.into_boxed_str(),
        name: owner.name.into_boxed_str(),
    })
}

impl From<ObjectMeta> for Meta {
    fn from(meta: ObjectMeta) -> Self {
        Meta {
            labels: pairs(meta.labels),
            annotations: pairs(meta.annotations),
        }
    }
}

impl From<core::Node> for Node {
    fn from(mut node: core::Node) -> Self {
        let status = node.status.unwrap_or_default();
        let kubelet = status.daemon_endpoints.unwrap_or_default().kubelet_endpoint;
        let conditions = status.conditions.unwrap_or_default().into_iter();
        let addresses = status.addresses.unwrap_or_default().into_iter();
        Node {
            name: text(node.metadata.name.take()),
            meta: node.metadata.into(),
            provider_id: text(node.spec.unwrap_or_default().provider_id),
            conditions: conditions
                .map(|condition| (condition.type_.into(), condition.status.into()))
                .collect(),
            addresses: addresses
                .map(|address| (address.type_.into(), address.address.into()))
                .collect(),
            kubelet_port: kubelet.unwrap_or_default().port,
        }
    }
}

impl From<core::Pod> for Pod {
    fn from(mut pod: core::Pod) -> Self {
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let ready = status.conditions.unwrap_or_default().into_iter();
        let mut ready = ready.filter(|condition| condition.type_ == "Ready");
        let mut containers = Vec::new();
        for (list, states, is_init) in [
            (spec.containers, status.container_statuses, false),
            (
                spec.init_containers.unwrap_or_default(),
                status.init_container_statuses,
                true,
            ),
        ] {
            let states = states.unwrap_or_default();
            containers.extend(list.into_iter().map(|container| {
                let mut states = states.iter();
                let state = states.find(|state| state.name == container.name);
                Container {
                    id: text(state.and_then(|state| state.container_id.clone())),
                    name: container.name.into(),
                    image: text(container.image),
                    is_init,
                    ports: all(container.ports),
                }
            }));
        }
        Pod {
            namespace: text(pod.metadata.namespace.take()),
            name: text(pod.metadata.name.take()),
            uid: text(pod.metadata.uid.take()),
            controller: controller(pod.metadata.owner_references.take()),
            meta: pod.metadata.into(),
            ip: text(status.pod_ip),
            host_ip: text(status.host_ip),
            node_name: text(spec.node_name),
            phase: text(status.phase),
            ready: ready.next().map(|condition| condition.status.into()),
            containers: containers.into(),
        }
    }
}

impl From<core::ContainerPort> for Port {
    fn from(port: core::ContainerPort) -> Self {
        Port {
            name: text(port.name),
            number: port.container_port,
            protocol: text(port.protocol),
        }
    }
}

impl From<core::ServicePort> for Port {
    fn from(port: core::ServicePort) -> Self {
        Port {
            name: text(port.name),
            number: port.port,
            protocol: text(port.protocol),
        }
    }
}

impl From<core::EndpointPort> for Port {
    fn from(port: core::EndpointPort) -> Self {
        Port {
            name: text(port.name),
            number: port.port,
            protocol: text(port.protocol),
        }
    }
}

impl From<core::Service> for Service {
    fn from(mut service: core::Service) -> Self {
        let spec = service.spec.unwrap_or_default();
        let balancer = service.status.unwrap_or_default().load_balancer;
        let ingresses = balancer.unwrap_or_default().ingress.unwrap_or_default();
        let ips = ingresses.into_iter().filter_map(|ingress| ingress.ip);
        let ips: Vec<String> = ips.filter(|ip| !ip.is_empty()).collect();
        let is_dual_stack = matches!(
            spec.ip_family_policy.as_deref(),
            Some("PreferDualStack" | "RequireDualStack")
        );
        let families = spec.ip_families.unwrap_or_default();
        Service {
            namespace: text(service.metadata.namespace.take()),
            name: text(service.metadata.name.take()),
            meta: service.metadata.into(),
            kind: text(spec.type_),
            cluster_ip: text(spec.cluster_ip),
            external_name: text(spec.external_name),
            load_balancer_ips: match ips.is_empty() {
                true => text(spec.load_balancer_ip),
                false => ips.join(",").into(),
            },
            dual_stack_family: families
                .into_iter()
                .next()
                .filter(|_| is_dual_stack)
                .map(String::into_boxed_str),
            ports: all(spec.ports),
        }
    }
}

impl From<core::ObjectReference> for Target {
    fn from(reference: core::ObjectReference) -> Self {
        Target {
            kind: text(reference.kind),
            namespace: text(reference.namespace),
            name: text(reference.name),
        }
    }
}

impl From<core::Endpoints> for Endpoints {
    fn from(mut endpoints: core::Endpoints) -> Self {
        Endpoints {
            namespace: text(endpoints.metadata.namespace.take()),
            name: text(endpoints.metadata.name.take()),
            meta: endpoints.metadata.into(),
            subsets: all(endpoints.subsets),
        }
    }
}

impl From<core::EndpointSubset> for Subset {
    fn from(subset: core::EndpointSubset) -> Self {
        Subset {
            ports: all(subset.ports),
            ready: all(subset.addresses),
            not_ready: all(subset.not_ready_addresses),
        }
    }
}

impl From<core::EndpointAddress> for Address {
    fn from(address: core::EndpointAddress) -> Self {
        Address {
            ip: address.ip.into(),
            hostname: text(address.hostname),
            node_name: address.node_name.map(String::into_boxed_str),
            target: address.target_ref.map(Target::from),
        }
    }
}

impl From<discovery::EndpointSlice> for Slice {
    fn from(mut slice: discovery::EndpointSlice) -> Self {
        Slice {
            namespace: text(slice.metadata.namespace.take()),
            name: text(slice.metadata.name.take()),
            meta: slice.metadata.into(),
            address_type: slice.address_type.into(),
            ports: all(slice.ports),
            endpoints: all(slice.endpoints),
        }
    }
}

impl From<discovery::EndpointPort> for SlicePort {
    fn from(port: discovery::EndpointPort) -> Self {
        SlicePort {
            name: text(port.name),
            number: port.port,
            protocol: text(port.protocol),
            app_protocol: text(port.app_protocol),
        }
    }
}

impl From<discovery::Endpoint> for SliceEndpoint {
    fn from(endpoint: discovery::Endpoint) -> Self {
        let conditions = endpoint.conditions.unwrap_or_default();
        SliceEndpoint {
            addresses: all(Some(endpoint.addresses)),
            ready: conditions.ready,
            serving: conditions.serving,
            terminating: conditions.terminating,
            hostname: text(endpoint.hostname),
            node_name: endpoint.node_name.map(String::into_boxed_str),
            zone: text(endpoint.zone),
            topology: pairs(endpoint.deprecated_topology),
            target: endpoint.target_ref.map(Target::from),
        }
    }
}

impl From<networking::Ingress> for Ingress {
    fn from(mut ingress: networking::Ingress) -> Self {
        let spec = ingress.spec.unwrap_or_default();
        let tls = spec.tls.unwrap_or_default().into_iter();
        Ingress {
            namespace: text(ingress.metadata.namespace.take()),
            name: text(ingress.metadata.name.take()),
            meta: ingress.metadata.into(),
            class_name: text(spec.ingress_class_name),
            rules: all(spec.rules),
            tls_hosts: tls
                .flat_map(|tls| tls.hosts.unwrap_or_default())
                .map(String::into_boxed_str)
                .collect(),
        }
    }
}

impl From<networking::IngressRule> for IngressRule {
    /// A rule that says nothing of paths is for all of them; one with an empty list for none.
    fn from(rule: networking::IngressRule) -> Self {
        let path = |path: Option<String>| match path.as_deref() {
            None | Some("") => "/".into(),
            Some(path) => path.into(),
        };
        IngressRule {
            host: text(rule.host),
            paths: match rule.http {
                None => ["/".into()].into(),
                Some(http) => http.paths.into_iter().map(|p| path(p.path)).collect(),
            },
        }
    }
}

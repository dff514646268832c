//! Reads objects as Kubernetes writes them.
//!
//! Specs and states are of Kubernetes's own types. Of the metadata only a part is read: what is noted
//! there of who has set which field is often longer than all the rest.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{
    Address, Container, Endpoints, Identity, Ingress, IngressRule, Meta, Node, Object, Owner,
    Pairs, Pod, Port, Service, Slice, SliceEndpoint, SlicePort, Subset, Target, Text,
};
use crate::resource::Resource;

/// An object, and where it stands.
pub(crate) fn read(
    resource: Resource,
    json: &[u8],
) -> Result<(Identity, Object), serde_json::Error> {
    Ok(match resource {
        Resource::Nodes => {
            let whole: Whole<core::NodeSpec, core::NodeStatus> = serde_json::from_slice(json)?;
            let (identity, metadata, spec, status) = whole.parts();
            (identity, Object::Node(node(metadata, spec, status)))
        }
        Resource::NodeMetadata | Resource::Namespaces => {
            let whole: OnlyMetadata = serde_json::from_slice(json)?;
            let identity = whole.metadata.identify();
            (identity, Object::Meta(whole.metadata.into()))
        }
        Resource::ReplicaSets | Resource::Jobs => {
            let mut whole: OnlyMetadata = serde_json::from_slice(json)?;
            let identity = whole.metadata.identify();
            (identity, Object::Owned(whole.metadata.take_controller()))
        }
        Resource::Pods => {
            let whole: Whole<core::PodSpec, core::PodStatus> = serde_json::from_slice(json)?;
            let (identity, metadata, spec, status) = whole.parts();
            (identity, Object::Pod(pod(metadata, spec, status)))
        }
        Resource::Services => {
            let whole: Whole<core::ServiceSpec, core::ServiceStatus> =
                serde_json::from_slice(json)?;
            let (identity, metadata, spec, status) = whole.parts();
            (identity, Object::Service(service(metadata, spec, status)))
        }
        Resource::Endpoints => {
            let whole: WholeEndpoints = serde_json::from_slice(json)?;
            let identity = whole.metadata.identify();
            let endpoints = endpoints(whole.metadata, whole.subsets);
            (identity, Object::Endpoints(endpoints))
        }
        Resource::EndpointSlices => {
            let whole: WholeSlice = serde_json::from_slice(json)?;
            (whole.metadata.identify(), Object::Slice(slice(whole)))
        }
        Resource::Ingresses => {
            let whole: Whole<networking::IngressSpec, IgnoredAny> = serde_json::from_slice(json)?;
            let (identity, metadata, spec, _) = whole.parts();
            (identity, Object::Ingress(ingress(metadata, spec)))
        }
    })
}

/// Where an object stands, whatever else may be wrong with it.
pub(crate) fn identify(json: &[u8]) -> Result<Identity, serde_json::Error> {
    let whole: OnlyMetadata = serde_json::from_slice(json)?;
    Ok(whole.metadata.identify())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
struct OnlyMetadata {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Whole<S, T> {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<S>,
    status: Option<T>,
}

#[derive(Deserialize)]
struct WholeEndpoints {
    #[serde(default)]
    metadata: Metadata,
    subsets: Option<Vec<core::EndpointSubset>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WholeSlice {
    #[serde(default)]
    metadata: Metadata,
    address_type: Option<String>,
    ports: Option<Vec<discovery::EndpointPort>>,
    endpoints: Option<Vec<discovery::Endpoint>>,
}

impl<S: Default, T: Default> Whole<S, T> {
    fn parts(self) -> (Identity, Metadata, S, T) {
        let identity = self.metadata.identify();
        let (spec, status) = (
            self.spec.unwrap_or_default(),
            self.status.unwrap_or_default(),
        );
        (identity, self.metadata, spec, status)
    }
}

impl Metadata {
    fn identify(&self) -> Identity {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Identity {
            namespace: text(&self.namespace),
            name: text(&self.name),
            version: text(&self.resource_version),
        }
    }

    fn take_controller(&mut self) -> Option<Owner> {
        let mut owners = self.owner_references.take().unwrap_or_default().into_iter();
        let owner = owners.find(|owner| owner.controller == Some(true))?;
        Some(Owner {
            kind: owner.kind.into_boxed_str(),
            name: owner.name.into_boxed_str(),
        })
    }
}

impl From<Metadata> for Meta {
    fn from(metadata: Metadata) -> Self {
        Meta {
            labels: pairs(metadata.labels),
            annotations: pairs(metadata.annotations),
        }
    }
}

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

fn node(mut metadata: Metadata, spec: core::NodeSpec, status: core::NodeStatus) -> Node {
    let kubelet = status.daemon_endpoints.unwrap_or_default().kubelet_endpoint;
    let conditions = status.conditions.unwrap_or_default().into_iter();
    let addresses = status.addresses.unwrap_or_default().into_iter();
    Node {
        name: text(metadata.name.take()),
        meta: metadata.into(),
        provider_id: text(spec.provider_id),
        conditions: conditions
            .map(|condition| (condition.type_.into(), condition.status.into()))
            .collect(),
        addresses: addresses
            .map(|address| (address.type_.into(), address.address.into()))
            .collect(),
        kubelet_port: kubelet.unwrap_or_default().port,
    }
}

fn pod(mut metadata: Metadata, spec: core::PodSpec, status: core::PodStatus) -> Pod {
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
        namespace: text(metadata.namespace.take()),
        name: text(metadata.name.take()),
        uid: text(metadata.uid.take()),
        controller: metadata.take_controller(),
        meta: metadata.into(),
        ip: text(status.pod_ip),
        host_ip: text(status.host_ip),
        node_name: text(spec.node_name),
        phase: text(status.phase),
        ready: ready.next().map(|condition| condition.status.into()),
        containers: containers.into(),
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

fn service(
    mut metadata: Metadata,
    spec: core::ServiceSpec,
    status: core::ServiceStatus,
) -> Service {
    let balancer = status.load_balancer.unwrap_or_default();
    let ips = balancer.ingress.unwrap_or_default().into_iter();
    let ips = ips.filter_map(|ingress| ingress.ip);
    let ips: Vec<String> = ips.filter(|ip| !ip.is_empty()).collect();
    let is_dual_stack = matches!(
        spec.ip_family_policy.as_deref(),
        Some("PreferDualStack" | "RequireDualStack")
    );
    let mut families = spec.ip_families.unwrap_or_default().into_iter();
    Service {
        namespace: text(metadata.namespace.take()),
        name: text(metadata.name.take()),
        meta: metadata.into(),
        kind: text(spec.type_),
        cluster_ip: text(spec.cluster_ip),
        external_name: text(spec.external_name),
        load_balancer_ips: match ips.is_empty() {
            true => text(spec.load_balancer_ip),
            false => ips.join(",").into(),
        },
        dual_stack_family: families
            .next()
            .filter(|_| is_dual_stack)
            .map(String::into_boxed_str),
        ports: all(spec.ports),
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

fn endpoints(mut metadata: Metadata, subsets: Option<Vec<core::EndpointSubset>>) -> Endpoints {
    Endpoints {
        namespace: text(metadata.namespace.take()),
        name: text(metadata.name.take()),
        meta: metadata.into(),
        subsets: all(subsets),
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

fn slice(whole: WholeSlice) -> Slice {
    let mut metadata = whole.metadata;
    Slice {
        namespace: text(metadata.namespace.take()),
        name: text(metadata.name.take()),
        meta: metadata.into(),
        address_type: text(whole.address_type),
        ports: all(whole.ports),
        endpoints: all(whole.endpoints),
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

fn ingress(mut metadata: Metadata, spec: networking::IngressSpec) -> Ingress {
    let tls = spec.tls.unwrap_or_default().into_iter();
    Ingress {
        namespace: text(metadata.namespace.take()),
        name: text(metadata.name.take()),
        meta: metadata.into(),
        class_name: text(spec.ingress_class_name),
        rules: all(spec.rules),
        tls_hosts: tls
            .flat_map(|tls| tls.hosts.unwrap_or_default())
            .map(String::into_boxed_str)
            .collect(),
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

//! What is kept of objects: what labels are made of, and nothing else.
//!
//! Objects come as Kubernetes writes them, are read one at a time, and shrink to the types of this
//! module at once: a pod of 10 KB becomes one of 1 KB.

mod read;

pub(crate) use read::{identify, read};

pub(crate) type Text = Box<str>;

/// Names and values, by name.
pub(crate) type Pairs = Box<[(Text, Text)]>;

/// Where an object stands in the cluster and in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Empty for what lies in no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Identity {
    /// What an object is known by within its kind.
    pub(crate) fn key(&self) -> String {
        match self.namespace.as_str() {
            "" => self.name.clone(),
            namespace => key(namespace, &self.name),
        }
    }
}

pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// An object of one of the kinds that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Node(Node),
    /// A node or a namespace.
    Meta(Meta),
    /// A replica set or a job: all that counts is whose it is.
    Owned(Option<Owner>),
    Pod(Pod),
    Service(Service),
    Endpoints(Endpoints),
    Slice(Slice),
    Ingress(Ingress),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
}

/// Who has made an object and looks after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) kind: Text,
    pub(crate) name: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) provider_id: Text,
    /// Types and states.
    pub(crate) conditions: Pairs,
    /// Types and addresses, in the order of the node.
    pub(crate) addresses: Pairs,
    pub(crate) kubelet_port: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) uid: Text,
    pub(crate) controller: Option<Owner>,
    pub(crate) ip: Text,
    pub(crate) host_ip: Text,
    pub(crate) node_name: Text,
    pub(crate) phase: Text,
    /// The state of the condition Ready, where there is one.
    pub(crate) ready: Option<Text>,
    /// Those that stay, then those that only prepare.
    pub(crate) containers: Box<[Container]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: Text,
    pub(crate) image: Text,
    pub(crate) id: Text,
    pub(crate) is_init: bool,
    pub(crate) ports: Box<[Port]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: Text,
    pub(crate) number: i32,
    pub(crate) protocol: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) kind: Text,
    pub(crate) cluster_ip: Text,
    pub(crate) external_name: Text,
    /// Joined by commas.
    pub(crate) load_balancer_ips: Text,
    /// The first address family of a service that has two or would like to.
    pub(crate) dual_stack_family: Option<Text>,
    pub(crate) ports: Box<[Port]>,
}

/// What an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Text,
    pub(crate) namespace: Text,
    pub(crate) name: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) subsets: Box<[Subset]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subset {
    pub(crate) ports: Box<[Port]>,
    pub(crate) ready: Box<[Address]>,
    pub(crate) not_ready: Box<[Address]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: Text,
    pub(crate) hostname: Text,
    pub(crate) node_name: Option<Text>,
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) address_type: Text,
    pub(crate) ports: Box<[SlicePort]>,
    pub(crate) endpoints: Box<[SliceEndpoint]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlicePort {
    pub(crate) name: Text,
    pub(crate) number: Option<i32>,
    pub(crate) protocol: Text,
    pub(crate) app_protocol: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceEndpoint {
    pub(crate) addresses: Box<[Text]>,
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
    pub(crate) hostname: Text,
    pub(crate) node_name: Option<Text>,
    pub(crate) zone: Text,
    pub(crate) topology: Pairs,
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ingress {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    pub(crate) meta: Meta,
    pub(crate) class_name: Text,
    pub(crate) rules: Box<[IngressRule]>,
    pub(crate) tls_hosts: Box<[Text]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IngressRule {
    pub(crate) host: Text,
    pub(crate) paths: Box<[Text]>,
}

/// The label by which a slice names its service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Slice {
    pub(crate) fn service_name(&self) -> Option<&str> {
        let mut labels = self.meta.labels.iter();
        let found = labels.find(|(name, _)| &**name == SERVICE_NAME)?;
        Some(&found.1)
    }
}

//! What is known of the cluster, and which target groups have to be made anew because of what has
//! changed.
//!
//! Keeps true: whatever a group is made of, a change of it makes the group anew; an object that has
//! changed only in what no label shows changes nothing. Knows nothing of servers and requests.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use narthex_plugin_sdk::TargetGroup;

use crate::config::{AttachMetadata, Role};
use crate::groups;
use crate::objects::{
    Endpoints, Identity, Ingress, Meta, Node, Object, Owner, Pod, Service, Slice, Target, key,
};
use crate::resource::Resource;

/// All objects, by their keys.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) role: Role,
    pub(crate) attach: AttachMetadata,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) node_metas: BTreeMap<String, Meta>,
    pub(crate) namespaces: BTreeMap<String, Meta>,
    pub(crate) replica_sets: BTreeMap<String, Option<Owner>>,
    pub(crate) jobs: BTreeMap<String, Option<Owner>>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) endpoints: BTreeMap<String, Endpoints>,
    pub(crate) slices: BTreeMap<String, Slice>,
    pub(crate) ingresses: BTreeMap<String, Ingress>,
    changed: Changed,
    /// Keys of objects of the role, whose groups have to be made anew.
    outdated: BTreeSet<String>,
}

/// Keys of objects that groups are made of beside the object of the role.
#[derive(Debug, Default)]
struct Changed {
    nodes: HashSet<String>,
    namespaces: HashSet<String>,
    replica_sets: HashSet<String>,
    jobs: HashSet<String>,
    pods: HashSet<String>,
    services: HashSet<String>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        let all = [
            &self.nodes,
            &self.namespaces,
            &self.replica_sets,
            &self.jobs,
            &self.pods,
            &self.services,
        ];
        all.into_iter().all(HashSet::is_empty)
    }

    fn has_owner(&self, pod: &Pod) -> bool {
        let Some(owner) = &pod.controller else {
            return false;
        };
        let of_kind = match &*owner.kind {
            "ReplicaSet" => &self.replica_sets,
            "Job" => &self.jobs,
            _ => return false,
        };
        !of_kind.is_empty() && of_kind.contains(&key(&pod.namespace, &owner.name))
    }

    fn has_pod(&self, pod: &Pod) -> bool {
        self.nodes.contains(&*pod.node_name)
            || self.namespaces.contains(&*pod.namespace)
            || self.has_owner(pod)
    }

    fn has_target(&self, target: Option<&Target>) -> bool {
        let Some(target) = target else {
            return false;
        };
        match &*target.kind {
            "Pod" if !self.pods.is_empty() => {
                self.pods.contains(&key(&target.namespace, &target.name))
            }
            "Node" => self.nodes.contains(&*target.name),
            _ => false,
        }
    }

    fn has_node(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.nodes.contains(name))
    }

    fn has_endpoints(&self, at: &str, endpoints: &Endpoints) -> bool {
        let mut addresses = endpoints
            .subsets
            .iter()
            .flat_map(|subset| subset.ready.iter().chain(&subset.not_ready));
        self.services.contains(at)
            || self.namespaces.contains(&*endpoints.namespace)
            || addresses.any(|address| {
                self.has_target(address.target.as_ref())
                    || self.has_node(address.node_name.as_deref())
            })
    }

    fn has_slice(&self, slice: &Slice) -> bool {
        let is_of = |service: &str| self.services.contains(&key(&slice.namespace, service));
        slice.service_name().is_some_and(is_of)
            || self.namespaces.contains(&*slice.namespace)
            || slice.endpoints.iter().any(|endpoint| {
                self.has_target(endpoint.target.as_ref())
                    || self.has_node(endpoint.node_name.as_deref())
            })
    }
}

impl Cluster {
    pub(crate) fn new(role: Role, attach: AttachMetadata) -> Self {
        Cluster {
            role,
            attach,
            nodes: BTreeMap::new(),
            node_metas: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            replica_sets: BTreeMap::new(),
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            slices: BTreeMap::new(),
            ingresses: BTreeMap::new(),
            changed: Changed::default(),
            outdated: BTreeSet::new(),
        }
    }

    /// Takes an object as it is now.
    pub(crate) fn put(&mut self, resource: Resource, identity: &Identity, object: Object) {
        let at = identity.key();
        let has_changed = match object {
            Object::Node(node) => replace(&mut self.nodes, &at, node),
            Object::Meta(meta) if resource == Resource::Namespaces => {
                replace(&mut self.namespaces, &at, meta)
            }
            Object::Meta(meta) => replace(&mut self.node_metas, &at, meta),
            Object::Owned(owner) if resource == Resource::Jobs => {
                replace(&mut self.jobs, &at, owner)
            }
            Object::Owned(owner) => replace(&mut self.replica_sets, &at, owner),
            Object::Pod(pod) => replace(&mut self.pods, &at, pod),
            Object::Service(service) => replace(&mut self.services, &at, service),
            Object::Endpoints(endpoints) => {
                endpoints.warn_of_capacity(self.endpoints.get(&at));
                replace(&mut self.endpoints, &at, endpoints)
            }
            Object::Slice(slice) => replace(&mut self.slices, &at, slice),
            Object::Ingress(ingress) => replace(&mut self.ingresses, &at, ingress),
        };
        if has_changed {
            self.note(resource, at);
        }
    }

    /// The object of this key is gone.
    pub(crate) fn remove(&mut self, resource: Resource, at: &str) {
        let was_there = match resource {
            Resource::Nodes => self.nodes.remove(at).is_some(),
            Resource::NodeMetadata => self.node_metas.remove(at).is_some(),
            Resource::Namespaces => self.namespaces.remove(at).is_some(),
            Resource::ReplicaSets => self.replica_sets.remove(at).is_some(),
            Resource::Jobs => self.jobs.remove(at).is_some(),
            Resource::Pods => self.pods.remove(at).is_some(),
            Resource::Services => self.services.remove(at).is_some(),
            Resource::Endpoints => self.endpoints.remove(at).is_some(),
            Resource::EndpointSlices => self.slices.remove(at).is_some(),
            Resource::Ingresses => self.ingresses.remove(at).is_some(),
        };
        if was_there {
            self.note(resource, at.to_owned());
        }
    }

    /// All there is of a kind, in one namespace or in all: what is known beside it is gone.
    pub(crate) fn keep_only(
        &mut self,
        resource: Resource,
        namespace: Option<&str>,
        keys: &HashSet<String>,
    ) {
        let gone: Vec<String> = self
            .keys(resource)
            .into_iter()
            .filter(|at| namespace.is_none_or(|namespace| is_in(at, namespace)))
            .filter(|at| !keys.contains(*at))
            .cloned()
            .collect();
        for at in gone {
            self.remove(resource, &at);
        }
    }

    /// The keys of the role's objects whose groups have to be made anew, as far as they lie in a
    /// namespace that is wanted. The others stay outdated.
    pub(crate) fn take_outdated(&mut self, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.spread();
        let outdated = std::mem::take(&mut self.outdated);
        let (wanted, rest) = outdated.into_iter().partition(|at| is_wanted(at));
        self.outdated = rest;
        wanted
    }

    /// The group of the role's object of this key; one without targets where it is gone. None where
    /// there is nothing to say of it.
    pub(crate) fn group(&self, at: &str) -> Option<TargetGroup> {
        groups::group(self, at).unwrap_or_else(|| Some(TargetGroup::none(self.role.source(at))))
    }

    fn keys(&self, resource: Resource) -> Vec<&String> {
        match resource {
            Resource::Nodes => self.nodes.keys().collect(),
            Resource::NodeMetadata => self.node_metas.keys().collect(),
            Resource::Namespaces => self.namespaces.keys().collect(),
            Resource::ReplicaSets => self.replica_sets.keys().collect(),
            Resource::Jobs => self.jobs.keys().collect(),
            Resource::Pods => self.pods.keys().collect(),
            Resource::Services => self.services.keys().collect(),
            Resource::Endpoints => self.endpoints.keys().collect(),
            Resource::EndpointSlices => self.slices.keys().collect(),
            Resource::Ingresses => self.ingresses.keys().collect(),
        }
    }

    fn note(&mut self, resource: Resource, at: String) {
        if resource == self.role.resource() {
            self.outdated.insert(at);
            return;
        }
        let changed = match resource {
            Resource::Nodes | Resource::NodeMetadata => &mut self.changed.nodes,
            Resource::Namespaces => &mut self.changed.namespaces,
            Resource::ReplicaSets => &mut self.changed.replica_sets,
            Resource::Jobs => &mut self.changed.jobs,
            Resource::Pods => &mut self.changed.pods,
            Resource::Services => &mut self.changed.services,
            // Only ever the objects of the role.
            Resource::Endpoints | Resource::EndpointSlices | Resource::Ingresses => return,
        };
        changed.insert(at);
    }

    /// Looks for the groups that are made of what has changed.
    fn spread(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let mut changed = std::mem::take(&mut self.changed);
        if self.role != Role::Pod && !(changed.replica_sets.is_empty() && changed.jobs.is_empty()) {
            let pods = self.pods.iter();
            let pods = pods.filter(|(_, pod)| changed.has_owner(pod));
            let pods: Vec<String> = pods.map(|(at, _)| at.clone()).collect();
            changed.pods.extend(pods);
        }
        let outdated = &mut self.outdated;
        let mut note = |at: &String| {
            if !outdated.contains(at) {
                outdated.insert(at.clone());
            }
        };
        match self.role {
            Role::Node => {}
            Role::Pod => self
                .pods
                .iter()
                .filter(|(_, pod)| changed.has_pod(pod))
                .for_each(|(at, _)| note(at)),
            Role::Service => self
                .services
                .iter()
                .filter(|(_, service)| changed.namespaces.contains(&*service.namespace))
                .for_each(|(at, _)| note(at)),
            Role::Endpoints => self
                .endpoints
                .iter()
                .filter(|(at, endpoints)| changed.has_endpoints(at, endpoints))
                .for_each(|(at, _)| note(at)),
            Role::EndpointSlice => self
                .slices
                .iter()
                .filter(|(_, slice)| changed.has_slice(slice))
                .for_each(|(at, _)| note(at)),
            Role::Ingress => self
                .ingresses
                .iter()
                .filter(|(_, ingress)| changed.namespaces.contains(&*ingress.namespace))
                .for_each(|(at, _)| note(at)),
        }
    }
}

/// Whether the object of this key lies in this namespace.
pub(crate) fn is_in(at: &str, namespace: &str) -> bool {
    at.strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether that changes anything.
fn replace<T: PartialEq>(objects: &mut BTreeMap<String, T>, at: &str, object: T) -> bool {
    match objects.get_mut(at) {
        Some(known) if *known == object => false,
        Some(known) => {
            *known = object;
            true
        }
        None => {
            objects.insert(at.to_owned(), object);
            true
        }
    }
}

impl Endpoints {
    /// An Endpoints object holds a thousand addresses and no more; Kubernetes notes on it when that
    /// is not enough.
    fn warn_of_capacity(&self, before: Option<&Endpoints>) {
        const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
        let noted = |endpoints: &Endpoints| {
            let meta = &endpoints.meta;
            let mut all = meta.annotations.iter().chain(&meta.labels);
            let found = all.find(|(name, _)| &**name == OVER_CAPACITY);
            found.map(|(_, value)| value.to_string())
        };
        let now = noted(self);
        if now.is_none() || now == before.and_then(noted) {
            return;
        }
        narthex_plugin_sdk::tracing::warn!(
            "the endpoints {}/{} have more than 1000 addresses, of which an Endpoints object lists \
             no more than that: use role endpointslice",
            self.namespace,
            self.name
        );
    }
}

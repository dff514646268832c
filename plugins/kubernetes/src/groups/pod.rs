//! Role pod: a target a port of each container; and what stands on all targets that are pods.

use std::collections::HashMap;

use super::{Group, attach_namespace, attach_node};
use crate::cluster::Cluster;
use crate::labels::{LabelSet, join_port};
use crate::objects::{Container, Owner, Pod, Port, Target, key};

pub(super) fn group(cluster: &Cluster, pod: &Pod) -> Group {
    let has_node = !cluster.attach.node || cluster.node_metas.contains_key(&*pod.node_name);
    // A pod that starts, or was put out, has no address. A node that is not known was not selected.
    if pod.ip.is_empty() || !has_node {
        return Group::default();
    }
    let mut labels = LabelSet::default();
    add_labels(cluster, pod, &mut labels);
    labels.set("namespace", &pod.namespace);
    attach_node(cluster, Some(&pod.node_name), &mut labels);
    attach_namespace(cluster, &pod.namespace, &mut labels);
    let mut targets = Vec::new();
    for container in &pod.containers {
        let with_id = |mut target: LabelSet| {
            target.set("pod_container_id", &container.id);
            target
        };
        if container.ports.is_empty() {
            // Relabelling may add a port.
            let mut target = LabelSet::at(&pod.ip);
            add_container(container, &mut target);
            targets.push(with_id(target));
        }
        let ports = container.ports.iter();
        targets.extend(ports.map(|port| with_id(at_port(pod, container, port))));
    }
    (labels, targets)
}

/// What stands on all that belongs to a pod.
fn add_labels(cluster: &Cluster, pod: &Pod, labels: &mut LabelSet) {
    labels.set("pod_ip", &pod.ip);
    let ready = pod.ready.as_deref().unwrap_or("unknown");
    labels.set("pod_ready", &ready.to_lowercase());
    labels.set("pod_phase", &pod.phase);
    labels.set("pod_node_name", &pod.node_name);
    labels.set("pod_host_ip", &pod.host_ip);
    labels.set("pod_uid", &pod.uid);
    labels.describe("pod", &pod.name, &pod.meta);
    let Some(owner) = &pod.controller else {
        return;
    };
    labels.set("pod_controller_kind", &owner.kind);
    labels.set("pod_controller_name", &owner.name);
    let at = key(&pod.namespace, &owner.name);
    match &*owner.kind {
        "ReplicaSet" if cluster.attach.deployment => {
            let above = cluster.replica_sets.get(&at);
            if let Some(name) = name_of(above, "Deployment") {
                labels.set("pod_deployment_name", name);
            }
        }
        "Job" => {
            if cluster.attach.job {
                labels.set("pod_job_name", &owner.name);
            }
            let above = cluster.jobs.get(&at).filter(|_| cluster.attach.cronjob);
            if let Some(name) = name_of(above, "CronJob") {
                labels.set("pod_cronjob_name", name);
            }
        }
        _ => {}
    }
}

/// The owner's name, if it is of this kind.
fn name_of<'a>(owner: Option<&'a Option<Owner>>, kind: &str) -> Option<&'a str> {
    let owner = owner?.as_ref().filter(|owner| &*owner.kind == kind)?;
    Some(&owner.name)
}

fn add_container(container: &Container, labels: &mut LabelSet) {
    labels.set("pod_container_name", &container.name);
    labels.set("pod_container_image", &container.image);
    labels.set_flag("pod_container_init", Some(container.is_init));
}

fn add_port(container: &Container, port: &Port, protocol: &str, labels: &mut LabelSet) {
    add_container(container, labels);
    labels.set("pod_container_port_name", &port.name);
    labels.set("pod_container_port_number", &port.number.to_string());
    labels.set("pod_container_port_protocol", protocol);
}

fn at_port(pod: &Pod, container: &Container, port: &Port) -> LabelSet {
    let mut target = LabelSet::at(&join_port(&pod.ip, port.number));
    add_port(container, port, &port.protocol, &mut target);
    target
}

/// The pods behind the targets of a group, and which of their ports have a target.
#[derive(Default)]
pub(super) struct Behind<'a> {
    pods: Vec<(&'a Pod, Vec<i32>)>,
    places: HashMap<String, usize>,
}

impl<'a> Behind<'a> {
    /// Adds the labels of the pod that a target belongs to. `protocol` is what the target's port
    /// speaks, where that goes before what the container says.
    pub(super) fn join(
        &mut self,
        cluster: &'a Cluster,
        target: Option<&Target>,
        port: Option<i32>,
        protocol: Option<&str>,
        labels: &mut LabelSet,
    ) {
        let Some(target) = target.filter(|target| &*target.kind == "Pod") else {
            return;
        };
        let at = key(&target.namespace, &target.name);
        let Some(pod) = cluster.pods.get(&at) else {
            return;
        };
        add_labels(cluster, pod, labels);
        for container in &pod.containers {
            let mut ports = container.ports.iter();
            if let Some(found) = ports.find(|known| port == Some(known.number)) {
                add_port(
                    container,
                    found,
                    protocol.unwrap_or(&found.protocol),
                    labels,
                );
            }
        }
        let place = *self.places.entry(at).or_insert_with(|| {
            self.pods.push((pod, Vec::new()));
            self.pods.len() - 1
        });
        if let Some((_, ports)) = self.pods.get_mut(place) {
            ports.extend(port);
        }
    }

    /// Targets for the ports that these pods have beside those.
    pub(super) fn other_ports(self, cluster: &Cluster) -> Vec<LabelSet> {
        let mut targets = Vec::new();
        for (pod, seen) in self.pods {
            if pod.ip.is_empty() {
                continue;
            }
            for container in &pod.containers {
                let ports = container.ports.iter();
                for port in ports.filter(|port| !seen.contains(&port.number)) {
                    let mut target = at_port(pod, container, port);
                    add_labels(cluster, pod, &mut target);
                    targets.push(target);
                }
            }
        }
        targets
    }
}

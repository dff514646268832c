//! What the plugin tells of its own work, under Prometheus's names.

use std::cell::Cell;

use narthex_plugin_sdk::telemetry::Counter;

use crate::resource::Resource;

pub(crate) const FAILURES: Counter = Counter::new(
    "prometheus_sd_kubernetes_failures_total",
    "Lists and watches that failed.",
);

const EVENTS: Counter = Counter::new(
    "prometheus_sd_kubernetes_events_total",
    "Objects that were listed or watched, by what happened to them.",
);

/// What happens to an object.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Add,
    Update,
    Delete,
}

/// Events that were not told yet: there may be thousands in one answer.
#[derive(Default)]
pub(crate) struct Seen {
    adds: Cell<u32>,
    updates: Cell<u32>,
    deletes: Cell<u32>,
}

impl Seen {
    pub(crate) fn count(&self, kind: Kind) {
        let count = match kind {
            Kind::Add => &self.adds,
            Kind::Update => &self.updates,
            Kind::Delete => &self.deletes,
        };
        count.set(count.get() + 1);
    }

    pub(crate) fn tell(&self, resource: Resource) {
        for (event, count) in [
            ("add", &self.adds),
            ("update", &self.updates),
            ("delete", &self.deletes),
        ] {
            let count = count.take();
            if count > 0 {
                let labels = [("event", event), ("role", role(resource))];
                EVENTS.add(&labels, f64::from(count));
            }
        }
    }
}

fn role(resource: Resource) -> &'static str {
    match resource {
        Resource::Nodes | Resource::NodeMetadata => "node",
        Resource::Namespaces => "namespace",
        Resource::ReplicaSets => "replicaset",
        Resource::Jobs => "job",
        Resource::Pods => "pod",
        Resource::Services => "service",
        Resource::Endpoints => "endpoints",
        Resource::EndpointSlices => "endpointslice",
        Resource::Ingresses => "ingress",
    }
}

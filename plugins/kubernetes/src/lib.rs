//! Finds targets in a Kubernetes cluster: `kubernetes_sd_configs`.
//!
//! Each kind of objects that the role needs is listed once and then watched, all at the same time
//! (`feed`). What is known of them (`cluster`) becomes target groups (`groups`), and what has
//! changed is published (`publication`).
//!
//! Keeps true: groups and their labels are Prometheus's; a server that is away, slow or broken
//! changes no targets.

mod backoff;
mod cluster;
mod config;
mod connection;
mod feed;
mod groups;
mod kubeconfig;
mod labels;
mod objects;
mod pieces;
mod publication;
mod resource;
mod selectors;
mod shared;
mod telemetry;

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, join_all, select};
use narthex_plugin_sdk::http::Client;
use narthex_plugin_sdk::{ConfigError, Discovery, Error, Manifest, WithHttp};

pub use config::Config;

use cluster::Cluster;
use config::{Place, Plan, Role};
use connection::Connection;
use feed::{Feed, Trouble};
use resource::Resource;
use shared::{Scope, Shared};
use telemetry::Seen;

narthex_plugin_sdk::discovery!(KubernetesDiscovery);

pub struct KubernetesDiscovery {
    plan: Plan,
    place: Place,
    /// For an API server that the configuration itself names.
    client: Client,
}

impl Discovery for KubernetesDiscovery {
    type Config = WithHttp<Config>;

    fn manifest() -> Manifest {
        Manifest::new("finds targets in a Kubernetes cluster, and watches it")
            .requests("*://*")
            .may_read(connection::ACCOUNT)
            // A kubeconfig, and the certificates and passwords that a configuration has in files.
            .may_read("/")
            .may_read_environment(connection::HOST)
            .may_read_environment(connection::PORT)
    }

    fn new(config: WithHttp<Config>, base_directory: &str) -> Result<Self, ConfigError> {
        let (plan, place) = config.own.check(&config.http)?;
        let (place, client) = match place {
            Place::InCluster => (place, Client::new()),
            Place::At(_) => (place, Client::with_options(&config.http, base_directory)?),
            Place::Kubeconfig(path) => (
                Place::Kubeconfig(join(base_directory, &path)),
                Client::new(),
            ),
        };
        Ok(KubernetesDiscovery {
            plan,
            place,
            client,
        })
    }

    async fn run(self) -> Result<(), Error> {
        let connection = Rc::new(Connection::new(&self.place, self.client)?);
        let namespaces = namespaces(&self.plan)?;
        let wanted = feeds(&self.plan, &namespaces);
        let scopes = wanted.iter().map(|(_, scope)| scope.clone()).collect();
        let cluster = Cluster::new(self.plan.role, self.plan.attach);
        let shared = Rc::new(Shared::new(cluster, namespaces, scopes));
        let feeds = wanted.into_iter().enumerate();
        let feeds = feeds.map(|(number, (resource, scope))| {
            let feed = Feed {
                number,
                resource,
                namespace: scope.namespace,
                selector: self.plan.selector(resource),
                connection: connection.clone(),
                shared: shared.clone(),
                trouble: Trouble::default(),
                seen: Seen::default(),
            };
            feed.run()
        });
        // Feeds go on for ever.
        match select(join_all(feeds), pin!(publication::run(&shared))).await {
            Either::Left(_) => Ok(()),
            Either::Right((ended, _)) => ended,
        }
    }
}

/// The namespaces that are looked into; none stands for all.
fn namespaces(plan: &Plan) -> Result<Vec<String>, Error> {
    if plan.role == Role::Node {
        return Ok(Vec::new());
    }
    let mut names = plan.namespaces.clone();
    if plan.own_namespace {
        names.push(connection::own_namespace()?);
        names.sort();
        names.dedup();
    }
    Ok(names)
}

/// What has to be read: the kinds of objects that the role's groups are made of.
fn feeds(plan: &Plan, namespaces: &[String]) -> Vec<(Resource, Scope)> {
    let role = plan.role;
    let is_of_addresses = matches!(role, Role::Endpoints | Role::EndpointSlice);
    let has_pods = is_of_addresses || role == Role::Pod;
    let attach = plan.attach;
    let mut local = vec![(role.resource(), true)];
    if is_of_addresses {
        local.extend([(Resource::Services, true), (Resource::Pods, true)]);
    }
    // Who owns the pods behind an address is worth no waiting.
    if has_pods && attach.deployment {
        local.push((Resource::ReplicaSets, role == Role::Pod));
    }
    if has_pods && (attach.job || attach.cronjob) {
        local.push((Resource::Jobs, role == Role::Pod));
    }
    let mut global = Vec::new();
    if role == Role::Node {
        global.append(&mut local);
    }
    if has_pods && attach.node {
        global.push((Resource::NodeMetadata, true));
    }
    if role != Role::Node && attach.namespace {
        global.push((Resource::Namespaces, true));
    }
    let everywhere = [None];
    let names: Vec<Option<String>> = match namespaces {
        [] => everywhere.to_vec(),
        names => names.iter().cloned().map(Some).collect(),
    };
    let of = |resource, namespace: &Option<String>, is_awaited| {
        let namespace = namespace.clone();
        (
            resource,
            Scope {
                namespace,
                is_awaited,
            },
        )
    };
    let global = global
        .into_iter()
        .map(|(kind, awaited)| of(kind, &None, awaited));
    let local = names.iter().flat_map(|name| {
        local
            .iter()
            .map(move |(kind, awaited)| of(*kind, name, *awaited))
    });
    global.chain(local).collect()
}

fn join(base_directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{path}", base_directory.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;

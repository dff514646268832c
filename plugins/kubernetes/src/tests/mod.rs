//! Clusters as the plugin meets them.

#![expect(
    clippy::needless_pass_by_value,
    reason = "what is handed over is written where it is"
)]

mod configuration;
mod credentials;
mod fixtures;
mod many;
mod roles;
mod server;
mod watching;

use narthex_plugin_sdk::TargetGroup;
use narthex_plugin_sdk::fake::{Host, Level, Reply};
use narthex_plugin_sdk::testing::{self, Outcome};
use serde_json::{Value, json};

use super::*;

const SERVER: &str = "http://k8s.test";

/// What is asked first of a kind of objects.
fn list_url(path: &str) -> String {
    format!("{SERVER}{path}?limit=500")
}

/// What is asked of a kind of objects from this version on.
fn watch_url(path: &str, version: u64) -> String {
    format!(
        "{SERVER}{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=*"
    )
}

/// A list, as a server gives it.
fn list(version: u64, items: &[Value]) -> Reply {
    let list = json!({
        "kind": "List",
        "apiVersion": "v1",
        "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    });
    Reply::json(list.to_string())
}

/// A line of a watch.
fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// A server that lists these objects at version 10, and then watches in silence.
fn serve(host: &Host, path: &str, items: &[Value]) {
    host.answer("GET", &list_url(path), list(10, items));
    host.answer("GET", &watch_url(path, 10), Reply::new(200).stays_open());
}

/// The object at another version.
fn at_version(object: &Value, version: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

fn config(fields: Value) -> String {
    let mut config = json!({ "api_server": SERVER });
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    config.to_string()
}

fn discovery(json: &str) -> KubernetesDiscovery {
    testing::discovery(json, "/etc/narthex").unwrap()
}

/// Runs until the host's script is over.
fn run(json: &str) {
    let outcome = testing::run(discovery(json));
    assert_eq!(outcome, Outcome::Waits);
}

/// A group's source and labels, then each target's labels, without the prefix that all have.
fn text(group: &TargetGroup) -> Vec<String> {
    let labels = |labels: &[(String, String)]| -> String {
        let labels = labels.iter().map(|(name, value)| {
            let name = name.strip_prefix("__meta_kubernetes_").unwrap_or(name);
            format!(" {name}={value}")
        });
        labels.collect()
    };
    let mut lines = vec![format!("{}{}", group.source, labels(&group.labels))];
    lines.extend(group.targets.iter().map(|t| format!(" {}", labels(t))));
    lines
}

/// All that was published, publication by publication.
fn published(host: &Host) -> Vec<Vec<String>> {
    let all = host.published().into_iter();
    all.map(|groups| groups.iter().flat_map(text).collect())
        .collect()
}

/// The sources of each publication, each with the number of its targets.
fn sources(host: &Host) -> Vec<Vec<String>> {
    let all = host.published().into_iter();
    all.map(|groups| {
        let groups = groups.iter();
        let groups = groups.map(|group| format!("{} {}", group.source, group.targets.len()));
        groups.collect()
    })
    .collect()
}

/// What was logged that is worse than information.
fn complaints(host: &Host) -> Vec<String> {
    let lines = host.logged().into_iter();
    let lines = lines.filter(|(level, _)| matches!(level, Level::Warn | Level::Error));
    lines.map(|(_, line)| line).collect()
}

/// How often each URL was asked for, without what is random in it.
fn asked(host: &Host) -> Vec<String> {
    let asked = host.asked().into_iter();
    asked
        .map(|asked| {
            let url = asked
                .url
                .strip_prefix(SERVER)
                .unwrap_or(&asked.url)
                .to_owned();
            match url.split_once("&timeoutSeconds=") {
                Some((url, _)) => url.to_owned(),
                None => url,
            }
        })
        .map(|url| {
            url.replace(
                "watch=true&allowWatchBookmarks=true&resourceVersion=",
                "watch ",
            )
        })
        .collect()
}

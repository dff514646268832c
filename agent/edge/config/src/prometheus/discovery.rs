//! `static_configs` and `<name>_sd_configs` of one job.

use std::path::Path;

use narthex_discovery::SdConfig;
use narthex_extension::DiscoveryRequest;
use narthex_model::{Labels, TargetGroup};

use crate::error::Faults;
use crate::reading::{absolute, note};
use crate::schema::{discovery, to_json};
use crate::yaml::{Entry, Node};

/// What finds the targets of the job at `node`. `relabels`: whether rules will still change the
/// addresses, which then need not be right.
pub(crate) fn entries(
    node: &Node,
    directory: &Path,
    relabels: bool,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> Vec<SdConfig> {
    let mut found = Vec::new();
    let groups = node.part("static_configs").items();
    if !groups.is_empty() {
        if !relabels {
            check_addresses(groups, faults);
        }
        found.push(SdConfig::Static(static_groups(groups)));
    }
    for entry in node.entries() {
        if let Some(name) = discovery::provider_of(&entry.key) {
            found.extend(requests(name, entry, directory));
            if !discovery::is_known(name) {
                note(
                    notices,
                    &entry.value,
                    &format!(
                        "Prometheus knows no such discovery: the plugin {name}.wasm must serve it"
                    ),
                );
            }
        }
    }
    found
}

fn requests(name: &str, entry: &Entry, directory: &Path) -> Vec<SdConfig> {
    let kind = discovery::entry_kind(name);
    let request = |item: &Node| SdConfig::Provider {
        name: name.to_owned(),
        request: DiscoveryRequest {
            config: to_json(item, kind),
            base_directory: absolute(directory, ""),
        },
    };
    entry.value.items().iter().map(request).collect()
}

/// Groups are named by their place in the list.
fn static_groups(groups: &[Node]) -> Vec<TargetGroup> {
    groups
        .iter()
        .enumerate()
        .map(|(index, group)| TargetGroup {
            source: index.to_string(),
            targets: group
                .strings("targets")
                .into_iter()
                .map(|address| Labels::from_pairs([("__address__", address)]))
                .collect(),
            labels: Labels::from_pairs(group.pairs("labels")),
        })
        .collect()
}

fn check_addresses(groups: &[Node], faults: &mut Faults) {
    let targets = groups
        .iter()
        .flat_map(|group| group.part("targets").items());
    for target in targets {
        let address = target.text().unwrap_or_default();
        if address.contains('/') {
            faults.push(
                target.at,
                &target.path,
                format!(
                    "\"{address}\" is not a valid hostname: give host:port, and the rest as \
                     `scheme` and `metrics_path`"
                ),
            );
        }
    }
}

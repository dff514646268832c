//! The sample configuration that `make run` uses.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use narthex_discovery::SdConfig;

use super::load_folder;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config")
}

#[test]
fn the_sample_configuration_loads_and_says_nothing_odd() {
    let loaded = load_folder(&samples()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.notices, [] as [String; 0]);

    let jobs: Vec<(&str, u64, &str)> = loaded
        .prometheus
        .scrape
        .jobs
        .iter()
        .map(|job| {
            (
                job.job_name.as_str(),
                job.scrape_interval_ms,
                job.metrics_path.as_str(),
            )
        })
        .collect();
    assert_eq!(
        jobs,
        [
            ("narthex", 5_000, "/metrics"),
            ("node", 15_000, "/plugins/node/metrics")
        ]
    );
    let node = loaded.prometheus.discovery.jobs.get("node").unwrap();
    assert!(
        matches!(node.as_slice(), [SdConfig::Provider { name, .. }] if name == "file"),
        "{node:?}"
    );
    let rules: usize = loaded
        .prometheus
        .rule_groups
        .iter()
        .map(|group| group.rules.len())
        .sum();
    assert_eq!((loaded.prometheus.rule_groups.len(), rules), (2, 9));
    assert_eq!(loaded.notify.unwrap().receivers.len(), 2);
    assert!(loaded.plugin_host.directory.ends_with("config/plugins"));
    assert!(loaded.plugin_host.grants.contains_key("file"));
    assert!(
        loaded
            .script_host
            .directory
            .join("disk_forecast.rhai")
            .exists()
    );
}

#[test]
fn every_file_of_the_sample_is_read() {
    let folder = samples();
    let loaded = load_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let mut read: BTreeSet<PathBuf> = loaded
        .watched
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect();
    // This one is the file plugin's; its form is checked here.
    let targets = folder.join("target_node.json");
    let groups: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(&targets).unwrap()).unwrap();
    assert_eq!(groups.len(), 2);
    for (group, label, address) in [
        (&groups[0], "production", "localhost:9090"),
        (&groups[1], "develop", "127.0.0.1:9090"),
    ] {
        assert_eq!(group["labels"]["group"], label);
        assert_eq!(group["targets"][0], address);
    }
    read.insert(fs::canonicalize(targets).unwrap());

    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("plugins") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let path = fs::canonicalize(path).unwrap();
            assert!(read.contains(&path), "{} is not read", path.display());
        }
    }
}

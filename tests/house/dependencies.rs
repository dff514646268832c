//! The dependency table of ARCHITECTURE.md against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Foreign worlds, and the one crate that knows each.
const FOREIGN_WORLDS: [(&str, &str); 12] = [
    ("axum", "web"),
    ("clap", "narthex"),
    ("hickory-resolver", "plugin-host"),
    ("memmap2", "mapped-file"),
    ("notify", "watch"),
    ("reqwest", "http-client"),
    ("rhai", "script-host"),
    ("serde-saphyr", "config"),
    ("sysinfo", "plugin-host"),
    ("wasmtime", "plugin-host"),
    ("wasmtime-wasi", "plugin-host"),
    ("wit-component", "plugin-host"),
];

/// What no core crate may depend on: runtimes, sockets, clocks.
const NOT_IN_CORE: [&str; 5] = ["tokio", "reqwest", "axum", "tracing", "prometheus"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Short name of each package of ours, its folder, and the full names of what it depends on
/// (without development dependencies).
fn packages() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let names = dependencies
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect();
            let folder = manifest.parent().unwrap().to_owned();
            (short(package["name"].as_str().unwrap()), (folder, names))
        })
        .collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("narthex-").unwrap_or(name).to_owned()
}

fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, after) = text.split_once("| crate | may depend on |").unwrap();
    let rows = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().to_owned();
        let allowed = cells
            .next()
            .unwrap()
            .split_whitespace()
            .filter(|cell| *cell != "(none)");
        (name, allowed.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn the_table_of_dependencies_is_what_is_built() {
    let packages = packages();
    let ours = |name: &&String| name.starts_with("narthex-");
    let built: BTreeMap<String, BTreeSet<String>> = packages
        .iter()
        .map(|(name, (_, all))| {
            (
                name.clone(),
                all.iter().filter(ours).map(|d| short(d)).collect(),
            )
        })
        .collect();
    assert_eq!(
        table(),
        built,
        "left: ARCHITECTURE.md, right: cargo metadata"
    );
}

#[test]
fn core_never_depends_on_edge() {
    let packages = packages();
    let edge: BTreeSet<&String> = packages
        .iter()
        .filter(|(_, (f, _))| f.parent().unwrap().ends_with("edge"))
        .map(|(n, _)| n)
        .collect();
    for (name, (folder, dependencies)) in &packages {
        if !folder.parent().unwrap().ends_with("core") {
            continue;
        }
        for dependency in dependencies {
            assert!(
                !edge.contains(&short(dependency)),
                "{name} depends on {dependency}"
            );
            assert!(
                !NOT_IN_CORE.contains(&dependency.as_str()),
                "{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn each_foreign_world_is_known_to_one_crate() {
    for (name, (_, dependencies)) in packages() {
        for (world, keeper) in FOREIGN_WORLDS {
            // A plugin is a world of its own: what it is built from never meets the agent.
            if name.starts_with("plugin-") && name != "plugin-host" {
                continue;
            }
            assert!(
                !dependencies.contains(world) || name == keeper,
                "{name} depends on {world}, which is {keeper}'s"
            );
        }
    }
}

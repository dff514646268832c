//! What every source file keeps to.

use std::path::{Path, PathBuf};

use crate::dependencies::root;

/// Rust files of the project.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["agent", "plugin-sdk", "plugins", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} files found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn check(what: &str, good: impl Fn(&Path, &str) -> bool) {
    let bad: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| !good(path, &std::fs::read_to_string(path).unwrap()))
        .collect();
    assert!(bad.is_empty(), "{what}: {bad:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    check("no module doc at the top", |_, text| {
        text.starts_with("//!")
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two parts, so that this file doesn't find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("dbg", "!("),
    ];
    check("left for later", |_, text| {
        !marks.iter().any(|mark| text.contains(mark))
    });
}

/// Files with unsafe code of ours, each with its reason beside it.
const UNSAFE: [&str; 3] = [
    "agent/edge/mapped-file/src/lib.rs",
    "agent/edge/script-host/src/memory.rs",
    "agent/narthex/src/allocator.rs",
];

#[test]
fn what_is_unsafe_stays_where_it_is() {
    // Written in two parts, so that this file doesn't find itself.
    let mark = concat!("unsafe", "_code");
    check("unsafe code", |path, text| {
        !text.contains(mark) || UNSAFE.iter().any(|known| path.ends_with(known))
    });
}

#[test]
fn the_core_touches_no_world() {
    let world = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "std::env",
    ];
    check("the world in core", |path, text| {
        let is_core = path.components().any(|part| part.as_os_str() == "core");
        // Modules that hold nothing but tests, and the programs that measure.
        let test_modules = [
            "tests",
            "tests.rs",
            "conformance.rs",
            "scenarios",
            "examples",
        ];
        let is_test = path
            .components()
            .any(|part| test_modules.iter().any(|m| part.as_os_str() == *m));
        let code = text.split("#[cfg(test)]").next().unwrap_or(text);
        !is_core || is_test || !world.iter().any(|word| code.contains(word))
    });
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for folder in ["agent/core", "agent/edge", "plugins"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else {
                continue;
            };
            assert!(
                text.contains("[lints]\nworkspace = true"),
                "{}",
                manifest.display()
            );
        }
    }
}

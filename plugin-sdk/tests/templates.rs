//! The templates of new plugins: they compile, and their own tests pass.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "what the macros would export is only there in WebAssembly"
)]

#[path = "../templates/discovery/src/lib.rs"]
mod discovery;
#[path = "../templates/exporter/src/lib.rs"]
mod exporter;

use std::path::Path;

const KINDS: [&str; 2] = ["discovery", "exporter"];

/// What stands in for the name of the new plugin is written in three ways, and no others.
#[test]
fn every_file_can_be_given_a_name() {
    for kind in KINDS {
        for file in ["Cargo.toml.template", "README.md", "src/lib.rs"] {
            let text = read(kind, file);
            assert!(text.contains("my-plugin"), "{kind}/{file}");
            let named = text
                .replace("my-plugin", "")
                .replace("my_plugin", "")
                .replace("MyPlugin", "")
                .to_lowercase();
            assert!(!named.contains("my plugin") && !named.contains("myplugin"));
        }
        assert_eq!(read(kind, "gitignore.template"), "/target/\n/*.wasm\n");
    }
}

#[test]
fn they_ask_for_the_version_that_there_is() {
    let (version, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap();
    for kind in KINDS {
        let manifest = read(kind, "Cargo.toml.template");
        let line = format!("narthex-plugin-sdk = \"{version}\"\n");
        assert!(manifest.contains(&line), "{kind}");
    }
}

/// Nothing where there is no such file.
fn read(kind: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    std::fs::read_to_string(folder.join(kind).join(file)).unwrap_or_default()
}

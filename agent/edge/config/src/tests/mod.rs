//! The configuration from outside: files in, plain configuration or faults out.

mod alertmanager;
mod conformance;
mod messages;
mod parts;
mod samples;

use std::fs;
use std::path::{Path, PathBuf};

use crate::{ConfigError, Loaded, Overrides, Paths, load};

/// A folder with the given files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn environment(name: &str) -> Option<String> {
    (name == "TEST").then(|| "TestValue".to_owned())
}

fn overrides() -> Overrides {
    Overrides {
        environment,
        memory_bytes: Some(16_000),
        ..Overrides::default()
    }
}

/// Loads the `prometheus.yml` of a folder, and the other two if they are there.
fn load_folder(folder: &Path) -> Result<Loaded, ConfigError> {
    let paths = Paths {
        prometheus: Some(folder.join("prometheus.yml")),
        ..Paths::default()
    };
    load(&paths, &overrides())
}

/// As [`load_folder`], of these files.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load_folder(folder(files).path())
}

fn conformance_directory() -> Option<PathBuf> {
    let directory = std::env::var_os("CONFORMANCE_DIR").map(PathBuf::from);
    if directory.is_none() {
        eprintln!("skipped: CONFORMANCE_DIR is not set");
    }
    directory
}

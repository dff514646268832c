//! A plugin's project: what cargo says of it, and building it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// How `cargo build` gets to WebAssembly; `make` builds with it too.
const BUILD_SCRIPT: &str = include_str!("../../../../../plugin-sdk/cargo-wasm.sh");

/// What crates of plugins may have before the plugin's name.
const PREFIX: &str = "narthex-plugin-";

/// A plugin, as the command line names it.
#[derive(Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Project(Project),
}

impl Source {
    pub(crate) fn of(path: &Path) -> anyhow::Result<Source> {
        let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        match metadata.is_dir() {
            true => Ok(Source::Project(Project::open(path)?)),
            false => Ok(Source::File(path.to_owned())),
        }
    }

    /// The plugin's file; a project is built for it.
    pub(crate) fn file(&self, profile: Profile) -> anyhow::Result<PathBuf> {
        match self {
            Source::File(file) => Ok(file.clone()),
            Source::Project(project) => project.build(profile),
        }
    }

    pub(crate) fn project(&self) -> Option<&Project> {
        match self {
            Source::File(_) => None,
            Source::Project(project) => Some(project),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Debug,
}

impl Profile {
    pub(crate) fn of(debug: bool) -> Profile {
        match debug {
            true => Profile::Debug,
            false => Profile::Release,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    /// The plugin's.
    pub(crate) name: String,
    package: String,
    /// As cargo names the library's file.
    crate_name: String,
    target_directory: PathBuf,
}

/// The part of a Cargo.toml that is looked at without cargo.
pub(crate) struct Manifest {
    pub(crate) package: String,
}

impl Manifest {
    /// None where it cannot be read or names no package.
    pub(crate) fn read(path: &Path) -> Option<Manifest> {
        let text = std::fs::read_to_string(path).ok()?;
        let lines = text.lines().skip_while(|line| line.trim() != "[package]");
        let own = lines.skip(1).take_while(|line| !line.starts_with('['));
        let name = own
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| key.trim() == "name")?;
        let package = name.1.trim().trim_matches('"').to_owned();
        Some(Manifest { package })
    }
}

/// What `cargo metadata` gives, as far as it matters.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

impl Project {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Project> {
        let manifest = folder.join("Cargo.toml");
        ensure!(
            manifest.is_file(),
            "there is no {}: name a plugin's file, or the folder of its project",
            manifest.display()
        );
        let manifest = manifest.canonicalize()?;
        let metadata = metadata(folder)?;
        let mut packages = metadata.packages.into_iter();
        let package = packages.find(|package| package.manifest_path == manifest);
        let Some(package) = package else {
            bail!("{}: is no package of its own", manifest.display());
        };
        let is_library = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        let Some(library) = package.targets.iter().find(is_library) else {
            bail!(
                "{}: makes no WebAssembly: [lib] must have crate-type = [\"cdylib\", \"rlib\"]",
                manifest.display()
            );
        };
        let name = package.name.strip_prefix(PREFIX);
        Ok(Project {
            folder: folder.to_owned(),
            name: name.unwrap_or(&package.name).to_owned(),
            crate_name: library.name.replace('-', "_"),
            target_directory: metadata.target_directory,
            package: package.name,
        })
    }

    /// Where [`Project::build`] puts the plugin.
    pub(crate) fn wasm(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// The folders of its recorded cases, by name.
    pub(crate) fn cases(&self) -> anyhow::Result<Vec<PathBuf>> {
        let fixtures = self.folder.join("fixtures");
        let Ok(entries) = std::fs::read_dir(&fixtures) else {
            return Ok(Vec::new());
        };
        let mut cases = Vec::new();
        for entry in entries {
            let path = entry
                .with_context(|| fixtures.display().to_string())?
                .path();
            if path.is_dir() {
                cases.push(path);
            }
        }
        cases.sort();
        Ok(cases)
    }

    /// What a change of means building anew.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let mut found = vec![self.folder.join("Cargo.toml")];
        let mut folders = vec![self.folder.join("src")];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
            found.push(folder);
        }
        found
    }

    /// Builds the plugin and gives its file, which is replaced as a whole.
    pub(crate) fn build(&self, profile: Profile) -> anyhow::Result<PathBuf> {
        let mut command = Command::new("bash");
        command
            .args([
                "-c",
                BUILD_SCRIPT,
                "cargo-wasm.sh",
                "--package",
                &self.package,
            ])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target_directory)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        if profile == Profile::Release {
            command.arg("--release");
        }
        let output = started(command.output(), "bash")?;
        ensure!(
            output.status.success(),
            "{} was not built; why is said above",
            self.folder.display()
        );
        let printed = String::from_utf8_lossy(&output.stdout);
        let below = match profile {
            Profile::Release => "release",
            Profile::Debug => "debug",
        };
        let built = Path::new(printed.trim()).join(below);
        let built = built.join(format!("{}.wasm", self.crate_name));
        let to = self.wasm();
        let new = to.with_extension("wasm.new");
        std::fs::copy(&built, &new)
            .and_then(|_| std::fs::rename(&new, &to))
            .with_context(|| format!("copying {} to {}", built.display(), to.display()))?;
        Ok(to)
    }

    /// Runs its own tests, on this machine.
    pub(crate) fn test(&self) -> anyhow::Result<()> {
        let status = Command::new("cargo")
            .args(["test", "--package", &self.package])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .stderr(Stdio::inherit())
            .status();
        let status = started(status, "cargo")?;
        ensure!(
            status.success(),
            "the tests of {} failed; why is said above",
            self.folder.display()
        );
        Ok(())
    }
}

fn metadata(folder: &Path) -> anyhow::Result<Metadata> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    let output = started(output, "cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo cannot read {}: {}",
        folder.join("Cargo.toml").display(),
        said.trim().trim_start_matches("error: ")
    );
    serde_json::from_slice(&output.stdout).context("reading what cargo metadata says")
}

fn started<T>(result: std::io::Result<T>, program: &str) -> anyhow::Result<T> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let where_from = match program {
                "cargo" => "; it comes with Rust, https://rustup.rs",
                _ => "",
            };
            bail!("the program {program} is not there, which builds plugins{where_from}")
        }
        result => result.with_context(|| format!("running {program}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_package_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Cargo.toml");
        for (text, expected) in [
            ("[package]\nname = \"a\"\n", Some("a")),
            (
                "# x\n[package]\nversion = \"1\"\nname=\"a-b\"\n[lib]\n",
                Some("a-b"),
            ),
            ("[lib]\nname = \"a\"\n", None),
            ("[package]\n[lib]\nname = \"a\"\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let package = Manifest::read(&path).map(|manifest| manifest.package);
            assert_eq!(package.as_deref(), expected, "{text}");
        }
    }
}

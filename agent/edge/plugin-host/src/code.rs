//! From a file's bytes to code that can be instantiated.
//!
//! Keeps true: what comes out is of a known world and version and asks for nothing that the host
//! does not have. What is refused is refused in a sentence that says what to do.

use std::fmt;

use narthex_extension::{Capabilities, FileAccess, HttpAccess};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::discovery::DiscoveryPre;
use crate::bindings::exporter::ExporterPre;
use crate::bindings::plugin::{Manifest as RawManifest, Wants};
use crate::bindings::{Discovery, Exporter};
use crate::host::State;

/// The version of the contract that this host speaks; the ones before it don't exist.
pub(crate) const CONTRACT: (u64, u64) = (0, 1);

const BUILD_LINE: &str = "cargo build --release --target wasm32-unknown-unknown";

/// A larger file is no plugin.
pub(crate) const MAX_FILE_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    Exporter,
    Discovery,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            World::Exporter => "exporter",
            World::Discovery => "discovery",
        })
    }
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    pub description: String,
    pub version: String,
    /// Without these it waits.
    pub wants: Capabilities,
    /// It makes use of these where they are granted.
    pub optional: Capabilities,
    pub interval_ms: Option<u64>,
}

/// Why a file is no plugin that can run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the file is empty")]
    Empty,
    #[error("the file is not WebAssembly: {0}")]
    NotWasm(String),
    #[error("the file is not valid WebAssembly: {0}")]
    Invalid(String),
    #[error("this is no Narthex plugin: {0}")]
    NoPlugin(String),
    #[error("{0}")]
    Version(String),
    #[error("{0}")]
    Needs(String),
    #[error("{0}")]
    Describe(String),
}

pub(crate) enum Instantiable {
    Exporter(ExporterPre<State>),
    Discovery(DiscoveryPre<State>),
}

impl Instantiable {
    pub(crate) fn world(&self) -> World {
        match self {
            Instantiable::Exporter(_) => World::Exporter,
            Instantiable::Discovery(_) => World::Discovery,
        }
    }
}

/// The SHA-256 of a plugin's file, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads, checks and compiles. Takes seconds for large plugins: not for a thread that has other
/// things to do.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Instantiable, LoadError> {
    let encoded;
    let component = match kind(bytes)? {
        Kind::Component => bytes,
        Kind::Module => {
            encoded = encode(bytes)?;
            &encoded
        }
    };
    let component = Component::new(engine, component)
        .map_err(|error| LoadError::Invalid(one_line(&format!("{error:#}"))))?;
    let kind = component.component_type();
    let exports: Vec<String> = kind
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let imports: Vec<String> = kind
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let world = world(&exports)?;
    check_imports(world, &imports)?;
    let wrong = |error: wasmtime::Error| LoadError::Needs(one_line(&format!("{error:#}")));
    match world {
        World::Exporter => {
            let mut linker = Linker::new(engine);
            Exporter::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
                .map_err(wrong)?;
            let pre = linker.instantiate_pre(&component).map_err(wrong)?;
            Ok(Instantiable::Exporter(
                ExporterPre::new(pre).map_err(wrong)?,
            ))
        }
        World::Discovery => {
            let mut linker = Linker::new(engine);
            Discovery::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
                .map_err(wrong)?;
            let pre = linker.instantiate_pre(&component).map_err(wrong)?;
            Ok(Instantiable::Discovery(
                DiscoveryPre::new(pre).map_err(wrong)?,
            ))
        }
    }
}

pub(crate) fn manifest(raw: RawManifest) -> Manifest {
    Manifest {
        description: raw.description,
        version: raw.version,
        wants: capabilities(raw.wants),
        optional: capabilities(raw.optional),
        interval_ms: raw.interval_ms,
    }
}

fn capabilities(wants: Wants) -> Capabilities {
    Capabilities {
        files: wants
            .files
            .into_iter()
            .map(|path| FileAccess { path })
            .collect(),
        http: wants
            .http
            .into_iter()
            .map(|url| HttpAccess { url })
            .collect(),
        env: wants.environment,
        system: wants.system,
        query: wants.query,
    }
}

enum Kind {
    Module,
    Component,
}

/// By the first eight bytes: the magic number, a version, and in its second half the layer.
fn kind(bytes: &[u8]) -> Result<Kind, LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    let Some((magic, rest)) = bytes.split_at_checked(8) else {
        return Err(LoadError::NotWasm(format!("{} bytes", bytes.len())));
    };
    match *magic {
        [0, b'a', b's', b'm', 1, 0, 0, 0] => Ok(Kind::Module),
        [0, b'a', b's', b'm', _, _, 1, 0] => Ok(Kind::Component),
        [0, b'a', b's', b'm', ..] => Err(LoadError::NotWasm(
            "it is of a version that is not known".to_owned(),
        )),
        [0x7f, b'E', b'L', b'F', ..] => Err(LoadError::NotWasm(format!(
            "it is a program for this machine; build it with `{BUILD_LINE}`"
        ))),
        _ if looks_like_text(magic, rest) => Err(LoadError::NotWasm(
            "it is WebAssembly text; wasm-tools parse makes a binary of it".to_owned(),
        )),
        _ => Err(LoadError::NotWasm(format!(
            "it starts with the bytes {}",
            magic
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
        ))),
    }
}

fn looks_like_text(magic: &[u8], rest: &[u8]) -> bool {
    let start: Vec<u8> = magic.iter().chain(rest.iter().take(8)).copied().collect();
    start.starts_with(b"(module") || start.starts_with(b"(component")
}

/// Makes a component of the module that cargo leaves. What the component is to look like, the SDK
/// has put into the module.
fn encode(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    let invalid = |error: &dyn fmt::Display| LoadError::Invalid(one_line(&format!("{error:#}")));
    let (found, bindings) =
        wit_component::metadata::decode(module).map_err(|error| invalid(&error))?;
    if found.is_none() {
        return Err(LoadError::NoPlugin(
            "it is a WebAssembly module that says nothing of what it exports. A plugin is made \
             with narthex-plugin-sdk and its macro exporter! or discovery!"
                .to_owned(),
        ));
    }
    // Asked before encoding, as the encoder's own words for a wrong world are of no help.
    let exports = &bindings.resolve.worlds[bindings.world].exports;
    let names: Vec<String> = exports
        .keys()
        .map(|key| bindings.resolve.name_world_key(key))
        .collect();
    world(&names)?;
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(module).map_err(|error| invalid(&error))?;
    encoder.encode().map_err(|error| {
        let text = one_line(&format!("{error:#}"));
        match text.contains("wasi") {
            true => LoadError::Needs(needs_wasi(&text)),
            false => LoadError::Invalid(text),
        }
    })
}

fn world(exports: &[String]) -> Result<World, LoadError> {
    let mut found = None;
    for export in exports {
        let Some((name, version)) = export
            .strip_prefix("narthex:plugin/")
            .map(|rest| rest.split_once('@').unwrap_or((rest, "")))
        else {
            continue;
        };
        check_version(version)?;
        let world = match name {
            "metrics" => World::Exporter,
            "targets" => World::Discovery,
            _ => continue,
        };
        if found.is_some_and(|found| found != world) {
            return Err(LoadError::NoPlugin(
                "it is an exporter and a discovery at once; make two plugins of it".to_owned(),
            ));
        }
        found = Some(world);
    }
    found.ok_or_else(|| {
        let what = match exports.is_empty() {
            true => "it exports nothing".to_owned(),
            false => format!("it exports {}", exports.join(", ")),
        };
        LoadError::NoPlugin(format!(
            "{what}, and neither narthex:plugin/metrics nor narthex:plugin/targets. Does it call \
             the macro exporter! or discovery! of narthex-plugin-sdk?"
        ))
    })
}

/// Versions 0.x are only compatible within the same x.
fn check_version(version: &str) -> Result<(), LoadError> {
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Err(LoadError::Version(format!(
            "the plugin names no version of the contract narthex:plugin (it says {version:?})"
        )));
    };
    let (own_major, own_minor) = CONTRACT;
    match (major, minor).cmp(&CONTRACT) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(LoadError::Version(format!(
            "the plugin is made for version {version} of the contract narthex:plugin, and this \
             Narthex speaks {own_major}.{own_minor}: update Narthex, or build the plugin with \
             narthex-plugin-sdk {own_major}.{own_minor}"
        ))),
        std::cmp::Ordering::Less => Err(LoadError::Version(format!(
            "the plugin is made for version {version} of the contract narthex:plugin, which this \
             Narthex no longer speaks: build it with narthex-plugin-sdk {own_major}.{own_minor}"
        ))),
    }
}

fn check_imports(world: World, imports: &[String]) -> Result<(), LoadError> {
    const BOTH: [&str; 7] = [
        "plugin",
        "log",
        "clock",
        "random",
        "environment",
        "files",
        "system",
    ];
    const DISCOVERY: [&str; 2] = ["events", "publisher"];
    for import in imports {
        let Some(rest) = import.strip_prefix("narthex:plugin/") else {
            return Err(LoadError::Needs(match import.starts_with("wasi:") {
                true => needs_wasi(import),
                false => format!("the plugin needs {import}, which Narthex does not offer"),
            }));
        };
        let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
        check_version(version)?;
        let known =
            BOTH.contains(&name) || (world == World::Discovery && DISCOVERY.contains(&name));
        if !known && DISCOVERY.contains(&name) {
            return Err(LoadError::Needs(format!(
                "the plugin is an exporter and needs {import}, which only discoveries have"
            )));
        }
        if !known {
            return Err(LoadError::Needs(format!(
                "the plugin needs the host interface {import}, which this Narthex does not have: \
                 update Narthex"
            )));
        }
    }
    Ok(())
}

fn needs_wasi(what: &str) -> String {
    format!(
        "the plugin needs WASI, which Narthex does not offer ({what}): build it with \
         `{BUILD_LINE}`, not for a wasip1 or wasip2 target"
    )
}

/// Errors of tools come on several lines.
fn one_line(text: &str) -> String {
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

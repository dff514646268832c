//! From a file's bytes to code that can be instantiated.
//!
//! Keeps true: what comes out is of a known world and version and asks for nothing that the host
//! does not have. What is refused is refused in a sentence that says what to do.

use std::fmt;

use narthex_extension::{Capabilities, FileAccess, HttpAccess};
use sha2::{Digest, Sha256};
use wasmparser::Parser;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::bindings::plugin::{Manifest as RawManifest, Wants};
use crate::bounds;
use crate::guest::{Contract, DiscoveryCode, ExporterCode};

const BUILD_LINE: &str = "cargo build --release --target wasm32-unknown-unknown";

/// A larger file is no plugin. Those made from Python have some 40 MiB.
const MAX_FILE_BYTES: u64 = 128 << 20;

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
pub enum LoadError {
    #[error("the file is too large: {0} bytes, and at most {MAX_FILE_BYTES} are read")]
    TooLarge(u64),
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

/// A plugin's code.
pub(crate) struct Instantiable {
    pub(crate) code: Code,
    pub(crate) contract: Contract,
    pub(crate) imports: Vec<String>,
}

pub(crate) enum Code {
    Exporter(ExporterCode),
    Discovery(DiscoveryCode),
}

impl Instantiable {
    pub(crate) fn world(&self) -> World {
        match self.code {
            Code::Exporter(_) => World::Exporter,
            Code::Discovery(_) => World::Discovery,
        }
    }
}

/// Refuses a file that is larger than any plugin is.
pub(crate) fn check_size(bytes: u64) -> Result<(), LoadError> {
    match bytes <= MAX_FILE_BYTES {
        true => Ok(()),
        false => Err(LoadError::TooLarge(bytes)),
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
    let kind_of_file = kind(bytes)?;
    bounds::check(bytes).map_err(LoadError::Invalid)?;
    let component = match kind_of_file {
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
    let (world, contract) = world(&exports)?;
    let wants_wasi = check_imports(world, contract, &imports)?;
    let wrong = |error: wasmtime::Error| LoadError::Needs(one_line(&format!("{error:#}")));
    let code = match world {
        World::Exporter => ExporterCode::link(&component, contract, wants_wasi)
            .map(Code::Exporter)
            .map_err(wrong)?,
        World::Discovery => DiscoveryCode::link(&component, contract, wants_wasi)
            .map(Code::Discovery)
            .map_err(wrong)?,
    };
    Ok(Instantiable {
        code,
        contract,
        imports,
    })
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
            .map(|url| HttpAccess {
                url,
                methods: Vec::new(),
            })
            .collect(),
        dns: wants.dns,
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
    // The decoder takes it for granted that sections are whole.
    for payload in Parser::new(0).parse_all(module) {
        payload.map_err(|error| invalid(&error))?;
    }
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
            true => LoadError::Needs(format!(
                "the plugin is a module that needs WASI ({text}): build it with `{BUILD_LINE}`, or \
                 make a component of it"
            )),
            false => LoadError::Invalid(text),
        }
    })
}

fn world(exports: &[String]) -> Result<(World, Contract), LoadError> {
    let mut found = None;
    for export in exports {
        let Some((name, version)) = export
            .strip_prefix("narthex:plugin/")
            .map(|rest| rest.split_once('@').unwrap_or((rest, "")))
        else {
            continue;
        };
        let contract = contract(version)?;
        let world = match name {
            "metrics" => World::Exporter,
            "targets" => World::Discovery,
            _ => continue,
        };
        if found.is_some_and(|(found, _)| found != world) {
            return Err(LoadError::NoPlugin(
                "it is an exporter and a discovery at once; make two plugins of it".to_owned(),
            ));
        }
        found = Some((world, contract));
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

/// The contract that a version belongs to: what is said in 0.1.x and in 1.x stays.
fn contract(version: &str) -> Result<Contract, LoadError> {
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Err(LoadError::Version(format!(
            "the plugin names no version of the contract narthex:plugin (it says {version:?})"
        )));
    };
    let spoken = Contract::ALL.into_iter();
    let known = spoken.rev().find(|known| match known.number() {
        (0, own) => (major, minor) == (0, own),
        (own, newest) => major == own && minor <= newest,
    });
    let newest = Contract::NEWEST;
    known.ok_or_else(|| {
        let (whose, what_to_do) = match (major, minor) > newest.number() {
            true => ("this Narthex speaks", "update Narthex, or "),
            false => ("which this Narthex does not speak; it speaks", ""),
        };
        let all = Contract::ALL.map(Contract::as_str).join(" and ");
        let and = if what_to_do.is_empty() { "" } else { "and " };
        LoadError::Version(format!(
            "the plugin is made for version {version} of the contract narthex:plugin, {and}{whose} \
             {all}: {what_to_do}build the plugin with narthex-plugin-sdk {}",
            newest.as_str()
        ))
    })
}

/// Checks what the plugin asks the host for. Gives whether WASI is among it.
fn check_imports(world: World, contract: Contract, imports: &[String]) -> Result<bool, LoadError> {
    let mut wants_wasi = false;
    for import in imports {
        if import.starts_with("wasi:") {
            if !is_offered_wasi(import) {
                return Err(LoadError::Needs(needs_wasi(import)));
            }
            wants_wasi = true;
            continue;
        }
        let Some(rest) = import.strip_prefix("narthex:plugin/") else {
            return Err(LoadError::Needs(format!(
                "the plugin needs {import}, which Narthex does not offer"
            )));
        };
        let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
        if self::contract(version)? != contract {
            return Err(LoadError::Version(format!(
                "the plugin mixes versions of the contract narthex:plugin: it gives {} and needs \
                 {version}; build it anew with narthex-plugin-sdk {}",
                contract.as_str(),
                Contract::NEWEST.as_str()
            )));
        }
        let not_exporters = matches!(name, "publisher" | "telemetry")
            || (name == "events" && contract == Contract::V0_1);
        if not_exporters && world == World::Exporter {
            return Err(LoadError::Needs(format!(
                "the plugin is an exporter and needs {import}, which only discoveries have"
            )));
        }
        if !offered(contract).contains(&name) {
            return Err(LoadError::Needs(format!(
                "the plugin needs the host interface {import}, which this Narthex does not have: \
                 update Narthex"
            )));
        }
    }
    Ok(wants_wasi)
}

/// The host's interfaces, those of discoveries among them.
fn offered(contract: Contract) -> &'static [&'static str] {
    match contract {
        Contract::V0_1 => &[
            "plugin",
            "log",
            "clock",
            "random",
            "environment",
            "files",
            "system",
            "events",
            "publisher",
        ],
        Contract::V1_0 => &[
            "plugin",
            "log",
            "clock",
            "random",
            "environment",
            "files",
            "system",
            "events",
            "http",
            "dns",
            "query",
            "publisher",
            "telemetry",
        ],
    }
}

/// Whether it is a part of the WASI that is offered, which reaches nothing.
fn is_offered_wasi(import: &str) -> bool {
    const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
    let rest = import.strip_prefix("wasi:").unwrap_or_default();
    let (package, interface) = rest.split_once('/').unwrap_or((rest, ""));
    let version = interface.split_once('@').map(|(_, version)| version);
    PACKAGES.contains(&package) && version.is_some_and(|version| version.starts_with("0.2."))
}

fn needs_wasi(what: &str) -> String {
    format!(
        "the plugin needs {what}. Narthex offers components the packages cli, clocks, filesystem, \
         io, random and sockets of WASI 0.2, none of which reaches anything; for requests there is \
         narthex:plugin/http. Plugins in Rust need no WASI: build them with `{BUILD_LINE}`"
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

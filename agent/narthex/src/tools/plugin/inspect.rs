//! `narthex plugin inspect`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use narthex_extension::Capabilities;
use narthex_model::duration;
use narthex_plugin_host::workbench::About;
use serde_json::json;

use super::{Shop, size};
use crate::api::extensions::capabilities as capabilities_json;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  narthex plugin inspect shop-tills.wasm --json")]
pub(crate) struct Inspect {
    /// The plugin's file.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let plugin = Shop::open()?.load(&self.file)?;
        match self.json {
            true => writeln!(out, "{:#}", as_json(plugin.name(), plugin.about()))?,
            false => print(plugin.name(), plugin.about(), out)?,
        }
        Ok(())
    }
}

fn as_json(name: &str, about: &About) -> serde_json::Value {
    let manifest = &about.manifest;
    json!({
        "name": name,
        "world": about.world.to_string(),
        "contract": about.contract,
        "version": manifest.version,
        "description": manifest.description,
        "intervalMs": manifest.interval_ms,
        "wants": capabilities_json(&manifest.wants),
        "optional": capabilities_json(&manifest.optional),
        "imports": about.imports,
        "sizeBytes": about.size_bytes,
        "sha256": about.sha256,
    })
}

fn print(name: &str, about: &About, out: &mut dyn Write) -> anyhow::Result<()> {
    let manifest = &about.manifest;
    let mut line = |what: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{what:<12}{text}"),
    };
    line("name", name)?;
    line("what", &manifest.description)?;
    line("version", &manifest.version)?;
    line("world", &about.world.to_string())?;
    line("contract", &format!("narthex:plugin {}", about.contract))?;
    let interval = manifest.interval_ms.map(duration::format_ms);
    line("interval", &interval.unwrap_or_default())?;
    line("wants", &capabilities(&manifest.wants).join("; "))?;
    line("may use", &capabilities(&manifest.optional).join("; "))?;
    line("imports", &about.imports.join(" "))?;
    line("size", &size(about.size_bytes as u64))?;
    line("sha256", &about.sha256)?;
    Ok(())
}

fn capabilities(capabilities: &Capabilities) -> Vec<String> {
    let files = capabilities.files.iter().map(|file| file.path.clone());
    let http = capabilities.http.iter().map(|http| http.url.clone());
    let lists = [
        ("files", files.collect::<Vec<_>>()),
        ("requests", http.collect()),
        ("names", capabilities.dns.clone()),
        ("environment", capabilities.env.clone()),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut all: Vec<String> = lists
        .map(|(what, list)| format!("{what} {}", list.join(" ")))
        .collect();
    let flags = [
        ("system", capabilities.system),
        ("query", capabilities.query),
    ];
    let set = flags.into_iter().filter(|(_, set)| *set);
    all.extend(set.map(|(what, _)| what.to_owned()));
    all
}

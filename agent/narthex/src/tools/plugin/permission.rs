//! What a plugin may do here, and with which configuration: as the command line says.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use narthex_plugin_host::Grant;
use narthex_plugin_host::workbench::Loaded;
use serde_json::Value;

#[derive(Args, Debug)]
pub(crate) struct Permission {
    /// The plugin's configuration, as in `config:` of narthex.yml or an entry of
    /// NAME_sd_configs: YAML or JSON, or @FILE.
    #[arg(long, value_name = "YAML")]
    config: Option<String>,
    /// What the plugin may do, as in plugins.grants of narthex.yml: YAML, or @FILE.
    #[arg(long, value_name = "YAML", conflicts_with = "grant_all")]
    grant: Option<String>,
    /// Let the plugin do all that it wants.
    #[arg(long)]
    grant_all: bool,
}

impl Permission {
    /// Whether the command line says anything of it.
    pub(crate) fn is_given(&self) -> bool {
        self.config.is_some() || self.grant.is_some() || self.grant_all
    }

    /// An empty object where none is given.
    pub(crate) fn config(&self) -> anyhow::Result<Value> {
        let Some(given) = &self.config else {
            return Ok(serde_json::json!({}));
        };
        let value = narthex_config::yaml_to_json(&content(given, "--config")?);
        match value.map_err(|error| anyhow::anyhow!("--config: {error}"))? {
            Value::Null => Ok(serde_json::json!({})),
            value @ Value::Object(_) => Ok(value),
            _ => bail!("--config: expected a mapping, as in '{{ url: \"http://127.0.0.1/\" }}'"),
        }
    }

    /// The error says what the plugin waits for.
    pub(crate) fn grant(&self, plugin: &Loaded) -> anyhow::Result<Grant> {
        let grant = match &self.grant {
            _ if self.grant_all => plugin.all_wants().into(),
            Some(given) => {
                let directory = std::env::current_dir().context("the working directory")?;
                let grant = narthex_config::plugin_grant(&content(given, "--grant")?, &directory);
                grant.map_err(|(field, message)| match field.as_str() {
                    "" => anyhow::anyhow!("--grant: {message}"),
                    field => anyhow::anyhow!("--grant: {field}: {message}"),
                })?
            }
            None => Grant::default(),
        };
        if !plugin.missing(&grant).is_empty() {
            let entry = plugin.grant_entry(&grant);
            let entry = entry.split_once(": ").map_or("", |(_, entry)| entry);
            bail!(
                "plugin {} waits for a grant: run it with --grant-all, or with --grant '{entry}'",
                plugin.name()
            );
        }
        Ok(grant)
    }
}

fn content(given: &str, flag: &str) -> anyhow::Result<String> {
    match given.strip_prefix('@') {
        Some(file) => {
            let text = std::fs::read_to_string(Path::new(file));
            text.with_context(|| format!("{flag}: {file}"))
        }
        None => Ok(given.to_owned()),
    }
}

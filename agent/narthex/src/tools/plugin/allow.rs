//! `narthex plugin allow`: the grant that a plugin needs, for narthex.yml or into it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use narthex_config::{Overrides, Paths};
use narthex_plugin_host::{Config, Grant};

use super::project::{Profile, Source};
use super::yaml_edit::with_grant;
use super::{Shop, plugin_name};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  narthex plugin allow shop-tills.wasm
  narthex plugin allow node --write --narthex.config.file /etc/narthex/narthex.yml")]
pub(crate) struct Allow {
    /// A plugin's file, its project's folder, or its name in the plugin folder.
    #[arg(value_name = "NAME|FILE")]
    plugin: PathBuf,
    /// Write the grant into narthex.yml; everything else in there stays as it is.
    #[arg(long)]
    write: bool,
    /// Narthex's own configuration file.
    #[arg(
        long = "narthex.config.file",
        value_name = "FILE",
        default_value = "narthex.yml"
    )]
    narthex_config_file: PathBuf,
}

impl Allow {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let config = self.config()?;
        let file = self.file(&config)?;
        let plugin = Shop::open()?.load(&file)?;
        let name = plugin.name();
        let grant = config.grants.get(name).cloned().unwrap_or_default();
        let shown = self.narthex_config_file.display();
        let entry = plugin.grant_entry(&grant);
        if plugin.all_wants().is_empty() {
            writeln!(out, "plugin {name} needs no grant")?;
            return Ok(());
        }
        if config.grants.contains_key(name) && plugin.missing(&grant).is_empty() {
            writeln!(out, "plugin {name} has all that it needs in {shown}")?;
            return Ok(());
        }
        if !self.write {
            writeln!(out, "plugins:\n  grants:\n    {entry}")?;
            return Ok(());
        }
        ensure!(
            can_be_told(&grant),
            "{shown}: the grant of {name} says more of requests than their URLs, which would be lost; \
             add by hand what is missing in:\n    {entry}"
        );
        let (key, value) = entry.split_once(": ").context("a grant without a name")?;
        self.write(name, key, value)?;
        writeln!(
            out,
            "{shown}: plugin {name} may now do what it wants:\n    {entry}"
        )?;
        Ok(())
    }

    /// Empty where there is no file yet.
    fn config(&self) -> anyhow::Result<Config> {
        let file = &self.narthex_config_file;
        if !file.exists() {
            return Ok(Config::new(folder_of(file).join("plugins"), ""));
        }
        // The other files don't matter: without them this one stands by itself.
        let empty = tempfile::NamedTempFile::new().context("a file without a word")?;
        let paths = Paths {
            prometheus: Some(empty.path().to_owned()),
            alertmanager: None,
            narthex: Some(file.clone()),
        };
        Ok(narthex_config::load(&paths, &Overrides::default())?.plugin_host)
    }

    fn file(&self, config: &Config) -> anyhow::Result<PathBuf> {
        if self.plugin.exists() {
            return Source::of(&self.plugin)?.file(Profile::Release);
        }
        let name = plugin_name(&self.plugin)?;
        let file = config.directory.join(format!("{name}.wasm"));
        if !file.exists() || self.plugin.components().count() != 1 {
            bail!(
                "{}: there is no such file, and no {} in the plugin folder",
                self.plugin.display(),
                file.display()
            );
        }
        Ok(file)
    }

    fn write(&self, name: &str, key: &str, value: &str) -> anyhow::Result<()> {
        let file = &self.narthex_config_file;
        let shown = file.display();
        let old = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| shown.to_string()),
        };
        let new = with_grant(&old, name, key, value).map_err(|reason| {
            anyhow::anyhow!(
                "{shown}: not changed, as {reason}; add these lines by hand:\nplugins:\n  grants:\n    \
                 {key}: {value}"
            )
        })?;
        // Where a link leads is changed, not the link.
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        replace(&real, &new).with_context(|| shown.to_string())
    }
}

/// Whether the entry that is printed says all of what is granted already.
fn can_be_told(grant: &Grant) -> bool {
    grant.http.is_empty() && (grant.capabilities.http.iter()).all(|http| http.methods.is_empty())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// As a whole, with the permissions that it has.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = match folder_of(file) {
        empty if empty.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    let permissions = match fs::metadata(file) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

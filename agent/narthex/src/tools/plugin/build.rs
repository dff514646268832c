//! `narthex plugin build`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use narthex_plugin_host::Grant;

use super::project::{Profile, Project};
use super::{Shop, size};

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  narthex plugin build && cp shop-tills.wasm /etc/narthex/plugins/"
)]
pub(crate) struct Build {
    /// The project's folder.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Build faster, for a plugin that is larger and slower.
    #[arg(long)]
    debug: bool,
}

impl Build {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let project = Project::open(&self.project)?;
        let file = project.build(Profile::of(self.debug))?;
        let plugin = Shop::open()?.load(&file)?;
        let about = plugin.about();
        writeln!(
            out,
            "{}: {}, {}, contract {}",
            file.strip_prefix(".").unwrap_or(&file).display(),
            size(about.size_bytes as u64),
            about.world,
            about.contract
        )?;
        let missing = plugin.missing(&Grant::default());
        match missing.is_empty() {
            true => writeln!(out, "it needs no grant")?,
            false => writeln!(
                out,
                "it waits until narthex.yml grants under plugins.grants:\n  {}",
                plugin.grant_entry(&Grant::default())
            )?,
        }
        Ok(())
    }
}

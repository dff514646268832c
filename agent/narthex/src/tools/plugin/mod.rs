//! `narthex plugin …`: what those need who write plugins, from nothing to a grant in `narthex.yml`.
//!
//! A plugin is named by its file or by its project's folder. Results go to standard output; what
//! cargo and the plugin say in between goes to standard error.

mod allow;
mod bench;
mod build;
mod cases;
mod inspect;
mod new;
mod permission;
mod project;
mod recording;
mod run;
mod show;
mod test;
mod yaml_edit;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use narthex_plugin_host::Limits;
use narthex_plugin_host::workbench::{Loaded, Workbench};
use tokio::runtime::Runtime;

use crate::outside::outside;

#[derive(Subcommand, Debug)]
pub(crate) enum PluginTool {
    /// Begin a plugin: a whole project with tests.
    New(new::New),
    /// Build a project; the plugin is NAME.wasm in its folder.
    Build(build::Build),
    /// Run a project's own tests, then the built plugin against the recorded cases in fixtures/.
    Test(test::Test),
    /// Run one plugin here, its output on the terminal, again on each change.
    Run(run::Run),
    /// Measure what a plugin costs.
    Bench(bench::Bench),
    /// Tell what a file is: its world, its version of the contract, what it wants.
    Inspect(inspect::Inspect),
    /// Print the grant that a plugin needs, or write it into narthex.yml.
    Allow(allow::Allow),
}

impl PluginTool {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            PluginTool::New(command) => command.run(out),
            PluginTool::Build(command) => command.run(out),
            PluginTool::Test(command) => command.run(out),
            PluginTool::Run(command) => command.run(out),
            PluginTool::Bench(command) => command.run(out),
            PluginTool::Inspect(command) => command.run(out),
            PluginTool::Allow(command) => command.run(out),
        }
    }

    pub(crate) fn log_level(&self) -> &str {
        match self {
            PluginTool::Run(run) => run.log_level(),
            _ => "warn",
        }
    }
}

/// Where one plugin is loaded, with the threads that this takes.
struct Shop {
    runtime: Runtime,
    bench: Workbench,
}

impl Shop {
    fn open() -> anyhow::Result<Shop> {
        Shop::with(&cache_directory(), Limits::default(), false)
    }

    fn with(cache: &Path, limits: Limits, counts_fuel: bool) -> anyhow::Result<Shop> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("starting threads")?;
        let inside = runtime.enter();
        let bench = Workbench::new(cache, limits, outside(None), counts_fuel)?;
        drop(inside);
        Ok(Shop { runtime, bench })
    }

    fn load(&self, file: &Path) -> anyhow::Result<Loaded> {
        let _inside = self.runtime.enter();
        let name = plugin_name(file)?;
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let loaded = self.bench.load(&name, &bytes);
        loaded.with_context(|| file.display().to_string())
    }

    /// Without waiting for what is still under way.
    fn close(self) {
        drop(self.bench);
        self.runtime.shutdown_background();
    }
}

/// Compiled plugins are kept for the next time.
fn cache_directory() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = folder("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(folder("HOME")?).join(".cache")));
    let cache = cache.unwrap_or_else(std::env::temp_dir);
    cache.join("narthex").join("plugins")
}

/// As the agent names a plugin: by its file.
fn plugin_name(file: &Path) -> anyhow::Result<String> {
    let name = file.file_stem().and_then(|stem| stem.to_str());
    let name = name.filter(|name| !name.is_empty() && !name.starts_with('.'));
    let name = name.with_context(|| format!("{} names no plugin", file.display()))?;
    Ok(name.to_owned())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

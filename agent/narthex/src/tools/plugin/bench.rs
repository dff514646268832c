//! `narthex plugin bench`: what a plugin costs, in its recorded world or in the real one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use narthex_plugin_host::workbench::{Loaded, Trial};
use narthex_plugin_host::{Limits, World};
use serde_json::Value;

use super::cases::Case;
use super::permission::Permission;
use super::project::{Profile, Source};
use super::{Shop, cache_directory, show, size};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  narthex plugin bench
  narthex plugin bench node.wasm --grant-all --collections 100")]
pub(crate) struct Bench {
    /// The plugin's file, or its project's folder.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// How often it is collected.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    collections: u32,
    /// The recorded case that the plugin meets [default: the first one of a project; a file meets
    /// the real world].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "grant", "grant_all"])]
    case: Option<String>,
    #[command(flatten)]
    permission: Permission,
}

/// So often is measured what takes long.
const FEW: u32 = 20;

/// Where a plugin is measured.
enum Meets {
    Case(Box<Case>),
    World(Value),
}

/// What collecting costs.
struct Costs {
    times: Vec<Duration>,
    fuel: u64,
    memory_bytes: u64,
    /// Of the last collection: series, and bytes of text.
    series: u64,
    bytes: usize,
}

impl Bench {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let source = Source::of(&self.plugin)?;
        let meets = self.meets(&source)?;
        let file = source.file(Profile::Release)?;
        let compiled = compilation(&file)?;
        let shop = Shop::open()?;
        let plugin = shop.load(&file)?;
        let cached = median(&mut times(FEW, || shop.load(&file).map(|_| ()))?);
        let counting = Shop::with(&cache_directory(), Limits::default(), true)?;
        let counted = counting.load(&file)?;
        let _inside = shop.runtime.enter();
        let about = plugin.about();
        let mut line = |what: &str, text: String| writeln!(out, "{what:<14}{text}");
        let bytes = size(about.size_bytes as u64);
        line(
            "plugin",
            format!("{}, {}, {}", plugin.name(), about.world, bytes),
        )?;
        match &meets {
            Meets::Case(case) => line("world", format!("recorded in fixtures/{}", case.name))?,
            Meets::World(_) => line("world", "this machine".to_owned())?,
        }
        line(
            "compilation",
            format!("{}; {} from the cache", shown(compiled), shown(cached)),
        )?;
        if about.world == World::Discovery {
            return self.discovery(&plugin, &counted, &meets, &mut line);
        }
        let mut started = times(FEW, || {
            let trial = self.trial(&plugin, &meets)?;
            let started = trial.exporter(meets.config()).map(|_| ());
            started.map_err(anyhow::Error::msg)
        })?;
        line("instantiation", shown(median(&mut started)))?;
        let mut costs = self.collect(&plugin, &meets, self.collections)?;
        let fuel = self.collect(&counted, &meets, 3)?.fuel;
        let time = median(&mut costs.times);
        line(
            "collection",
            format!(
                "{} median, {} at the 99th percentile of {}",
                shown(time),
                shown(percentile(&costs.times, 99)),
                self.collections
            ),
        )?;
        line("fuel", format!("{fuel} a collection"))?;
        line("memory", format!("{} at most", size(costs.memory_bytes)))?;
        line(
            "series",
            format!("{}, {} of text", costs.series, size(costs.bytes as u64)),
        )?;
        Ok(())
    }

    fn meets(&self, source: &Source) -> anyhow::Result<Meets> {
        let cases = source.project().map(|project| project.cases());
        let cases = cases.transpose()?.unwrap_or_default();
        let named = |folder: &&PathBuf| match &self.case {
            Some(name) => folder.ends_with(name),
            None => true,
        };
        let asks_world = self.permission.is_given();
        match (cases.iter().find(named), &self.case) {
            (None, Some(name)) => bail!("there is no case fixtures/{name}"),
            (Some(folder), _) if !asks_world => Ok(Meets::Case(Box::new(Case::read(folder)?))),
            _ => Ok(Meets::World(self.permission.config()?)),
        }
    }

    fn trial(&self, plugin: &Loaded, meets: &Meets) -> anyhow::Result<Trial> {
        match meets {
            Meets::Case(case) => case.trial(plugin),
            Meets::World(_) => Ok(plugin.trial(self.permission.grant(plugin)?, None)),
        }
    }

    fn collect(&self, plugin: &Loaded, meets: &Meets, count: u32) -> anyhow::Result<Costs> {
        let trial = self.trial(plugin, meets)?;
        let instance = trial.exporter(meets.config());
        let mut instance = instance.map_err(anyhow::Error::msg)?;
        let mut times = Vec::new();
        let mut text = String::new();
        for _ in 0..count {
            let begun = Instant::now();
            let families = instance.collect()?;
            times.push(begun.elapsed());
            text.clear();
            show::families(&families, &mut text);
            trial.take_said();
        }
        let usage = trial.usage();
        Ok(Costs {
            times,
            fuel: instance.last_fuel(),
            memory_bytes: usage.memory_peak_bytes,
            series: usage.series,
            bytes: text.len(),
        })
    }

    /// One run through a recorded case, as often as time allows.
    fn discovery(
        &self,
        plugin: &Loaded,
        counted: &Loaded,
        meets: &Meets,
        line: &mut dyn FnMut(&str, String) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let Meets::Case(case) = meets else {
            bail!(
                "a discovery is measured in a recorded case: name its project, with a case in \
                 fixtures/"
            );
        };
        let run = |plugin: &Loaded| {
            let trial = case.trial(plugin)?;
            let ran = trial.run(&case.case.config, &case.case.base_directory);
            ran.map_err(anyhow::Error::msg)?;
            anyhow::Ok(trial)
        };
        let mut took = times(FEW, || run(plugin).map(|_| ()))?;
        let usage = run(plugin)?.usage();
        let fuel = run(counted)?.last_fuel();
        line(
            "run",
            format!(
                "{} median of {FEW}, instantiation and all",
                shown(median(&mut took))
            ),
        )?;
        line("fuel", format!("{fuel} a run"))?;
        line(
            "memory",
            format!("{} at most", size(usage.memory_peak_bytes)),
        )?;
        line("targets", usage.targets.to_string())?;
        Ok(())
    }
}

impl Meets {
    fn config(&self) -> &Value {
        match self {
            Meets::Case(case) => &case.case.config,
            Meets::World(config) => config,
        }
    }
}

/// With an empty cache.
fn compilation(file: &Path) -> anyhow::Result<Duration> {
    let cache = tempfile::tempdir().context("a folder for a cache")?;
    let shop = Shop::with(cache.path(), Limits::default(), false)?;
    let begun = Instant::now();
    shop.load(file)?;
    Ok(begun.elapsed())
}

fn times(count: u32, mut run: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        run()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    percentile(times, 50)
}

/// Of times in their order.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        0.0..1000.0 => format!("{micros:.0} µs"),
        _ => format!("{:.1} ms", micros / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let ms = |count: u64| (1..=count).map(Duration::from_millis).collect::<Vec<_>>();
        for (count, percent, expected) in [(1, 99, 1), (2, 50, 2), (100, 50, 51), (100, 99, 100)] {
            let found = percentile(&ms(count), percent);
            assert_eq!(found, Duration::from_millis(expected), "{count} {percent}");
        }
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}

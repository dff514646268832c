//! `narthex plugin run`: one plugin in the real world, its output on the terminal.
//!
//! When its file changes, or the sources of its project, the new one takes over; one that cannot be
//! built or loaded leaves the former one running.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use narthex_extension::ExporterError;
use narthex_model::{MetricFamily, TargetGroup, duration};
use narthex_plugin_host::World;
use narthex_plugin_host::workbench::{Instance, Loaded, Running, Trial};
use narthex_watch::{Options, Watcher};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::permission::Permission;
use super::project::{Profile, Source};
use super::{Shop, show};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  narthex plugin run --grant-all
  narthex plugin run shop-tills.wasm --grant '{ files: [/var/lib/shop] }' --config '{ till: 3 }'")]
pub(crate) struct Run {
    /// The plugin's file, or its project's folder.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    #[command(flatten)]
    permission: Permission,
    /// How often an exporter is collected [default: as it suggests, else 15s].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_ms)]
    interval: Option<u64>,
    /// End after the first collection or publication.
    #[arg(long)]
    once: bool,
    /// Build a project faster, for a plugin that is larger and slower.
    #[arg(long)]
    debug: bool,
    /// Only log messages of this level or above.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error"])]
    log_level: String,
}

const INTERVAL_MS: u64 = 15_000;

/// What runs.
enum Live {
    Exporter(Box<Exporter>),
    Discovery(Running),
}

struct Exporter {
    /// None while it collects.
    instance: Option<Instance>,
    collecting: Option<JoinHandle<Collected>>,
    /// When it is collected; at once the first time.
    ticks: Interval,
}

/// The instance comes back with what it gave, or why it gave nothing, and how long that took.
type Collected = (Instance, Result<Vec<MetricFamily>, ExporterError>, Duration);

/// Why it is no longer waited for.
enum Next {
    Changed,
    Stopped,
    Done,
}

impl Run {
    pub(crate) fn log_level(&self) -> &str {
        &self.log_level
    }

    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let shop = Shop::open()?;
        let ran = self.go_on(&shop, out);
        shop.close();
        ran
    }

    /// Until it is told to end.
    fn go_on(&self, shop: &Shop, out: &mut dyn Write) -> anyhow::Result<()> {
        let source = Source::of(&self.plugin)?;
        let config = self.permission.config()?;
        let _inside = shop.runtime.enter();
        let mut watcher = Watcher::new(watched(&source), Options::default());
        let mut live: Option<Live> = None;
        loop {
            match self.start(shop, &source, &config) {
                Ok(new) => live = Some(new),
                Err(error) if self.once => return Err(error),
                Err(error) => {
                    let goes_on = match live {
                        Some(_) => "the former one goes on",
                        None => "waiting for a change",
                    };
                    tracing::error!("{error:#}; {goes_on}");
                }
            }
            watcher.set_paths(watched(&source));
            let attended = self.attend(live.as_mut(), &mut watcher, out);
            match shop.runtime.block_on(attended)? {
                Next::Changed => {}
                Next::Stopped | Next::Done => return Ok(()),
            }
        }
    }

    fn start(&self, shop: &Shop, source: &Source, config: &Value) -> anyhow::Result<Live> {
        let file = source.file(Profile::of(self.debug))?;
        let plugin = shop.load(&file)?;
        let grant = self.permission.grant(&plugin)?;
        let trial = plugin.trial(grant, None);
        match plugin.about().world {
            World::Exporter => self.exporter(&plugin, &trial, config),
            World::Discovery => {
                let directory = std::env::current_dir().context("the working directory")?;
                let running = trial.start_run(config, &directory.display().to_string());
                Ok(Live::Discovery(running.map_err(anyhow::Error::msg)?))
            }
        }
    }

    fn exporter(&self, plugin: &Loaded, trial: &Trial, config: &Value) -> anyhow::Result<Live> {
        let instance = trial.exporter(config).map_err(anyhow::Error::msg)?;
        let suggested = plugin.about().manifest.interval_ms;
        let interval_ms = self.interval.or(suggested).unwrap_or(INTERVAL_MS);
        let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Live::Exporter(Box::new(Exporter {
            instance: Some(instance),
            collecting: None,
            ticks,
        })))
    }

    async fn attend(
        &self,
        mut live: Option<&mut Live>,
        watcher: &mut Watcher,
        out: &mut dyn Write,
    ) -> anyhow::Result<Next> {
        loop {
            let given = async {
                match &mut live {
                    Some(live) => live.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                given = given => {
                    let good = given.print(out)?;
                    if self.once {
                        return match good {
                            true => Ok(Next::Done),
                            false => bail!("the plugin failed, as is said above"),
                        };
                    }
                    if !good && let Some(Live::Discovery(_)) = live {
                        // What has ended is not asked again.
                        live = None;
                    }
                }
                _ = watcher.changed() => return Ok(Next::Changed),
                stopped = tokio::signal::ctrl_c() => {
                    stopped.context("waiting for ctrl-C")?;
                    return Ok(Next::Stopped);
                }
            }
        }
    }
}

fn watched(source: &Source) -> Vec<PathBuf> {
    match source {
        Source::File(file) => vec![file.clone()],
        Source::Project(project) => project.sources(),
    }
}

/// What a plugin gave.
enum Given {
    Metrics(Vec<MetricFamily>, Duration),
    Groups(Vec<TargetGroup>),
    Failure(String),
}

impl Live {
    async fn next(&mut self) -> Given {
        match self {
            Live::Exporter(exporter) => exporter.next().await,
            Live::Discovery(running) => match running.next().await {
                Ok(groups) => Given::Groups(groups),
                Err(error) => Given::Failure(error),
            },
        }
    }
}

impl Exporter {
    /// May be given up at any time: a collection that is under way is taken up again.
    async fn next(&mut self) -> Given {
        if self.collecting.is_none() {
            self.ticks.tick().await;
            self.collecting = self.instance.take().map(|mut instance| {
                tokio::task::spawn_blocking(move || {
                    let begun = Instant::now();
                    let collected = instance.collect();
                    (instance, collected, begun.elapsed())
                })
            });
        }
        let Some(collecting) = &mut self.collecting else {
            return std::future::pending().await;
        };
        let done = collecting.await;
        self.collecting = None;
        let (instance, collected, took) = match done {
            Ok(done) => done,
            Err(error) => return Given::Failure(error.to_string()),
        };
        self.instance = Some(instance);
        match collected {
            Ok(families) => Given::Metrics(families, took),
            Err(error) => Given::Failure(error.to_string()),
        }
    }
}

impl Given {
    /// Gives whether it is good.
    fn print(&self, out: &mut dyn Write) -> std::io::Result<bool> {
        let mut text = String::new();
        match self {
            Given::Metrics(families, took) => {
                let samples: usize = families.iter().map(|family| family.metrics.len()).sum();
                let took = took.as_secs_f64() * 1000.0;
                let metrics = if samples == 1 { "metric" } else { "metrics" };
                text.push_str(&format!("# {samples} {metrics} in {took:.1} ms\n"));
                show::families(families, &mut text);
            }
            Given::Groups(groups) => {
                text.push_str(&format!("# {} groups\n", groups.len()));
                show::groups(groups, &mut text);
            }
            Given::Failure(error) => {
                text.push_str(&format!("# failed: {}\n", show::one_line(error)));
            }
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(!matches!(self, Given::Failure(_)))
    }
}

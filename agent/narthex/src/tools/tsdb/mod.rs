//! `narthex tsdb …`: what promtool's commands of these names do, and more.

mod analyze;
mod dump;
mod import;
mod list;
mod verify;
mod whole;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use narthex_model::{Matcher, duration};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;

#[derive(Subcommand, Debug)]
pub(crate) enum TsdbCommand {
    /// List the blocks of a data folder.
    List {
        #[command(flatten)]
        folder: Folder,
        /// Print times and sizes for people.
        #[arg(short = 'r', long)]
        human_readable: bool,
    },
    /// Tell what takes the room in a block, and which labels come and go.
    Analyze {
        #[command(flatten)]
        folder: Folder,
        /// The block; the newest if none is named.
        block: Option<String>,
        /// How long each list may be.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Tell how full the chunks are, too.
        #[arg(long)]
        extended: bool,
        /// Look only at the series of this selector.
        #[arg(long = "match", value_name = "SELECTOR")]
        selector: Option<String>,
    },
    /// Read everything that is in the blocks and check it.
    Verify {
        #[command(flatten)]
        folder: Folder,
    },
    /// Write all samples into blocks, so that Prometheus can be started on the folder. No server may
    /// be using it.
    Seal {
        #[command(flatten)]
        folder: Folder,
    },
    /// Print the samples of a data folder, one a line.
    Dump {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        selection: Selection,
        /// prom: labels, value, time; seriesjson: the labels of each series as JSON.
        #[arg(long, default_value = "prom", value_parser = ["prom", "seriesjson"])]
        format: String,
    },
    /// Print the samples of a data folder in the OpenMetrics format.
    DumpOpenmetrics {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        selection: Selection,
    },
    /// Write blocks from samples of elsewhere.
    #[command(subcommand)]
    CreateBlocksFrom(Source),
}

#[derive(Args, Debug)]
pub(crate) struct Folder {
    /// The data folder.
    #[arg(default_value = "data/")]
    path: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Selection {
    /// The earliest time, in milliseconds since 1970.
    #[arg(long, default_value_t = i64::MIN, allow_negative_numbers = true)]
    min_time: i64,
    /// The latest time, in milliseconds since 1970.
    #[arg(long, default_value_t = i64::MAX, allow_negative_numbers = true)]
    max_time: i64,
    /// A series selector; given several times, series that any of them selects.
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Where the samples that are not in blocks are copied to while they are read.
    #[arg(long, value_name = "FOLDER")]
    sandbox_dir_root: Option<PathBuf>,
}

impl Selection {
    /// No set stands for all series.
    fn matcher_sets(&self) -> anyhow::Result<Vec<Vec<Matcher>>> {
        self.selectors.iter().map(parse_selector).collect()
    }
}

fn parse_selector(text: &String) -> anyhow::Result<Vec<Matcher>> {
    narthex_promql::syntax::parse_selector(text)
        .map_err(|error| anyhow::anyhow!("--match {text:?}: {error}"))
}

fn seal(folder: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let config = Config {
        retention_ms: 0,
        ..Config::new(folder)
    };
    let store = Db::open(config, &Registry::new())?;
    store.seal()?;
    let blocks = store.blocks().loaded().len();
    writeln!(out, "{}: sealed, {blocks} blocks", folder.display())?;
    Ok(())
}

#[derive(Subcommand, Debug)]
pub(crate) enum Source {
    /// From a file in the OpenMetrics format, each sample with its time.
    Openmetrics {
        input: PathBuf,
        /// Where the blocks go; move them into a data folder afterwards.
        #[arg(default_value = "data/")]
        output: PathBuf,
        /// The longest block.
        #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = duration::parse_ms)]
        max_block_duration: u64,
        /// Print times and sizes for people.
        #[arg(short = 'r', long)]
        human_readable: bool,
        /// Print no list of the blocks.
        #[arg(short = 'q', long)]
        quiet: bool,
    },
}

impl TsdbCommand {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            TsdbCommand::List {
                folder,
                human_readable,
            } => list::list(&folder.existing()?, human_readable, out),
            TsdbCommand::Analyze {
                folder,
                block,
                limit,
                extended,
                selector,
            } => {
                let matchers = selector.as_ref().map(parse_selector).transpose()?;
                let wanted = analyze::Wanted {
                    block: block.as_deref(),
                    limit,
                    extended,
                    matchers: matchers.as_deref().unwrap_or_default(),
                };
                analyze::run(&folder.existing()?, &wanted, out)
            }
            TsdbCommand::Verify { folder } => verify::run(&folder.existing()?, out),
            TsdbCommand::Seal { folder } => seal(&folder.existing()?, out),
            TsdbCommand::Dump {
                folder,
                selection,
                format,
            } => {
                let format = match format.as_str() {
                    "seriesjson" => dump::Format::SeriesJson,
                    _ => dump::Format::Plain,
                };
                dump::dump(&folder.existing()?, &selection, format, out)
            }
            TsdbCommand::DumpOpenmetrics { folder, selection } => {
                let folder = folder.existing()?;
                dump::dump(&folder, &selection, dump::Format::OpenMetrics, out)
            }
            TsdbCommand::CreateBlocksFrom(Source::Openmetrics {
                input,
                output,
                max_block_duration,
                human_readable,
                quiet,
            }) => {
                let made = import::openmetrics(&input, &output, max_block_duration)?;
                match quiet {
                    true => Ok(()),
                    false => list::print(&made, human_readable, out),
                }
            }
        }
    }
}

impl Folder {
    fn existing(&self) -> anyhow::Result<PathBuf> {
        let path = &self.path;
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("the data folder {}", path.display()))?;
        anyhow::ensure!(metadata.is_dir(), "{} is no folder", path.display());
        Ok(path.clone())
    }
}

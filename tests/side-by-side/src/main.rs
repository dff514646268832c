//! Runs Narthex and what it stands in for on the same load, one after the other, and prints both.
//!
//! ```text
//! side-by-side load    [--listen ADDRESS] [--targets N] [--series N]
//! side-by-side tsdb    --narthex FILE --tools FOLDER [--targets N] [--series N] [--interval S] [--seconds S]
//! side-by-side promql  --narthex FILE --tools FOLDER --data FOLDER [--targets N] [--series N] [--only NAME]
//! side-by-side plugins --narthex FILE --tools FOLDER --plugins FOLDER [--interval S] [--seconds S]
//! side-by-side queries --narthex FILE --tools FOLDER [--seed N] [--count N] [--first N]
//! side-by-side torture --narthex FILE [--rounds N] [--seed N] [--targets N] [--series N]
//! ```
//!
//! Figures are printed, never judged: machines differ. What has to hold on every machine is in
//! `torture`, which ends with an error if a sample is lost, and in `queries`, which ends with one if
//! an answer is not Prometheus's.

mod answers;
mod arguments;
mod blocks;
mod history;
mod load;
mod pages;
mod plugins;
mod promql;
mod queries;
mod questions;
mod server;
mod stored;
mod torture;
mod tsdb;

use anyhow::{Result, bail};

use crate::arguments::Arguments;

const USAGE: &str =
    "usage: side-by-side load|tsdb|promql|plugins|queries|torture [--name value]...";

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let Some(command) = words.next() else {
        bail!("{USAGE}");
    };
    let arguments = Arguments::parse(words)?;
    match command.as_str() {
        "load" => load::serve_forever(&arguments),
        "tsdb" => tsdb::compare(&arguments),
        "promql" => promql::compare(&arguments),
        "plugins" => plugins::compare(&arguments),
        "queries" => queries::compare(&arguments),
        "torture" => torture::run(&arguments),
        _ => bail!("unknown command {command:?}; {USAGE}"),
    }
}

//! What the binary does besides running: commands that end.
//!
//! A command writes its result to the writer it is given and progress to the terminal, if there is
//! one. Who stops reading (`| head`) is no error.

mod plugin;
mod progress;
mod promql;
mod query;
mod server;
mod tsdb;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(crate) enum Tool {
    /// Look into a data folder, or write blocks.
    #[command(subcommand)]
    Tsdb(tsdb::TsdbCommand),
    /// Ask a running server.
    Query(query::QueryTool),
    /// Write plugins: begin one, build, test, run, measure and allow it.
    #[command(subcommand)]
    Plugin(plugin::PluginTool),
    /// Format expressions, change them, or explain how they are evaluated.
    #[command(subcommand)]
    Promql(promql::PromqlTool),
}

impl Tool {
    /// From which level on the parts that a tool uses are heard.
    pub(crate) fn log_level(&self) -> &str {
        match self {
            Tool::Plugin(tool) => tool.log_level(),
            _ => "warn",
        }
    }

    pub(crate) fn run(self) -> ExitCode {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = match self {
            Tool::Tsdb(command) => command.run(&mut out),
            Tool::Query(tool) => tool.run(&mut out),
            Tool::Promql(tool) => tool.run(&mut out),
            Tool::Plugin(tool) => tool.run(&mut out),
        };
        let done = done.and_then(|()| Ok(out.flush()?));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                // There is nowhere else to say it.
                let _ = writeln!(io::stderr(), "error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

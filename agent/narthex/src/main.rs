//! Monitoring in one binary: scrape, store, query, alert, extend.

mod allocator;
mod announce;
mod api;
mod app;
mod cli;
mod forward;
mod lending;
mod logging;
mod machine;
mod metrics;
mod outside;
mod parts;
mod reload;
mod state_file;
mod tools;

use std::process::ExitCode;

use app::{App, Signals};
use cli::{Cli, Flags};

fn main() -> ExitCode {
    let mut cli = Cli::from_command_line();
    if let Some(tool) = cli.tool.take() {
        logging::start(tool.log_level(), "logfmt");
        return tool.run();
    }
    logging::start(&cli.flags.log_level, &cli.flags.log_format);
    for notice in cli.notices() {
        tracing::warn!("{notice}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("starting threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli.flags));
    // Blocking threads that still wait for something must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reload::log_error(&error);
            // As Prometheus: a configuration that cannot be loaded is 2, all else 1.
            if reload::is_config_error(&error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs until it is told to stop, which may be before it is ready: a log can take long to replay.
async fn run(flags: Flags) -> anyhow::Result<()> {
    let mut signals = Signals::take()?;
    let app = tokio::select! {
        app = App::start(flags) => app?,
        () = signals.stop() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    app.run(signals).await
}

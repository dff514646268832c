//! The agent as a whole for the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_extension::BoxFuture;
use narthex_model::Labels;
use narthex_promql::Engine;
use narthex_web::backend::{Agent, BuildInfo, RuntimeInfo};
use tokio::sync::{mpsc, oneshot};

use crate::cli::Flags;
use crate::machine;
use crate::parts::Parts;

/// What is told as the version: clients such as Grafana switch functions on and off by it, so it is
/// that of the Prometheus and the Alertmanager whose API this is.
pub(crate) const PROMETHEUS_VERSION: &str = "3.14.0";
const ALERTMANAGER_VERSION: &str = "0.34.0";

/// What the API asks the main loop to do.
pub(crate) enum Command {
    Reload(oneshot::Sender<Result<(), String>>),
    Quit,
}

pub(crate) struct AgentView {
    pub(crate) parts: Arc<Parts>,
    pub(crate) flags: Flags,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) start_time_ms: i64,
}

impl Agent for AgentView {
    fn engine(&self) -> Arc<Engine> {
        self.parts.state.engine()
    }

    fn is_ready(&self) -> bool {
        self.parts.state.is_ready()
    }

    fn external_labels(&self) -> Labels {
        self.parts.state.status().external_labels.clone()
    }

    fn config_yaml(&self) -> String {
        self.parts.state.status().yaml.clone()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        self.flags.as_texts()
    }

    fn runtime(&self) -> RuntimeInfo {
        let status = self.parts.state.status();
        let working_directory = std::env::current_dir().unwrap_or_default();
        RuntimeInfo {
            start_time_ms: self.start_time_ms,
            working_directory: working_directory.display().to_string(),
            hostname: machine::hostname(),
            reload_config_success: status.last_reload_successful,
            last_config_time_ms: status.last_success_ms,
            corruption_count: self.parts.store.corruption_count(),
            storage_retention: status.retention.to_string(),
        }
    }

    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: PROMETHEUS_VERSION.to_owned(),
            alertmanager_version: ALERTMANAGER_VERSION.to_owned(),
            product: format!("Narthex {}", env!("CARGO_PKG_VERSION")),
            revision: format!("narthex-{}", env!("CARGO_PKG_VERSION")),
            branch: String::new(),
            build_user: String::new(),
            build_date: String::new(),
            compiler: "rust".to_owned(),
        }
    }

    fn now_ms(&self) -> i64 {
        machine::now_ms()
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let (done, result) = oneshot::channel();
            let stopping = || "the agent is shutting down".to_owned();
            self.commands
                .send(Command::Reload(done))
                .await
                .map_err(|_| stopping())?;
            result.await.map_err(|_| stopping())?
        })
    }

    fn quit(&self) {
        // A full queue holds another command before this one; whoever asks may ask again.
        if self.commands.try_send(Command::Quit).is_err() {
            tracing::warn!("the request to quit came while others were waiting; try again");
        }
    }
}

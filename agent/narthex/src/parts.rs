//! The running parts, each made once and reloaded in place, and what the agent knows of itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use narthex_model::Labels;
use narthex_promql::Engine;
use narthex_query_log::Queries;
use narthex_script_host::ScriptHost;
use narthex_tsdb::Db;

use crate::lending::Lending;
use crate::reload::Retention;

pub(crate) struct Parts {
    pub(crate) store: Arc<Db>,
    pub(crate) scrape: Arc<narthex_scrape::Manager>,
    /// Finds the targets of scrape jobs.
    pub(crate) discovery: narthex_discovery::Manager,
    /// Finds the Alertmanagers outside that alerts go to.
    pub(crate) alertmanagers: narthex_discovery::Manager,
    pub(crate) plugins: narthex_plugin_host::Handle,
    pub(crate) scripts: Arc<ScriptHost>,
    pub(crate) ruler: Arc<narthex_ruler::Manager>,
    pub(crate) notify: narthex_notify::Handle,
    /// Every query is told to it.
    pub(crate) queries: Arc<Queries>,
    /// What queries may use.
    pub(crate) lending: Lending,
    pub(crate) state: State,
}

/// What a reload replaces as a whole, and whether requests can be served.
pub(crate) struct State {
    engine: RwLock<Arc<Engine>>,
    status: RwLock<Arc<Status>>,
    ready: AtomicBool,
}

/// What the API tells of the configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) yaml: String,
    pub(crate) external_labels: Labels,
    pub(crate) retention: Retention,
    pub(crate) last_reload_successful: bool,
    pub(crate) last_success_ms: i64,
}

impl State {
    /// Not ready yet.
    pub(crate) fn new(engine: Arc<Engine>, status: Status) -> State {
        State {
            engine: RwLock::new(engine),
            status: RwLock::new(Arc::new(status)),
            ready: AtomicBool::new(false),
        }
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_engine(&self, engine: Arc<Engine>) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.status
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_status(&self, status: Status) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

impl Parts {
    /// Ends all parts: those that write first, the store last.
    pub(crate) async fn shutdown(&self, seal_on_stop: bool) {
        self.scrape.shutdown().await;
        self.ruler.shutdown().await;
        self.notify.shutdown().await;
        // Nobody is told any more that the plugins which found targets are gone.
        for discovery in [&self.discovery, &self.alertmanagers] {
            discovery.apply(narthex_discovery::Config::default());
        }
        self.plugins.shutdown().await;
        if seal_on_stop && let Err(error) = self.store.seal() {
            tracing::error!("sealing the store: {error}; all samples are in its log");
        }
        if let Err(error) = self.store.close() {
            tracing::error!("closing the store: {error}");
        }
    }
}

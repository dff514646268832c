//! The agent: made from the command line, runs until it is told to stop, reloads in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use narthex_alerting::PostedAlert;
use narthex_config::{Alerting, Loaded};
use narthex_model::TargetGroup;
use narthex_plugin_host::PluginSet;
use narthex_query_log::Queries;
use narthex_ruler::{AlertNotice, AlertSink};
use narthex_script_host::ScriptHost;
use narthex_storage::ReplayProgress;
use narthex_tsdb::Db;
use narthex_watch::Watcher;
use narthex_web::Listeners;
use prometheus::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::api::agent::{AgentView, Command, PROMETHEUS_VERSION};
use crate::api::alerts::AlertsView;
use crate::api::extensions::ExtensionsView;
use crate::api::rules::RulesView;
use crate::api::scraping::ScrapingView;
use crate::cli::Flags;
use crate::lending::Lending;
use crate::metrics::Metrics;
use crate::outside::outside;
use crate::parts::{Parts, State, Status};
use crate::reload::{self, Source};
use crate::state_file::StateFile;
use crate::{announce, forward, machine};

/// How often the store drops old samples and rewrites its log where that is due.
const MAINTENANCE: Duration = Duration::from_secs(60);
/// Answers that are made at a time. Each takes one of the 512 blocking threads of the runtime, which
/// rules and scrapes need as well.
const CONCURRENT_ANSWERS: usize = 128;
/// Places for rules in the list of running queries, besides those of the API.
const RULE_QUERY_SLOTS: usize = 32;
/// Requests by HTTP that may wait for the main loop; whoever asks waits for a place.
const COMMANDS: usize = 4;

/// What the system tells the agent. Taken before anything else is done: a SIGHUP that comes while the
/// log is replayed must not end the process, and counts once it runs.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn take() -> anyhow::Result<Signals> {
        let take = |kind| signal(kind).context("listening to signals");
        Ok(Signals {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

pub(crate) struct App {
    flags: Flags,
    source: Source,
    parts: Arc<Parts>,
    metrics: Metrics,
    loaded: Loaded,
    /// The `alerting:` in force, shared with what hears of new Alertmanagers.
    forwarding: Arc<Forwarding>,
    config_watcher: Watcher,
    script_watcher: Watcher,
    plugin_set: watch::Receiver<PluginSet>,
    commands: mpsc::Receiver<Command>,
    stop_web: watch::Sender<bool>,
    web: JoinHandle<Result<(), narthex_web::WebError>>,
    addresses: Vec<SocketAddr>,
}

/// Turns discovered Alertmanagers into addresses to send to.
struct Forwarding {
    notify: narthex_notify::Handle,
    state: Mutex<(Alerting, BTreeMap<String, Vec<TargetGroup>>)>,
}

impl Forwarding {
    fn set_alerting(&self, alerting: Alerting) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = alerting;
        self.show(&state.0, &state.1);
    }

    fn set_groups(&self, groups: BTreeMap<String, Vec<TargetGroup>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = groups;
        self.show(&state.0, &state.1);
    }

    fn show(&self, alerting: &Alerting, groups: &BTreeMap<String, Vec<TargetGroup>>) {
        let refused = self
            .notify
            .set_alertmanagers(forward::targets(alerting, groups));
        for (target, error) in refused {
            tracing::error!("alerts are not sent to {}: {error}", target.url);
        }
    }
}

/// Takes the alerts of rules and scripts to whoever routes them.
struct NotifySink(narthex_notify::Handle);

impl AlertSink for NotifySink {
    fn send(&self, alerts: Vec<AlertNotice>) {
        let posted = alerts.into_iter().map(|alert| PostedAlert {
            labels: alert
                .labels
                .iter()
                .map(|l| (l.name.to_string(), l.value.to_string()))
                .collect(),
            annotations: (*alert.annotations).clone(),
            starts_at_ms: Some(alert.starts_at_ms),
            ends_at_ms: Some(alert.ends_at_ms),
            generator_url: alert.generator_url,
        });
        self.0.send_alerts(posted.collect());
    }
}

impl App {
    /// Reads the configuration, takes the addresses and the data folder, and starts every part. If
    /// anything is wrong, nothing is left running.
    pub(crate) async fn start(flags: Flags) -> anyhow::Result<App> {
        let start_time_ms = machine::now_ms();
        let port = flags
            .listen_addresses
            .first()
            .and_then(|a| a.rsplit_once(':'))
            .map(|(_, p)| p);
        let port = port.unwrap_or("9090").to_owned();
        let external_url = match &flags.external_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}:{port}", machine::hostname()),
        };
        let source = Source::new(&flags, &external_url, &format!("localhost:{port}"));
        let loaded = source.load().await?;
        reload::log_notices(&loaded);
        let listeners = Listeners::bind(&flags.listen_addresses).await?;
        let addresses = listeners.addresses();
        let replay = Arc::new(ReplayProgress::default());
        let starting = listeners.answer_starting(replay.clone())?;
        let registry = Registry::new();
        let metrics = Metrics::new(&registry, PROMETHEUS_VERSION)?;
        let (parts, forwarding) = make_parts(&flags, &loaded, &registry, replay.clone()).await?;
        let config_watcher = Watcher::new(loaded.watched.clone(), Default::default());
        let script_watcher = Watcher::new(script_paths(&loaded), Default::default());
        let plugin_set = parts.plugins.plugins();
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (stop_web, stopped) = watch::channel(false);
        let view = AgentView {
            parts: parts.clone(),
            flags: flags.clone(),
            commands: command_sender,
            start_time_ms,
        };
        starting.end().await;
        let web = tokio::spawn(narthex_web::serve(
            listeners,
            web_parts(&parts, view, &flags, registry, replay),
            web_options(&flags),
            stopped,
        ));
        let mut app = App {
            flags,
            source,
            parts,
            metrics,
            loaded,
            forwarding,
            config_watcher,
            script_watcher,
            plugin_set,
            commands,
            stop_web,
            web,
            addresses,
        };
        let loaded = app.loaded.clone();
        reload::apply(&loaded, &app.flags, app.source.external_url(), &app.parts).await?;
        app.take_over(loaded);
        app.metrics.reload_successful.set(1);
        app.metrics
            .reload_success_seconds
            .set(start_time_ms as f64 / 1000.0);
        app.metrics.ready.set(1);
        app.parts.state.set_ready(true);
        Ok(app)
    }

    /// Runs until SIGTERM, SIGINT or a request to quit; then ends every part.
    pub(crate) async fn run(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let announcing = self.announce();
        self.serve(&mut signals).await;
        announcing.abort();
        tracing::info!("stopping");
        self.parts.state.set_ready(false);
        // Nobody listens any more if the server has ended by itself.
        let _ = self.stop_web.send(true);
        self.parts.shutdown(self.loaded.seal_on_stop).await;
        if tokio::time::timeout(Duration::from_secs(5), self.web)
            .await
            .is_err()
        {
            tracing::warn!("some requests were cut off");
        }
        tracing::info!("stopped");
        Ok(())
    }

    async fn serve(&mut self, signals: &mut Signals) {
        let mut maintenance = tokio::time::interval(MAINTENANCE);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.hangup.recv() => { let _ = self.reload().await; }
                paths = self.config_watcher.changed() => {
                    tracing::info!("changed: {}", names(&paths));
                    if !self.was_emptied() {
                        let _ = self.reload().await;
                    }
                }
                _ = self.script_watcher.changed() => self.sync_scripts(),
                changed = self.plugin_set.changed() => match changed {
                    Ok(()) => self.sync_plugins(),
                    Err(_) => {
                        tracing::error!("the plugin host has ended");
                        return;
                    }
                },
                command = self.commands.recv() => match command {
                    Some(Command::Reload(done)) => {
                        let result = self.reload().await.map_err(|e| format!("{e:#}"));
                        // Whoever asked may have gone.
                        let _ = done.send(result);
                    }
                    Some(Command::Quit) | None => return,
                },
                _ = maintenance.tick() => self.maintain(),
            }
        }
    }

    /// An editor or a script that writes slowly empties the file first; taking that up would end
    /// every scrape. Whoever means it says so by SIGHUP or by request.
    fn was_emptied(&self) -> bool {
        let file = &self.flags.config_file;
        let is_empty = std::fs::read_to_string(file).is_ok_and(|text| text.trim().is_empty());
        let emptied = is_empty && !self.loaded.yaml.trim().is_empty();
        if emptied {
            tracing::warn!(
                "{} is empty now, which looks like a file that is being written: it is left alone \
                 until it has a content; SIGHUP takes it up as it is",
                file.display()
            );
        }
        emptied
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        // Changes count from what is read now, also if it is refused: whoever mends a file at once
        // expects that to be seen.
        self.config_watcher = Watcher::new(self.loaded.watched.clone(), Default::default());
        let result = reload::reload(
            &self.source,
            &self.flags,
            &self.parts,
            &self.metrics,
            &self.loaded,
        )
        .await;
        match result {
            Ok(loaded) => {
                self.take_over(loaded);
                Ok(())
            }
            Err(error) => {
                self.parts.notify.reload_failed();
                Err(error)
            }
        }
    }

    /// What depends on the configuration besides the parts' own: watched files, scripts, plugins.
    fn take_over(&mut self, loaded: Loaded) {
        self.config_watcher.set_paths(loaded.watched.clone());
        self.script_watcher.set_paths(script_paths(&loaded));
        self.forwarding
            .set_alerting(loaded.prometheus.alerting.clone());
        self.loaded = loaded;
        self.sync_scripts();
        self.sync_plugins();
    }

    fn sync_scripts(&self) {
        let (scripts, _) = self.parts.scripts.sync(&self.loaded.script_host);
        self.parts.ruler.set_scripts(scripts);
    }

    fn sync_plugins(&mut self) {
        let set = self.plugin_set.borrow_and_update().clone();
        self.parts.scrape.set_exporters(set.exporters);
        self.parts.discovery.set_providers(set.providers.clone());
        self.parts.alertmanagers.set_providers(set.providers);
    }

    fn maintain(&self) {
        let store = self.parts.store.clone();
        tokio::task::spawn_blocking(move || store.maintain(machine::now_ms()));
    }

    fn announce(&self) -> JoinHandle<()> {
        let (parts, loaded) = (self.parts.clone(), self.loaded.clone());
        let (flags, addresses) = (self.flags.clone(), self.addresses.clone());
        tokio::spawn(async move {
            announce::settled(&parts, &loaded).await;
            announce::announce(&parts, &loaded, &flags, &addresses);
        })
    }
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

fn script_paths(loaded: &Loaded) -> Vec<PathBuf> {
    vec![loaded.script_host.directory.clone()]
}

/// Opens the store (which replays its log) and makes every other part on it.
async fn make_parts(
    flags: &Flags,
    loaded: &Loaded,
    registry: &Registry,
    replay: Arc<ReplayProgress>,
) -> anyhow::Result<(Arc<Parts>, Arc<Forwarding>)> {
    let config = &loaded.prometheus;
    let store = open_store(reload::store_config(flags, config), registry, replay).await?;
    store.set_start_times(flags.start_times());
    let scrape = Arc::new(narthex_scrape::Manager::new(
        store.clone(),
        registry,
        narthex_scrape::Options {
            spread_seed: machine::hostname(),
            timestamp_tolerance_ms: flags.scrape_tolerance_ms(),
            features: flags.scrape_features(),
            ..Default::default()
        },
    )?);
    let sd_metrics = narthex_discovery::Metrics::new(registry)?;
    let targets_of = scrape.clone();
    let discovery = narthex_discovery::Manager::new(
        Arc::new(move |jobs| {
            for (job, groups) in jobs {
                targets_of.set_targets(&job, groups);
            }
        }),
        sd_metrics.clone(),
        narthex_discovery::Options::new("scrape"),
    );
    let notify = narthex_notify::Manager::start(
        reload::notify_config(loaded),
        registry,
        narthex_notify::Options {
            store: Some(Arc::new(StateFile(
                flags.storage_path.join("narthex-notifications.json"),
            ))),
            ..Default::default()
        },
    )?;
    let forwarding = Arc::new(Forwarding {
        notify: notify.clone(),
        state: Mutex::default(),
    });
    let forwarding_to = forwarding.clone();
    let alertmanagers = narthex_discovery::Manager::new(
        Arc::new(move |groups| forwarding_to.set_groups(groups)),
        sd_metrics,
        narthex_discovery::Options::new("notify"),
    );
    let queries = Arc::new(queries(flags, registry)?);
    let ruler = narthex_ruler::Manager::new(
        store.clone(),
        store.clone(),
        Arc::new(NotifySink(notify.clone())),
        registry,
    )?;
    ruler.tell_queries(queries.clone());
    let lending = Lending::new(&loaded.query);
    let ruler = Arc::new(ruler);
    let outside = outside(Some(ruler.clone()));
    let parts = Parts {
        store,
        scrape,
        discovery,
        alertmanagers,
        plugins: narthex_plugin_host::start(loaded.plugin_host.clone(), outside, registry)?,
        scripts: Arc::new(ScriptHost::new(registry)?),
        ruler,
        notify,
        queries,
        lending: lending.clone(),
        state: State::new(
            reload::engine(flags, config, &lending),
            Status {
                yaml: loaded.yaml.clone(),
                external_labels: config.global.external_labels.clone(),
                retention: reload::Retention::of(flags, config),
                last_reload_successful: true,
                last_success_ms: machine::now_ms(),
            },
        ),
    };
    Ok((Arc::new(parts), forwarding))
}

/// Begins the list of running queries in the data folder, which the store has locked by now.
fn queries(flags: &Flags, registry: &Registry) -> anyhow::Result<Queries> {
    let concurrent = flags.query_concurrency;
    let mut queries = Queries::new(registry, concurrent)?;
    let slots = concurrent.saturating_add(RULE_QUERY_SLOTS);
    let folder = &flags.storage_path;
    queries.track_active(folder, slots).with_context(|| {
        let folder = folder.display();
        format!("beginning the list of running queries in {folder}")
    })?;
    Ok(queries)
}

async fn open_store(
    config: narthex_tsdb::Config,
    registry: &Registry,
    replay: Arc<ReplayProgress>,
) -> anyhow::Result<Arc<Db>> {
    let registry = registry.clone();
    let opened = tokio::task::spawn_blocking(move || Db::open_showing(config, &registry, &replay));
    Ok(Arc::new(opened.await.context("opening the store")??))
}

fn web_parts(
    parts: &Arc<Parts>,
    agent: AgentView,
    flags: &Flags,
    registry: Registry,
    replay: Arc<ReplayProgress>,
) -> narthex_web::backend::Parts {
    narthex_web::backend::Parts {
        store: parts.store.clone(),
        store_status: parts.store.clone(),
        store_admin: parts.store.clone(),
        exemplars: parts.store.clone(),
        replay,
        parser: reload::parser_options(flags),
        scraping: Arc::new(ScrapingView {
            manager: parts.scrape.clone(),
            hostname: machine::hostname(),
        }),
        rules: Arc::new(RulesView(parts.ruler.clone())),
        alerts: Arc::new(AlertsView(parts.notify.clone())),
        extensions: Arc::new(ExtensionsView {
            plugins: parts.plugins.clone(),
            scripts: parts.scripts.clone(),
        }),
        agent: Arc::new(agent),
        queries: parts.queries.clone(),
        registry,
    }
}

fn web_options(flags: &Flags) -> narthex_web::Options {
    narthex_web::Options {
        enable_lifecycle: flags.enable_lifecycle,
        enable_admin_api: flags.enable_admin_api,
        query_timeout: Duration::from_millis(flags.query_timeout_ms),
        query_concurrency: flags.query_concurrency,
        answer_concurrency: CONCURRENT_ANSWERS,
        per_step_stats: flags.has_feature("promql-per-step-stats"),
        cross_origin: flags.allowed_origins().cloned(),
    }
}

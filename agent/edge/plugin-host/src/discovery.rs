//! Discovery plugins at work.
//!
//! A [`Provider`] serves one name. Each of its runs is a loop that keeps one instance going, each
//! instance on a thread of its own. New code is started beside the old and takes over with its
//! first publication; if it fails before that, the old goes on.
//!
//! Keeps true: what was published stays published while an instance is started again; once the new
//! one has published for the first time, sources that it did not name are gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_extension::{
    BoxFuture, DiscoveryError, DiscoveryProvider, DiscoveryRequest, TargetSink,
};
use narthex_model::{Labels, TargetGroup};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::bindings::targets::Request;
use crate::guest::DiscoveryCode;
use crate::host::State;
use crate::host::publisher::Publisher;
use crate::instance::{CallError, call, new_store};
use crate::shared::{Pulse, Shared};

/// Publications that may wait to be taken; then the plugin waits.
const QUEUE: usize = 4;

/// An instance that has lived for so long has shown that it works: its end is the first failure.
const PROVEN: Duration = Duration::from_secs(60);

/// One version of the plugin's code, ready to run.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) code: Arc<DiscoveryCode>,
    pub(crate) shared: Arc<Shared>,
}

impl Version {
    fn is(&self, other: &Version) -> bool {
        Arc::ptr_eq(&self.code, &other.code)
    }
}

/// What a provider has to run with.
#[derive(Clone)]
pub(crate) enum Supply {
    Ready(Version),
    /// Runs wait.
    Waiting,
    Gone,
}

/// Serves `<name>_sd_configs`.
pub(crate) struct Provider {
    plugin: String,
    supply: watch::Sender<Supply>,
}

impl Provider {
    pub(crate) fn new(plugin: &str) -> Self {
        Provider {
            plugin: plugin.to_owned(),
            supply: watch::Sender::new(Supply::Waiting),
        }
    }

    pub(crate) fn supply(&self, supply: Supply) {
        self.supply.send_replace(supply);
    }
}

impl DiscoveryProvider for Provider {
    fn run(
        &self,
        request: DiscoveryRequest,
        sink: Arc<dyn TargetSink>,
    ) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        let run = Run {
            plugin: &self.plugin,
            request: Request {
                config: request.config.to_string(),
                base_directory: request.base_directory.to_string_lossy().into_owned(),
            },
            sink,
            supply: self.supply.subscribe(),
            sources: BTreeSet::new(),
            current: None,
            candidate: None,
            backoff: Backoff::default(),
            pulse: None,
        };
        Box::pin(run.go())
    }
}

struct Run<'a> {
    plugin: &'a str,
    request: Request,
    sink: Arc<dyn TargetSink>,
    supply: watch::Receiver<Supply>,
    /// Of all groups that are published.
    sources: BTreeSet<String>,
    current: Option<Instance>,
    candidate: Option<Instance>,
    backoff: Backoff,
    /// Of the version whose instance ended last.
    pulse: Option<(Pulse, Version)>,
}

impl Run<'_> {
    async fn go(mut self) -> Result<(), DiscoveryError> {
        loop {
            let supply = self.supply.borrow_and_update().clone();
            let version = match supply {
                Supply::Ready(version) => version,
                Supply::Waiting => {
                    self.stop();
                    self.next_supply().await?;
                    continue;
                }
                Supply::Gone => return Err(gone(self.plugin)),
            };
            self.start(&version)?;
            self.attend(&version).await?;
        }
    }

    /// Starts what should run and does not.
    fn start(&mut self, version: &Version) -> Result<(), DiscoveryError> {
        let runs = |instance: &Option<Instance>| {
            instance
                .as_ref()
                .is_some_and(|instance| instance.version.is(version))
        };
        if runs(&self.current) || runs(&self.candidate) {
            return Ok(());
        }
        let failed = |(_, failed): &(Pulse, Version)| failed.is(version);
        if !self.pulse.as_ref().is_some_and(failed) {
            // Other code deserves another try at once.
            self.backoff.succeeded();
        }
        let waits = !self.backoff.left(Instant::now()).is_zero();
        if self.current.is_none() && waits {
            return Ok(());
        }
        let instance = Instance::start(version.clone(), self.request.clone())
            .map_err(DiscoveryError::Stopped)?;
        match self.current {
            Some(_) => self.candidate = Some(instance),
            None => self.current = Some(instance),
        }
        Ok(())
    }

    /// Waits for whatever comes next, and acts on it.
    async fn attend(&mut self, version: &Version) -> Result<(), DiscoveryError> {
        let pause = self.backoff.left(Instant::now());
        let idle = self.current.is_none();
        tokio::select! {
            changed = self.supply.changed() => changed.map_err(|_| gone(self.plugin))?,
            event = next(&mut self.candidate) => self.on_candidate(event),
            event = next(&mut self.current) => self.on_current(event, version)?,
            () = tokio::time::sleep(pause), if idle => {}
        }
        Ok(())
    }

    fn on_current(&mut self, event: Event, version: &Version) -> Result<(), DiscoveryError> {
        match event {
            Event::Published(groups) => {
                self.publish(groups);
                Ok(())
            }
            Event::Refused(text) => Err(DiscoveryError::Config(text)),
            Event::Ended(text) => {
                let proven = |instance: Instance| instance.started.elapsed() >= PROVEN;
                if self.current.take().is_some_and(proven) {
                    self.backoff.succeeded();
                }
                self.backoff.failed(Instant::now());
                let health = &version.shared.health;
                health.note(&text);
                let pulse = Pulse::new(health);
                pulse.set_down(self.backoff.is_suspended());
                version
                    .shared
                    .metrics
                    .note_failures(self.backoff.failures());
                self.pulse = Some((pulse, version.clone()));
                version.shared.metrics.restarts.inc();
                tracing::warn!(
                    plugin = self.plugin,
                    "{text}; started again in {} s",
                    self.backoff.left(Instant::now()).as_secs() + 1
                );
                Ok(())
            }
        }
    }

    /// The new code has shown that it works, or that it does not.
    fn on_candidate(&mut self, event: Event) {
        match event {
            Event::Published(groups) => {
                self.current = self.candidate.take();
                self.publish(groups);
            }
            Event::Refused(text) | Event::Ended(text) => {
                let Some(candidate) = self.candidate.take() else {
                    return;
                };
                let text = format!("the new version failed, the former one goes on: {text}");
                candidate.version.shared.health.note(&text);
                tracing::error!(plugin = self.plugin, "{text}");
                // Not tried again until there is another one.
                if let Some(current) = &mut self.current {
                    current.version = candidate.version.clone();
                }
            }
        }
    }

    fn publish(&mut self, mut groups: Vec<TargetGroup>) {
        if let Some((pulse, _)) = &self.pulse {
            pulse.set_up();
        }
        let Some(current) = &mut self.current else {
            return;
        };
        if std::mem::replace(&mut current.published, true) {
            for group in &groups {
                match group.targets.is_empty() {
                    true => self.sources.remove(&group.source),
                    false => self.sources.insert(group.source.clone()),
                };
            }
        } else {
            // The first publication of an instance is the whole picture.
            let named: BTreeSet<String> = groups.iter().map(|group| group.source.clone()).collect();
            let left = self.sources.difference(&named).map(|source| TargetGroup {
                source: source.clone(),
                targets: Vec::new(),
                labels: Labels::empty(),
            });
            let left: Vec<TargetGroup> = left.collect();
            let kept = groups.iter().filter(|group| !group.targets.is_empty());
            self.sources = kept.map(|group| group.source.clone()).collect();
            groups.extend(left);
        }
        self.sink.publish(groups);
    }

    fn stop(&mut self) {
        self.current = None;
        self.candidate = None;
    }

    async fn next_supply(&mut self) -> Result<(), DiscoveryError> {
        self.supply.changed().await.map_err(|_| gone(self.plugin))
    }
}

fn gone(plugin: &str) -> DiscoveryError {
    DiscoveryError::Stopped(format!("the file of plugin {plugin} was removed"))
}

pub(crate) enum Event {
    Published(Vec<TargetGroup>),
    /// The configuration is wrong.
    Refused(String),
    /// It trapped, hit a limit, failed or returned.
    Ended(String),
}

/// Waits for ever where there is no instance.
async fn next(instance: &mut Option<Instance>) -> Event {
    match instance {
        Some(instance) => instance.next().await,
        None => std::future::pending().await,
    }
}

/// A thread with an instance; dropping it ends both.
pub(crate) struct Instance {
    version: Version,
    groups: mpsc::Receiver<Vec<TargetGroup>>,
    end: oneshot::Receiver<Event>,
    started: Instant,
    published: bool,
    unwanted: CancellationToken,
}

impl Instance {
    pub(crate) async fn next(&mut self) -> Event {
        // What was published before the end comes before the end.
        tokio::select! {
            biased;
            Some(groups) = self.groups.recv() => Event::Published(groups),
            end = &mut self.end => end.unwrap_or_else(|_| {
                Event::Ended("the thread of the plugin has ended".to_owned())
            }),
        }
    }

    pub(crate) fn start(version: Version, request: Request) -> Result<Instance, String> {
        let (groups_sender, groups) = mpsc::channel(QUEUE);
        let (end_sender, end) = oneshot::channel();
        let unwanted = CancellationToken::new();
        let mut store = new_store(&version.shared, &unwanted);
        store.data_mut().publisher = Some(Publisher::new(groups_sender));
        let (code, shared) = (version.code.clone(), version.shared.clone());
        std::thread::Builder::new()
            .name(format!("plugin-{}", shared.name))
            .spawn(move || {
                let event = live(&code, &shared, store, &request);
                let _ = end_sender.send(event);
            })
            .map_err(|error| format!("no thread for plugin {}: {error}", version.shared.name))?;
        Ok(Instance {
            version,
            groups,
            end,
            started: Instant::now(),
            published: false,
            unwanted,
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.unwanted.cancel();
    }
}

/// An instance's whole life.
pub(crate) fn live(
    code: &DiscoveryCode,
    shared: &Shared,
    mut store: wasmtime::Store<State>,
    request: &Request,
) -> Event {
    let plugin = &shared.name;
    let ended = |error: CallError| Event::Ended(error.to_string());
    let discovery = match call(&mut store, |store| code.instantiate(store)) {
        Ok(discovery) => discovery,
        Err(error) => return ended(error),
    };
    match call(&mut store, |store| discovery.validate(store, request)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let field = match error.field.as_str() {
                "" => String::new(),
                field => format!("field {field}: "),
            };
            return Event::Refused(format!("{plugin}_sd_configs: {field}{}", error.message));
        }
        Err(error) => return ended(error),
    }
    store.data_mut().waits_freely = true;
    match call(&mut store, |store| discovery.run(store, request)) {
        Ok(Ok(())) => Event::Ended(format!("plugin {plugin} ended by itself")),
        Ok(Err(text)) => {
            shared.metrics.note_failure("plugin");
            Event::Ended(format!("plugin {plugin}: {text}"))
        }
        Err(error) => ended(error),
    }
}

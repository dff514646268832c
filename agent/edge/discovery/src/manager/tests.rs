//! A scripted provider on paused time: what is passed on, and when.

use narthex_extension::BoxFuture;
use narthex_model::Labels;
use tokio::sync::mpsc;

use super::*;

/// What a test sees: each passing with the milliseconds since the start.
type Seen = Arc<Mutex<Vec<(u64, BTreeMap<String, Vec<String>>)>>>;

struct World {
    manager: Manager,
    seen: Seen,
    registry: prometheus::Registry,
}

fn world() -> World {
    let seen = Seen::default();
    let start = Instant::now();
    let sink: Sink = {
        let seen = seen.clone();
        Arc::new(move |groups| {
            let at = u64::try_from(start.elapsed().as_millis()).unwrap();
            let targets = |groups: Vec<TargetGroup>| {
                let mut addresses: Vec<String> = groups
                    .iter()
                    .flat_map(|group| &group.targets)
                    .map(|target| target.value_or_empty("__address__").to_owned())
                    .collect();
                addresses.sort();
                addresses
            };
            let shown = groups
                .into_iter()
                .map(|(job, groups)| (job, targets(groups)));
            seen.lock().unwrap().push((at, shown.collect()));
        })
    };
    let registry = prometheus::Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    World {
        manager: Manager::new(sink, metrics, Options::new("scrape")),
        seen,
        registry,
    }
}

impl World {
    fn provide(&self, name: &str, provider: Option<&Arc<Scripted>>) {
        let providers = provider.map(|provider| {
            let provider: Arc<dyn DiscoveryProvider> = provider.clone();
            (name.to_owned(), provider)
        });
        self.manager.set_providers(providers.into_iter().collect());
    }

    /// The targets of job `a` as last passed on.
    fn last(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.last().unwrap().1.get("a").cloned().unwrap_or_default()
    }

    fn passings(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .unwrap();
        let metric = family.get_metric().first().unwrap();
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }
}

/// What a run of the provider does next.
enum Step {
    Publish(Vec<TargetGroup>),
    End(Result<(), DiscoveryError>),
    Panic,
}

/// Does what the test sends; counts how often it was started.
struct Scripted {
    steps: tokio::sync::Mutex<mpsc::UnboundedReceiver<Step>>,
    starts: Mutex<Vec<Instant>>,
}

fn scripted() -> (Arc<Scripted>, mpsc::UnboundedSender<Step>) {
    let (sender, steps) = mpsc::unbounded_channel();
    let provider = Scripted {
        steps: tokio::sync::Mutex::new(steps),
        starts: Mutex::default(),
    };
    (Arc::new(provider), sender)
}

impl DiscoveryProvider for Scripted {
    fn run(
        &self,
        _request: DiscoveryRequest,
        sink: Arc<dyn TargetSink>,
    ) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        Box::pin(async move {
            self.starts.lock().unwrap().push(Instant::now());
            let mut steps = self.steps.lock().await;
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Publish(groups) => sink.publish(groups),
                    Step::End(result) => return result,
                    Step::Panic => panic!("as the test asked"),
                }
            }
            std::future::pending().await
        })
    }
}

fn group(source: &str, addresses: &[&str]) -> TargetGroup {
    TargetGroup {
        source: source.to_owned(),
        targets: addresses
            .iter()
            .map(|address| Labels::from_pairs([("__address__", *address)]))
            .collect(),
        labels: Labels::empty(),
    }
}

fn publish(source: &str, addresses: &[&str]) -> Step {
    Step::Publish(vec![group(source, addresses)])
}

fn request(parameter: i32) -> SdConfig {
    SdConfig::Provider {
        name: "file".to_owned(),
        request: DiscoveryRequest {
            config: serde_json::json!({ "parameter": parameter }),
            base_directory: "/".into(),
        },
    }
}

fn config(entries: Vec<SdConfig>) -> Config {
    Config {
        jobs: BTreeMap::from([("a".to_owned(), entries)]),
    }
}

/// Lets `ms` of the paused time go by.
async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn static_targets_come_at_once() {
    let world = world();
    world.manager.apply(config(vec![
        SdConfig::Static(vec![group("0", &["x:1"]), group("1", &["y:1"])]),
        SdConfig::Static(vec![group("0", &["z:1"])]),
    ]));
    pass(10).await;
    assert_eq!(world.last(), ["x:1", "y:1", "z:1"]);
    let status = world.manager.status();
    assert_eq!(status.len(), 2);
    assert_eq!(
        (status[0].provider.as_str(), status[0].targets),
        ("static", 2)
    );
    assert_eq!(world.metric("prometheus_sd_discovered_targets"), 3.0);
    assert_eq!(world.metric("prometheus_sd_failed_configs"), 0.0);

    world.manager.apply(config(Vec::new()));
    pass(10).await;
    assert!(world.last().is_empty());
    world.manager.apply(Config::default());
    pass(10).await;
    assert!(world.seen.lock().unwrap().last().unwrap().1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn sources_of_two_entries_do_not_clash() {
    let world = world();
    let (one, to_one) = scripted();
    world.provide("file", Some(&one));
    world.manager.apply(config(vec![request(1)]));
    to_one.send(publish("f", &["x:1"])).ok();
    let static_twin = SdConfig::Static(vec![group("f", &["y:1"])]);
    world.manager.apply(config(vec![static_twin, request(1)]));
    pass(200).await;
    assert_eq!(world.last(), ["x:1", "y:1"]);
}

#[tokio::test(start_paused = true)]
async fn first_results_are_quick_and_later_ones_are_gathered() {
    let world = world();
    let (provider, steps) = scripted();
    world.provide("file", Some(&provider));
    world.manager.apply(config(vec![request(1)]));
    pass(1).await;
    steps.send(publish("one", &["x:1"])).ok();
    steps.send(publish("two", &["y:1"])).ok();
    pass(150).await;
    assert_eq!(world.last(), ["x:1", "y:1"]);

    // After a quiet time a change is passed on at once, the next ones together.
    pass(60_000).await;
    steps.send(publish("two", &["y:2"])).ok();
    pass(150).await;
    assert_eq!(world.last(), ["x:1", "y:2"]);
    let before = world.passings();
    for port in 3..10 {
        steps.send(publish("two", &[&format!("y:{port}")])).ok();
        pass(100).await;
    }
    assert_eq!(world.passings(), before);
    assert!(world.metric("prometheus_sd_updates_delayed_total") >= 1.0);
    pass(5_000).await;
    assert_eq!(world.last(), ["x:1", "y:9"]);
    assert_eq!(world.passings(), before + 1);

    // A source without targets is gone.
    pass(10_000).await;
    steps.send(publish("two", &[])).ok();
    pass(150).await;
    assert_eq!(world.last(), ["x:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_provider_keeps_its_targets_and_is_started_again() {
    let world = world();
    let (provider, steps) = scripted();
    world.provide("file", Some(&provider));
    world.manager.apply(config(vec![request(1)]));
    steps.send(publish("one", &["x:1"])).ok();
    pass(200).await;
    for step in [
        Step::End(Err(DiscoveryError::Stopped("it broke".to_owned()))),
        Step::End(Ok(())),
        Step::Panic,
    ] {
        steps.send(step).ok();
    }
    pass(100).await;
    let status = &world.manager.status()[0];
    assert_eq!(status.state, EntryState::Retrying);
    assert_eq!(status.message.as_deref(), Some("it broke"));
    assert_eq!(world.metric("prometheus_sd_failed_configs"), 1.0);
    pass(60_000).await;
    assert_eq!(world.last(), ["x:1"]);
    let pauses: Vec<u128> = provider
        .starts
        .lock()
        .unwrap()
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis() / 1000)
        .collect();
    assert_eq!(pauses, [1, 2, 4]);

    // What the new attempt doesn't find goes, but not before it had time to publish all.
    steps.send(publish("two", &["y:1"])).ok();
    pass(200).await;
    assert_eq!(world.last(), ["x:1", "y:1"]);
    assert_eq!(world.manager.status()[0].state, EntryState::Running);
    pass(6_000).await;
    assert_eq!(world.last(), ["y:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_is_tried_again_seldom() {
    let world = world();
    let (provider, steps) = scripted();
    world.provide("file", Some(&provider));
    world.manager.apply(config(vec![request(1)]));
    steps
        .send(Step::End(Err(DiscoveryError::Config(
            "no files".to_owned(),
        ))))
        .ok();
    pass(59_000).await;
    assert_eq!(provider.starts.lock().unwrap().len(), 1);
    pass(2_000).await;
    assert_eq!(provider.starts.lock().unwrap().len(), 2);
    let status = &world.manager.status()[0];
    assert_eq!(
        (status.state, status.message.as_deref()),
        (EntryState::Failed, Some("no files"))
    );
    // A changed configuration is tried.
    world.manager.apply(config(vec![request(2)]));
    pass(10).await;
    assert_eq!(provider.starts.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn plugins_come_are_swapped_and_go() {
    let world = world();
    world.manager.apply(config(vec![request(1)]));
    pass(10).await;
    let status = &world.manager.status()[0];
    assert_eq!(status.state, EntryState::WaitingForPlugin);
    assert_eq!(
        status.message.as_deref(),
        Some("waiting for plugin \"file\": drop file.wasm into the plugin folder")
    );

    let (old, to_old) = scripted();
    world.provide("file", Some(&old));
    to_old.send(publish("one", &["x:1"])).ok();
    pass(200).await;
    assert_eq!(world.last(), ["x:1"]);

    // The new one starts beside the old one, which goes on until the new one has published.
    let (new, to_new) = scripted();
    world.provide("file", Some(&new));
    world.provide("file", Some(&new));
    pass(10_000).await;
    assert_eq!(new.starts.lock().unwrap().len(), 1);
    to_old.send(publish("one", &["x:2"])).ok();
    pass(6_000).await;
    assert_eq!(world.last(), ["x:2"]);
    to_new.send(publish("one", &["x:3"])).ok();
    pass(6_000).await;
    assert_eq!(world.last(), ["x:3"]);
    to_old.send(publish("one", &["x:4"])).ok();
    pass(20_000).await;
    assert_eq!(world.last(), ["x:3"]);

    world.provide("file", None);
    pass(20_000).await;
    assert_eq!(world.last(), ["x:3"]);
    let status = &world.manager.status()[0];
    assert_eq!(status.state, EntryState::WaitingForPlugin);
    assert!(
        status
            .message
            .as_deref()
            .unwrap()
            .ends_with("the targets it last found are kept")
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_the_same_alone_and_goes_on_from_the_changed() {
    let world = world();
    let (provider, steps) = scripted();
    world.provide("file", Some(&provider));
    world.manager.apply(config(vec![request(1)]));
    steps.send(publish("one", &["x:1"])).ok();
    pass(10_000).await;
    for _ in 0..3 {
        world.manager.apply(config(vec![request(1)]));
        pass(10).await;
    }
    assert_eq!(provider.starts.lock().unwrap().len(), 1);
    assert_eq!(world.last(), ["x:1"]);

    world.manager.apply(config(vec![request(2)]));
    pass(10_000).await;
    assert_eq!(provider.starts.lock().unwrap().len(), 2);
    assert_eq!(world.last(), ["x:1"]);
    steps.send(publish("other", &["y:1"])).ok();
    pass(6_000).await;
    assert_eq!(world.last(), ["y:1"]);

    // Once the entry is no longer configured, its targets go.
    world.manager.apply(config(Vec::new()));
    pass(10).await;
    assert!(world.last().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_on_after_the_manager() {
    let world = world();
    let (provider, steps) = scripted();
    world.provide("file", Some(&provider));
    world.manager.apply(config(vec![request(1)]));
    pass(200).await;
    let World { manager, seen, .. } = world;
    drop(manager);
    let before = seen.lock().unwrap().len();
    pass(10).await;
    steps.send(publish("one", &["x:1"])).ok();
    pass(60_000).await;
    assert_eq!(seen.lock().unwrap().len(), before);
    assert_eq!(Arc::strong_count(&provider), 1);
}

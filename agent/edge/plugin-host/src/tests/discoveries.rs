//! Discovery plugins: publishing, waiting, failing, being swapped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narthex_extension::{DiscoveryError, DiscoveryProvider, DiscoveryRequest, TargetSink};
use narthex_model::TargetGroup;

use super::guest::Guest;
use super::{Bench, until};
use crate::{Limits, PluginState};

/// Waits for ever.
const WAIT: &str = "(call $wait (i32.const 1040)) (i32.const 4096)";

/// A sink as the discovery crate has one: the groups there are, by source.
#[derive(Default)]
pub(super) struct Groups {
    all: Mutex<BTreeMap<String, TargetGroup>>,
    published: AtomicBool,
}

impl TargetSink for Groups {
    fn publish(&self, groups: Vec<TargetGroup>) {
        self.published.store(true, Ordering::Relaxed);
        let mut all = self.all.lock().unwrap();
        for group in groups {
            match group.targets.is_empty() {
                true => all.remove(&group.source),
                false => all.insert(group.source.clone(), group),
            };
        }
    }
}

impl Groups {
    /// `source=address` of each target, and the labels besides.
    pub(super) fn text(&self) -> String {
        let all = self.all.lock().unwrap();
        let targets = all.iter().flat_map(|(source, group)| {
            group
                .targets
                .iter()
                .map(move |target| format!("{source}={}", target.value_or_empty("__address__")))
        });
        targets.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn labels(&self) -> Vec<String> {
        let all = self.all.lock().unwrap();
        all.values().map(|group| group.labels.to_string()).collect()
    }
}

pub(super) type Running = tokio::task::JoinHandle<Result<(), DiscoveryError>>;

pub(super) async fn provider(bench: &Bench, name: &str) -> Arc<dyn DiscoveryProvider> {
    until(&format!("provider {name}"), || {
        bench.handle.plugins().borrow().providers.get(name).cloned()
    })
    .await
}

pub(super) async fn run(
    bench: &Bench,
    name: &str,
    config: serde_json::Value,
    base_directory: PathBuf,
) -> (Running, Arc<Groups>) {
    let provider = provider(bench, name).await;
    let groups = Arc::new(Groups::default());
    let sink = groups.clone();
    let request = DiscoveryRequest {
        config,
        base_directory,
    };
    let running = tokio::spawn(async move { provider.run(request, sink).await });
    (running, groups)
}

async fn run_plain(bench: &Bench, name: &str) -> (Running, Arc<Groups>) {
    run(bench, name, serde_json::json!({}), PathBuf::from("/")).await
}

pub(super) async fn until_groups(groups: &Groups, expected: &str) {
    let what = || format!("{expected:?}, there is {:?}", groups.text());
    let patience = std::time::Instant::now() + super::PATIENCE;
    while groups.text() != expected {
        assert!(std::time::Instant::now() < patience, "{}", what());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_and_waits_for_longer_than_a_call_may_take() {
    let bench = Bench::start_with(|config| config.limits.call_timeout_ms = 200);
    let guest = Guest::discovery().publishes(&[("a", "a:1"), ("b", "b:1")], WAIT);
    bench.install("x", &guest.build());
    let (running, groups) = run_plain(&bench, "x").await;
    until_groups(&groups, "a=a:1 b=b:1").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!running.is_finished());
    let status = bench.status("x").unwrap();
    assert_eq!(
        (status.state, status.usage.targets),
        (PluginState::Running, 2)
    );
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computing_for_too_long_is_stopped_and_the_targets_stay() {
    let bench = Bench::start_with(|config| config.limits.call_timeout_ms = 200);
    let endless = "(loop $again (br $again)) (i32.const 4096)";
    bench.install(
        "x",
        &Guest::discovery()
            .publishes(&[("a", "a:1")], endless)
            .build(),
    );
    let (running, groups) = run_plain(&bench, "x").await;
    let status = bench.until_state("x", PluginState::Failed).await;
    let error = status.last_error.unwrap();
    assert!(error.contains("longer than 200 ms"), "{error}");
    assert_eq!(groups.text(), "a=a:1");
    assert!(!running.is_finished());
    // It is started again by itself.
    let restarted = |status: &crate::PluginStatus| status.usage.restarts >= 2;
    bench.until_status("x", "a second restart", restarted).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_code_takes_over_with_its_first_publication() {
    let bench = Bench::start();
    let version =
        |groups: &[(&str, &str)], then: &str| Guest::discovery().publishes(groups, then).build();
    bench.install("x", &version(&[("a", "a:1"), ("b", "b:1")], WAIT));
    let (running, groups) = run_plain(&bench, "x").await;
    until_groups(&groups, "a=a:1 b=b:1").await;

    // What the new one does not name is gone.
    bench.install("x", &version(&[("b", "b:2"), ("c", "c:2")], WAIT));
    until_groups(&groups, "b=b:2 c=c:2").await;

    // One that fails before it publishes does not take over.
    bench.install("x", &Guest::discovery().collect("unreachable").build());
    let refused = |status: &crate::PluginStatus| {
        status.last_error.as_ref().is_some_and(|error| {
            error.starts_with("the new version failed, the former one goes on: plugin x trapped")
        })
    };
    bench.until_status("x", "the trap is told", refused).await;
    assert_eq!(groups.text(), "b=b:2 c=c:2");
    assert_eq!(bench.status("x").unwrap().state, PluginState::Running);

    bench.install("x", b"random bytes, no plugin at all");
    let refused = |status: &crate::PluginStatus| {
        status.last_error.as_ref().is_some_and(|error| {
            error.starts_with("the new file was refused and the former one goes on: ")
        })
    };
    bench
        .until_status("x", "the file is refused", refused)
        .await;
    assert_eq!(groups.text(), "b=b:2 c=c:2");

    std::fs::remove_file(bench.plugin_path("x")).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(
        error,
        DiscoveryError::Stopped("the file of plugin x was removed".to_owned())
    );
    assert!(!bench.handle.plugins().borrow().providers.contains_key("x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_ends_the_run() {
    let bench = Bench::start();
    let mut guest = Guest::discovery();
    let (field, message) = (guest.text("files[0]"), guest.text("no such thing"));
    let refusal = guest.put(&[vec![1, 0, 0, 0], field, message].concat());
    bench.install(
        "x",
        &guest.configure(&format!("(i32.const {refusal})")).build(),
    );
    let (running, _) = run_plain(&bench, "x").await;
    assert_eq!(
        running.await.unwrap().unwrap_err(),
        DiscoveryError::Config("x_sd_configs: field files[0]: no such thing".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_wait_for_a_grant() {
    let mut bench = Bench::start();
    let guest = Guest::discovery()
        .wants_file("/etc")
        .publishes(&[("a", "a:1")], WAIT);
    bench.install("x", &guest.build());
    bench.until_state("x", PluginState::WaitingForGrant).await;
    let (running, groups) = run_plain(&bench, "x").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(groups.text(), "");
    bench
        .apply(|config| {
            let grant = super::reading(&[std::path::Path::new("/etc/narthex")]);
            config.grants.insert("x".to_owned(), grant.into());
        })
        .await;
    until_groups(&groups, "a=a:1").await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_targets_and_timers_are_refused() {
    let limits = Limits {
        targets: 1,
        ..Limits::default()
    };
    let bench = Bench::start_with(|config| config.limits = limits);
    // Returns what `publish` says: without the kind of the error, its result is that of `run`.
    let returns = "(i64.store (i32.const 1028) (i64.load (i32.const 1032))) (i32.const 1024)";
    let guest = Guest::discovery().publishes(&[("a", "a:1"), ("b", "b:1")], returns);
    bench.install("x", &guest.build());
    let (running, groups) = run_plain(&bench, "x").await;
    let status = bench.until_state("x", PluginState::Failed).await;
    let error = status.last_error.unwrap();
    assert!(
        error.contains("2 targets, and the limit plugins.limits.targets is 1"),
        "{error}"
    );
    assert_eq!(groups.text(), "");
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_beyond_the_limit_are_refused() {
    let bench = Bench::start_with(|config| config.limits.subscriptions = 3);
    // Starts timers until one is refused, then waits for the first to fire and publishes.
    let mut guest = Guest::discovery();
    let (at, count) = guest.groups(&[("a", "a:1")]);
    let body = format!(
        "(loop $again
           (call $timer (i64.const 10) (i32.const 1056))
           (br_if $again (i32.eqz (i32.load8_u (i32.const 1056)))))
         (call $wait (i32.const 1040))
         (call $publish (i32.const {at}) (i32.const {count}) (i32.const 1024))
         {WAIT}"
    );
    let guest = guest.publishes(&[], "").collect(&body);
    bench.install("x", &guest.build());
    let (running, groups) = run_plain(&bench, "x").await;
    until_groups(&groups, "a=a:1").await;
    let usage = bench.status("x").unwrap().usage;
    assert_eq!(usage.limit_hits, [("subscriptions", 1)]);
    running.abort();
}

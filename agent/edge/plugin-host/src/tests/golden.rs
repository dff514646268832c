//! Plugins built against each published version of the contract, as files that never change.
//!
//! `golden/0.1.0`: `custom-metric` and `file` as they came with Narthex then, built by
//! `plugins/build.sh` from the commit before version 1.0 of the contract. `golden/1.0.0`:
//! `custom-metric`, from the commit with the first SDK for that version.

use serde_json::json;

use super::discoveries::{run, until_groups};
use super::guest::Guest;
use super::{Bench, reading, value_of};
use crate::PluginState;

const OLD_EXPORTER: &[u8] = include_bytes!("golden/0.1.0/custom-metric.wasm");
const NEW_EXPORTER: &[u8] = include_bytes!("golden/1.0.0/custom-metric.wasm");
const OLD_DISCOVERY: &[u8] = include_bytes!("golden/0.1.0/file.wasm");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exporters_of_old_and_new_versions_run_side_by_side() {
    let bench = Bench::start();
    bench.install("old", OLD_EXPORTER);
    bench.install("new", NEW_EXPORTER);
    for job in ["old", "new"] {
        bench.until_state(job, PluginState::Running).await;
        let families = bench.collect(job).await.unwrap();
        assert_eq!(families[0].name, "custom_metric_example");
        assert_eq!(families[0].metadata.help, "An example custom metric");
        let value = value_of(&Ok(families)).unwrap();
        assert!((0.0..100.0).contains(&value), "{value}");
    }
    let contract = |name| bench.status(name).unwrap().contract;
    assert_eq!(
        (contract("old"), contract("new")),
        (Some("0.1"), Some("1.0"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_of_an_old_version_finds_and_goes_on() {
    let mut bench = Bench::start();
    bench.install("file", OLD_DISCOVERY);
    bench
        .until_state("file", PluginState::WaitingForGrant)
        .await;
    let targets = bench.path("targets");
    std::fs::create_dir(&targets).unwrap();
    let file = targets.join("a.json");
    std::fs::write(&file, r#"[{"targets": ["a:1"]}]"#).unwrap();
    bench
        .apply(|config| {
            config
                .grants
                .insert("file".to_owned(), reading(&[&targets]).into());
        })
        .await;
    let config = json!({"files": ["targets/*.json"]});
    let base = bench.folder.path().to_owned();
    let (running, groups) = run(&bench, "file", config, base).await;
    let source = file.display();
    until_groups(&groups, &format!("{source}:0=a:1")).await;
    std::fs::write(&file, r#"[{"targets": ["a:2"]}]"#).unwrap();
    until_groups(&groups, &format!("{source}:0=a:2")).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_are_not_spoken_are_refused_with_what_to_do() {
    let bench = Bench::start();
    for (version, expected) in [
        (
            "1.1.0",
            "the plugin is made for version 1.1.0 of the contract narthex:plugin, and this Narthex \
             speaks 0.1 and 1.0: update Narthex, or build the plugin with narthex-plugin-sdk 1.0",
        ),
        (
            "2.0.0",
            "the plugin is made for version 2.0.0 of the contract narthex:plugin, and this Narthex \
             speaks 0.1 and 1.0: update Narthex, or build the plugin with narthex-plugin-sdk 1.0",
        ),
        (
            "0.2.0",
            "the plugin is made for version 0.2.0 of the contract narthex:plugin, which this \
             Narthex does not speak; it speaks 0.1 and 1.0: build the plugin with \
             narthex-plugin-sdk 1.0",
        ),
    ] {
        let guest = Guest::exporter().contract(version).gives("m", 1.0);
        bench.install("x", &guest.build());
        let status = bench
            .until_status("x", version, |status| {
                status.last_error.as_deref() == Some(expected)
            })
            .await;
        assert_eq!(status.state, PluginState::Broken);
    }
    // A patch of the contract changes no meaning.
    bench.install(
        "x",
        &Guest::exporter().contract("1.0.7").gives("m", 1.0).build(),
    );
    bench.until_value("x", 1.0).await;
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let engine = wasmtime::Engine::default();
    let whole = include_bytes!("golden/1.0.0/custom-metric.wasm");
    for length in (0..whole.len()).step_by(997) {
        let refused = crate::code::compile(&engine, &whole[..length]).err();
        assert!(refused.is_some(), "{length} bytes of {}", whole.len());
    }
}

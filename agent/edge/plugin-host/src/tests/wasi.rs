//! Components of languages that cannot do without WASI get one that reaches nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::guest::Guest;
use super::hostile::Neighbour;
use super::shipped::target_directory;
use super::{Bench, reading};
use crate::{ExporterInstance, PluginState};

const PACKAGES: &str = "
package wasi:io@0.2.0 {
  interface poll { resource pollable { ready: func() -> bool; block: func(); } }
}
package wasi:clocks@0.2.0 {
  interface monotonic-clock {
    use wasi:io/poll@0.2.0.{pollable};
    subscribe-duration: func(when: u64) -> pollable;
  }
}
package wasi:cli@0.2.0 {
  interface environment {
    get-environment: func() -> list<tuple<string, string>>;
    get-arguments: func() -> list<string>;
  }
}
";

const IMPORTS: &str = "import wasi:io/poll@0.2.0; import wasi:clocks/monotonic-clock@0.2.0; import \
                       wasi:cli/environment@0.2.0;";

fn guest() -> Guest {
    Guest::exporter()
        .wasi(PACKAGES, IMPORTS)
        .foreign_import(
            "wasi:clocks/monotonic-clock@0.2.0",
            "subscribe-duration",
            "(func $subscribe (param i64) (result i32))",
        )
        .foreign_import(
            "wasi:io/poll@0.2.0",
            "[method]pollable.block",
            "(func $block (param i32))",
        )
        .foreign_import(
            "wasi:cli/environment@0.2.0",
            "get-environment",
            "(func $environment (param i32))",
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_empty_and_clocks_go() {
    let bench = Bench::start();
    let slept = guest().function(
        "(func $sleep (result i32)
           (call $block (call $subscribe (i64.const 20000000)))
           (call $environment (i32.const 1024))
           (i32.load (i32.const 1028)))",
    );
    bench.install(
        "a",
        &slept.gives_result_of("variables", "(call $sleep)").build(),
    );
    let began = Instant::now();
    bench.until_value("a", 0.0).await;
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_for_an_hour_ends_by_the_deadline_and_with_the_instance() {
    let mut bench = Bench::start_with(|config| config.limits.call_timeout_ms = 300);
    let neighbour = Neighbour::start(&bench).await;
    let sleeper = guest()
        .collect("(call $block (call $subscribe (i64.const 3600000000000))) (i32.const 4096)");
    let sleeper = sleeper.build();
    bench.install("sleeper", &sleeper);
    let error = bench.collect("sleeper").await.unwrap_err().to_string();
    let expected = "plugin sleeper was stopped: it ran for longer than 300 ms";
    assert!(error.starts_with(expected), "{error}");
    let hits = bench.status("sleeper").unwrap().usage.limit_hits;
    assert_eq!(hits, [("call_timeout", 1)]);

    bench
        .apply(|config| config.limits.call_timeout_ms = 60_000)
        .await;
    bench.install("other", &sleeper);
    let exporter = bench.until_exporter("other").await;
    let collection = tokio::spawn(async move { exporter.collect().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::remove_file(bench.plugin_path("other")).unwrap();
    let began = Instant::now();
    collection.await.unwrap().unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "not the deadline"
    );
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_wasi_is_not_offered_is_named() {
    let bench = Bench::start();
    let packages = "
package wasi:http@0.2.0 {
  interface outgoing-handler { handle: func(); }
}";
    let guest = Guest::exporter()
        .wasi(packages, "import wasi:http/outgoing-handler@0.2.0;")
        .foreign_import(
            "wasi:http/outgoing-handler@0.2.0",
            "handle",
            "(func $handle)",
        )
        .collect("(call $handle) (i32.const 4096)");
    bench.install("a", &guest.build());
    let status = bench.until_state("a", PluginState::Broken).await;
    let error = status.last_error.unwrap();
    let expected = "the plugin needs wasi:http/outgoing-handler@0.2.0. Narthex offers components";
    assert!(error.starts_with(expected), "{error}");
}

/// The name of componentize-py, which makes components of Python. Without it, the one that
/// `plugins/examples/python-exporter/build.sh` has fetched is taken.
const TOOL: &str = "NARTHEX_TEST_COMPONENTIZE_PY";

/// None, and a line that says so, where it is not at hand.
fn componentize_py() -> Option<PathBuf> {
    let fetched = target_directory().join("componentize-py/bin/componentize-py");
    let tool = std::env::var_os(TOOL).map_or(fetched, PathBuf::from);
    if !tool.is_file() {
        println!("skipped: no componentize-py; plugins/examples/python-exporter/build.sh gets it");
        return None;
    }
    Some(tool)
}

/// Compiling a whole interpreter takes a while.
async fn until_compiled(bench: &Bench, plugin: &str) {
    let patience = Instant::now() + Duration::from_secs(900);
    loop {
        let status = bench.status(plugin);
        if status
            .as_ref()
            .is_some_and(|status| status.manifest.is_some())
        {
            return;
        }
        assert!(Instant::now() < patience, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_runs_and_reaches_nothing() {
    let Some(tool) = componentize_py() else {
        return;
    };
    let bench = Bench::start_with(|config| config.limits.call_timeout_ms = 120_000);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(here.join("src/tests/python/app.py"), bench.path("app.py")).unwrap();
    let made = Command::new(tool)
        .arg("-d")
        .arg(here.join("../../../plugin-sdk/wit"))
        .args(["-w", "exporter", "componentize", "app", "-o", "python.wasm"])
        .current_dir(bench.folder.path())
        .status();
    assert!(made.unwrap().success());
    let component = std::fs::read(bench.path("python.wasm")).unwrap();
    bench.install("python", &component);
    until_compiled(&bench, "python").await;
    bench.until_value("python", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_in_python_tells_what_waits() {
    let Some(tool) = componentize_py() else {
        return;
    };
    let mut bench = Bench::start_with(|config| config.limits.call_timeout_ms = 120_000);
    let spool = bench.path("spool");
    for (queue, jobs) in [("mail", vec!["hello", "you"]), ("print", vec![])] {
        let folder = spool.join(queue);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, text) in jobs.into_iter().enumerate() {
            std::fs::write(folder.join(at.to_string()), text).unwrap();
        }
    }
    let job = |job: &str, folder: serde_json::Value| ExporterInstance {
        job: job.to_owned(),
        plugin: "spool".to_owned(),
        interval_ms: None,
        config: serde_json::json!({ "folder": folder }),
    };
    let (granted, missing) = (spool.to_str().unwrap(), spool.join("missing"));
    bench
        .apply(|config| {
            config
                .grants
                .insert("spool".to_owned(), reading(&[&spool]).into());
            config.exporters = vec![
                job("waits", granted.into()),
                job("wrong", 7.into()),
                job("missing", missing.to_str().unwrap().into()),
                job("outside", "/etc".into()),
            ];
        })
        .await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new("bash")
        .arg(here.join("../../../plugins/examples/python-exporter/build.sh"))
        .arg(bench.path("spool.wasm"))
        .env("COMPONENTIZE_PY", tool)
        .status();
    assert!(made.unwrap().success());
    let component = std::fs::read(bench.path("spool.wasm")).unwrap();
    bench.install("spool", &component);
    until_compiled(&bench, "spool").await;
    let patience = Instant::now() + Duration::from_secs(120);
    let families = loop {
        match bench.collect("waits").await {
            Ok(families) => break families,
            Err(error) => assert!(Instant::now() < patience, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let text = |name: &str| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        let metrics = family.metrics.iter();
        let texts = metrics.map(|metric| format!("{} {:?}", metric.labels, metric.value));
        texts.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        text("spool_jobs"),
        r#"{queue="mail"} Float(2.0), {queue="print"} Float(0.0)"#
    );
    assert_eq!(
        text("spool_size_bytes"),
        r#"{queue="mail"} Float(8.0), {queue="print"} Float(0.0)"#
    );
    for (job, expected) in [
        ("wrong", "field folder: expected an absolute path"),
        ("missing", "spool/missing: no such file or directory"),
        (
            "outside",
            "/etc: reading /etc is not granted; in narthex.yml: plugins: { grants: { spool: { fi",
        ),
    ] {
        let error = bench.collect(job).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{job}: {error}");
    }
    let began = Instant::now();
    bench.collect("waits").await.unwrap();
    let took = began.elapsed();
    let usage = bench.status("spool").unwrap().usage;
    println!(
        "{} bytes, loaded in {:?} s, collects in {took:?} with {} bytes of memory",
        component.len(),
        bench.metric(
            "narthex_plugin_load_duration_seconds",
            &[("plugin", "spool")]
        ),
        usage.memory_peak_bytes
    );
}

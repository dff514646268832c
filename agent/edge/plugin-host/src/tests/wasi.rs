//! Components of languages that cannot do without WASI get one that reaches nothing.

use std::time::{Duration, Instant};

use super::Bench;
use super::guest::Guest;
use super::hostile::Neighbour;
use crate::PluginState;

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

/// The name of componentize-py, which makes components of Python; unset: the test is skipped.
const TOOL: &str = "NARTHEX_TEST_COMPONENTIZE_PY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_runs_and_reaches_nothing() {
    let Ok(tool) = std::env::var(TOOL) else {
        println!("skipped: {TOOL} is not set");
        return;
    };
    let bench = Bench::start_with(|config| config.limits.call_timeout_ms = 120_000);
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(here.join("src/tests/python/app.py"), bench.path("app.py")).unwrap();
    let made = std::process::Command::new(tool)
        .arg("-d")
        .arg(here.join("../../../plugin-sdk/wit"))
        .args(["-w", "exporter", "componentize", "app", "-o", "python.wasm"])
        .current_dir(bench.folder.path())
        .status();
    assert!(made.unwrap().success());
    let component = std::fs::read(bench.path("python.wasm")).unwrap();
    bench.install("python", &component);
    // Compiling a whole interpreter takes a while.
    let patience = Instant::now() + Duration::from_secs(600);
    while bench.exporter("python").is_none() {
        let status = bench.status("python");
        assert!(Instant::now() < patience, "{status:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    bench.until_value("python", 0.0).await;
    println!(
        "{:?}, {:?}",
        began.elapsed(),
        bench.status("python").unwrap().usage
    );
}

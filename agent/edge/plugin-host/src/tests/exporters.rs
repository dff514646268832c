//! Exporter plugins: dropped in, swapped, misbehaving, removed.

use std::time::{Duration, Instant};

use narthex_extension::{Capabilities, ExporterError};

use super::guest::Guest;
use super::{Bench, reading, until, value_of};
use crate::{ExporterInstance, Limits, PluginState};

const TRAP: &str = "unreachable";
const ENDLESS: &str = "(loop $again (br $again)) (i32.const 0)";

fn job(job: &str, plugin: &str, config: serde_json::Value) -> ExporterInstance {
    ExporterInstance {
        job: job.to_owned(),
        plugin: plugin.to_owned(),
        interval_ms: Some(1234),
        config,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_as_long_as_its_file_is_there() {
    let bench = Bench::start();
    bench.install("a", &Guest::exporter().gives("m", 7.0).build());
    bench.until_value("a", 7.0).await;
    let status = bench.until_state("a", PluginState::Running).await;
    assert_eq!(status.jobs, ["a"]);
    assert_eq!(status.last_error, None);
    assert!(status.usage.calls >= 1 && status.usage.memory_peak_bytes >= 65_536);
    let state = [("plugin", "a"), ("state", "running")];
    assert_eq!(bench.metric("narthex_plugin_state", &state), Some(1.0));
    assert_eq!(
        bench.metric("narthex_plugin_series", &[("plugin", "a")]),
        Some(1.0)
    );

    let exporter = bench.until_exporter("a").await;
    std::fs::remove_file(bench.plugin_path("a")).unwrap();
    until("job a is gone", || {
        bench.exporter("a").is_none().then_some(())
    })
    .await;
    assert!(matches!(
        exporter.collect().await,
        Err(ExporterError::Unavailable(_))
    ));
    assert!(bench.handle.status().is_empty());
    assert_eq!(bench.metric("narthex_plugin_state", &state), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_there_at_the_start_runs_and_compiled_code_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let wasm = Guest::exporter().gives("m", 1.0).build();
    std::fs::write(plugins.join("a.wasm"), wasm).unwrap();
    let bench = Bench::start_with(|config| config.directory.clone_from(&plugins));
    assert!(bench.status("a").is_some(), "it is listed at once");
    bench.until_value("a", 1.0).await;
    let cache = bench.path("cache");
    let cached = std::fs::read_dir(&cache).unwrap().count();
    assert!(cached > 0);
    bench.handle.shutdown().await;
    assert!(bench.handle.plugins().borrow().exporters.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_takes_over_and_a_broken_one_does_not() {
    let bench = Bench::start();
    bench.install("a", &Guest::exporter().gives("m", 1.0).build());
    bench.until_value("a", 1.0).await;
    let exporter = bench.until_exporter("a").await;

    bench.install("a", &Guest::exporter().gives("m", 2.0).build());
    bench.until_value("a", 2.0).await;
    assert_eq!(
        value_of(&exporter.collect().await),
        Some(2.0),
        "the handle stays the same"
    );

    let random: Vec<u8> = (0..4096_u32).map(|i| (i * 167 % 251) as u8 | 1).collect();
    let cases = [
        (random, "the file is not WebAssembly"),
        (vec![], "the file is empty"),
        (
            Guest::discovery().contract("9.0.0").build(),
            "update Narthex",
        ),
        (
            Guest::exporter().configure(TRAP).gives("m", 3.0).build(),
            "trapped",
        ),
        (Guest::exporter().collect(TRAP).build(), "trapped"),
        (
            Guest::exporter().gives("not-a-name", 3.0).build(),
            "invalid metric name \"not-a-name\"",
        ),
    ];
    for (file, expected) in cases {
        bench.install("a", &file);
        let status = bench
            .until_status("a", expected, |status| {
                status
                    .last_error
                    .as_ref()
                    .is_some_and(|error| error.contains(expected))
            })
            .await;
        let error = status.last_error.unwrap();
        assert!(
            error.starts_with("the new file was refused and the former one goes on: "),
            "{error}"
        );
        assert_eq!(status.state, PluginState::Running);
        assert_eq!(value_of(&exporter.collect().await), Some(2.0), "{expected}");
    }

    bench.install("a", &Guest::exporter().gives("m", 4.0).build());
    bench.until_value("a", 4.0).await;
    let status = bench.until_state("a", PluginState::Running).await;
    assert!(
        status
            .last_error
            .is_none_or(|error| !error.starts_with("the new file")),
        "the refusal is over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_former_file_put_back_clears_the_refusal() {
    let bench = Bench::start();
    let good = Guest::exporter().gives("m", 1.0).build();
    bench.install("a", &good);
    bench.until_value("a", 1.0).await;
    bench.install("a", b"nonsense");
    let refused = |status: &crate::PluginStatus| status.last_error.is_some();
    bench.until_status("a", "refused", refused).await;
    bench.install("a", &good);
    let well = |status: &crate::PluginStatus| status.last_error.is_none();
    bench.until_status("a", "no longer refused", well).await;
    bench.until_value("a", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_misbehave_is_named_and_disturbs_nobody() {
    let limits = Limits {
        memory_bytes: 8 << 20,
        call_timeout_ms: 300,
        series: 100,
        labels: 0,
        label_name_bytes: 10,
        transfer_bytes: 4 << 20,
        ..Limits::default()
    };
    let bench = Bench::start_with(|config| config.limits = limits);
    bench.install("good", &Guest::exporter().gives("m", 1.0).build());
    bench.until_value("good", 1.0).await;

    let grow = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (i32.const 0)";
    let mut dying = Guest::exporter().import("log", "write", "(param i32 i32 i32)");
    let words = dying.put(b"panicked at src/lib.rs:7: it is too late");
    let dying = dying.collect(&format!(
        "(call $write (i32.const 3) (i32.const {words}) (i32.const 40)) unreachable"
    ));
    let deep = Guest::exporter()
        .function("(func $deep (param i32) (result i32) (call $deep (i32.const 1)))")
        .collect("(call $deep (i32.const 0))");
    type Check = fn(&ExporterError) -> bool;
    let trapped: Check = |error| matches!(error, ExporterError::Trapped(_));
    let limit: Check = |error| matches!(error, ExporterError::LimitExceeded(_));
    let failed: Check = |error| matches!(error, ExporterError::Failed(_));
    let cases: [(&str, Guest, Check, &str, &str); 12] = [
        (
            "traps",
            Guest::exporter().collect(TRAP),
            trapped,
            "plugin traps trapped: ",
            "",
        ),
        (
            "dies",
            dying,
            trapped,
            "plugin dies trapped: panicked at src/lib.rs:7: it is too late (",
            "",
        ),
        ("recurses", deep, trapped, "plugin recurses trapped: ", ""),
        (
            "lies",
            Guest::exporter().collect("(i32.const -1)"),
            trapped,
            "plugin lies trapped: ",
            "",
        ),
        (
            "loops",
            Guest::exporter().collect(ENDLESS),
            limit,
            "plugin loops was stopped: it ran for longer than 300 ms (the limit plugins.limits.call",
            "call_timeout",
        ),
        (
            "eats",
            Guest::exporter().collect(grow),
            limit,
            "plugin eats was stopped: it wanted 8454144 bytes of memory and may have 8388608 (plu",
            "memory",
        ),
        (
            "many",
            Guest::exporter().gives_many(101),
            limit,
            "plugin many gave too much: 101 series, and the limit plugins.limits.series is 100",
            "series",
        ),
        (
            "huge",
            Guest::exporter().gives_long_labels(64, 1 << 20),
            limit,
            "plugin huge was stopped: it handed over more than 4194304 bytes in one call (plugin",
            "transfer_bytes",
        ),
        (
            "labelled",
            Guest::exporter().gives_long_labels(1, 1),
            limit,
            "plugin labelled gave too much: 1 labels, and the limit plugins.limits.labels is 0 (m",
            "labels",
        ),
        (
            "named",
            Guest::exporter().gives("a_long_name", 1.0),
            limit,
            "plugin named gave too much: 11 label_name_bytes, and the limit plugins.limits.label_n",
            "label_name_bytes",
        ),
        (
            "invalid",
            Guest::exporter().gives("1 bad name", 1.0),
            failed,
            "plugin invalid gave invalid output: invalid metric name \"1 bad name\": expected a",
            "",
        ),
        (
            "complains",
            Guest::exporter().fails("the device is on fire"),
            failed,
            "plugin complains: the device is on fire",
            "",
        ),
    ];
    for (name, guest, is_kind, expected, limit) in cases {
        bench.install(name, &guest.build());
        let error = bench.collect(name).await.unwrap_err();
        assert!(is_kind(&error), "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.starts_with(expected), "{name}: {text}");
        let status = bench.status(name).unwrap();
        assert_eq!(status.last_error.as_ref(), Some(&text));
        assert!(status.usage.failures >= 1);
        if !limit.is_empty() {
            assert_eq!(status.usage.limit_hits, [(limit, 1)], "{name}");
            let labels = [("plugin", name), ("limit", limit)];
            let hits = bench.metric("narthex_plugin_limit_hits_total", &labels);
            assert_eq!(hits, Some(1.0));
        }
        assert_eq!(value_of(&bench.collect("good").await), Some(1.0), "{name}");
    }
    // Those that only gave the wrong thing live on; the others wait for a new start.
    for (name, state) in [
        ("complains", PluginState::Running),
        ("invalid", PluginState::Running),
        ("many", PluginState::Running),
        ("good", PluginState::Running),
    ] {
        assert_eq!(bench.status(name).unwrap().state, state, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_trap_it_waits_and_is_started_anew() {
    let bench = Bench::start();
    // Traps in its first collection and gives a value in the second, if it remembered the first;
    // a new instance remembers nothing and traps again.
    bench.install("a", &Guest::exporter().collect(TRAP).build());
    let first = bench.collect("a").await.unwrap_err();
    assert!(matches!(first, ExporterError::Trapped(_)), "{first}");
    let began = Instant::now();
    let second = bench.collect("a").await.unwrap_err();
    if began.elapsed() < Duration::from_millis(500) {
        let text = second.to_string();
        assert!(matches!(second, ExporterError::Unavailable(_)), "{text}");
        assert!(
            text.starts_with("plugin a failed 1 times in a row and is started again in 1 s"),
            "{text}"
        );
        assert!(text.contains("trapped"), "{text}");
    }
    bench.until_state("a", PluginState::Failed).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let third = bench.collect("a").await.unwrap_err();
    assert!(matches!(third, ExporterError::Trapped(_)), "{third}");
    assert!(bench.status("a").unwrap().usage.restarts >= 1);
    // A better file is taken at once, whatever the wait.
    bench.install("a", &Guest::exporter().gives("m", 5.0).build());
    bench.until_value("a", 5.0).await;
    bench.until_state("a", PluginState::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_one_is_removed_while_it_runs() {
    let bench = Bench::start();
    bench.install("a", &Guest::exporter().collect(ENDLESS).build());
    let exporter = bench.until_exporter("a").await;
    let collection = tokio::spawn(async move { exporter.collect().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::remove_file(bench.plugin_path("a")).unwrap();
    let began = Instant::now();
    let error = collection.await.unwrap().unwrap_err();
    assert!(matches!(error, ExporterError::Unavailable(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(9), "not the deadline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_waits_until_what_it_wants_is_granted() {
    let mut bench = Bench::start();
    let secret = bench.path("secret");
    std::fs::write(&secret, "s").unwrap();
    let path = secret.to_str().unwrap().to_owned();
    let reader = Guest::exporter().wants_file(&path).reads(&path).build();
    bench.install("a", &reader);
    let status = bench.until_state("a", PluginState::WaitingForGrant).await;
    assert_eq!(status.missing, reading(&[&secret]));
    assert_eq!(
        status.missing_yaml,
        format!("plugins:\n  grants:\n    a: {{ files: [{path}] }}\n")
    );
    let manifest = status.manifest.unwrap();
    assert_eq!(
        (manifest.version.as_str(), manifest.wants),
        ("1.2.3", status.missing)
    );
    assert!(bench.exporter("a").is_none());

    // An empty grant is none.
    let nothing = |config: &mut crate::Config| {
        config
            .grants
            .insert("a".to_owned(), Capabilities::default().into());
    };
    bench.apply(nothing).await;
    bench.until_state("a", PluginState::WaitingForGrant).await;

    bench
        .apply(|config| {
            config
                .grants
                .insert("a".to_owned(), reading(&[&secret]).into());
        })
        .await;
    bench.until_state("a", PluginState::Running).await;
    assert_eq!(bench.collect("a").await, Ok(vec![]));

    bench.apply(nothing).await;
    assert!(bench.exporter("a").is_none());
    bench.until_state("a", PluginState::WaitingForGrant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_calls_say_what_is_missing() {
    let mut bench = Bench::start();
    let (open, closed) = (bench.path("open"), bench.path("closed"));
    for folder in [&open, &closed] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("f"), "content").unwrap();
    }
    std::os::unix::fs::symlink(closed.join("f"), open.join("link")).unwrap();
    let all = bench.folder.path().to_str().unwrap().to_owned();
    bench
        .apply(|config| {
            for plugin in ["granted", "escaped", "narrowed", "undeclared"] {
                config
                    .grants
                    .insert(plugin.to_owned(), reading(&[&open]).into());
            }
        })
        .await;
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    for (plugin, wants, reads, expected) in [
        ("granted", &all, text(open.join("f")), None),
        (
            "escaped",
            &all,
            text(open.join("link")),
            Some("it leads to "),
        ),
        (
            "narrowed",
            &all,
            text(closed.join("f")),
            Some("is not granted; in narthex.yml: plugins: { grants: { narrowed: { files: ["),
        ),
        (
            "undeclared",
            &text(open.join("other")),
            text(open.join("f")),
            Some("plugin undeclared does not declare that it reads "),
        ),
    ] {
        let guest = Guest::exporter().wants_file(wants).reads(&reads);
        bench.install(plugin, &guest.build());
        let answer = bench.collect(plugin).await;
        match expected {
            None => assert_eq!(answer, Ok(vec![]), "{plugin}"),
            Some(expected) => {
                let error = answer.unwrap_err().to_string();
                assert!(error.contains(expected), "{plugin}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_follow_the_configuration() {
    // Takes a configuration of two bytes, `{}`, and refuses all others.
    let mut picky = Guest::exporter();
    let (field, message) = (picky.text("size"), picky.text("too large"));
    let refusal = picky.put(&[vec![1, 0, 0, 0], field, message].concat());
    let picky = picky.gives("m", 1.0).configure(&format!(
        "(if (result i32) (i32.eq (local.get 1) (i32.const 2)) (then (i32.const 4096)) (else \
         (i32.const {refusal})))"
    ));
    let mut bench = Bench::start_with(|config| {
        config.exporters = vec![job("first", "a", serde_json::json!({}))];
    });
    let error = bench.collect("first").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no plugin a: no file a.wasm in the plugin folder"
    );
    bench.install("a", &picky.build());
    bench.until_value("first", 1.0).await;
    assert!(bench.exporter("a").is_none(), "the configuration names it");
    let plugins = bench.handle.plugins();
    assert_eq!(plugins.borrow().exporters[0].interval_ms, Some(1234));

    // A second job, refused; the first one is not touched.
    let calls = bench.status("a").unwrap().usage.calls;
    bench
        .apply(|config| {
            config
                .exporters
                .push(job("second", "a", serde_json::json!({"size": 9})));
        })
        .await;
    let error = bench.collect("second").await.unwrap_err().to_string();
    assert!(
        error.contains("plugin a refuses the configuration of job second, field size: too large"),
        "{error}"
    );
    assert!(bench.status("a").unwrap().usage.calls > calls);
    bench.until_value("first", 1.0).await;

    // The first one gets a configuration that it refuses: the former stays in force.
    bench
        .apply(|config| config.exporters = vec![job("first", "a", serde_json::json!({"size": 9}))])
        .await;
    bench.until_value("first", 1.0).await;
    let status = bench.status("a").unwrap();
    let error = status.last_error.unwrap();
    assert!(error.contains("field size: too large"), "{error}");
    assert_eq!(status.jobs, ["first"]);
    assert!(bench.exporter("second").is_none());

    // Nothing names it any more: it runs as the job of its name.
    bench.apply(|config| config.exporters.clear()).await;
    bench.until_value("a", 1.0).await;
    assert!(bench.exporter("first").is_none());

    bench
        .apply(|config| {
            config.disabled.insert("a".to_owned());
        })
        .await;
    assert!(bench.exporter("a").is_none());
    bench.until_state("a", PluginState::Disabled).await;
    bench.apply(|config| config.disabled.clear()).await;
    bench.until_value("a", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_folder_is_taken_up() {
    let mut bench = Bench::start();
    bench.install("a", &Guest::exporter().gives("m", 1.0).build());
    bench.until_value("a", 1.0).await;
    let other = bench.path("other");
    std::fs::create_dir(&other).unwrap();
    let wasm = Guest::exporter().gives("m", 2.0).build();
    std::fs::write(other.join("b.wasm"), wasm).unwrap();
    bench
        .apply(|config| config.directory.clone_from(&other))
        .await;
    assert!(bench.exporter("a").is_none());
    bench.until_value("b", 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_in_force_at_once() {
    let mut bench = Bench::start();
    bench.install("a", &Guest::exporter().gives("m", 1.0).build());
    bench.until_value("a", 1.0).await;
    bench.apply(|config| config.limits.series = 0).await;
    let error = bench.collect("a").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "plugin a gave too much: 1 series, and the limit plugins.limits.series is 0"
    );
    bench.apply(|config| config.limits.series = 1).await;
    bench.until_value("a", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_too_long_is_not_read() {
    let mut bench = Bench::start_with(|config| config.limits.file_bytes = 10);
    for (plugin, content, expected) in [
        ("fits", "0123456789", None),
        (
            "long",
            "01234567890",
            Some("longer than 10 bytes (plugins.limits.file_bytes)"),
        ),
    ] {
        let file = bench.path(plugin);
        std::fs::write(&file, content).unwrap();
        bench
            .apply(|config| {
                config
                    .grants
                    .insert(plugin.to_owned(), reading(&[&file]).into());
            })
            .await;
        let path = file.to_str().unwrap();
        let guest = Guest::exporter().wants_file(path).reads(path);
        bench.install(plugin, &guest.build());
        let answer = bench.collect(plugin).await;
        let hits = bench.status(plugin).unwrap().usage.limit_hits;
        match expected {
            None => assert_eq!((answer, hits), (Ok(vec![]), vec![])),
            Some(expected) => {
                let expected = format!("plugin {plugin}: {expected}");
                assert_eq!(answer.unwrap_err().to_string(), expected);
                assert_eq!(hits, [("file_bytes", 1)]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_a_busy_plugin_too_often_is_told() {
    let bench = Bench::start_with(|config| config.limits.call_timeout_ms = 1500);
    bench.install("a", &Guest::exporter().collect(ENDLESS).build());
    let exporter = bench.until_exporter("a").await;
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let exporter = exporter.clone();
            tokio::spawn(async move { exporter.collect().await.unwrap_err().to_string() })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    let told = |text: &str| answers.iter().filter(|a| a.contains(text)).count();
    assert!(
        told("is still busy with 4 earlier collections") >= 1,
        "{answers:#?}"
    );
    assert!(told("ran for longer than 1500 ms") >= 1, "{answers:#?}");
}

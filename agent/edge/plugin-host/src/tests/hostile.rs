//! Plugins that mean harm. For each: what is refused, what is reported, and that a neighbour missed
//! nothing. What requests are refused is in `requests`, in more detail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use narthex_extension::Capabilities;

use super::discoveries::run;
use super::guest::Guest;
use super::requests::{ok, redirect, requesting, serve, serve_names};
use super::{Bench, reading, value_of};
use crate::bounds::tests::many_locals;
use crate::{Limits, PluginState};

/// A plugin that behaves, collected every few milliseconds.
pub(super) struct Neighbour {
    ends: Arc<AtomicBool>,
    collected: Arc<AtomicU64>,
    running: tokio::task::JoinHandle<Duration>,
}

impl Neighbour {
    pub(super) async fn start(bench: &Bench) -> Neighbour {
        bench.install("good", &Guest::exporter().gives("m", 1.0).build());
        bench.until_value("good", 1.0).await;
        let exporter = bench.until_exporter("good").await;
        let (ends, collected) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (is_over, counter) = (ends.clone(), collected.clone());
        let running = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = exporter.collect().await;
                assert_eq!(value_of(&answer), Some(1.0), "{answer:?}");
                longest = longest.max(began.elapsed());
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            longest
        });
        Neighbour {
            ends,
            collected,
            running,
        }
    }

    /// It missed nothing up to now.
    pub(super) async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        let longest = self.running.await.unwrap();
        let collected = self.collected.load(Ordering::Relaxed);
        println!("{collected} collections of the neighbour, the longest took {longest:?}");
        assert!(collected > 0);
        assert!(longest < Duration::from_secs(10), "{longest:?}");
    }
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 16 << 20,
        call_timeout_ms: 500,
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_collect_is_refused_and_told() {
    let mut bench = Bench::start_with(|config| config.limits = limits());
    let link = bench.path("link");
    std::os::unix::fs::symlink("/etc/shadow", &link).unwrap();
    let folder = bench.folder.path().to_owned();
    bench
        .apply(|config| {
            let grant = reading(&[&folder]);
            config.grants.insert("symlink".to_owned(), grant.into());
        })
        .await;
    let neighbour = Neighbour::start(&bench).await;
    let grow = "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (i32.const 0)";
    let table = "(loop $again (drop (table.grow $t (ref.null func) (i32.const 100000)))
                 (br $again)) (i32.const 0)";
    let recursion = "(func $deep (param i32) (result i32)
                       (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let cases: [(&str, Guest, &str, &str, &str); 9] = [
        (
            "endless",
            Guest::exporter().collect("(loop $again (br $again)) (i32.const 0)"),
            "plugin endless was stopped: it ran for longer than 500 ms",
            "call_timeout",
            "limit",
        ),
        (
            "recursion",
            Guest::exporter()
                .function(recursion)
                .collect("(call $deep (i32.const 0))"),
            "plugin recursion trapped: ",
            "",
            "trap",
        ),
        (
            "memory",
            Guest::exporter().collect(grow),
            "plugin memory was stopped: it wanted ",
            "memory",
            "limit",
        ),
        (
            "table",
            Guest::exporter()
                .function("(table $t 1 funcref)")
                .collect(table),
            "plugin table was stopped: it wanted ",
            "memory",
            "limit",
        ),
        (
            "series",
            Guest::exporter().grows_and_gives_many(1_000_000),
            "plugin series gave too much: 1000000 series, and the limit plugins.limits.series is",
            "series",
            "limit",
        ),
        (
            "label",
            Guest::exporter().grows_and_gives_long_label(10 << 20),
            "plugin label gave too much: 10485760 label_value_bytes, and the limit plugins.limits",
            "label_value_bytes",
            "limit",
        ),
        (
            "names",
            Guest::exporter().gives("no name\u{0}", 1.0),
            "plugin names gave invalid output: invalid metric name \"no name\\0\"",
            "",
            "invalid",
        ),
        (
            "symlink",
            Guest::exporter()
                .wants_file("/")
                .reads(link.to_str().unwrap()),
            "plugin symlink: it leads to /etc/shadow, and ",
            "",
            "plugin",
        ),
        (
            "traps",
            Guest::exporter().collect("unreachable"),
            "plugin traps trapped: ",
            "",
            "trap",
        ),
    ];
    for (name, guest, expected, limit, reason) in cases {
        bench.install(name, &guest.build());
        let error = bench.collect(name).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
        let status = bench.status(name).unwrap();
        assert_eq!(status.last_error, Some(error), "{name}");
        let hits: Vec<&str> = status
            .usage
            .limit_hits
            .iter()
            .map(|(name, _)| *name)
            .collect();
        let expected = if limit.is_empty() {
            vec![]
        } else {
            vec![limit]
        };
        assert_eq!(hits, expected, "{name}");
        assert_eq!(bench.failures(name, reason), Some(1.0), "{name}");
    }
    let refused = bench.status("symlink").unwrap().usage.refused_calls;
    assert_eq!(refused, [("files", 1)]);
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_request_is_refused_and_told() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let forbidden = serve(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        ok("secret")
    });
    let open = serve(move |_| redirect(&format!("http://127.0.0.1:{forbidden}/")));
    let names = serve_names(&[("inside.test", [127, 0, 0, 1])]);
    let mut bench = Bench::start_with(|config| config.dns_servers = vec![names]);
    let (open, inside) = (
        format!("http://127.0.0.1:{open}/"),
        format!("http://inside.test:{forbidden}/"),
    );
    bench
        .apply(|config| {
            for plugin in ["metadata", "redirect", "dns"] {
                let grant = requesting(&["*://*", &open, &inside]);
                config.grants.insert(plugin.to_owned(), grant);
            }
        })
        .await;
    let neighbour = Neighbour::start(&bench).await;
    for (plugin, url, expected) in [
        (
            "metadata",
            "http://169.254.169.254/latest/meta-data/",
            "plugin metadata: http://169.254.169.254/latest/meta-data/ is a link-local address, \
             which only a grant that names it allows; in narthex.yml: ",
        ),
        ("redirect", &open, "plugin redirect: http://127.0.0.1:"),
        (
            "dns",
            &inside,
            "plugin dns: inside.test leads to 127.0.0.1, a loopback address, which can only be ",
        ),
    ] {
        let guest = Guest::exporter().wants_http("*://*").fetches(url);
        bench.install(plugin, &guest.build());
        let error = bench.collect(plugin).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{plugin}: {error}");
        let status = bench.status(plugin).unwrap();
        assert_eq!(status.last_error, Some(error), "{plugin}");
        // A refusal is an answer: the instance lives on.
        assert_eq!(status.state, PluginState::Running, "{plugin}");
        assert_eq!(status.usage.refused_calls, [("http", 1)], "{plugin}");
        let labels = [("plugin", plugin), ("capability", "http")];
        let refused = bench.metric("narthex_plugin_refused_calls_total", &labels);
        assert_eq!(refused, Some(1.0), "{plugin}");
        assert_eq!(bench.failures(plugin, "plugin"), Some(1.0), "{plugin}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody got through");
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_any_call_is_told() {
    const TRAP: &str = "unreachable";
    let bench = Bench::start();
    let neighbour = Neighbour::start(&bench).await;
    for (name, guest, state) in [
        (
            "describes",
            Guest::exporter().describes(TRAP),
            PluginState::Broken,
        ),
        (
            "configures",
            Guest::exporter().configure(TRAP),
            PluginState::Failed,
        ),
        (
            "collects",
            Guest::exporter().collect(TRAP),
            PluginState::Failed,
        ),
        (
            "finds",
            Guest::discovery().describes(TRAP),
            PluginState::Broken,
        ),
        (
            "validates",
            Guest::discovery().configure(TRAP),
            PluginState::Failed,
        ),
        (
            "runs",
            Guest::discovery().collect(TRAP),
            PluginState::Failed,
        ),
    ] {
        bench.install(name, &guest.build());
        let mut running = None;
        match name {
            "configures" | "collects" => {
                bench.collect(name).await.unwrap_err();
            }
            "validates" | "runs" => {
                running = Some(run(&bench, name, serde_json::json!({}), "/".into()).await.0);
            }
            _ => {}
        }
        let status = bench.until_state(name, state).await;
        let error = status.last_error.unwrap();
        assert!(
            error.contains(&format!("plugin {name} trapped: ")),
            "{error}"
        );
        assert!(status.usage.failures >= 1, "{name}");
        assert!(bench.failures(name, "trap") >= Some(1.0), "{name}");
        let state = [("plugin", name), ("state", state.as_str())];
        let shown = || bench.metric("narthex_plugin_state", &state) == Some(1.0);
        super::until("its state is shown", || shown().then_some(())).await;
        if let Some(running) = running {
            running.abort();
        }
    }
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_grant_grants_nothing() {
    let mut bench = Bench::start();
    bench
        .apply(|config| {
            let all = ["reads", "asks", "looks", "queries"];
            let empty = all.map(|plugin| (plugin.to_owned(), Capabilities::default().into()));
            config.grants.extend(empty);
        })
        .await;
    let neighbour = Neighbour::start(&bench).await;
    for (name, guest) in [
        (
            "reads",
            Guest::exporter().wants_file("/").reads("/etc/passwd"),
        ),
        (
            "asks",
            Guest::exporter()
                .wants_http("*://*")
                .fetches("http://a.test"),
        ),
        ("looks", Guest::exporter().wants_dns("*").looks_up("a.test")),
        ("queries", Guest::exporter().wants_query().asks("up")),
    ] {
        bench.install(name, &guest.build());
        let status = bench.until_state(name, PluginState::WaitingForGrant).await;
        assert!(!status.missing.is_empty(), "{name}");
        assert!(
            status.missing_yaml.starts_with("plugins:\n  grants:\n    "),
            "{name}: {}",
            status.missing_yaml
        );
        assert!(bench.exporter(name).is_none(), "{name}");
        assert_eq!(status.usage.calls, 1, "{name} was only asked what it is");
    }
    // Who declares nothing runs, and may do as little.
    for (name, guest, capability) in [
        ("reads", Guest::exporter().reads("/etc/passwd"), "files"),
        ("asks", Guest::exporter().fetches("http://a.test"), "http"),
        ("looks", Guest::exporter().looks_up("a.test"), "dns"),
        ("queries", Guest::exporter().asks("up"), "query"),
    ] {
        bench.install(name, &guest.build());
        let error = bench.collect(name).await.unwrap_err().to_string();
        let expected = format!("plugin {name}: plugin {name} does not declare that it ");
        assert!(error.starts_with(&expected), "{error}");
        let refused = bench.status(name).unwrap().usage.refused_calls;
        assert_eq!(refused, [(capability, 1)], "{name}");
    }
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_million_series_are_counted_and_dropped() {
    let limits = Limits {
        memory_bytes: 128 << 20,
        ..Limits::default()
    };
    let bench = Bench::start_with(|config| config.limits = limits);
    let neighbour = Neighbour::start(&bench).await;
    bench.install(
        "many",
        &Guest::exporter().grows_and_gives_many(10_000_000).build(),
    );
    let error = bench.collect("many").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "plugin many gave too much: 10000000 series, and the limit plugins.limits.series is 100000"
    );
    let usage = bench.status("many").unwrap().usage;
    assert_eq!(usage.limit_hits, [("series", 1)]);
    assert_eq!(bench.failures("many", "limit"), Some(1.0));
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_lines_is_dropped_and_counted() {
    let bench = Bench::start();
    let neighbour = Neighbour::start(&bench).await;
    let mut guest = Guest::exporter().import("log", "write", "(param i32 i32 i32)");
    let line = guest.put(b"flood");
    let flood = guest.gives("m", 1.0).configure(&format!(
        "(local $left i32)
         (local.set $left (i32.const 100000))
         (loop $again
           (call $write (i32.const 1) (i32.const {line}) (i32.const 5))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $again (local.get $left)))
         (i32.const 4096)"
    ));
    bench.install("flood", &flood.build());
    bench.until_value("flood", 1.0).await;
    let dropped = bench.metric(
        "narthex_plugin_log_lines_dropped_total",
        &[("plugin", "flood")],
    );
    assert!(dropped.unwrap() > 90_000.0, "{dropped:?}");
    let told = bench.status("flood").unwrap().usage.log_lines_dropped;
    assert_eq!(Some(told as f64), dropped);
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_would_take_too_much_are_refused() {
    let bench = Bench::start_with(|config| config.limits = limits());
    let neighbour = Neighbour::start(&bench).await;
    let good = Guest::exporter().gives("m", 1.0).build();
    let mut cut = good.clone();
    cut.truncate(good.len() / 3);
    let long = Guest::exporter().function(&format!("(func {})", "nop ".repeat(600 << 10)));
    let many = Guest::exporter().function(&"(func)".repeat(200_001));
    let cases = [
        ("cut", cut, "the file is not valid WebAssembly: "),
        (
            "declares-memory",
            Guest::exporter().pages(65_536).gives("m", 1.0).build(),
            "asked for its manifest, plugin declares-memory was stopped: it wanted 4294967296 bytes",
        ),
        (
            "declares-table",
            Guest::exporter()
                .function("(table 9000000 funcref)")
                .build(),
            "asked for its manifest, plugin declares-table was stopped: it wanted ",
        ),
        (
            "declares-instances",
            with_instances(&good, 300),
            "asked for its manifest, plugin declares-instances trapped: ",
        ),
        (
            "long",
            long.build(),
            "the file is not valid WebAssembly: it is too large to be compiled: ",
        ),
        (
            "many",
            many.build(),
            "the file is not valid WebAssembly: it is too large to be compiled: 200",
        ),
        // A few kilobytes that stand for a hundred million local variables.
        (
            "locals",
            many_locals(2000),
            "the file is not valid WebAssembly: it is too large to be compiled: ",
        ),
        // A few hundred bytes that stand for a type of 2^40 parts.
        (
            "types",
            with_doubled_types(&good, 40),
            "the file is not valid WebAssembly: ",
        ),
    ];
    for (name, file, expected) in cases {
        let began = Instant::now();
        bench.install(name, &file);
        let status = bench.until_state(name, PluginState::Broken).await;
        let error = status.last_error.unwrap();
        assert!(error.starts_with(expected), "{name}: {error}");
        println!("{name}: refused after {:?}", began.elapsed());
        let loads = [("plugin", name), ("result", "failure")];
        assert_eq!(
            bench.metric("narthex_plugin_loads_total", &loads),
            Some(1.0)
        );
    }
    neighbour.end().await;
}

/// A component with a type that consists of two of another, which consists of two of another…
fn with_doubled_types(module: &[u8], depth: usize) -> Vec<u8> {
    let mut types = "(type $t0 (tuple u8 u8))".to_owned();
    for at in 1..depth {
        let inner = at - 1;
        types += &format!("(type $t{at} (tuple $t{inner} $t{inner}))");
    }
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(module).unwrap();
    let bomb = wat::parse_str(format!("(component {types})")).unwrap();
    // The sections of the one after those of the other; the second's head is left out.
    [encoder.encode().unwrap(), bomb[8..].to_vec()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_too_large_is_not_read() {
    let bench = Bench::start();
    let new = bench.path("new");
    let file = std::fs::File::create(&new).unwrap();
    file.set_len(200 << 20).unwrap();
    std::fs::rename(new, bench.plugin_path("large")).unwrap();
    let status = bench.until_state("large", PluginState::Broken).await;
    assert_eq!(
        status.last_error.unwrap(),
        "the file is too large: 209715200 bytes, and at most 134217728 are read"
    );
}

/// A component that makes so many instances of an empty module besides.
fn with_instances(module: &[u8], count: u32) -> Vec<u8> {
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(module).unwrap();
    let mut component = encoder.encode().unwrap();
    let modules = wasmparser::Parser::new(0)
        .parse_all(&component)
        .filter(|payload| matches!(payload, Ok(wasmparser::Payload::ModuleSection { .. })))
        .count();
    let empty = b"\0asm\x01\0\0\0";
    component.extend([1, empty.len() as u8]);
    component.extend(empty);
    let mut instances = Vec::new();
    leb128(count, &mut instances);
    for _ in 0..count {
        instances.extend([0, modules as u8, 0]);
    }
    component.push(2);
    leb128(instances.len() as u32, &mut component);
    component.extend(instances);
    component
}

fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_all_plugins_has_a_limit() {
    let bench = Bench::start_with(|config| {
        config.limits.memory_bytes = 16 << 20;
        config.limits.total_memory_bytes = 20 << 20;
    });
    let grows = |pages: u32| {
        let grown = format!(
            "(if (result i32) (i32.lt_u (memory.size) (i32.const 100))
               (then (memory.grow (i32.const {pages}))) (else (i32.const 0)))"
        );
        Guest::exporter().gives_result_of("m", &grown).build()
    };
    bench.install("first", &grows(150));
    bench.until_state("first", PluginState::Running).await;
    bench.collect("first").await.unwrap();
    bench.install("second", &grows(180));
    let error = bench.collect("second").await.unwrap_err().to_string();
    let expected = "plugin second was stopped: it wanted 11796480 bytes more memory, and all \
                    plugins together may have 20971520 (plugins.limits.total_memory)";
    assert_eq!(error, expected);
    let hits = bench.status("second").unwrap().usage.limit_hits;
    assert_eq!(hits, [("total_memory", 1)]);
    let total = || bench.metric("narthex_plugins_memory_bytes", &[]).unwrap();
    assert!(total() > 9.0e6 && total() < 12.0e6, "{}", total());

    // What goes gives its memory back.
    std::fs::remove_file(bench.plugin_path("first")).unwrap();
    super::until("the memory is free", || (total() < 1.0e6).then_some(())).await;
    bench.install("second", &grows(181));
    bench.until_state("second", PluginState::Running).await;
    super::until("the second has room", || (total() > 1.0e5).then_some(())).await;
    bench.collect("second").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fails_again_and_again_is_suspended() {
    let bench = Bench::start();
    let neighbour = Neighbour::start(&bench).await;
    bench.install("bad", &Guest::exporter().collect("unreachable").build());
    let exporter = bench.until_exporter("bad").await;
    // Between the tries are 1, 2, 4, 8 and 16 s.
    for expected in 1..=6 {
        let expected = f64::from(expected);
        super::until("another failure", || {
            bench
                .metric("narthex_plugin_failures_in_a_row", &[("plugin", "bad")])
                .filter(|failures| *failures >= expected)
                .or_else(|| {
                    let exporter = exporter.clone();
                    tokio::spawn(async move { exporter.collect().await });
                    None
                })
        })
        .await;
    }
    let usage = bench.until_state("bad", PluginState::Suspended).await.usage;
    assert!(
        usage.failures_in_a_row >= 6 && usage.restarts >= 5,
        "{usage:?}"
    );
    let error = bench.collect("bad").await.unwrap_err().to_string();
    let expected = "plugin bad failed 6 times in a row and is started again in ";
    assert!(error.starts_with(expected), "{error}");
    let state = [("plugin", "bad"), ("state", "suspended")];
    let shown = || bench.metric("narthex_plugin_state", &state) == Some(1.0);
    super::until("its state is shown", || shown().then_some(())).await;
    // A new file is tried at once.
    bench.install("bad", &Guest::exporter().gives("m", 2.0).build());
    bench.until_value("bad", 2.0).await;
    bench.until_state("bad", PluginState::Running).await;
    let failures = bench.metric("narthex_plugin_failures_in_a_row", &[("plugin", "bad")]);
    assert_eq!(failures, Some(0.0));
    neighbour.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hard_to_compile_holds_up_nobody() {
    let bench = Bench::start();
    let neighbour = Neighbour::start(&bench).await;
    // Many values that live long, and many branches that join.
    let locals = "(local i32)".repeat(1000);
    let mut body = String::new();
    for step in 0..6_000u32 {
        let (to, from) = (step % 1000, step.wrapping_mul(7919) % 1000);
        body += &format!(
            "(block (br_if 0 (local.get {from}))
               (local.set {to} (i32.add (local.get {from}) (local.get {to}))))"
        );
    }
    let hard = Guest::exporter().function(&format!("(func $hard {locals} {body})"));
    let began = Instant::now();
    bench.install("hard", &hard.gives("m", 2.0).build());
    while bench.exporter("hard").is_none() {
        let status = bench.status("hard");
        let refused = status.is_some_and(|status| status.state == PluginState::Broken);
        assert!(!refused, "{:?}", bench.status("hard"));
        assert!(began.elapsed() < Duration::from_secs(240));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("compiled after {:?}", began.elapsed());
    bench.until_value("hard", 2.0).await;
    neighbour.end().await;
}

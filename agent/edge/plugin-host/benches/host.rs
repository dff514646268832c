//! What the host adds to a plugin's own work: a collection that computes nothing, a new instance,
//! a load from the cache of compiled code, and the memory of an instance that does nothing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use narthex_extension::Exporter;
use narthex_plugin_host::{
    Config, ExporterInstance, FieldFault, Handle, Outside, PluginState, start,
};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A gauge with a random value, as the SDK makes it.
const PLUGIN: &[u8] = include_bytes!("../src/tests/golden/0.1.0/custom-metric.wasm");

struct Bench {
    runtime: Runtime,
    folder: TempDir,
    config: Config,
    handle: Handle,
    registry: Registry,
}

impl Bench {
    fn start() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let file = folder.path().join("plugins/a.wasm");
        std::fs::write(&file, PLUGIN).unwrap();
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let config = Config::new(folder.path().join("plugins"), folder.path().join("cache"));
        let (handle, registry) = host(&runtime, &config);
        Bench {
            runtime,
            folder,
            config,
            handle,
            registry,
        }
    }

    fn exporter(&self) -> Arc<dyn Exporter> {
        let plugins = self.handle.plugins();
        let set = plugins.borrow();
        set.exporters[0].exporter.clone()
    }
}

fn host(runtime: &Runtime, config: &Config) -> (Handle, Registry) {
    let _inside = runtime.enter();
    let refuse = |_: &str, _: &Path| {
        Err(FieldFault {
            field: String::new(),
            message: String::new(),
        })
    };
    let outside = Outside {
        http_config: Arc::new(refuse),
        queries: None,
    };
    let registry = Registry::new();
    let handle = start(config.clone(), outside, &registry).unwrap();
    while !handle
        .status()
        .iter()
        .any(|status| status.state == PluginState::Running)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    (handle, registry)
}

fn job(number: usize) -> ExporterInstance {
    ExporterInstance {
        job: format!("job-{number}"),
        plugin: "a".to_owned(),
        interval_ms: None,
        config: serde_json::json!({}),
    }
}

fn collect(criterion: &mut Criterion) {
    let bench = Bench::start();
    let exporter = bench.exporter();
    criterion.bench_function("collect", |bencher| {
        bencher.iter(|| bench.runtime.block_on(exporter.collect()).unwrap());
    });
}

/// What the system takes to wake a thread and to be woken by it, which is part of every collection.
fn round_trip(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (asks, asked) = sync_channel::<oneshot::Sender<()>>(1);
    let thread = std::thread::spawn(move || {
        while let Ok(reply) = asked.recv() {
            let _ = reply.send(());
        }
    });
    criterion.bench_function("a thread's round trip", |bencher| {
        bencher.iter(|| {
            let (reply, answer) = oneshot::channel();
            asks.send(reply).unwrap();
            runtime.block_on(answer).unwrap();
        });
    });
    drop(asks);
    thread.join().unwrap();
}

/// A job that comes: an instance, its configuration, its thread, and all that a new configuration
/// of the host takes.
fn instantiate(criterion: &mut Criterion) {
    let bench = Bench::start();
    let apply = |config: &Config| bench.runtime.block_on(bench.handle.apply(config.clone()));
    let with_job = Config {
        exporters: vec![job(0), job(1)],
        ..bench.config.clone()
    };
    let without = Config {
        exporters: vec![job(0)],
        ..bench.config.clone()
    };
    criterion.bench_function("a new instance", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                apply(&without);
                let began = Instant::now();
                apply(&with_job);
                took += began.elapsed();
            }
            took
        });
    });
}

/// Reading the file, finding its code in the cache, asking it what it is.
fn load(criterion: &mut Criterion) {
    let bench = Bench::start();
    criterion.bench_function("load from the cache", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let (_handle, registry) = host(&bench.runtime, &bench.config);
                took += Duration::from_secs_f64(load_seconds(&registry));
            }
            took
        });
    });
    println!("the first load took {:.3} s", load_seconds(&bench.registry));
    drop(bench.folder);
}

fn load_seconds(registry: &Registry) -> f64 {
    let families = registry.gather();
    let name = "narthex_plugin_load_duration_seconds";
    let family = families
        .iter()
        .find(|family| family.name() == name)
        .unwrap();
    family.get_metric()[0].get_gauge().get_value()
}

/// Printed, as it is no time.
fn memory(_: &mut Criterion) {
    const JOBS: usize = 100;
    let bench = Bench::start();
    let apply = |jobs: usize| {
        let config = Config {
            exporters: (0..jobs).map(job).collect(),
            ..bench.config.clone()
        };
        bench.runtime.block_on(bench.handle.apply(config));
        let exporters = bench.handle.plugins().borrow().exporters.clone();
        for handle in exporters {
            bench.runtime.block_on(handle.exporter.collect()).unwrap();
        }
        resident_bytes()
    };
    let one = apply(1);
    let many = apply(JOBS + 1);
    let each = (many - one) / JOBS as f64 / 1024.0;
    println!("memory: {each:.0} KiB resident for each instance that has collected once");
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        * 1024.0
}

criterion_group!(benches, round_trip, collect, instantiate, load, memory);
criterion_main!(benches);

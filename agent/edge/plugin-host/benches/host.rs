//! What the host adds to a plugin's own work: a collection that computes next to nothing, a new
//! instance, a load from the cache of compiled code, and the memory of an instance that does
//! nothing. Printed beside what they are meant to stay below; machines differ, so nothing is judged.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime};

use narthex_extension::Exporter;
use narthex_plugin_host::{
    Config, ExporterInstance, FieldFault, Handle, Outside, PluginState, start,
};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A gauge with a random value, as the SDK makes it.
const PLUGIN: &[u8] = include_bytes!("../src/tests/golden/1.0.0/custom-metric.wasm");

/// Instances whose memory is measured together.
const JOBS: usize = 100;

fn main() {
    println!("| of a plugin that does nothing | measured | to stay below | ratio |");
    println!("|---|--:|--:|--:|");
    let bench = Bench::start();
    let first_load = load_seconds(&bench.registry);
    row(
        "a thread's round trip, in each collection",
        "µs",
        round_trip(&bench),
        None,
    );
    row("a collection", "µs", collection(&bench), Some(20.0));
    row(
        "a new job: instance, configuration, thread",
        "ms",
        instance(&bench),
        Some(1.0),
    );
    row("a load from the cache", "ms", load(&bench), Some(20.0));
    row("a load that compiles", "ms", first_load * 1e3, None);
    row("memory of an instance", "KiB", memory(&bench), Some(1024.0));
}

fn row(name: &str, unit: &str, measured: f64, goal: Option<f64>) {
    let (goal, ratio) = match goal {
        Some(goal) => (format!("{goal} {unit}"), format!("{:.2}", measured / goal)),
        None => (String::new(), String::new()),
    };
    println!("| {name} | {measured:.1} {unit} | {goal} | {ratio} |");
}

/// In microseconds: what the system takes to wake a thread and to be woken by it.
fn round_trip(bench: &Bench) -> f64 {
    let (asks, asked) = sync_channel::<oneshot::Sender<()>>(1);
    let thread = std::thread::spawn(move || {
        while let Ok(reply) = asked.recv() {
            let _ = reply.send(());
        }
    });
    let took = median(50, || {
        bench.runtime.block_on(async {
            for _ in 0..200 {
                let (reply, answer) = oneshot::channel();
                asks.send(reply).unwrap();
                answer.await.unwrap();
            }
        });
    });
    drop(asks);
    thread.join().unwrap();
    took.as_secs_f64() * 1e6 / 200.0
}

/// In microseconds.
fn collection(bench: &Bench) -> f64 {
    let exporter = bench.exporter();
    let took = median(50, || {
        bench.runtime.block_on(async {
            for _ in 0..200 {
                exporter.collect().await.unwrap();
            }
        });
    });
    took.as_secs_f64() * 1e6 / 200.0
}

/// In milliseconds, with all that a new configuration of the host takes.
fn instance(bench: &Bench) -> f64 {
    bench.apply(1);
    let took = (0..100).map(|_| {
        let began = Instant::now();
        bench.apply(2);
        let took = began.elapsed();
        bench.apply(1);
        took
    });
    middle(took.collect()).as_secs_f64() * 1e3
}

/// In milliseconds: reading the file, finding its code in the cache, asking it what it is.
fn load(bench: &Bench) -> f64 {
    let took = (0..20).map(|_| {
        let (_handle, registry) = host(&bench.runtime, &bench.config);
        Duration::from_secs_f64(load_seconds(&registry))
    });
    middle(took.collect()).as_secs_f64() * 1e3
}

/// In KiB, of an instance that has collected once.
fn memory(bench: &Bench) -> f64 {
    let with = |jobs: usize| {
        bench.apply(jobs);
        let exporters = bench.handle.plugins().borrow().exporters.clone();
        for handle in exporters {
            bench.runtime.block_on(handle.exporter.collect()).unwrap();
        }
        resident_bytes()
    };
    let one = with(1);
    let many = with(JOBS + 1);
    (many - one) / JOBS as f64 / 1024.0
}

fn median(rounds: usize, mut run: impl FnMut()) -> Duration {
    let took = (0..rounds).map(|_| {
        let began = Instant::now();
        run();
        began.elapsed()
    });
    middle(took.collect())
}

fn middle(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

struct Bench {
    runtime: Runtime,
    config: Config,
    handle: Handle,
    registry: Registry,
    _folder: TempDir,
}

impl Bench {
    fn start() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let file = folder.path().join("plugins/a.wasm");
        std::fs::write(&file, PLUGIN).unwrap();
        // A file that is not new need not come to rest first.
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
            config,
            handle,
            registry,
            _folder: folder,
        }
    }

    fn exporter(&self) -> Arc<dyn Exporter> {
        let plugins = self.handle.plugins();
        let set = plugins.borrow();
        set.exporters[0].exporter.clone()
    }

    /// So many jobs run the plugin.
    fn apply(&self, jobs: usize) {
        let config = Config {
            exporters: (0..jobs).map(job).collect(),
            ..self.config.clone()
        };
        self.runtime.block_on(self.handle.apply(config));
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
    let runs = || {
        let status = handle.status();
        status.iter().any(|s| s.state == PluginState::Running)
    };
    while !runs() {
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

fn load_seconds(registry: &Registry) -> f64 {
    let families = registry.gather();
    let name = "narthex_plugin_load_duration_seconds";
    let family = families
        .iter()
        .find(|family| family.name() == name)
        .unwrap();
    family.get_metric()[0].get_gauge().get_value()
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    let kib = line.split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<f64>().unwrap() * 1024.0
}

//! The plugin `node` beside Debian's node exporter: what one collection costs, from the machine's
//! files into the store. On one side Narthex alone, on the other the exporter and Prometheus, which
//! scrapes it.
//!
//! Both run the collectors that both have.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::load::print;
use crate::server::{Server, cpu_seconds, free_port, memory_bytes};
use crate::tsdb::progress;

/// How long a program may take until it answers, and until the first samples are there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is left out of the measurement: starting up, and compiling the plugin.
const WARM_UP: Duration = Duration::from_secs(10);

struct Figures {
    collections: f64,
    cpu_ms: f64,
    /// Of the server with nothing to do, in a second.
    idle_ms: f64,
    /// Of the exporter alone, where there is one.
    exporter_cpu_ms: f64,
    collect_ms: f64,
    samples: f64,
    resident_mb: f64,
}

pub(crate) fn compare(arguments: &Arguments) -> Result<()> {
    let narthex = arguments.path("narthex")?;
    let tools = arguments.path("tools")?;
    let plugin = arguments.path("plugins")?.join("node.wasm");
    let interval = arguments.number("interval", 1)?;
    let seconds = arguments.number("seconds", 120)?;
    let exporter = tools.join("prometheus-node-exporter");
    let collectors = common_collectors(&narthex, &plugin, &exporter)?;
    print(&format!(
        "{} collectors, every {interval} s, {seconds} s each",
        collectors.len()
    ));
    let time = Duration::from_secs(seconds);
    let idle = [tools.join("prometheus"), narthex.clone()].map(|program| idle_ms(&program));
    let [peer_idle, our_idle] = idle;
    let peer = peer(
        &tools.join("prometheus"),
        &exporter,
        &collectors,
        interval,
        time,
    )?;
    let ours = ours(&narthex, &plugin, &collectors, interval, time)?;
    let (our_idle, peer_idle) = (our_idle?, peer_idle?);
    show(
        &Figures {
            idle_ms: our_idle,
            ..ours
        },
        &Figures {
            idle_ms: peer_idle,
            ..peer
        },
        interval as f64,
    );
    Ok(())
}

/// CPU milliseconds that a server without anything to do takes in a second.
fn idle_ms(program: &Path) -> Result<f64> {
    const TIME: Duration = Duration::from_secs(30);
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("prometheus.yml"), "")?;
    let mut server = Server::start(program, folder.path())?;
    server.wait_ready()?;
    std::thread::sleep(WARM_UP);
    let before = server.cpu_seconds()?;
    std::thread::sleep(TIME);
    Ok((server.cpu_seconds()? - before) * 1000.0 / TIME.as_secs_f64())
}

/// Those that run on this machine on both sides.
fn common_collectors(narthex: &Path, plugin: &Path, exporter: &Path) -> Result<Vec<String>> {
    let theirs = Exporter::start(exporter, &[])?.page()?;
    let folder = narthex_folder(plugin, 1, "")?;
    let mut server = Server::start(narthex, folder.path())?;
    server.wait_ready()?;
    let ours = until("the plugin answers", || {
        let (status, page) = server.ask("/plugins/node/metrics")?;
        Ok((status == 200).then_some(page))
    })?;
    let (ours, theirs) = (collectors(&ours), collectors(&theirs));
    ensure!(!ours.is_empty() && !theirs.is_empty(), "no collectors");
    Ok(ours.intersection(&theirs).cloned().collect())
}

/// The collectors that a page of metrics names.
fn collectors(page: &str) -> BTreeSet<String> {
    let names = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("node_scrape_collector_success{collector=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    names.collect()
}

fn ours(
    narthex: &Path,
    plugin: &Path,
    collectors: &[String],
    interval: u64,
    time: Duration,
) -> Result<Figures> {
    let chosen = collectors.iter().map(|name| format!("{name}: true"));
    let chosen: Vec<String> = chosen.collect();
    let config = format!(
        "collector.disable-defaults: true, collector: {{ {} }}",
        chosen.join(", ")
    );
    let folder = narthex_folder(plugin, interval, &config)?;
    let mut server = Server::start(narthex, folder.path())?;
    server.wait_ready()?;
    measure("Narthex", &server, None, time)
}

/// A folder in which Narthex runs the plugin and nothing else.
fn narthex_folder(plugin: &Path, interval: u64, config: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins)?;
    std::fs::copy(plugin, plugins.join("node.wasm"))
        .with_context(|| format!("copying {}", plugin.display()))?;
    std::fs::write(folder.path().join("prometheus.yml"), "")?;
    let yml = format!(
        "plugins:\n  grants:\n    node: {{ files: [/proc, /sys, /etc, /usr/lib, /run], system: true }}\n\
         exporters:\n  - {{ plugin: node, interval: {interval}s, config: {{ {config} }} }}\n"
    );
    std::fs::write(folder.path().join("narthex.yml"), yml)?;
    Ok(folder)
}

fn peer(
    prometheus: &Path,
    exporter: &Path,
    collectors: &[String],
    interval: u64,
    time: Duration,
) -> Result<Figures> {
    let mut flags = vec![
        "--collector.disable-defaults".to_owned(),
        // Its own metrics are no business of the machine's.
        "--web.disable-exporter-metrics".to_owned(),
    ];
    let chosen = collectors.iter().map(|name| format!("--collector.{name}"));
    flags.extend(chosen);
    let exporter = Exporter::start(exporter, &flags)?;
    let folder = tempfile::tempdir()?;
    let yml = format!(
        "scrape_configs:\n  - job_name: node\n    scrape_interval: {interval}s\n    \
         scrape_timeout: {interval}s\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
        exporter.address
    );
    std::fs::write(folder.path().join("prometheus.yml"), yml)?;
    let mut server = Server::start(prometheus, folder.path())?;
    server.wait_ready()?;
    measure(
        "Prometheus and node_exporter",
        &server,
        Some(&exporter),
        time,
    )
}

fn measure(
    name: &str,
    server: &Server,
    exporter: Option<&Exporter>,
    time: Duration,
) -> Result<Figures> {
    until("the first samples", || {
        query(server, "up{job=\"node\"} == 1")
    })?;
    std::thread::sleep(WARM_UP);
    let counted = "count_over_time(up{job=\"node\"}[1d])";
    let count = || query(server, counted)?.context("no samples");
    let exporter_cpu = || exporter.map_or(Ok(0.0), |exporter| cpu_seconds(&exporter.child));
    let (collections, cpu) = (count()?, server.cpu_seconds()?);
    let cpu_of_exporter = exporter_cpu()?;
    let start = Instant::now();
    while start.elapsed() < time {
        let (so_far, all) = (start.elapsed().as_secs(), time.as_secs());
        progress(&format!("{name}: {so_far} of {all} s"));
        std::thread::sleep(Duration::from_millis(500).min(time.saturating_sub(start.elapsed())));
    }
    progress("");
    let exporter_cpu = exporter_cpu()? - cpu_of_exporter;
    let cpu = server.cpu_seconds()? - cpu + exporter_cpu;
    let collections = count()? - collections;
    let failed = query(server, "sum(up{job=\"node\"} == 0)")?;
    ensure!(failed.is_none(), "{name}: a collection failed");
    let of_metric = |metric: &str| {
        let expr = format!("avg_over_time({metric}{{job=\"node\"}}[1d])");
        query(server, &expr)?.with_context(|| format!("no {metric}"))
    };
    let resident = server.memory_bytes("VmRSS:")?;
    let exporter_resident = exporter.map_or(Ok(0.0), |e| memory_bytes(&e.child, "VmRSS:"))?;
    Ok(Figures {
        collections,
        cpu_ms: cpu * 1000.0 / collections,
        idle_ms: 0.0,
        exporter_cpu_ms: exporter_cpu * 1000.0 / collections,
        collect_ms: of_metric("scrape_duration_seconds")? * 1000.0,
        samples: of_metric("scrape_samples_scraped")?,
        resident_mb: (resident + exporter_resident) / 1e6,
    })
}

fn show(ours: &Figures, peer: &Figures, interval: f64) {
    let alone = |figures: &Figures| figures.cpu_ms - figures.idle_ms * interval;
    print(&format!(
        "{} and {} collections; of Prometheus's side, {:.2} ms of CPU are the exporter's",
        ours.collections, peer.collections, peer.exporter_cpu_ms
    ));
    print("");
    print(
        "| one collection of the machine's metrics | Narthex | Prometheus and node_exporter | ratio |",
    );
    print("|---|--:|--:|--:|");
    for (name, ours, peer) in [
        ("CPU, ms", ours.cpu_ms, peer.cpu_ms),
        (
            "the same without what the server takes when idle, ms",
            alone(ours),
            alone(peer),
        ),
        (
            "from the question to the answer, ms",
            ours.collect_ms,
            peer.collect_ms,
        ),
        ("samples", ours.samples, peer.samples),
        ("resident memory, MB", ours.resident_mb, peer.resident_mb),
    ] {
        let ratio = ours / peer;
        print(&format!("| {name} | {ours:.2} | {peer:.2} | {ratio:.2} |"));
    }
}

/// A node exporter as a child process.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    /// Starts it and waits until it answers.
    fn start(program: &Path, flags: &[String]) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let child = Command::new(program)
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.with_context(|| format!("starting {}", program.display()))?;
        let exporter = Exporter { child, address };
        until("the exporter answers", || Ok(exporter.page().ok()))?;
        Ok(exporter)
    }

    fn page(&self) -> Result<String> {
        let url = format!("http://{}/metrics", self.address);
        Ok(ureq::get(&url).call()?.into_body().read_to_string()?)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of the one series that a query gives.
fn query(server: &Server, expr: &str) -> Result<Option<f64>> {
    let encoded: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = server.get(&format!("/api/v1/query?query={encoded}"))?;
    let value = answer.pointer("/data/result/0/value/1");
    let number = value.and_then(|value| value.as_str()?.parse().ok());
    ensure!(answer["status"] == "success", "{expr}: {answer}");
    Ok(number)
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            bail!("waited in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

//! The store under load: CPU, memory, log, blocks and restart of each server, then the ratios.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::blocks;
use crate::load::{Load, print};
use crate::server::{Server, folder_bytes};

const APPENDED: &str = "prometheus_tsdb_head_samples_appended_total";
/// Where each server keeps its log.
const LOG_FOLDERS: [&str; 2] = ["wal", "narthex-wal"];
const RESTARTS: usize = 3;

struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

pub(crate) fn compare(arguments: &Arguments) -> Result<()> {
    let narthex = arguments.path("narthex")?;
    let tools = arguments.path("tools")?;
    let shape = Shape {
        targets: arguments.number("targets", 300)?,
        series: arguments.number("series", 1000)?,
        interval_seconds: arguments.number("interval", 5)?,
        seconds: arguments.number("seconds", 150)?,
    };
    print(&format!(
        "{} targets of {} series every {} s, {} s each",
        shape.targets, shape.series, shape.interval_seconds, shape.seconds
    ));
    let peer = measure("Prometheus", &tools.join("prometheus"), &shape)?;
    let ours = measure("Narthex", &narthex, &shape)?;
    show(&ours, &peer);
    if arguments.text("blocks") != Some("no") {
        let hours = arguments.number("hours", 2)?;
        show_blocks(&narthex, &tools.join("promtool"), hours)?;
    }
    Ok(())
}

struct Shape {
    targets: usize,
    series: usize,
    interval_seconds: u64,
    seconds: u64,
}

fn measure(name: &str, program: &Path, shape: &Shape) -> Result<Vec<Figure>> {
    let load = Load::start("127.0.0.1:0", shape.targets, shape.series)?;
    let folder = tempfile::tempdir()?;
    let yml = load.prometheus_yml(&format!("{}s", shape.interval_seconds));
    std::fs::write(folder.path().join("prometheus.yml"), yml)?;
    let mut server = Server::start(program, folder.path())?;
    server.wait_ready()?;
    let (start, start_cpu) = (Instant::now(), server.cpu_seconds()?);
    let start_samples = server.own_metric(APPENDED)?;
    wait(name, start, Duration::from_secs(shape.seconds));

    let samples = server.own_metric(APPENDED)? - start_samples;
    let cpu_seconds = server.cpu_seconds()? - start_cpu;
    let series = server.own_metric("prometheus_tsdb_head_series")?;
    let resident = server.memory_bytes("VmRSS:")?;
    let peak = server.memory_bytes("VmHWM:")?;
    let log_bytes = LOG_FOLDERS.map(|log| folder_bytes(&server.data().join(log)));
    let log_bytes = log_bytes.iter().sum::<u64>() as f64;
    print(&format!("  {name}: {samples} samples of {series} series"));

    let mut ready = Vec::new();
    let mut restart_peak = 0.0;
    for _ in 0..RESTARTS {
        server.kill()?;
        server.restart()?;
        ready.push(server.wait_ready()?.as_secs_f64());
        restart_peak = server.memory_bytes("VmHWM:")?;
    }
    ready.sort_by(f64::total_cmp);
    let block_bytes = snapshot_bytes(&server).unwrap_or_else(|error| {
        print(&format!("  {name}: no snapshot: {error:#}"));
        f64::NAN
    });
    let block_samples = server.own_metric(APPENDED)?.max(samples);
    Ok(vec![
        figure("CPU", "s per million samples", cpu_seconds / samples * 1e6),
        figure("resident", "bytes per series", resident / series),
        figure("resident, highest", "bytes per series", peak / series),
        figure("log", "bytes per sample", log_bytes / samples),
        figure(
            "snapshot as blocks",
            "bytes per sample",
            block_bytes / block_samples,
        ),
        figure(
            "ready after SIGKILL",
            "s, median of 3",
            ready.get(RESTARTS / 2).copied().unwrap_or(f64::NAN),
        ),
        figure(
            "resident at restart, highest",
            "bytes per series",
            restart_peak / series,
        ),
    ])
}

fn figure(name: &'static str, unit: &'static str, value: f64) -> Figure {
    Figure { name, unit, value }
}

/// Bytes of a snapshot of everything, which both servers write as blocks.
fn snapshot_bytes(server: &Server) -> Result<f64> {
    let answer = server.post("/api/v1/admin/tsdb/snapshot")?;
    let name = answer.pointer("/data/name").and_then(|name| name.as_str());
    let name = name.with_context(|| format!("an odd answer: {answer}"))?;
    Ok(folder_bytes(&server.data().join("snapshots").join(name)) as f64)
}

/// Waits, and says how far it is where somebody looks on.
fn wait(name: &str, start: Instant, time: Duration) {
    while start.elapsed() < time {
        progress(&format!(
            "{name}: {} of {} s",
            start.elapsed().as_secs(),
            time.as_secs()
        ));
        std::thread::sleep(Duration::from_millis(500).min(time.saturating_sub(start.elapsed())));
    }
    progress("");
}

#[expect(clippy::print_stderr, reason = "printing is what this program is for")]
pub(crate) fn progress(text: &str) {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

fn show(ours: &[Figure], peer: &[Figure]) {
    print(&format!(
        "{:<30} {:>12} {:>12} {:>7}  unit",
        "", "Narthex", "Prometheus", "ratio"
    ));
    for (ours, peer) in ours.iter().zip(peer) {
        print(&format!(
            "{:<30} {:>12.3} {:>12.3} {:>7.3}  {}",
            ours.name,
            ours.value,
            peer.value,
            ours.value / peer.value,
            ours.unit
        ));
    }
}

fn show_blocks(narthex: &Path, promtool: &Path, hours: u64) -> Result<()> {
    let sizes = blocks::compare(narthex, promtool, hours)?;
    show(
        &[
            figure(
                "blocks from OpenMetrics",
                "bytes per sample",
                sizes.ours_bytes,
            ),
            figure("writing them", "s", sizes.ours_seconds),
        ],
        &[
            figure("", "", sizes.peer_bytes),
            figure("", "", sizes.peer_seconds),
        ],
    );
    Ok(())
}

//! The same samples as blocks of each: bytes on disk after compaction, without the hours of load
//! that blocks of two hours would need.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::pages::Page;
use crate::server::folder_bytes;

const SERIES: usize = 2000;
const INTERVAL_SECONDS: u64 = 15;
/// A border of two hours: 2023-11-14 20:00 UTC.
const START_SECONDS: u64 = 1_699_992_000;

pub(crate) struct Sizes {
    pub(crate) ours_bytes: f64,
    pub(crate) peer_bytes: f64,
    pub(crate) ours_seconds: f64,
    pub(crate) peer_seconds: f64,
}

pub(crate) fn compare(narthex: &Path, promtool: &Path, hours: u64) -> Result<Sizes> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("samples.om");
    let samples = write_openmetrics(&input, hours)? as f64;
    let (ours, peer) = (
        folder.path().join("narthex"),
        folder.path().join("prometheus"),
    );
    let ours_seconds = create_blocks(narthex, &input, &ours)?;
    let peer_seconds = create_blocks(promtool, &input, &peer)?;
    Ok(Sizes {
        ours_bytes: folder_bytes(&ours) as f64 / samples,
        peer_bytes: folder_bytes(&peer) as f64 / samples,
        ours_seconds,
        peer_seconds,
    })
}

/// Both programs know the same command.
fn create_blocks(program: &Path, input: &Path, output: &Path) -> Result<f64> {
    fs::create_dir(output)?;
    let start = Instant::now();
    let run = Command::new(program)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([input, output])
        .stdout(Stdio::null())
        .output()?;
    if !run.status.success() {
        let errors = String::from_utf8_lossy(&run.stderr);
        bail!("{}: {}: {errors}", program.display(), run.status);
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Gives the number of samples. Series stand one after the other, each in ascending time.
fn write_openmetrics(path: &Path, hours: u64) -> Result<u64> {
    let mut out = BufWriter::new(File::create(path)?);
    let page = Page::new(0, SERIES);
    let steps = hours * 3600 / INTERVAL_SECONDS;
    let names: Vec<&str> = page.values(0).map(|(name, _)| name).collect();
    for step in 0..steps {
        let time = START_SECONDS + step * INTERVAL_SECONDS;
        // A scraper's clock: most scrapes on time, one in twenty some milliseconds late.
        let late_ms = if step % 20 == 7 { 3 } else { 0 };
        for (name, (_, value)) in names.iter().zip(page.values(step)) {
            let name = name.strip_suffix(r#""}"#).unwrap_or(name);
            let labels = r#"cluster="load",instance="target-0",job="load",zone="zone-0""#;
            let line = match name.contains('{') {
                true => format!(r#"{name}",{labels}}} {value} {time}.{late_ms:03}"#),
                false => format!("{name}{{{labels}}} {value} {time}.{late_ms:03}"),
            };
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "# EOF")?;
    out.flush()?;
    Ok(steps * names.len() as u64)
}

//! What the network's caches count, by CPU.

use narthex_plugin_sdk::{Metrics, files};

use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{as_name, hex, read_many};

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.proc("net/stat");
    let entries = files::entries(&folder).at(&folder)?;
    let path = |name: &str| format!("{folder}/{name}");
    let paths: Vec<String> = entries.iter().map(|entry| path(&entry.name)).collect();
    for ((entry, path), text) in entries.iter().zip(&paths).zip(read_many(&paths)) {
        give(&entry.name, &text.at(path)?, metrics).at(path)?;
    }
    Ok(())
}

/// A line of names, then one of hexadecimal numbers for each CPU.
fn give(subsystem: &str, text: &str, metrics: &mut Metrics) -> Result<(), String> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .collect();
    for (cpu, line) in lines.enumerate() {
        for (name, value) in names.iter().zip(line.split_ascii_whitespace()) {
            metrics
                .counter(
                    &format!("node_lnstat_{}_total", as_name(name)),
                    "linux network cache stats",
                )
                .labels(["cpu", "subsystem"])
                .add([&cpu.to_string(), subsystem], hex(value)?);
        }
    }
    Ok(())
}

//! Frequencies of CPUs.

use std::collections::BTreeSet;

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes, numbered_entries, ranges, read, whole};

const FREQUENCIES: [(&str, Descriptor); 7] = [
    (
        "cpuinfo_cur_freq",
        gauge(
            "node_cpu_frequency_hertz",
            "Current CPU thread frequency in hertz.",
        ),
    ),
    (
        "cpuinfo_avg_freq",
        gauge(
            "node_cpu_frequency_avg_hertz",
            "Average CPU thread frequency in hertz.",
        ),
    ),
    (
        "cpuinfo_min_freq",
        gauge(
            "node_cpu_frequency_min_hertz",
            "Minimum CPU thread frequency in hertz.",
        ),
    ),
    (
        "cpuinfo_max_freq",
        gauge(
            "node_cpu_frequency_max_hertz",
            "Maximum CPU thread frequency in hertz.",
        ),
    ),
    (
        "scaling_cur_freq",
        gauge(
            "node_cpu_scaling_frequency_hertz",
            "Current scaled CPU thread frequency in hertz.",
        ),
    ),
    (
        "scaling_min_freq",
        gauge(
            "node_cpu_scaling_frequency_min_hertz",
            "Minimum scaled CPU thread frequency in hertz.",
        ),
    ),
    (
        "scaling_max_freq",
        gauge(
            "node_cpu_scaling_frequency_max_hertz",
            "Maximum scaled CPU thread frequency in hertz.",
        ),
    ),
];
const GOVERNORS: &str = "scaling_available_governors";
const GOVERNOR: Descriptor = gauge(
    "node_cpu_scaling_governor",
    "Current enabled CPU frequency governor.",
);
pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("devices/system/cpu");
    let offline_path = format!("{folder}/offline");
    let offline = ranges(&read(&offline_path)?).at(&offline_path)?;
    let mut cpus = numbered_entries(&folder, "cpu").at(&folder)?;
    cpus.retain(|cpu| !offline.iter().any(|off| off.to_string() == *cpu));
    let path = |cpu: &str, file: &str| format!("{folder}/cpu{cpu}/cpufreq/{file}");
    // Where frequencies are regulated, a governor does it: most virtual machines have none.
    let governors: Vec<String> = cpus
        .iter()
        .map(|cpu| path(cpu, "scaling_governor"))
        .collect();
    let regulated = cpus.iter().zip(attributes(&governors));
    let regulated: Vec<(&str, String)> = regulated
        .filter_map(|(cpu, governor)| Some((cpu.as_str(), governor?)))
        .collect();
    let files = || FREQUENCIES.iter().map(|(file, _)| *file).chain([GOVERNORS]);
    let paths: Vec<String> = regulated
        .iter()
        .flat_map(|(cpu, _)| files().map(|file| path(cpu, file)))
        .collect();
    let values = attributes(&paths);
    for ((cpu, governor), values) in regulated.iter().zip(values.chunks(FREQUENCIES.len() + 1)) {
        give(cpu, governor, values, metrics);
    }
    Ok(())
}

fn give(cpu: &str, governor: &str, values: &[Option<String>], metrics: &mut Metrics) {
    for ((_, family), value) in FREQUENCIES.iter().zip(values) {
        if let Some(khz) = whole(value) {
            family.add(metrics, ["cpu"], [cpu], khz * 1000.0);
        }
    }
    if let [.., Some(available)] = values {
        let known: BTreeSet<&str> = available.split_ascii_whitespace().collect();
        for name in known {
            let active = f64::from(name == governor);
            GOVERNOR.add(metrics, ["cpu", "governor"], [cpu, name], active);
        }
    }
}

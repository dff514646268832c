//! Small files of the kernel's: load, /proc/stat, pressure, entropy, open files.

use narthex_plugin_sdk::{Error, Metrics, files};

use crate::failure::{At, Failure};
use crate::text::{number, read};

pub(crate) fn load(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/loadavg";
    let text = read(PATH)?;
    let mut words = text.split_ascii_whitespace();
    for (name, help) in [
        ("node_load1", "Load average of 1 minute."),
        ("node_load5", "Load average of 5 minutes."),
        ("node_load15", "Load average of 15 minutes."),
    ] {
        let word = words.next().ok_or("too few columns".to_owned()).at(PATH)?;
        metrics.gauge(name, help).set(number(word).at(PATH)?);
    }
    Ok(())
}

pub(crate) fn stat(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/stat";
    for line in read(PATH)?.lines() {
        let Some((key, rest)) = line.split_once(' ') else {
            continue;
        };
        let (is_counter, name, help) = match key {
            "intr" => (true, "node_intr_total", "Interrupts served."),
            "ctxt" => (
                true,
                "node_context_switches_total",
                "Switches from one task to another.",
            ),
            "processes" => (true, "node_forks_total", "Processes and threads started."),
            "btime" => (
                false,
                "node_boot_time_seconds",
                "When the machine was started, since 1970.",
            ),
            "procs_running" => (false, "node_procs_running", "Tasks that run or could run."),
            "procs_blocked" => (
                false,
                "node_procs_blocked",
                "Tasks that wait for input or output.",
            ),
            _ => continue,
        };
        let first = rest.split_ascii_whitespace().next().unwrap_or("");
        let value = number(first).at(PATH)?;
        match is_counter {
            true => metrics.counter(name, help).set(value),
            false => metrics.gauge(name, help).set(value),
        }
    }
    Ok(())
}

/// Each resource with the line and the name of what is stalled by it.
const PRESSURES: [(&str, &str, &str, &str); 6] = [
    (
        "cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a CPU.",
    ),
    (
        "io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Time in which some task waited for input or output.",
    ),
    (
        "io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Time in which nothing went on for want of input or output.",
    ),
    (
        "memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory.",
    ),
    (
        "memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Time in which nothing went on for want of memory.",
    ),
    (
        "irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Time in which nothing went on because of interrupts.",
    ),
];

pub(crate) fn pressure(metrics: &mut Metrics) -> Result<(), Failure> {
    let mut found = false;
    for (resource, line, name, help) in PRESSURES {
        let path = format!("/proc/pressure/{resource}");
        let Ok(text) = files::read_text(&path) else {
            continue;
        };
        if let Some(us) = pressure_total(&text, line) {
            found = true;
            let us = number(us).at(&path)?;
            metrics.counter(name, help).set(us / 1000.0 / 1000.0);
        }
    }
    match found {
        true => Ok(()),
        false => Err(Failure::NoData(Error::new(
            "/proc/pressure is not there, or switched off",
        ))),
    }
}

/// The value of `total=` in the line that starts with this word.
fn pressure_total<'a>(text: &'a str, line: &str) -> Option<&'a str> {
    let line = text.lines().find(|l| l.split(' ').next() == Some(line))?;
    line.split(' ').find_map(|word| word.strip_prefix("total="))
}

pub(crate) fn entropy(metrics: &mut Metrics) -> Result<(), Failure> {
    for (file, name, help) in [
        (
            "entropy_avail",
            "node_entropy_available_bits",
            "Randomness that the kernel has gathered.",
        ),
        (
            "poolsize",
            "node_entropy_pool_size_bits",
            "Randomness that the kernel can hold.",
        ),
    ] {
        let path = format!("/proc/sys/kernel/random/{file}");
        let bits = number(read(&path)?.trim()).at(&path)?;
        metrics.gauge(name, help).set(bits);
    }
    Ok(())
}

pub(crate) fn file_descriptors(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/sys/fs/file-nr";
    let text = read(PATH)?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [allocated, _, maximum, ..] = words.as_slice() else {
        return Err(Failure::new(format!("{PATH}: too few columns")));
    };
    metrics
        .gauge("node_filefd_allocated", "Open files of the whole machine.")
        .set(number(allocated).at(PATH)?);
    metrics
        .gauge(
            "node_filefd_maximum",
            "Files that the whole machine may have open.",
        )
        .set(number(maximum).at(PATH)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pressure() {
        let text =
            "some avg10=0.18 avg60=0.34 avg300=0.10 total=159886802\nfull avg10=0.00 total=7\n";
        assert_eq!(pressure_total(text, "some"), Some("159886802"));
        assert_eq!(pressure_total(text, "full"), Some("7"));
        assert_eq!(pressure_total(text, "avg10=0.18"), None);
        assert_eq!(pressure_total("", "some"), None);
    }
}

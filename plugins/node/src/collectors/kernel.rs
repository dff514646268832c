//! Small files of the kernel's: load, /proc/stat, pressure, entropy, open files, hung tasks.

use narthex_plugin_sdk::{ConfigError, Error, FileErrorCode, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, read, read_many, read_number_if_there};

const LOAD: [Descriptor; 3] = [
    gauge("node_load1", "1m load average."),
    gauge("node_load5", "5m load average."),
    gauge("node_load15", "15m load average."),
];

pub(crate) fn load(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("loadavg");
    let text = read(&path)?;
    let mut words = text.split_ascii_whitespace();
    for family in LOAD {
        let word = words.next().ok_or("too few columns".to_owned()).at(&path)?;
        family.set(metrics, number(word).at(&path)?);
    }
    Ok(())
}

const STAT: [(&str, Descriptor); 6] = [
    (
        "intr",
        counter("node_intr_total", "Total number of interrupts serviced."),
    ),
    (
        "ctxt",
        counter(
            "node_context_switches_total",
            "Total number of context switches.",
        ),
    ),
    (
        "btime",
        gauge("node_boot_time_seconds", "Node boot time, in unixtime."),
    ),
    (
        "processes",
        counter("node_forks_total", "Total number of forks."),
    ),
    (
        "procs_running",
        gauge(
            "node_procs_running",
            "Number of processes in runnable state.",
        ),
    ),
    (
        "procs_blocked",
        gauge(
            "node_procs_blocked",
            "Number of processes blocked waiting for I/O to complete.",
        ),
    ),
];
const SOFTIRQS: Descriptor = counter("node_softirqs_total", "Number of softirq calls.");

/// The kinds of softirq, in the order of the columns.
const VECTORS: [&str; 10] = [
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "block_iopoll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
];

pub(crate) struct Stat {
    softirqs: bool,
}

impl Stat {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Stat {
            softirqs: options.flag("collector.stat.softirq", false)?,
        })
    }
}

impl Collector for Stat {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("stat");
        for line in machine.stat()?.lines() {
            let Some((key, rest)) = line.split_once(' ') else {
                continue;
            };
            if let Some((_, family)) = STAT.iter().find(|(name, _)| *name == key) {
                // The first is the sum of all that may follow.
                let first = rest.split_ascii_whitespace().next().unwrap_or("");
                family.set(metrics, number(first).at(&path)?);
            } else if key == "softirq" && self.softirqs {
                let counts = rest.split_ascii_whitespace().skip(1);
                for (vector, count) in VECTORS.iter().zip(counts) {
                    let count = number(count).at(&path)?;
                    SOFTIRQS.add(metrics, ["vector"], [vector], count);
                }
            }
        }
        Ok(())
    }
}

const RESOURCES: [&str; 4] = ["cpu", "io", "memory", "irq"];

/// Each resource with the line and what it counts.
const PRESSURES: [(&str, &str, Descriptor); 6] = [
    (
        "cpu",
        "some",
        counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        ),
    ),
    (
        "io",
        "some",
        counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
    ),
    (
        "io",
        "full",
        counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
    ),
    (
        "memory",
        "some",
        counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        ),
    ),
    (
        "memory",
        "full",
        counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    ),
    (
        "irq",
        "full",
        counter(
            "node_pressure_irq_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IRQ congestion",
        ),
    ),
];

pub(crate) fn pressure(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = RESOURCES.map(|resource| machine.proc(&format!("pressure/{resource}")));
    let mut found = false;
    for ((resource, path), text) in RESOURCES.iter().zip(&paths).zip(read_many(&paths)) {
        let text = match text {
            Ok(text) => text,
            // Not compiled in, or switched off when the machine was started.
            Err(error) if error.is_not_found() => continue,
            Err(error) if error.code == FileErrorCode::NotSupported => continue,
            Err(error) => return Err(error).at(path),
        };
        for (_, line, family) in PRESSURES.iter().filter(|(name, ..)| name == resource) {
            if let Some(us) = pressure_total(&text, line) {
                found = true;
                family.set(metrics, number(us).at(path)? / 1000.0 / 1000.0);
            }
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

const ENTROPY: [(&str, Descriptor); 2] = [
    (
        "entropy_avail",
        gauge("node_entropy_available_bits", "Bits of available entropy."),
    ),
    (
        "poolsize",
        gauge("node_entropy_pool_size_bits", "Bits of entropy pool."),
    ),
];

pub(crate) fn entropy(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = ENTROPY.map(|(file, _)| machine.proc(&format!("sys/kernel/random/{file}")));
    for (((_, family), path), text) in ENTROPY.iter().zip(&paths).zip(read_many(&paths)) {
        family.set(metrics, number(text.at(path)?.trim()).at(path)?);
    }
    Ok(())
}

const FILES_ALLOCATED: Descriptor = gauge(
    "node_filefd_allocated",
    "File descriptor statistics: allocated.",
);
const FILES_MAXIMUM: Descriptor = gauge(
    "node_filefd_maximum",
    "File descriptor statistics: maximum.",
);

pub(crate) fn file_descriptors(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("sys/fs/file-nr");
    let text = read(&path)?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [allocated, _, maximum, ..] = words.as_slice() else {
        return Err(Failure::new(format!("{path}: too few columns")));
    };
    FILES_ALLOCATED.set(metrics, number(allocated).at(&path)?);
    FILES_MAXIMUM.set(metrics, number(maximum).at(&path)?);
    Ok(())
}

const HUNG_TASKS: Descriptor = counter(
    "node_kernel_hung_tasks_total",
    "Total number of tasks that have been detected as hung since the system booted.",
);

pub(crate) fn hung_tasks(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let count = read_number_if_there(&machine.proc("sys/kernel/hung_task_detect_count"))?;
    HUNG_TASKS.set(metrics, count);
    Ok(())
}

const CGROUPS: Descriptor = gauge(
    "node_cgroups_cgroups",
    "Current cgroup number of the subsystem.",
);
const CGROUPS_ENABLED: Descriptor = gauge(
    "node_cgroups_enabled",
    "Current cgroup number of the subsystem.",
);

/// cgroups: name, hierarchy, number of groups, whether it is on.
pub(crate) fn control_groups(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("cgroups");
    for line in read(&path)?.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, _, count, enabled] = words.as_slice() else {
            return Err(Failure::new(format!(
                "{path}: expected four columns, not {line:?}"
            )));
        };
        CGROUPS.add(metrics, ["subsys_name"], [name], number(count).at(&path)?);
        CGROUPS_ENABLED.add(metrics, ["subsys_name"], [name], number(enabled).at(&path)?);
    }
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

//! CPU time, throttling and what /proc/cpuinfo knows; the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use narthex_plugin_sdk::{ConfigError, Metrics, files};
use regex_lite::Regex;

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{
    attributes, attributes_of, number, numbered, numbered_entries, ranges, read, read_if_there,
    whole,
};

const SECONDS: Descriptor = counter(
    "node_cpu_seconds_total",
    "Seconds the CPUs spent in each mode.",
);
const GUEST_SECONDS: Descriptor = counter(
    "node_cpu_guest_seconds_total",
    "Seconds the CPUs spent in guests (VMs) for each mode.",
);
const CORE_THROTTLES: Descriptor = counter(
    "node_cpu_core_throttles_total",
    "Number of times this CPU core has been throttled.",
);
const PACKAGE_THROTTLES: Descriptor = counter(
    "node_cpu_package_throttles_total",
    "Number of times this CPU package has been throttled.",
);
const ISOLATED: Descriptor = gauge(
    "node_cpu_isolated",
    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
);
const ONLINE: Descriptor = gauge(
    "node_cpu_online",
    "CPUs that are online and being scheduled.",
);
const INFO: Descriptor = gauge("node_cpu_info", "CPU information from /proc/cpuinfo.");
const FREQUENCY: Descriptor = gauge(
    "node_cpu_frequency_hertz",
    "CPU frequency in hertz from /proc/cpuinfo.",
);
const FLAG: Descriptor = gauge(
    "node_cpu_flag_info",
    "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
);
const BUG: Descriptor = gauge(
    "node_cpu_bug_info",
    "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
);

/// Ticks in a second, as the kernel counts them towards user space, whatever it does inside.
const USER_HZ: f64 = 100.0;

const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];

/// The place of idle time among the modes.
const IDLE: usize = 3;

/// A CPU whose idle time falls by this many seconds has been taken out and put in again.
const REPLUGGED_SECONDS: f64 = 3.0;

/// Seconds in each mode, then as guest and as niced guest.
type Times = [f64; 10];

pub(crate) struct Cpu {
    guest: bool,
    info: Option<Info>,
    /// The kernel's counters sometimes fall a little; ours never do.
    last: BTreeMap<String, Times>,
    places: Places,
    /// Read once: it only changes with the kernel's command line.
    isolated: Option<Vec<u32>>,
}

/// What of /proc/cpuinfo is given.
struct Info {
    frequency: bool,
    flags: Option<Regex>,
    bugs: Option<Regex>,
}

impl Cpu {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let info = Info {
            frequency: options.flag("collector.cpufreq", true)?,
            flags: options.pattern("collector.cpu.info.flags-include")?,
            bugs: options.pattern("collector.cpu.info.bugs-include")?,
        };
        let wanted = options.flag("collector.cpu.info", false)?;
        Ok(Cpu {
            guest: options.flag("collector.cpu.guest", true)?,
            info: (wanted || info.flags.is_some() || info.bugs.is_some()).then_some(info),
            last: BTreeMap::new(),
            places: Places::default(),
            isolated: None,
        })
    }
}

impl Collector for Cpu {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        if let Some(info) = &self.info {
            info.give(&read(&machine.proc("cpuinfo"))?, metrics);
        }
        let times = parse_stat(&machine.stat()?).at(&machine.proc("stat"))?;
        self.remember(times);
        self.give_times(metrics);
        let folder = machine.sys("devices/system/cpu");
        let cpus = numbered_entries(&folder, "cpu").unwrap_or_default();
        self.places.give_throttles(&folder, &cpus, metrics);
        online(&folder, &cpus, metrics);
        for cpu in self.isolated.get_or_insert_with(|| isolated(&folder)) {
            ISOLATED.add(metrics, ["cpu"], [&cpu.to_string()], 1.0);
        }
        Ok(())
    }
}

impl Cpu {
    fn remember(&mut self, times: Vec<(String, Times)>) {
        self.last = times
            .into_iter()
            .map(|(cpu, now)| {
                let kept = match self.last.get(&cpu) {
                    Some(last) => keep_rising(last, &now),
                    None => now,
                };
                (cpu, kept)
            })
            .collect();
    }

    fn give_times(&self, metrics: &mut Metrics) {
        let mut seconds = SECONDS.family(metrics).labels(["cpu", "mode"]);
        for (cpu, times) in &self.last {
            for (mode, time) in MODES.iter().zip(times) {
                seconds = seconds.add([cpu, mode], *time);
            }
        }
        if !self.guest {
            return;
        }
        let mut seconds = GUEST_SECONDS.family(metrics).labels(["cpu", "mode"]);
        for (cpu, times) in &self.last {
            let [.., guest, nice] = *times;
            seconds = seconds.add([cpu, "user"], guest).add([cpu, "nice"], nice);
        }
    }
}

/// Each CPU with its times. Columns that an old kernel lacks are 0.
fn parse_stat(text: &str) -> Result<Vec<(String, Times)>, String> {
    let mut cpus = Vec::new();
    // The lines of CPUs come first; the one of interrupts is very long.
    for line in text.lines().take_while(|line| line.starts_with("cpu")) {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| numbered(word, "cpu")) else {
            continue;
        };
        let mut times = Times::default();
        for (time, word) in times.iter_mut().zip(words) {
            *time = number(word)? / USER_HZ;
        }
        cpus.push((cpu.to_owned(), times));
    }
    match cpus.is_empty() {
        true => Err("no CPU in it".to_owned()),
        false => Ok(cpus),
    }
}

fn keep_rising(last: &Times, now: &Times) -> Times {
    if last[IDLE] - now[IDLE] >= REPLUGGED_SECONDS {
        return *now;
    }
    let mut kept = *last;
    for (kept, now) in kept.iter_mut().zip(now) {
        *kept = kept.max(*now);
    }
    kept
}

/// Where each CPU sits, which does not change for as long as there are the same CPUs.
#[derive(Default)]
struct Places {
    cpus: Vec<String>,
    /// One CPU for each core and each package that counts how often it was slowed down, whichever
    /// comes first.
    cores: Vec<Place>,
    packages: Vec<Place>,
}

struct Place {
    cpu: String,
    core: String,
    package: String,
}

const CORE_COUNT: &str = "thermal_throttle/core_throttle_count";
const PACKAGE_COUNT: &str = "thermal_throttle/package_throttle_count";

impl Places {
    fn give_throttles(&mut self, folder: &str, cpus: &[String], metrics: &mut Metrics) {
        if self.cpus != cpus {
            *self = Places::find(folder, cpus);
        }
        let paths = |places: &[Place], file: &str| -> Vec<String> {
            places
                .iter()
                .map(|place| format!("{folder}/cpu{}/{file}", place.cpu))
                .collect()
        };
        let mut all = paths(&self.cores, CORE_COUNT);
        all.extend(paths(&self.packages, PACKAGE_COUNT));
        let values = attributes(&all);
        let (of_cores, of_packages) = values.split_at(self.cores.len().min(values.len()));
        for (place, count) in self.cores.iter().zip(of_cores) {
            if let Some(count) = whole(count) {
                let values = [&*place.core, &*place.package];
                CORE_THROTTLES.add(metrics, ["core", "package"], values, count);
            }
        }
        for (place, count) in self.packages.iter().zip(of_packages) {
            if let Some(count) = whole(count) {
                PACKAGE_THROTTLES.add(metrics, ["package"], [&place.package], count);
            }
        }
    }

    fn find(folder: &str, cpus: &[String]) -> Places {
        const FILES: [&str; 4] = [
            "topology/physical_package_id",
            "topology/core_id",
            CORE_COUNT,
            PACKAGE_COUNT,
        ];
        let (mut cores, mut packages) = (Vec::new(), Vec::new());
        let (mut seen_cores, mut seen_packages) = (BTreeSet::new(), BTreeSet::new());
        for cpu in cpus {
            let values = attributes_of(&format!("{folder}/cpu{cpu}"), FILES);
            let [Some(package), Some(core), by_core, by_package] = values else {
                continue;
            };
            let place = || Place {
                cpu: cpu.clone(),
                core: core.clone(),
                package: package.clone(),
            };
            if whole(&by_core).is_some() && seen_cores.insert((core.clone(), package.clone())) {
                cores.push(place());
            }
            if whole(&by_package).is_some() && seen_packages.insert(package.clone()) {
                packages.push(place());
            }
        }
        Places {
            cpus: cpus.to_vec(),
            cores,
            packages,
        }
    }
}

/// Only where the first CPU can be switched off; elsewhere nothing is said of any.
fn online(folder: &str, cpus: &[String], metrics: &mut Metrics) {
    let path = |cpu: &String| format!("{folder}/cpu{cpu}/online");
    let Some((first, others)) = cpus.split_first() else {
        return;
    };
    let [Some(state)] = attributes_of(&format!("{folder}/cpu{first}"), ["online"]) else {
        return;
    };
    let paths: Vec<String> = others.iter().map(path).collect();
    let states = [Some(state)].into_iter().chain(attributes(&paths));
    for (cpu, state) in cpus.iter().zip(states) {
        if let Some(state) = whole(&state) {
            ONLINE.add(metrics, ["cpu"], [cpu], state);
        }
    }
}

fn isolated(folder: &str) -> Vec<u32> {
    let list = files::read_text(&format!("{folder}/isolated"));
    list.ok()
        .and_then(|list| ranges(&list).ok())
        .unwrap_or_default()
}

impl Info {
    fn give(&self, text: &str, metrics: &mut Metrics) {
        let cpus = parse_info(text);
        for cpu in &cpus {
            self.give_cpu(cpu, metrics);
        }
        let Some(first) = cpus.first() else {
            return;
        };
        let words = |keys: [&str; 2]| {
            let list = keys.iter().find_map(|key| first.get(key));
            let words: BTreeSet<&str> = list.into_iter().flat_map(|l| l.split(' ')).collect();
            words
        };
        if let Some(regex) = &self.flags {
            for flag in words(["flags", "Features"]) {
                if regex.is_match(flag) {
                    FLAG.add(metrics, ["flag"], [flag], 1.0);
                }
            }
        }
        if let Some(regex) = &self.bugs {
            for bug in words(["bugs", "bugs"]) {
                if regex.is_match(bug) {
                    BUG.add(metrics, ["bug"], [bug], 1.0);
                }
            }
        }
    }

    fn give_cpu(&self, cpu: &BTreeMap<&str, &str>, metrics: &mut Metrics) {
        const LABELS: [(&str, [&str; 2]); 10] = [
            ("cachesize", ["cache size", ""]),
            ("core", ["core id", ""]),
            ("cpu", ["processor", ""]),
            ("family", ["cpu family", "CPU architecture"]),
            ("microcode", ["microcode", ""]),
            ("model", ["model", "CPU part"]),
            ("model_name", ["model name", ""]),
            ("package", ["physical id", ""]),
            ("stepping", ["stepping", "CPU revision"]),
            ("vendor", ["vendor_id", "CPU implementer"]),
        ];
        // Processors of ARM have other words for the same.
        let values = LABELS.map(|(_, keys)| {
            let value = keys.iter().find_map(|key| cpu.get(key));
            value.copied().unwrap_or_default()
        });
        INFO.add(metrics, LABELS.map(|(label, _)| label), values, 1.0);
        let [_, core, number_of_cpu, _, _, _, _, package, ..] = values;
        let megahertz = cpu.get("cpu MHz").and_then(|text| number(text).ok());
        if self.frequency {
            FREQUENCY.add(
                metrics,
                ["core", "cpu", "package"],
                [core, number_of_cpu, package],
                megahertz.unwrap_or(0.0) * 1e6,
            );
        }
    }
}

/// The CPUs of /proc/cpuinfo: blocks of lines `key : value`.
fn parse_info(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut cpus: Vec<BTreeMap<&str, &str>> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            cpus.push(BTreeMap::new());
        }
        if let Some(cpu) = cpus.last_mut() {
            cpu.insert(key, value);
        }
    }
    cpus
}

const RUNNING: Descriptor = counter(
    "node_schedstat_running_seconds_total",
    "Number of seconds CPU spent running a process.",
);
const WAITING: Descriptor = counter(
    "node_schedstat_waiting_seconds_total",
    "Number of seconds spent by processing waiting for this CPU.",
);
const TIMESLICES: Descriptor = counter(
    "node_schedstat_timeslices_total",
    "Number of timeslices executed by CPU.",
);

/// schedstat.
pub(crate) fn scheduler(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("schedstat");
    for line in read_if_there(&path)?.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| numbered(word, "cpu")) else {
            continue;
        };
        let words: Vec<&str> = words.collect();
        let [_, _, _, _, _, _, running, waiting, slices, ..] = words.as_slice() else {
            return Err(Failure::new(format!("{path}: too few columns")));
        };
        let value = |text: &str| number(text).at(&path);
        RUNNING.add(metrics, ["cpu"], [cpu], value(running)? / 1e9);
        WAITING.add(metrics, ["cpu"], [cpu], value(waiting)? / 1e9);
        TIMESLICES.add(metrics, ["cpu"], [cpu], value(slices)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_old_and_new_kernels_write() {
        let text =
            "cpu 1 1 1 1\ncpu0 100 200 300 400 500 600 700 800 900 1000\ncpu1 1 2 3 4\nintr 5\n";
        let cpus = parse_stat(text).unwrap();
        assert_eq!(
            cpus[0].1,
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
        );
        assert_eq!(cpus[1].0, "1");
        assert_eq!(cpus[1].1[4..], [0.0; 6]);
        assert!(parse_stat("cpu0 1 x").is_err());
        assert!(parse_stat("").is_err());
    }

    #[test]
    fn times_never_fall_unless_the_cpu_was_replugged() {
        let times = |user: f64, idle: f64| {
            let mut times = Times::default();
            (times[0], times[IDLE]) = (user, idle);
            times
        };
        for (last, now, expected) in [
            (times(5.0, 10.0), times(6.0, 11.0), times(6.0, 11.0)),
            (times(5.0, 10.0), times(4.0, 9.0), times(5.0, 10.0)),
            (times(5.0, 10.0), times(6.0, 7.1), times(6.0, 10.0)),
            (times(5.0, 10.0), times(1.0, 7.0), times(1.0, 7.0)),
        ] {
            assert_eq!(keep_rising(&last, &now), expected);
        }
    }
}

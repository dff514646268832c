//! CPU time, throttling, frequencies and the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use narthex_plugin_sdk::{Error, Metrics, files};

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::text::{attributes, integer, number, numbered, numbered_entries, ranges, read};

const STAT: &str = "/proc/stat";
const CPUS: &str = "/sys/devices/system/cpu";

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
    /// The kernel's counters sometimes fall a little; ours never do.
    last: BTreeMap<String, Times>,
    /// Read once: it only changes with the kernel's command line.
    isolated: Option<Vec<u32>>,
}

impl Cpu {
    pub(crate) fn new(config: &config::Cpu) -> Self {
        Cpu {
            guest: config.guest,
            last: BTreeMap::new(),
            isolated: None,
        }
    }
}

impl Collector for Cpu {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        let times = parse_stat(&read(STAT)?).at(STAT)?;
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
        for (cpu, times) in &self.last {
            let mut seconds = metrics
                .counter(
                    "node_cpu_seconds_total",
                    "Time each CPU spent in each mode.",
                )
                .labels(["cpu", "mode"]);
            for (mode, time) in MODES.iter().zip(times) {
                seconds = seconds.add([cpu, mode], *time);
            }
            if self.guest {
                metrics
                    .counter(
                        "node_cpu_guest_seconds_total",
                        "Time each CPU spent for virtual machines, by their mode.",
                    )
                    .labels(["cpu", "mode"])
                    .add([cpu, "user"], times[8])
                    .add([cpu, "nice"], times[9]);
            }
        }
        throttles(metrics);
        online(metrics);
        let isolated = self.isolated.get_or_insert_with(isolated);
        for cpu in isolated {
            metrics
                .gauge(
                    "node_cpu_isolated",
                    "1 for each CPU that the scheduler leaves alone.",
                )
                .labels(["cpu"])
                .add([&cpu.to_string()], 1.0);
        }
        Ok(())
    }
}

/// Each CPU with its times. Columns that an old kernel lacks are 0.
fn parse_stat(text: &str) -> Result<Vec<(String, Times)>, String> {
    let mut cpus = Vec::new();
    for line in text.lines() {
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

/// Counted once for each core and each package, whichever of its CPUs comes first.
fn throttles(metrics: &mut Metrics) {
    const FILES: [&str; 4] = [
        "topology/physical_package_id",
        "topology/core_id",
        "thermal_throttle/core_throttle_count",
        "thermal_throttle/package_throttle_count",
    ];
    let cpus = numbered_entries(CPUS, "cpu").unwrap_or_default();
    let paths: Vec<String> = cpus
        .iter()
        .flat_map(|cpu| FILES.map(|file| format!("{CPUS}/cpu{cpu}/{file}")))
        .collect();
    let (mut cores, mut packages) = (BTreeSet::new(), BTreeSet::new());
    for of_cpu in attributes(&paths).chunks(FILES.len()) {
        let [Some(package), Some(core), by_core, by_package] = of_cpu else {
            continue;
        };
        let count = |text: &Option<String>| text.as_deref().and_then(integer);
        if let Some(count) = count(by_core)
            && cores.insert((package.clone(), core.clone()))
        {
            metrics
                .counter(
                    "node_cpu_core_throttles_total",
                    "How often each core was slowed down because of heat.",
                )
                .labels(["core", "package"])
                .add([core, package], count);
        }
        if let Some(count) = count(by_package)
            && packages.insert(package.clone())
        {
            metrics
                .counter(
                    "node_cpu_package_throttles_total",
                    "How often each package was slowed down because of heat.",
                )
                .labels(["package"])
                .add([package], count);
        }
    }
}

/// Only where the first CPU can be switched off; elsewhere nothing is said of any.
fn online(metrics: &mut Metrics) {
    let cpus = numbered_entries(CPUS, "cpu").unwrap_or_default();
    let paths: Vec<String> = cpus
        .iter()
        .map(|cpu| format!("{CPUS}/cpu{cpu}/online"))
        .collect();
    let states = attributes(&paths);
    if states.first().is_none_or(Option::is_none) {
        return;
    }
    for (cpu, state) in cpus.iter().zip(states) {
        if let Some(state) = state.as_deref().and_then(integer) {
            metrics
                .gauge(
                    "node_cpu_online",
                    "1 for each CPU that is switched on, else 0.",
                )
                .labels(["cpu"])
                .add([cpu], state);
        }
    }
}

fn isolated() -> Vec<u32> {
    let list = files::read_text(&format!("{CPUS}/isolated"));
    list.ok()
        .and_then(|list| ranges(&list).ok())
        .unwrap_or_default()
}

/// cpufreq.
pub(crate) fn frequency(metrics: &mut Metrics) -> Result<(), Failure> {
    const FREQUENCIES: [(&str, &str, &str); 7] = [
        (
            "cpuinfo_cur_freq",
            "node_cpu_frequency_hertz",
            "Present frequency, as the hardware says.",
        ),
        (
            "cpuinfo_avg_freq",
            "node_cpu_frequency_avg_hertz",
            "Average frequency, as the hardware says.",
        ),
        (
            "cpuinfo_min_freq",
            "node_cpu_frequency_min_hertz",
            "Lowest frequency of the hardware.",
        ),
        (
            "cpuinfo_max_freq",
            "node_cpu_frequency_max_hertz",
            "Highest frequency of the hardware.",
        ),
        (
            "scaling_cur_freq",
            "node_cpu_scaling_frequency_hertz",
            "Present frequency, as the kernel set it.",
        ),
        (
            "scaling_min_freq",
            "node_cpu_scaling_frequency_min_hertz",
            "Lowest frequency that the kernel sets.",
        ),
        (
            "scaling_max_freq",
            "node_cpu_scaling_frequency_max_hertz",
            "Highest frequency that the kernel sets.",
        ),
    ];
    let offline_path = format!("{CPUS}/offline");
    let offline = ranges(&read(&offline_path)?).at(&offline_path)?;
    let cpus: Vec<String> = numbered_entries(CPUS, "cpu")
        .at(CPUS)?
        .into_iter()
        .filter(|cpu| !offline.iter().any(|off| off.to_string() == **cpu))
        .collect();
    for cpu in cpus {
        let of_cpu = |file: &str| format!("{CPUS}/cpu{cpu}/cpufreq/{file}");
        let mut paths: Vec<String> = FREQUENCIES.iter().map(|(file, ..)| of_cpu(file)).collect();
        paths.extend(["scaling_governor", "scaling_available_governors"].map(of_cpu));
        let mut values = attributes(&paths);
        let available = values.pop().flatten();
        let governor = values.pop().flatten();
        for ((_, name, help), value) in FREQUENCIES.iter().zip(values) {
            if let Some(khz) = value.as_deref().and_then(integer) {
                metrics
                    .gauge(name, help)
                    .labels(["cpu"])
                    .add([&cpu], khz * 1000.0);
            }
        }
        if let (Some(governor), Some(available)) = (governor, available) {
            let known: BTreeSet<&str> = available.split_ascii_whitespace().collect();
            for name in known {
                metrics
                    .gauge(
                        "node_cpu_scaling_governor",
                        "1 for the policy by which the kernel sets the frequency, 0 for the others.",
                    )
                    .labels(["cpu", "governor"])
                    .add([&cpu, name], f64::from(name == governor));
            }
        }
    }
    Ok(())
}

/// schedstat.
pub(crate) fn scheduler(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/schedstat";
    for line in crate::text::read_if_there(PATH)?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(cpu) = words.first().and_then(|word| numbered(word, "cpu")) else {
            continue;
        };
        let [.., running, waiting, slices] = words.as_slice() else {
            continue;
        };
        if words.len() < 10 {
            return Err(Failure::Failed(Error::new(format!(
                "{PATH}: too few columns"
            ))));
        }
        let seconds = |text: &str| number(text).at(PATH).map(|ns| ns / 1e9);
        metrics
            .counter(
                "node_schedstat_running_seconds_total",
                "Time that processes ran on each CPU.",
            )
            .labels(["cpu"])
            .add([cpu], seconds(running)?);
        metrics
            .counter(
                "node_schedstat_waiting_seconds_total",
                "Time that processes waited for each CPU.",
            )
            .labels(["cpu"])
            .add([cpu], seconds(waiting)?);
        metrics
            .counter(
                "node_schedstat_timeslices_total",
                "Time slices that each CPU has run.",
            )
            .labels(["cpu"])
            .add([cpu], number(slices).at(PATH)?);
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

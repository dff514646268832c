//! Interrupts and softirqs, by CPU.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, numbered, read};

const INTERRUPTS: Descriptor = counter("node_interrupts_total", "Interrupt details.");
const SOFTIRQS: Descriptor = counter("node_softirqs_functions_total", "Softirq counts per CPU.");

pub(crate) struct Interrupts {
    names: Filter,
    zeros: bool,
}

impl Interrupts {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Interrupts {
            names: Filter::new(options, "collector.interrupts.name", None)?,
            zeros: options.flag("collector.interrupts.include-zeros", true)?,
        })
    }
}

impl Collector for Interrupts {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("interrupts");
        let text = read(&path)?;
        let mut lines = text.lines();
        let cpus = lines
            .next()
            .map_or(0, |line| line.split_ascii_whitespace().count());
        let labels = ["cpu", "devices", "info", "type"];
        let mut family = INTERRUPTS.family(metrics).labels(labels);
        for interrupt in lines.filter_map(|line| Interrupt::parse(line, cpus)) {
            let Interrupt {
                name,
                info,
                devices,
                ..
            } = &interrupt;
            if !self.names.takes(&format!("{name};{info};{devices}")) {
                continue;
            }
            for (cpu, count) in interrupt.counts.iter().enumerate() {
                let count = number(count).at(&path)?;
                if self.zeros || count != 0.0 {
                    family = family.add([&cpu.to_string(), devices, info, name], count);
                }
            }
        }
        Ok(())
    }
}

struct Interrupt<'a> {
    name: &'a str,
    counts: Vec<&'a str>,
    info: String,
    devices: String,
}

impl<'a> Interrupt<'a> {
    /// A name, a count for each CPU, a description; what has none counts errors.
    fn parse(line: &'a str, cpus: usize) -> Option<Interrupt<'a>> {
        let (name, rest) = line.split_once(':')?;
        let name = name.trim_start();
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let (counts, description) = words.split_at_checked(cpus)?;
        let (first, others) = description.split_first()?;
        let (info, devices) = match numbered(name, "") {
            Some(_) => ((*first).to_owned(), others.join(" ")),
            None => (description.join(" "), String::new()),
        };
        Some(Interrupt {
            name,
            counts: counts.to_vec(),
            info,
            devices,
        })
    }
}

/// The kinds of softirq; there may be others that nobody has named yet.
const KINDS: [&str; 10] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

/// softirqs.
pub(crate) fn softirqs(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("softirqs");
    for line in read(&path)?.lines() {
        let Some((kind, counts)) = line.split_once(':') else {
            continue;
        };
        let kind = kind.trim();
        if !KINDS.contains(&kind) {
            continue;
        }
        for (cpu, count) in counts.split_ascii_whitespace().enumerate() {
            let count = number(count).at(&path)?;
            SOFTIRQS.add(metrics, ["cpu", "type"], [&cpu.to_string(), kind], count);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        for (line, expected) in [
            (
                "  9:  1  2  IO-APIC-fasteoi  acpi x",
                Some("9|1,2|IO-APIC-fasteoi|acpi x"),
            ),
            (
                "NMI:  1  2  Non-maskable interrupts",
                Some("NMI|1,2|Non-maskable interrupts|"),
            ),
            ("IPI0:1 2 Rescheduling", Some("IPI0|1,2|Rescheduling|")),
            ("ERR:  0", None),
            ("nonsense", None),
            ("1:", None),
        ] {
            let found = Interrupt::parse(line, 2);
            let found = found
                .map(|i| format!("{}|{}|{}|{}", i.name, i.counts.join(","), i.info, i.devices));
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }
}

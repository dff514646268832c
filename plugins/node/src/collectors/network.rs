//! The network stack's tables: ARP, connection tracking, what the kernel does with packets.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{hex, read, read_if_there, read_number_if_there};

const ARP_ENTRIES: Descriptor = gauge("node_arp_entries", "ARP entries by device");

pub(crate) struct Arp {
    devices: Filter,
}

impl Arp {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        // Netlink gives the same as the file.
        options.flag("collector.arp.netlink", true)?;
        Ok(Arp {
            devices: Filter::new(options, "collector.arp.device", None)?,
        })
    }
}

impl Collector for Arp {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("net/arp");
        for (device, count) in parse_arp(&read(&path)?).at(&path)? {
            if self.devices.takes(&device) {
                ARP_ENTRIES.add(metrics, ["device"], [&device], f64::from(count));
            }
        }
        Ok(())
    }
}

/// A line of nine words is the heading; of six, an entry whose last is the device.
fn parse_arp(text: &str) -> Result<BTreeMap<String, u32>, String> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [_, _, _, _, _, device] => *counts.entry((*device).to_owned()).or_insert(0) += 1,
            words if words.len() == 9 || words.is_empty() => {}
            _ => return Err(format!("expected an entry of six columns, not {line:?}")),
        }
    }
    Ok(counts)
}

const CONNTRACK_SIZES: [(&str, Descriptor); 2] = [
    (
        "nf_conntrack_count",
        gauge(
            "node_nf_conntrack_entries",
            "Number of currently allocated flow entries for connection tracking.",
        ),
    ),
    (
        "nf_conntrack_max",
        gauge(
            "node_nf_conntrack_entries_limit",
            "Maximum size of connection tracking table.",
        ),
    ),
];

/// By column.
const CONNTRACK: [(usize, Descriptor); 8] = [
    (
        2,
        gauge(
            "node_nf_conntrack_stat_found",
            "Number of searched entries which were successful.",
        ),
    ),
    (
        4,
        gauge(
            "node_nf_conntrack_stat_invalid",
            "Number of packets seen which can not be tracked.",
        ),
    ),
    (
        5,
        gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    (
        8,
        gauge(
            "node_nf_conntrack_stat_insert",
            "Number of entries inserted into the list.",
        ),
    ),
    (
        9,
        gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    (
        10,
        gauge(
            "node_nf_conntrack_stat_drop",
            "Number of packets dropped due to conntrack failure.",
        ),
    ),
    (
        11,
        gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        16,
        gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

pub(crate) fn conntrack(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    for (file, family) in CONNTRACK_SIZES {
        let path = machine.proc(&format!("sys/net/netfilter/{file}"));
        family.set(metrics, read_number_if_there(&path)?);
    }
    let path = machine.proc("net/stat/nf_conntrack");
    let text = read_if_there(&path)?;
    let mut sums = [0.0; CONNTRACK.len()];
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        for (sum, (column, _)) in sums.iter_mut().zip(CONNTRACK) {
            let word = words.get(column).ok_or("too few columns".to_owned());
            *sum += word.and_then(|word| hex(word)).at(&path)?;
        }
    }
    for (sum, (_, family)) in sums.iter().zip(CONNTRACK) {
        family.set(metrics, *sum);
    }
    Ok(())
}

/// By column.
const SOFTNET: [(usize, Descriptor); 7] = [
    (
        0,
        counter(
            "node_softnet_processed_total",
            "Number of processed packets",
        ),
    ),
    (
        1,
        counter("node_softnet_dropped_total", "Number of dropped packets"),
    ),
    (
        2,
        counter(
            "node_softnet_times_squeezed_total",
            "Number of times processing packets ran out of quota",
        ),
    ),
    (
        8,
        counter(
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
        ),
    ),
    (
        9,
        counter(
            "node_softnet_received_rps_total",
            "Number of times cpu woken up received_rps",
        ),
    ),
    (
        10,
        counter(
            "node_softnet_flow_limit_count_total",
            "Number of times flow limit has been reached",
        ),
    ),
    (
        11,
        gauge("node_softnet_backlog_len", "Softnet backlog status"),
    ),
];

/// The column of the CPU's number, which older kernels leave out.
const SOFTNET_CPU: usize = 12;

pub(crate) fn softnet(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("net/softnet_stat");
    for (line_number, line) in read(&path)?.lines().enumerate() {
        let values = line.split_ascii_whitespace().map(hex);
        let values = values.collect::<Result<Vec<f64>, String>>().at(&path)?;
        if values.len() < 9 {
            return Err(Failure::new(format!("{path}: too few columns")));
        }
        let cpu = match values.get(SOFTNET_CPU) {
            Some(cpu) => cpu.to_string(),
            None => line_number.to_string(),
        };
        for (column, family) in SOFTNET {
            let value = values.get(column).copied().unwrap_or(0.0);
            family.add(metrics, ["cpu"], [&cpu], value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_tables_are_named() {
        assert!(parse_arp("1.2.3.4 0x1 0x2 aa * eth0 extra\n").is_err());
    }
}

//! The network stack: ARP, connection tracking, protocol counters, sockets.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, MetricType, Metrics, files, system};
use regex_lite::Regex;

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::{Filter, regex};
use crate::text::{hex, number, read, read_if_there};

pub(crate) struct Arp {
    devices: Filter,
}

impl Arp {
    pub(crate) fn new(config: &config::Devices) -> Result<Self, ConfigError> {
        let devices = Filter::new(
            "arp",
            "device",
            config.device_include.as_deref(),
            config.device_exclude.as_deref(),
            None,
        )?;
        Ok(Arp { devices })
    }
}

impl Collector for Arp {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        const PATH: &str = "/proc/net/arp";
        for (device, count) in parse_arp(&read(PATH)?).at(PATH)? {
            if self.devices.takes(&device) {
                metrics
                    .gauge("node_arp_entries", "Entries of the ARP table, by device.")
                    .labels(["device"])
                    .add([&device], f64::from(count));
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

/// Column, name, help.
const CONNTRACK: [(usize, &str, &str); 8] = [
    (2, "found", "Lookups that found an entry."),
    (4, "invalid", "Packets that could not be tracked."),
    (
        5,
        "ignore",
        "Packets that belonged to a tracked connection already.",
    ),
    (8, "insert", "Entries made."),
    (9, "insert_failed", "Entries that could not be made."),
    (10, "drop", "Packets dropped for want of an entry."),
    (11, "early_drop", "Entries dropped to make room."),
    (
        16,
        "search_restart",
        "Lookups begun anew because the table was resized.",
    ),
];

pub(crate) fn conntrack(metrics: &mut Metrics) -> Result<(), Failure> {
    for (file, name, help) in [
        (
            "nf_conntrack_count",
            "node_nf_conntrack_entries",
            "Connections that are tracked.",
        ),
        (
            "nf_conntrack_max",
            "node_nf_conntrack_entries_limit",
            "Connections that can be tracked.",
        ),
    ] {
        let path = format!("/proc/sys/net/netfilter/{file}");
        let count = number(read_if_there(&path)?.trim()).at(&path)?;
        metrics.gauge(name, help).set(count);
    }
    const PATH: &str = "/proc/net/stat/nf_conntrack";
    let text = read_if_there(PATH)?;
    let mut sums = [0.0; CONNTRACK.len()];
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        for (sum, (column, ..)) in sums.iter_mut().zip(CONNTRACK) {
            let word = words.get(column).ok_or("too few columns".to_owned());
            *sum += word.and_then(|word| hex(word)).at(PATH)?;
        }
    }
    for (sum, (_, name, help)) in sums.iter().zip(CONNTRACK) {
        metrics
            .gauge(&format!("node_nf_conntrack_stat_{name}"), help)
            .set(*sum);
    }
    Ok(())
}

const DEFAULT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

pub(crate) struct NetStat {
    fields: Regex,
}

impl NetStat {
    pub(crate) fn new(config: &config::Fields) -> Result<Self, ConfigError> {
        let fields = config.fields.as_deref().unwrap_or(DEFAULT_FIELDS);
        Ok(NetStat {
            fields: regex("netstat.fields", fields)?,
        })
    }
}

impl Collector for NetStat {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        const V6: &str = "/proc/net/snmp6";
        let mut all = BTreeMap::new();
        for path in ["/proc/net/netstat", "/proc/net/snmp"] {
            all.extend(parse_pairs(&read(path)?).at(path)?);
        }
        match files::read_text(V6) {
            Ok(text) => all.extend(parse_snmp6(&text).at(V6)?),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).at(V6),
        }
        for (name, value) in all {
            if self.fields.is_match(&name) {
                metrics
                    .family(
                        &format!("node_netstat_{name}"),
                        &format!("The kernel's count {name}."),
                        MetricType::Unknown,
                    )
                    .set(value);
            }
        }
        Ok(())
    }
}

/// Pairs of lines `Proto: names` and `Proto: values`; gives `Proto_name` and value.
fn parse_pairs(text: &str) -> Result<Vec<(String, f64)>, String> {
    let mut counts = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((_, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            return Err(format!("expected a protocol, not {names:?}"));
        };
        let names: Vec<&str> = names.split_ascii_whitespace().collect();
        let values: Vec<&str> = values.split_ascii_whitespace().collect();
        if names.len() != values.len() {
            return Err(format!(
                "{} names and {} values of {protocol}",
                names.len(),
                values.len()
            ));
        }
        for (name, value) in names.iter().zip(values) {
            counts.push((format!("{protocol}_{name}"), number(value)?));
        }
    }
    Ok(counts)
}

/// Lines `Ip6InReceives 7`: the protocol ends with its 6.
fn parse_snmp6(text: &str) -> Result<Vec<(String, f64)>, String> {
    let mut counts = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        if let Some(six) = name.find('6') {
            let (protocol, name) = name.split_at(six + 1);
            counts.push((format!("{protocol}_{name}"), number(value)?));
        }
    }
    Ok(counts)
}

/// sockstat.
pub(crate) fn sockets(metrics: &mut Metrics) -> Result<(), Failure> {
    let page_bytes = f64::from(system::page_bytes()?);
    for path in ["/proc/net/sockstat", "/proc/net/sockstat6"] {
        let text = match files::read_text(path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error).at(path),
        };
        for line in text.lines() {
            sockets_of(line, page_bytes, metrics).at(path)?;
        }
    }
    Ok(())
}

/// A line `TCP: inuse 4 orphan 0 …`.
fn sockets_of(line: &str, page_bytes: f64, metrics: &mut Metrics) -> Result<(), String> {
    let Some((protocol, rest)) = line.split_once(':') else {
        return Ok(());
    };
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let mut give = |key: &str, value: f64| {
        let name = format!("node_sockstat_{protocol}_{key}");
        let help = format!("{protocol} sockets: {key}.");
        metrics.gauge(&name, &help).set(value);
    };
    let mut has_inuse = false;
    for pair in words.chunks_exact(2) {
        let (key, value) = (pair[0], number(pair[1])?);
        match key {
            "used" => give("used", value),
            "inuse" | "orphan" | "tw" | "alloc" | "mem" | "memory" => give(key, value),
            _ => {}
        }
        if key == "mem" {
            give("mem_bytes", value * page_bytes);
        }
        has_inuse |= key == "inuse";
    }
    if protocol != "sockets" && !has_inuse {
        give("inuse", 0.0);
    }
    Ok(())
}

/// Column, name, help.
const SOFTNET: [(usize, &str, &str); 6] = [
    (0, "processed", "Packets handled."),
    (1, "dropped", "Packets dropped because the queue was full."),
    (
        2,
        "times_squeezed",
        "How often handling stopped for want of time.",
    ),
    (
        8,
        "cpu_collision",
        "How often two CPUs wanted to send at once.",
    ),
    (
        9,
        "received_rps",
        "How often a CPU was woken for another's packets.",
    ),
    (10, "flow_limit_count", "How often a flow was held back."),
];

pub(crate) fn softnet(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/net/softnet_stat";
    for (line_number, line) in read(PATH)?.lines().enumerate() {
        let values = line
            .split_ascii_whitespace()
            .map(hex)
            .collect::<Result<Vec<f64>, String>>()
            .at(PATH)?;
        if values.len() < 9 {
            return Err(Failure::new(format!("{PATH}: too few columns")));
        }
        let value = |column: usize| values.get(column).copied().unwrap_or(0.0);
        // Older kernels leave out the CPU's number.
        let cpu = match values.len() {
            13.. => value(12).to_string(),
            _ => line_number.to_string(),
        };
        for (column, name, help) in SOFTNET {
            metrics
                .counter(&format!("node_softnet_{name}_total"), help)
                .labels(["cpu"])
                .add([&cpu], value(column));
        }
        metrics
            .gauge(
                "node_softnet_backlog_len",
                "Packets that wait to be handled.",
            )
            .labels(["cpu"])
            .add([&cpu], value(11));
    }
    Ok(())
}

pub(crate) fn udp_queues(metrics: &mut Metrics) -> Result<(), Failure> {
    let mut missing = None;
    for (path, version) in [("/proc/net/udp", "v4"), ("/proc/net/udp6", "v6")] {
        let text = match read_if_there(path) {
            Ok(text) => text,
            Err(Failure::NoData(error)) if missing.is_none() => {
                missing = Some(error);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let (sending, receiving) = queues(&text).at(path)?;
        metrics
            .gauge(
                "node_udp_queues",
                "Memory of UDP packets that wait, in bytes.",
            )
            .labels(["ip", "queue"])
            .add([version, "tx"], sending)
            .add([version, "rx"], receiving);
    }
    Ok(())
}

/// The sums of the column `tx_queue:rx_queue`.
fn queues(text: &str) -> Result<(f64, f64), String> {
    let (mut sending, mut receiving) = (0.0, 0.0);
    for line in text.lines().skip(1) {
        let column = line.split_ascii_whitespace().nth(4);
        let (tx, rx) = column
            .and_then(|column| column.split_once(':'))
            .ok_or_else(|| format!("expected a socket, not {line:?}"))?;
        sending += hex(tx)?;
        receiving += hex(rx)?;
    }
    Ok((sending, receiving))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_tables_are_named() {
        assert!(parse_arp("1.2.3.4 0x1 0x2 aa * eth0 extra\n").is_err());
        assert_eq!(
            parse_pairs("Tcp: A B\nTcp: 1\n").unwrap_err(),
            "2 names and 1 values of Tcp"
        );
        assert!(parse_pairs("Tcp A\nTcp 1\n").is_err());
        assert_eq!(
            parse_pairs("Tcp: A B\nTcp: 1 -1\n").unwrap(),
            [("Tcp_A".to_owned(), 1.0), ("Tcp_B".to_owned(), -1.0)]
        );
        assert_eq!(
            parse_snmp6("Ip6InReceives  7\nUdpLite6InErrors 1\n").unwrap(),
            [
                ("Ip6_InReceives".to_owned(), 7.0),
                ("UdpLite6_InErrors".to_owned(), 1.0)
            ]
        );
        assert!(queues("heading\n 0: a b c\n").is_err());
    }
}

//! Sockets: how many there are, and what waits in them.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{Metrics, system};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{hex, number, read_many};

pub(crate) fn sockstat(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let page_bytes = f64::from(system::page_bytes()?);
    let paths = ["net/sockstat", "net/sockstat6"].map(|path| machine.proc(path));
    for (path, text) in paths.iter().zip(read_many(&paths)) {
        let text = match text {
            Err(error) if error.is_not_found() => continue,
            text => text.at(path)?,
        };
        for line in text.lines() {
            give(line, page_bytes, metrics).at(path)?;
        }
    }
    Ok(())
}

/// A line `TCP: inuse 4 orphan 0 …`.
fn give(line: &str, page_bytes: f64, metrics: &mut Metrics) -> Result<(), String> {
    let Some((protocol, rest)) = line.split_once(':') else {
        return Ok(());
    };
    let mut set = |key: &str, value: f64| {
        let name = format!("node_sockstat_{protocol}_{key}");
        let help = match key {
            "used" => "Number of IPv4 sockets in use.".to_owned(),
            key => format!("Number of {protocol} sockets in state {key}."),
        };
        metrics.gauge(&name, &help).set(value);
    };
    let mut has_inuse = false;
    let mut words = rest.split_ascii_whitespace();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        let value = number(value)?;
        match key {
            "used" | "inuse" | "orphan" | "tw" | "alloc" | "mem" | "memory" => set(key, value),
            _ => {}
        }
        if key == "mem" {
            set("mem_bytes", value * page_bytes);
        }
        has_inuse |= key == "inuse";
    }
    if protocol != "sockets" && !has_inuse {
        set("inuse", 0.0);
    }
    Ok(())
}

const UDP_QUEUES: Descriptor = gauge(
    "node_udp_queues",
    "Number of allocated memory in the kernel for UDP datagrams in bytes.",
);

pub(crate) fn udp_queues(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = ["net/udp", "net/udp6"].map(|path| machine.proc(path));
    let mut missing = None;
    for ((path, text), version) in paths.iter().zip(read_many(&paths)).zip(["v4", "v6"]) {
        let text = match text.at_if_there(path) {
            Err(Failure::NoData(error)) if missing.is_none() => {
                missing = Some(error);
                continue;
            }
            text => text?,
        };
        let (sending, receiving) = queues(&text).at(path)?;
        let labels = ["ip", "queue"];
        UDP_QUEUES.add(metrics, labels, [version, "tx"], sending);
        UDP_QUEUES.add(metrics, labels, [version, "rx"], receiving);
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

const TCP_STATES: Descriptor = gauge("node_tcp_connection_states", "Number of connection states.");

/// By the kernel's numbers, which begin at 1.
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

/// tcpstat.
pub(crate) fn tcp_states(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = ["net/tcp", "net/tcp6"].map(|path| machine.proc(path));
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for (path, text) in paths.iter().zip(read_many(&paths)) {
        match text {
            // A machine need not have the new protocol.
            Err(error) if path.ends_with('6') && error.is_not_found() => {}
            text => count_states(&text.at(path)?, &mut counts).at(path)?,
        }
    }
    for (state, count) in counts {
        TCP_STATES.add(metrics, ["state"], [state], count);
    }
    Ok(())
}

/// The columns `st` and `tx_queue:rx_queue`.
fn count_states(text: &str, counts: &mut BTreeMap<&str, f64>) -> Result<(), String> {
    for line in text.lines().skip(1) {
        let wrong = || format!("expected a socket, not {line:?}");
        let mut words = line.split_ascii_whitespace().skip(3);
        let (state, queues) = (
            words.next().ok_or_else(wrong)?,
            words.next().ok_or_else(wrong)?,
        );
        let number = usize::from_str_radix(state, 16).map_err(|_| wrong())?;
        let state = number.checked_sub(1).and_then(|at| STATES.get(at));
        *counts
            .entry(state.copied().unwrap_or("unknown"))
            .or_default() += 1.0;
        let (sending, receiving) = queues.split_once(':').ok_or_else(wrong)?;
        *counts.entry("tx_queued_bytes").or_default() += hex(sending)?;
        *counts.entry("rx_queued_bytes").or_default() += hex(receiving)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_tables_are_named() {
        assert!(queues("heading\n 0: a b c\n").is_err());
        assert_eq!(queues("heading\n 0: a b c 0a:0B\n"), Ok((10.0, 11.0)));
    }

    #[test]
    fn sockets_are_counted_by_state() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:1 00000000:0000 0A 00000000:00000003 00:0 0\n\
            1: 0100007F:1 00000000:0000 01 00000001:00000000 00:0 0\n\
            2: 0100007F:1 00000000:0000 0C 00000010:00000000 00:0 0\n";
        let mut counts = BTreeMap::new();
        count_states(text, &mut counts).unwrap();
        let counts: Vec<(&str, f64)> = counts.into_iter().collect();
        assert_eq!(
            counts,
            [
                ("established", 1.0),
                ("listen", 1.0),
                ("rx_queued_bytes", 3.0),
                ("tx_queued_bytes", 17.0),
                ("unknown", 1.0),
            ]
        );
        assert!(count_states("\n0: a b\n", &mut BTreeMap::new()).is_err());
        assert!(count_states("\n0: a b xx 0:0\n", &mut BTreeMap::new()).is_err());
    }
}
